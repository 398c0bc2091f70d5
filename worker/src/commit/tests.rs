//! The commit step against a sink that answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::commit;
use crate::clock::WallClock;
use crate::lane::Lane;
use crate::outputs::Outputs;
use crate::ownership::{Mail, Ownership, Request, Snapshot};
use crate::pipeline::{Scratch, fold};
use crate::ports::{CommitError, Position, RawEvent, RecordTime, Sink, Source, Taken};
use crate::status::Board;

/// What a commit answers.
enum Answer {
    Done,
    Aborted,
    InDoubt { committed: Vec<Position> },
    Lost,
}

/// Writes down what it is sent; answers as told, then always "done".
#[derive(Default)]
struct ScriptedSink {
    answers: VecDeque<Answer>,
    committed: Vec<Position>,
    /// The committed positions cannot be had so many times.
    unanswered: usize,
    /// Source positions and number of records of every attempt.
    attempts: Vec<(Vec<Position>, usize)>,
    visible: Vec<(i32, i64)>,
    revoked_meanwhile: Option<(Arc<Ownership<()>>, Snapshot<()>)>,
}

impl Sink for ScriptedSink {
    type Fence = ();

    fn prepare(&mut self, _: &dyn Fn() -> bool) {}

    fn commit(
        &mut self,
        outputs: &Outputs,
        positions: &[Position],
        (): &(),
        _: &dyn Fn() -> bool,
    ) -> Result<(), CommitError> {
        self.attempts.push((positions.to_vec(), outputs.records().len()));
        if let Some((ownership, snapshot)) = self.revoked_meanwhile.take() {
            ownership.publish(snapshot);
        }
        match self.answers.pop_front().unwrap_or(Answer::Done) {
            Answer::Done => {
                self.visible.extend(outputs.records().iter().map(|record| (record.partition, record.offset)));
                Ok(())
            }
            Answer::Aborted => Err(CommitError::Aborted("as told".to_owned())),
            Answer::InDoubt { committed } => {
                self.committed = committed;
                Err(CommitError::InDoubt("as told".to_owned()))
            }
            Answer::Lost => Err(CommitError::Lost),
        }
    }

    fn committed(&mut self, _: &[i32], _: &dyn Fn() -> bool) -> Result<Vec<Position>, CommitError> {
        if self.unanswered > 0 {
            self.unanswered -= 1;
            return Err(CommitError::Aborted("no answer, as told".to_owned()));
        }
        Ok(self.committed.clone())
    }
}

/// Nothing to read: the tests fold by hand.
struct Silent;

impl Source for Silent {
    fn take(&mut self, _: Duration, _: &mut dyn FnMut(Taken<'_>)) -> usize {
        0
    }

    fn is_at_end(&mut self, _: i32) -> bool {
        false
    }
}

const PIPELINE: &str = "
apiVersion: faultline.dev/v1alpha1
kind: AnomalyPipeline
metadata: {name: p}
spec:
  kafka: {bootstrapServers: unused:9092}
  source: {topic: in, fields: [{name: value, path: value, type: number}]}
  features: [{name: value, field: value}]
  models: [{name: m, modelRef: {name: m}}]
  outputs: {results: {mode: all}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: m}
spec: {inputs: [value], detector: {threshold: {above: 10}}}
";

fn snapshot(epochs: &[(i32, u64)], draining: &[i32]) -> Snapshot<()> {
    Snapshot { epochs: epochs.iter().copied().collect(), draining: draining.iter().copied().collect(), fence: Some(()) }
}

/// A lane that owns partitions 0 and 1 under epoch 1 and has folded two records of each.
fn lane(sink: ScriptedSink) -> Lane<Silent, ScriptedSink> {
    let folder = faultline_crds::read_text("pipeline.yaml", PIPELINE).expect("valid YAML");
    let pipeline = folder.pipeline(None).expect("one pipeline");
    let config = Arc::new(faultline_crds::resolve(pipeline, &folder.models).expect("a valid pipeline"));
    let ownership = Arc::new(Ownership::new(1));
    let mut lane = Lane {
        index: 0,
        config,
        source: Silent,
        sink,
        ownership: Arc::clone(&ownership),
        board: Arc::new(Board::new("default.p", 1)),
        new_clock: Box::new(|| Box::new(WallClock)),
        shards: BTreeMap::new(),
        scratch: Scratch::default(),
        outputs: Outputs::new(),
        last_commit: Instant::now(),
        records: 0,
        stopping: false,
    };
    ownership.publish(snapshot(&[(0, 1), (1, 1)], &[]));
    let (taken, _adopted) = std::sync::mpsc::channel();
    for partition in [0, 1] {
        ownership.post(0, Mail::Adopt { partition, epoch: 1, offset: 7, taken: taken.clone() });
    }
    lane.read_mail();
    lane.begin_tick();
    for (partition, offset) in [(0, 7), (1, 7), (0, 8), (1, 8)] {
        let timestamp = RecordTime::Created(1_700_000_000_000);
        let raw = RawEvent {
            partition,
            offset,
            timestamp,
            key: Some(b"k"),
            value: Some(b"{\"value\":1}"),
            traceparent: None,
        };
        let held = lane.shards.get_mut(&partition).expect("adopted");
        fold(&mut held.shard, &raw, &mut lane.scratch, &mut lane.outputs).expect("no trip");
    }
    lane
}

fn at(partition: i32, next_offset: i64) -> Position {
    Position { partition, next_offset }
}

fn sink(answers: impl IntoIterator<Item = Answer>) -> ScriptedSink {
    ScriptedSink { answers: answers.into_iter().collect(), ..ScriptedSink::default() }
}

fn scored<S: Source, K: Sink>(lane: &Lane<S, K>) -> u64 {
    lane.board.status().outcomes.scored
}

const ALL: [(i32, i64); 4] = [(0, 7), (1, 7), (0, 8), (1, 8)];

#[test]
fn an_acknowledged_tick_is_counted_once_and_forgotten() {
    let mut lane = lane(sink([]));
    assert_eq!(scored(&lane), 0, "nothing counts before its commit");
    commit(&mut lane);
    assert_eq!(lane.sink.visible, ALL);
    assert_eq!(scored(&lane), 4);
    commit(&mut lane);
    assert_eq!(lane.sink.attempts.len(), 1, "a tick without news commits nothing");
}

#[test]
fn an_aborted_tick_is_sent_again_as_it_was() {
    let mut lane = lane(sink([Answer::Aborted, Answer::Aborted]));
    commit(&mut lane);
    assert_eq!(lane.sink.attempts, vec![(vec![at(0, 9), at(1, 9)], 4); 3]);
    assert_eq!(lane.sink.visible, ALL);
    assert_eq!(scored(&lane), 4);
}

#[test]
fn a_doubtful_tick_that_is_visible_is_not_sent_again() {
    let mut lane = lane(sink([Answer::InDoubt { committed: vec![at(0, 9), at(1, 9)] }]));
    commit(&mut lane);
    assert_eq!(lane.sink.attempts.len(), 1);
    assert_eq!(scored(&lane), 4);
}

#[test]
fn a_doubt_without_an_answer_is_asked_again_and_nothing_is_sent_twice() {
    let mut doubtful = sink([Answer::InDoubt { committed: vec![at(0, 9), at(1, 9)] }]);
    doubtful.unanswered = 2;
    let mut lane = lane(doubtful);
    commit(&mut lane);
    assert_eq!(lane.sink.attempts.len(), 1);
    assert_eq!(scored(&lane), 4);
}

#[test]
fn a_doubtful_tick_that_is_not_visible_is_sent_again() {
    let mut lane = lane(sink([Answer::InDoubt { committed: vec![at(0, 7), at(1, 7)] }]));
    commit(&mut lane);
    assert_eq!(lane.sink.attempts.len(), 2);
    assert_eq!(lane.sink.visible, ALL);
    assert_eq!(scored(&lane), 4);
}

#[test]
fn a_shard_whose_position_fits_neither_end_starts_again() {
    let mut lane = lane(sink([Answer::InDoubt { committed: vec![at(0, 3), at(1, 7)] }]));
    commit(&mut lane);
    assert_eq!(lane.ownership.next_request(), Some(Request::Restart(0)));
    assert_eq!(lane.sink.visible, [(1, 7), (1, 8)]);
    assert!(!lane.shards.contains_key(&0));
    assert_eq!(scored(&lane), 2);
}

#[test]
fn a_partition_with_another_epoch_is_dropped_before_the_commit() {
    let mut lane = lane(sink([]));
    lane.ownership.publish(snapshot(&[(0, 2), (1, 1)], &[]));
    commit(&mut lane);
    assert_eq!(lane.sink.attempts, [(vec![at(1, 9)], 2)]);
    assert_eq!(lane.sink.visible, [(1, 7), (1, 8)]);
    assert_eq!(scored(&lane), 2);
}

#[test]
fn a_partition_that_is_taken_away_during_a_failed_commit_is_not_sent_again() {
    let mut failing = sink([Answer::Lost]);
    let ownership = Arc::new(Ownership::new(1));
    failing.revoked_meanwhile = Some((Arc::clone(&ownership), snapshot(&[(0, 1), (1, 1)], &[0])));
    let mut lane = lane(failing);
    ownership.publish(snapshot(&[(0, 1), (1, 1)], &[]));
    lane.ownership = ownership;
    commit(&mut lane);
    assert_eq!(lane.sink.attempts.last(), Some(&(vec![at(1, 9)], 2)));
    assert_eq!(lane.sink.visible, [(1, 7), (1, 8)]);
}

#[test]
fn nothing_is_sent_without_a_proof_of_membership() {
    let mut lane = lane(sink([]));
    let ownership = Arc::clone(&lane.ownership);
    ownership.publish(Snapshot { fence: None, ..snapshot(&[(0, 1), (1, 1)], &[]) });
    std::thread::scope(|scope| {
        scope.spawn(|| ownership.publish(snapshot(&[(0, 1), (1, 1)], &[])));
        commit(&mut lane);
    });
    assert_eq!(lane.sink.attempts.len(), 1);
    assert_eq!(lane.sink.visible, ALL);
}

#[test]
fn a_stopping_worker_whose_time_is_over_gives_its_tick_up() {
    let aborted = sink([Answer::Aborted]);
    let mut doubtful = sink([Answer::InDoubt { committed: vec![at(0, 9), at(1, 9)] }]);
    doubtful.unanswered = usize::MAX;
    for failing in [aborted, doubtful] {
        let mut lane = lane(failing);
        lane.ownership.end_by(Instant::now());
        commit(&mut lane);
        assert_eq!((lane.sink.attempts.len(), scored(&lane)), (1, 0), "one try, and nothing counts without an answer");
        assert!(lane.shards.is_empty(), "their offsets are not committed: the next worker reads them again");
    }
}

#[test]
fn a_stopping_worker_that_gets_its_answer_in_time_commits_as_ever() {
    let mut lane = lane(sink([Answer::Aborted]));
    lane.ownership.end_by(Instant::now() + Duration::from_secs(3600));
    commit(&mut lane);
    assert_eq!((lane.sink.visible.as_slice(), scored(&lane)), (&ALL[..], 4));
}
