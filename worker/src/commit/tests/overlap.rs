//! Two ticks at once: one in flight, one open. Both hold partitions 0 and 1.

use std::sync::Arc;
use std::sync::mpsc::{TryRecvError, channel};
use std::time::{Duration, Instant};

use super::rig::{Answer, Ended, Rig, Stage, at, halves, shard, snapshot};
use crate::commit::commit;
use crate::lane::Lane;
use crate::ownership::{Mail, Request, Tenure};
use crate::pipeline;

const FLYING: [(i32, i64); 2] = [(0, 7), (1, 7)];
const OPEN: [(i32, i64); 2] = [(0, 8), (1, 8)];
const PATIENCE: Duration = Duration::from_secs(60);

/// A lane whose first tick waits for its answer while the second one is open.
fn two_ticks() -> Rig {
    let mut rig = one_tick();
    rig.fold(&OPEN);
    rig.attempts(1);
    rig
}

fn one_tick() -> Rig {
    let mut rig = Rig::new([]);
    rig.fold(&FLYING);
    rig.attempts(1);
    rig
}

/// Everything is visible once, the first tick before the second one.
fn assert_all_in_order(ended: &Ended) {
    assert_eq!(ended.visible, [FLYING, OPEN].concat());
    assert_eq!(ended.scored, 4);
    assert_eq!(ended.sent().last(), Some(&&[at(0, 9), at(1, 9)][..]));
}

/// Of partition 0 nothing is visible, of partition 1 everything.
fn assert_only_partition_1(ended: &Ended) {
    assert_eq!(ended.visible, [(1, 7), (1, 8)]);
    assert_eq!(ended.scored, 2);
}

#[test]
fn the_next_tick_is_folded_meanwhile_and_sent_after_the_answer() {
    let rig = two_ticks();
    rig.answer([Answer::Done]);
    rig.attempts(2);
    assert_eq!(rig.stage.script().visible, FLYING);
    rig.answer([Answer::Done]);
    let ended = rig.stop();
    assert_eq!(ended.sent(), [[at(0, 8), at(1, 8)], [at(0, 9), at(1, 9)]]);
    assert_all_in_order(&ended);
}

#[test]
fn a_tick_in_flight_that_is_aborted_goes_before_the_next_one() {
    let rig = two_ticks();
    rig.answer([Answer::Aborted, Answer::Aborted, Answer::Done, Answer::Aborted, Answer::Done]);
    let ended = rig.stop();
    let (first, second) = ([at(0, 8), at(1, 8)], [at(0, 9), at(1, 9)]);
    assert_eq!(ended.sent(), [first, first, first, second, second]);
    assert_all_in_order(&ended);
}

#[test]
fn a_doubt_at_the_end_lets_the_next_tick_follow() {
    let rig = two_ticks();
    rig.answer([Answer::InDoubt { committed: vec![at(0, 8), at(1, 8)] }, Answer::Done]);
    let ended = rig.stop();
    assert_eq!(ended.sent(), [[at(0, 8), at(1, 8)], [at(0, 9), at(1, 9)]]);
    assert_all_in_order(&ended);
}

#[test]
fn a_doubt_at_the_start_sends_the_tick_in_flight_again_first() {
    let rig = two_ticks();
    rig.answer([Answer::InDoubt { committed: vec![at(0, 7), at(1, 7)] }, Answer::Done, Answer::Done]);
    let ended = rig.stop();
    assert_eq!(ended.sent(), [[at(0, 8), at(1, 8)], [at(0, 8), at(1, 8)], [at(0, 9), at(1, 9)]]);
    assert_all_in_order(&ended);
}

#[test]
fn the_start_of_the_second_tick_is_the_end_of_the_first() {
    let rig = two_ticks();
    // For the second tick these are its start; had it begun where the first one did, it would be lost.
    let start = || Answer::InDoubt { committed: vec![at(0, 8), at(1, 8)] };
    rig.answer([Answer::Done, start(), Answer::Done]);
    let ended = rig.stop();
    assert_eq!(ended.sent(), [[at(0, 8), at(1, 8)], [at(0, 9), at(1, 9)], [at(0, 9), at(1, 9)]]);
    assert_all_in_order(&ended);
}

#[test]
fn a_doubt_at_neither_takes_the_shard_out_of_both_ticks() {
    let rig = two_ticks();
    rig.answer([Answer::InDoubt { committed: vec![at(0, 3), at(1, 7)] }]);
    rig.attempts(2);
    assert_eq!(rig.ownership.take_requests(), [Request::Restart(0)]);
    rig.answer([Answer::Done, Answer::Done]);
    let ended = rig.stop();
    assert_eq!(ended.sent()[1..], [[at(1, 8)], [at(1, 9)]]);
    assert_only_partition_1(&ended);
}

#[test]
fn a_shard_with_another_epoch_leaves_both_ticks_and_its_successor_stays() {
    let mut rig = two_ticks();
    rig.ownership.publish(snapshot(&[(0, 2), (1, 1)], &[]));
    rig.adopt(0, 2, 7);
    rig.answer([Answer::Aborted, Answer::Done, Answer::Done]);
    rig.attempts(3);
    rig.fold(&[(0, 7)]);
    rig.answer([Answer::Done]);
    let ended = rig.stop();
    assert_eq!(ended.sent()[1..], [[at(1, 8)], [at(1, 9)], [at(0, 8)]]);
    assert_eq!((ended.visible, ended.scored), (vec![(1, 7), (1, 8), (0, 7)], 3));
}

#[test]
fn a_release_is_answered_as_soon_as_the_tick_in_flight_has_let_go() {
    let rig = two_ticks();
    rig.ownership.publish(snapshot(&[(0, 1), (1, 1)], &[0]));
    let answered = rig.release(0);
    assert_eq!(answered.recv_timeout(PATIENCE), Ok(()), "partition 1 is still on its way");
    rig.attempts(2);
    rig.answer([Answer::Done, Answer::Done]);
    let ended = rig.stop();
    assert_eq!(ended.sent()[1..], [[at(1, 8)], [at(1, 9)]]);
    assert_only_partition_1(&ended);
}

#[test]
fn a_release_waits_for_a_commit_that_cannot_be_given_up_and_the_others_are_folded_meanwhile() {
    let mut rig = one_tick();
    rig.stage.script().stubborn = true;
    rig.ownership.publish(snapshot(&[(0, 1), (1, 1)], &[0]));
    let answered = rig.release(0);
    rig.fold(&OPEN);
    assert_eq!(answered.try_recv(), Err(TryRecvError::Empty), "what is in flight may still become visible");
    rig.answer([Answer::Done]);
    assert_eq!(answered.recv_timeout(PATIENCE), Ok(()));
    rig.answer([Answer::Done]);
    let ended = rig.stop();
    assert_eq!(ended.sent(), [&[at(0, 8), at(1, 8)][..], &[at(1, 9)]]);
    assert_eq!((ended.visible, ended.scored), (vec![(0, 7), (1, 7), (1, 8)], 3));
}

#[test]
fn a_release_of_what_is_not_in_flight_does_not_wait() {
    let mut rig = Rig::new([]);
    rig.fold(&[(1, 7)]);
    rig.attempts(1);
    rig.fold(&[(0, 7), (1, 8)]);
    rig.ownership.publish(snapshot(&[(0, 1), (1, 1)], &[0]));
    assert_eq!(rig.release(0).recv_timeout(PATIENCE), Ok(()));
    rig.attempts(1);
    rig.answer([Answer::Done, Answer::Done]);
    let ended = rig.stop();
    assert_eq!(ended.sent(), [[at(1, 8)], [at(1, 9)]]);
    assert_only_partition_1(&ended);
}

#[test]
fn a_lane_that_stops_finishes_both_ticks() {
    let rig = two_ticks();
    assert!(rig.ownership.post(0, Mail::Stop));
    rig.answer([Answer::Aborted, Answer::Done, Answer::Done]);
    let ended = rig.stop();
    assert_all_in_order(&ended);
}

#[test]
fn a_revocation_while_the_lane_stops_is_answered() {
    let rig = two_ticks();
    assert!(rig.ownership.post(0, Mail::Stop));
    rig.ownership.publish(snapshot(&[(0, 1), (1, 1)], &[0, 1]));
    assert!(rig.ownership.release(&[0, 1], PATIENCE));
    let ended = rig.stop();
    assert_eq!((ended.visible, ended.scored), (Vec::new(), 0));
}

#[test]
fn a_panic_of_the_commit_thread_ends_the_lane() {
    let rig = two_ticks();
    rig.answer([Answer::Panics]);
    assert!(!rig.join());
}

#[test]
fn a_shard_without_a_position_starts_again_only_when_its_last_tick_is_settled() {
    let stage = Arc::new(Stage::default());
    let (mut lane, mut committer) = halves(&stage);
    let (taken, _adopted) = channel();
    assert!(lane.ownership.post(0, Mail::Adopt { partition: 0, epoch: 1, shard: shard(0, 7), taken }));
    lane.attend(Duration::ZERO);
    stage.script().batches.push_back(vec![(0, 7)]);
    pipeline::tick(&mut lane);

    let later = Instant::now() + Duration::from_secs(3600);
    let board = Arc::clone(&lane.board);
    lane.shards.get_mut(&0).expect("adopted").lost_position("SourceRetentionPassed", "as told", &board);
    lane.begin_tick(later);
    assert_eq!(lane.ownership.take_requests(), [], "it would start at an offset that is about to move");

    stage.script().answers.push_back(Answer::Done);
    let tick = committer.fold.take(Duration::ZERO).expect("the lane lives").expect("handed over");
    commit(&mut committer, tick);
    lane.attend(Duration::ZERO);
    lane.begin_tick(later);
    assert_eq!(lane.ownership.take_requests(), [Request::Restart(0)]);
}

#[test]
fn what_is_asked_for_a_shard_does_not_act_on_the_next_one_of_its_partition() {
    let stage = Arc::new(Stage::default());
    let (mut lane, _committer) = halves(&stage);
    let board = Arc::clone(&lane.board);
    let later = Instant::now() + Duration::from_secs(3600);
    let mut asked = Vec::new();
    // The next one begins before the first one stood still.
    for (epoch, offset) in [(1, 9), (2, 7)] {
        let (taken, _adopted) = channel();
        assert!(lane.ownership.post(0, Mail::Adopt { partition: 0, epoch, shard: shard(0, offset), taken }));
        lane.attend(Duration::ZERO);
        let ownership = Arc::clone(&lane.ownership);
        lane.shards.get_mut(&0).expect("adopted").stop("DeadLetterShare", "as told", &ownership, &board);
        lane.begin_tick(later);
        asked.push(lane.ownership.take_requests());
    }
    let request = |epoch, offset| {
        let tenure = Tenure { partition: 0, epoch };
        vec![Request::Pause(0), Request::Resume { tenure, offset }]
    };
    assert_eq!(asked, [request(1, 9), request(2, 7)]);

    let answer = |lane: &mut Lane<_, _>, epoch| {
        let (taken, read) = channel();
        assert!(lane.ownership.post(0, Mail::Continue { tenure: Tenure { partition: 0, epoch }, taken }));
        lane.attend(Duration::ZERO);
        (read.try_iter().count(), lane.shards[&0].stall.is_some())
    };
    assert_eq!(answer(&mut lane, 1), (0, true));
    assert_eq!(answer(&mut lane, 2), (1, false));
}
