//! A partition that is silent, in a lane that is not.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::rig::{Answer, Rig, Stage, at, halves, shard};
use crate::commit::commit;
use crate::keep::keep;
use crate::ownership::Mail;
use crate::pipeline;

#[test]
fn a_silence_is_told_once_and_beside_a_busy_partition_too() {
    let mut rig = Rig::new([Answer::Done]);
    rig.adopt_kept(0, 1, 7);
    rig.attempts(1);
    rig.fold(&[(1, 7)]);
    rig.attempts(2);
    rig.stage.script().ends = vec![at(0, 7)];
    rig.fold(&[(1, 8)]);
    rig.answer([Answer::Done, Answer::Done]);
    let ended = rig.stop();
    assert_eq!(ended.sent(), [&[at(0, 7)][..], &[at(1, 8)], &[at(0, 7), at(1, 9)]]);
    assert_eq!(ended.attempts[2].records, [(1, 8), (0, 7)], "a result and a marker");
}

#[test]
fn a_partition_with_records_in_the_tick_is_not_silent_yet() {
    let mut rig = Rig::new([Answer::Done, Answer::Done, Answer::Done, Answer::Done]);
    rig.adopt_kept(0, 1, 7);
    rig.attempts(1);
    rig.stage.script().ends = vec![at(0, 8)];
    rig.fold(&[(0, 7)]);
    rig.attempts(3);
    let ended = rig.stop();
    assert_eq!(ended.sent(), [[at(0, 7)], [at(0, 8)], [at(0, 8)], [at(0, 8)]]);
    let markers = ended.attempts.iter().map(|attempt| attempt.records.len());
    assert_eq!(
        markers.skip(2).collect::<Vec<_>>(),
        [1, 2],
        "the silence in a tick of its own, and the image at the stop"
    );
}

#[test]
fn images_are_written_when_a_partition_has_been_quiet_for_long_or_stands_still() {
    for stands_still in [false, true] {
        let stage = Arc::new(Stage::default());
        let (mut lane, mut committer) = halves(&stage);
        let (taken, _adopted) = channel();
        let shard = Box::new(shard(0, 7).keeping_state());
        assert!(lane.ownership.post(0, Mail::Adopt { partition: 0, epoch: 1, shard, taken }));
        lane.attend(Duration::ZERO);
        stage.script().batches.push_back(vec![(0, 7)]);
        pipeline::tick(&mut lane);
        stage.script().answers.push_back(Answer::Done);
        let tick = committer.fold.take(Duration::ZERO).expect("the lane lives").expect("handed over");
        commit(&mut committer, tick);
        lane.attend(Duration::ZERO);
        if stands_still {
            let board = Arc::clone(&lane.board);
            lane.shards.get_mut(&0).expect("adopted").lost_position("SourceRetentionPassed", "as told", &board);
        }
        let mut is_dirty_at = |at: Instant| {
            lane.begin_tick(at);
            lane.keep(keep);
            let is_written = !lane.outputs.is_empty();
            lane.hand_over();
            let is_dirty = lane.shards.get_mut(&0).expect("adopted").shard.is_dirty();
            assert_ne!(is_dirty, is_written);
            is_dirty
        };
        assert!(is_dirty_at(Instant::now() + Duration::from_secs(50)));
        assert!(!is_dirty_at(Instant::now() + Duration::from_secs(70)));
    }
}

#[test]
fn a_clean_stop_tells_how_far_was_read_though_nothing_is_dirty() {
    let rig = Rig::new([Answer::Done, Answer::Done]);
    rig.adopt_kept(0, 1, 7);
    rig.attempts(1);
    rig.stage.script().handed_over = vec![at(0, 9)];
    let ended = rig.stop();
    assert_eq!(ended.sent(), [[at(0, 7)], [at(0, 7)]]);
    assert_eq!(ended.attempts[1].records, [(0, 7)], "a marker");
}
