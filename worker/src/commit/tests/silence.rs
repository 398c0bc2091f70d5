//! A partition that is silent, in a lane that is not.

use super::rig::{Answer, Rig, at};

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
