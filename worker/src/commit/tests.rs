//! The two threads of a lane against a sink that answers as it is told.

mod doubt;
mod forget;
mod introduce;
mod overlap;
mod rig;
mod silence;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ownership::{Request, Snapshot};
use rig::{Answer, Attempt, Rig, at, snapshot};

const ALL: [(i32, i64); 4] = [(0, 7), (1, 7), (0, 8), (1, 8)];
const FIRST: [(i32, i64); 2] = [(1, 7), (1, 8)];

#[test]
fn an_acknowledged_tick_is_counted_once_and_forgotten() {
    let mut rig = Rig::new([Answer::Done]);
    rig.fold(&ALL);
    let ended = rig.stop();
    assert_eq!((ended.visible.as_slice(), ended.scored), (&ALL[..], 4));
    assert_eq!(ended.sent(), [[at(0, 9), at(1, 9)]], "a tick without news commits nothing");
}

#[test]
fn an_aborted_tick_is_sent_again_as_it_was() {
    let mut rig = Rig::new([Answer::Aborted, Answer::Aborted, Answer::Done]);
    rig.fold(&ALL);
    let ended = rig.stop();
    let attempt = || Attempt { positions: vec![at(0, 9), at(1, 9)], records: ALL.to_vec(), fence: 1 };
    assert_eq!(ended.attempts, [attempt(), attempt(), attempt()]);
    assert_eq!((ended.visible.as_slice(), ended.scored), (&ALL[..], 4));
}

#[test]
fn a_commit_that_takes_long_is_a_problem_until_it_is_done() {
    let mut rig = Rig::new([]);
    rig.fold(&ALL);
    rig.shows(&["CommitWaits"]);
    rig.answer([Answer::Aborted]);
    rig.shows(&["CommitAborted", "CommitWaits"]);
    rig.answer([Answer::Done]);
    rig.shows(&[]);
    assert_eq!(rig.stop().scored, 4);
}

#[test]
fn a_doubtful_tick_that_is_visible_is_not_sent_again() {
    let mut rig = Rig::new([Answer::InDoubt { committed: vec![at(0, 9), at(1, 9)] }]);
    rig.fold(&ALL);
    let ended = rig.stop();
    assert_eq!((ended.attempts.len(), ended.scored), (1, 4));
}

#[test]
fn a_doubt_without_an_answer_is_asked_again_and_nothing_is_sent_twice() {
    let mut rig = Rig::new([]);
    rig.stage.script().unanswered = 2;
    rig.fold(&ALL);
    rig.answer([Answer::InDoubt { committed: vec![at(0, 9), at(1, 9)] }]);
    let ended = rig.stop();
    assert_eq!((ended.attempts.len(), ended.scored), (1, 4));
}

#[test]
fn a_doubtful_tick_that_is_not_visible_is_sent_again() {
    let mut rig = Rig::new([Answer::InDoubt { committed: vec![at(0, 7), at(1, 7)] }, Answer::Done]);
    rig.fold(&ALL);
    let ended = rig.stop();
    assert_eq!(ended.attempts.len(), 2);
    assert_eq!((ended.visible.as_slice(), ended.scored), (&ALL[..], 4));
}

#[test]
fn a_shard_whose_position_fits_neither_end_starts_again() {
    let mut rig = Rig::new([Answer::InDoubt { committed: vec![at(0, 3), at(1, 7)] }, Answer::Done]);
    rig.fold(&ALL);
    let ownership = Arc::clone(&rig.ownership);
    let ended = rig.stop();
    assert_eq!(ownership.take_requests(), [Request::Restart(0)]);
    assert_eq!((ended.visible.as_slice(), ended.scored), (&FIRST[..], 2));
}

#[test]
fn a_partition_with_another_epoch_is_dropped_before_the_commit() {
    let mut rig = Rig::new([Answer::Done]);
    rig.ownership.publish(snapshot(&[(0, 2), (1, 1)], &[]));
    rig.fold(&ALL);
    let ended = rig.stop();
    assert_eq!(ended.sent(), [[at(1, 9)]]);
    assert_eq!((ended.visible.as_slice(), ended.scored), (&FIRST[..], 2));
}

#[test]
fn a_partition_that_is_taken_away_during_a_failed_commit_is_not_sent_again() {
    let mut rig = Rig::new([]);
    rig.fold(&ALL);
    rig.attempts(1);
    rig.ownership.publish(snapshot(&[(0, 1), (1, 1)], &[0]));
    rig.attempts(2);
    rig.answer([Answer::Done]);
    let ended = rig.stop();
    assert_eq!(ended.sent()[1], [at(1, 9)]);
    assert_eq!((ended.visible.as_slice(), ended.scored), (&FIRST[..], 2));
}

#[test]
fn nothing_is_sent_without_a_proof_of_membership() {
    let mut rig = Rig::new([Answer::Done]);
    rig.ownership.publish(Snapshot { fence: None, ..snapshot(&[(0, 1), (1, 1)], &[]) });
    rig.fold(&ALL);
    rig.ownership.publish(Snapshot { fence: Some(2), ..snapshot(&[(0, 1), (1, 1)], &[]) });
    let ended = rig.stop();
    let fences: Vec<u32> = ended.attempts.iter().map(|attempt| attempt.fence).collect();
    assert_eq!(fences, [2]);
    assert_eq!((ended.visible.as_slice(), ended.scored), (&ALL[..], 4));
}

#[test]
fn a_stopping_worker_whose_time_is_over_gives_its_tick_up() {
    for (answer, unanswered) in
        [(Answer::Aborted, 0), (Answer::InDoubt { committed: vec![at(0, 9), at(1, 9)] }, usize::MAX)]
    {
        let mut rig = Rig::new([answer]);
        rig.stage.script().unanswered = unanswered;
        rig.ownership.end_by(Instant::now());
        rig.fold(&ALL);
        let ended = rig.stop();
        assert_eq!((ended.attempts.len(), ended.scored), (1, 0), "one try, and nothing counts without an answer");
    }
}

#[test]
fn a_stopping_worker_that_gets_its_answer_in_time_commits_as_ever() {
    let mut rig = Rig::new([Answer::Aborted, Answer::Done]);
    rig.ownership.end_by(Instant::now() + Duration::from_secs(3600));
    rig.fold(&ALL);
    let ended = rig.stop();
    assert_eq!((ended.visible.as_slice(), ended.scored), (&ALL[..], 4));
}
