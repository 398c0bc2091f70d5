//! A key is forgotten: dropped at the beginning of a tick, answered when that tick is visible. The keys of all records here
//! are equal, so each shard that has folded one knows `k`.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use super::rig::{Answer, Rig, ScriptedSink, ScriptedSource, Stage, at, halves, shard, snapshot};
use crate::commit::{Committer, commit};
use crate::forget::{ForgetError, forget};
use crate::keep::keep;
use crate::lane::Lane;
use crate::ownership::{Mail, Ownership, Request};
use crate::pipeline;

const LIMIT: Duration = Duration::from_secs(60);

type Asked = JoinHandle<Result<Vec<i32>, ForgetError>>;

fn ask(ownership: &Arc<Ownership<u32>>, key: &'static str) -> Asked {
    let ownership = Arc::clone(ownership);
    std::thread::spawn(move || forget(&ownership, key, LIMIT))
}

/// A lane whose two shards know `k`, and somebody who wants it forgotten: the tick that does it is on its way.
fn asked(answers: impl IntoIterator<Item = Answer>) -> (Rig, Asked) {
    let mut rig = Rig::new([Answer::Done]);
    rig.fold(&[(0, 7), (1, 7)]);
    rig.attempts(1);
    let asked = ask(&rig.ownership, "k");
    rig.attempts(2);
    assert!(!asked.is_finished(), "nothing is visible yet");
    rig.answer(answers);
    (rig, asked)
}

#[test]
fn a_key_is_said_to_be_forgotten_when_that_is_visible_though_no_record_came() {
    let (rig, asked) = asked([Answer::Done]);
    assert_eq!(asked.join().unwrap(), Ok(vec![0, 1]));
    assert_eq!(ask(&rig.ownership, "k").join().unwrap(), Ok(vec![]), "it is not known any more");
    let ended = rig.stop();
    assert_eq!(ended.sent(), [[at(0, 8), at(1, 8)], [at(0, 8), at(1, 8)]], "a tick only for what was forgotten");
}

#[test]
fn a_key_that_nobody_knows_commits_nothing() {
    let mut rig = Rig::new([Answer::Done]);
    rig.fold(&[(0, 7)]);
    assert_eq!(ask(&rig.ownership, "other").join().unwrap(), Ok(vec![]));
    assert_eq!(rig.stop().attempts.len(), 1);
}

#[test]
fn a_tick_that_forgets_is_sent_again_like_any_other() {
    let (rig, asked) = asked([Answer::Aborted, Answer::Aborted, Answer::Done]);
    assert_eq!(asked.join().unwrap(), Ok(vec![0, 1]));
    assert_eq!(rig.stop().attempts.len(), 4);
}

#[test]
fn a_shard_that_is_lost_before_the_commit_has_forgotten_nothing() {
    let (rig, asked) = asked([]);
    rig.ownership.publish(snapshot(&[(0, 2), (1, 1)], &[]));
    rig.answer([Answer::Aborted, Answer::Done]);
    assert_eq!(asked.join().unwrap(), Err(ForgetError::Lost(vec![0])));
    assert_eq!(rig.stop().sent()[2], [at(1, 8)]);
}

#[test]
fn a_doubt_about_shards_that_did_not_move_starts_them_again() {
    // The committed positions are both start and end: they cannot tell.
    let (rig, asked) = asked([Answer::InDoubt { committed: vec![at(0, 8), at(1, 8)] }]);
    assert_eq!(asked.join().unwrap(), Err(ForgetError::Lost(vec![0, 1])));
    let requests = rig.ownership.take_requests();
    assert_eq!(requests, [Request::Restart(0), Request::Restart(1)]);
    assert_eq!(rig.stop().attempts.len(), 2, "nothing is sent twice on a guess");
}

/// One tick in which partition 0 only forgets and partition 1 moves from 7 to 8.
struct Both {
    stage: Arc<Stage>,
    lane: Lane<ScriptedSource, u32>,
    committer: Committer<ScriptedSink>,
    asked: Asked,
}

impl Both {
    fn new() -> Self {
        let stage = Arc::new(Stage::default());
        let (mut lane, mut committer) = halves(&stage);
        for partition in 0..2 {
            let (taken, _adopted) = channel();
            let shard = shard(partition, 7);
            assert!(lane.ownership.post(0, Mail::Adopt { partition, epoch: 1, shard, taken }));
        }
        lane.attend(Duration::ZERO);
        stage.script().batches.push_back(vec![(0, 7)]);
        pipeline::tick(&mut lane);
        stage.script().answers.push_back(Answer::Done);
        turn(&mut committer);

        let asked = ask(&lane.ownership, "k");
        while lane.wishes.is_empty() {
            lane.attend(Duration::ZERO);
        }
        assert_eq!(lane.shards[&0].shard.keys(), 1, "not before the next tick begins");
        stage.script().batches.push_back(vec![(1, 7)]);
        pipeline::tick(&mut lane);
        assert_eq!(lane.shards[&0].shard.keys(), 0);
        Self { stage, lane, committer, asked }
    }

    /// Settles the tick and says what the asker was told, what the lane asks for, and how often the tick was sent.
    fn settled(
        mut self,
        answers: impl IntoIterator<Item = Answer>,
    ) -> (Result<Vec<i32>, ForgetError>, Vec<Request>, usize) {
        self.stage.script().answers.extend(answers);
        turn(&mut self.committer);
        self.lane.attend(Duration::ZERO);
        let requests = self.lane.ownership.take_requests();
        let sent = self.stage.script().attempts.len() - 1;
        drop(self.lane);
        (self.asked.join().unwrap(), requests, sent)
    }
}

/// Commits the tick that was handed over.
fn turn(committer: &mut Committer<ScriptedSink>) {
    let tick = committer.fold.take(Duration::ZERO).expect("the lane lives").expect("handed over");
    commit(committer, tick);
}

#[test]
fn a_doubt_is_settled_by_the_shard_that_moved() {
    let doubt = |moved: i64| Answer::InDoubt { committed: vec![at(0, 8), at(1, moved)] };
    assert_eq!(Both::new().settled([doubt(8)]), (Ok(vec![0]), vec![], 1), "visible");
    assert_eq!(Both::new().settled([doubt(7), Answer::Done]), (Ok(vec![0]), vec![], 2), "not visible: sent again");
    let lost = Err(ForgetError::Lost(vec![0]));
    let restarts = vec![Request::Restart(0), Request::Restart(1)];
    assert_eq!(Both::new().settled([doubt(3)]), (lost, restarts, 1), "nobody knows");
}

#[test]
fn what_a_shard_drops_without_a_record_is_written_at_once() {
    let stage = Arc::new(Stage::default());
    let (mut lane, mut committer) = halves(&stage);
    let (taken, _adopted) = channel();
    let kept = Box::new(shard(0, 7).keeping_state());
    assert!(lane.ownership.post(0, Mail::Adopt { partition: 0, epoch: 1, shard: kept, taken }));
    lane.attend(Duration::ZERO);
    stage.script().batches.push_back(vec![(0, 7)]);
    pipeline::tick(&mut lane);
    stage.script().answers.push_back(Answer::Done);
    turn(&mut committer);
    lane.settle();

    // As an expiry in silence does it: no record, no alert, and nobody who waits.
    let Lane { shards, scratch, outputs, .. } = &mut lane;
    assert!(pipeline::forget(&mut shards.get_mut(&0).unwrap().shard, "k", scratch, outputs));
    lane.keep(keep);
    lane.hand_over();
    let tick = committer.fold.take(Duration::ZERO).expect("the lane lives").expect("handed over");
    let records = tick.outputs.records().iter();
    let keys: Vec<_> = records.map(|record| tick.outputs.bytes(record.key.as_ref().unwrap())).collect();
    assert!(keys.contains(&&b"k/k"[..]), "{keys:?}");
    assert_eq!(tick.positions(), [at(0, 8)]);
}
