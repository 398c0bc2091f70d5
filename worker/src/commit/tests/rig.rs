//! A lane with its two threads, between a source that hands over what the test says and a sink that answers as told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use faultline_crds::WorkerConfig;

use crate::clock::WallClock;
use crate::commit::Committer;
use crate::fold_rate::FoldRate;
use crate::keep::Keeper;
use crate::lane::{self, Lane};
use crate::outputs::Outputs;
use crate::ownership::{Mail, Ownership, Snapshot, Tenure};
use crate::pipeline::Scratch;
use crate::ports::{CommitError, Position, RawEvent, RecordTime, Sink, Source, Taken};
use crate::replay_time::ReplayTime;
use crate::shard::Shard;
use crate::small_pipeline;
use crate::status::Board;
use crate::tick;

/// What a commit answers.
pub(super) enum Answer {
    Done,
    Aborted,
    /// Nobody knows; the committed positions, when asked for. The tick is visible if they are its ends.
    InDoubt {
        committed: Vec<Position>,
    },
    Panics,
}

/// One call of the sink.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) positions: Vec<Position>,
    /// Partitions and source offsets of the outputs.
    pub(super) records: Vec<(i32, i64)>,
    pub(super) fence: u32,
}

/// What test, source and sink share.
#[derive(Default)]
pub(super) struct Script {
    pub(super) batches: VecDeque<Vec<(i32, i64)>>,
    folded: usize,
    /// Where partitions end.
    pub(super) ends: Vec<Position>,
    /// How far the source has handed them over, markers of transactions included.
    pub(super) handed_over: Vec<Position>,
    /// Answers to come; a commit without one waits for it.
    pub(super) answers: VecDeque<Answer>,
    /// A commit that waits does not ask whether it is cancelled, as in its very last call.
    pub(super) stubborn: bool,
    /// The committed positions cannot be had so many times.
    pub(super) unanswered: usize,
    committed: Vec<Position>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) visible: Vec<(i32, i64)>,
}

#[derive(Default)]
pub(super) struct Stage {
    script: Mutex<Script>,
    changed: Condvar,
}

/// Longer than anything here takes: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// The sink looks up from its work this often.
const SLICE: Duration = Duration::from_millis(1);

impl Stage {
    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no panic while it is held")
    }

    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script());
        self.changed.notify_all();
    }

    pub(super) fn wait(&self, what: &str, until: impl Fn(&Script) -> bool) {
        let waited = self.changed.wait_timeout_while(self.script(), PATIENCE, |script| !until(script));
        assert!(!waited.expect("no panic while it is held").1.timed_out(), "waited for {what}");
    }
}

pub(super) struct ScriptedSource(Arc<Stage>);

impl Source for ScriptedSource {
    fn take(&mut self, wait: Duration, each: &mut dyn FnMut(Taken<'_>)) -> usize {
        let waited = self.0.changed.wait_timeout_while(self.0.script(), wait, |script| script.batches.is_empty());
        let Some(batch) = waited.expect("no panic while it is held").0.batches.pop_front() else { return 0 };
        for (partition, offset) in &batch {
            each(Taken::Record(RawEvent {
                partition: *partition,
                offset: *offset,
                timestamp: RecordTime::Created(1_700_000_000_000),
                key: Some(b"k"),
                value: Some(b"{\"value\":1}"),
                traceparent: None,
            }));
        }
        self.0.change(|script| script.folded += 1);
        batch.len()
    }

    fn silent(&mut self, read: &[Position]) -> Vec<Position> {
        let ends = &self.0.script().ends;
        read.iter().copied().filter(|at| ends.contains(at)).collect()
    }

    fn handed_over(&mut self, partition: i32) -> Option<i64> {
        self.0.script().handed_over.iter().find(|at| at.partition == partition).map(|at| at.next_offset)
    }
}

pub(super) struct ScriptedSink(Arc<Stage>);

impl Sink for ScriptedSink {
    type Fence = u32;

    fn prepare(&mut self, _: &dyn Fn() -> bool) {}

    fn commit(
        &mut self,
        outputs: &Outputs,
        positions: &[Position],
        fence: &u32,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), CommitError> {
        let records: Vec<_> = outputs.records().iter().map(|record| (record.partition, record.offset)).collect();
        let attempt = Attempt { positions: positions.to_vec(), records: records.clone(), fence: *fence };
        self.0.change(|script| script.attempts.push(attempt));
        let began = Instant::now();
        let mut script = self.0.script();
        let answer = loop {
            if let Some(answer) = script.answers.pop_front() {
                break answer;
            }
            assert!(began.elapsed() < PATIENCE, "waited for an answer");
            if !script.stubborn && cancelled() {
                return Err(CommitError::Lost);
            }
            script = self.0.changed.wait_timeout(script, SLICE).expect("no panic while it is held").0;
        };
        drop(script);
        let is_visible = match &answer {
            Answer::Done => true,
            Answer::InDoubt { committed } => positions.iter().all(|position| committed.contains(position)),
            Answer::Aborted => false,
            Answer::Panics => panic!("as told"),
        };
        if is_visible {
            self.0.change(|script| script.visible.extend(records));
        }
        match answer {
            Answer::InDoubt { committed } => {
                self.0.change(|script| script.committed = committed);
                Err(CommitError::InDoubt("as told".to_owned()))
            }
            Answer::Aborted => Err(CommitError::Aborted("as told".to_owned())),
            _ => Ok(()),
        }
    }

    fn committed(&mut self, _: &[i32], _: &dyn Fn() -> bool) -> Result<Vec<Position>, CommitError> {
        let mut script = self.0.script();
        if script.unanswered > 0 {
            script.unanswered -= 1;
            return Err(CommitError::Aborted("no answer, as told".to_owned()));
        }
        Ok(script.committed.clone())
    }
}

/// What is owned: partitions with their epochs, and those that are being taken away.
pub(super) fn snapshot(epochs: &[(i32, u64)], draining: &[i32]) -> Snapshot<u32> {
    Snapshot { epochs: epochs.iter().copied().collect(), draining: draining.iter().copied().collect(), fence: Some(1) }
}

pub(super) fn at(partition: i32, next_offset: i64) -> Position {
    Position { partition, next_offset }
}

/// A running lane that owns partitions 0 and 1 under epoch 1, both at offset 7. Every batch is due at once.
pub(super) struct Rig {
    pub(super) stage: Arc<Stage>,
    pub(super) ownership: Arc<Ownership<u32>>,
    board: Arc<Board>,
    lane: JoinHandle<()>,
    fed: usize,
}

/// What is known of a lane that has ended.
pub(super) struct Ended {
    pub(super) attempts: Vec<Attempt>,
    pub(super) visible: Vec<(i32, i64)>,
    pub(super) scored: u64,
}

impl Ended {
    /// The positions of every attempt.
    pub(super) fn sent(&self) -> Vec<&[Position]> {
        self.attempts.iter().map(|attempt| attempt.positions.as_slice()).collect()
    }
}

fn config() -> Arc<WorkerConfig> {
    let mut config = small_pipeline::config();
    config.delivery.commit_interval_ms = 0;
    Arc::new(config)
}

/// A shard that goes on at an offset, and whose state is not kept.
pub(super) fn shard(partition: i32, offset: i64) -> Box<Shard> {
    Box::new(Shard::new(config(), partition, offset))
}

/// The two halves of a lane that owns nothing yet.
pub(super) fn halves(stage: &Arc<Stage>) -> (Lane<ScriptedSource, u32>, Committer<ScriptedSink>) {
    let (ownership, board) = (Arc::new(Ownership::new(1)), Arc::new(Board::new("default.p", 1)));
    ownership.publish(snapshot(&[(0, 1), (1, 1)], &[]));
    let (commits, fold) = tick::connect();
    let stopping = Arc::new(AtomicBool::new(false));
    let committer = Committer {
        index: 0,
        sink: ScriptedSink(Arc::clone(stage)),
        durable: true,
        ownership: Arc::clone(&ownership),
        board: Arc::clone(&board),
        fold,
        // Every wait is long.
        patience: Duration::ZERO,
        stopping: Arc::clone(&stopping),
    };
    let lane = Lane {
        index: 0,
        config: config(),
        source: ScriptedSource(Arc::clone(stage)),
        ownership,
        board,
        new_clock: Box::new(|| Box::new(WallClock)),
        shards: BTreeMap::new(),
        scratch: Scratch::default(),
        outputs: Outputs::new(),
        keeper: Keeper::new("", "", 0),
        fold_rate: FoldRate::default(),
        replay_time: ReplayTime::default(),
        commits,
        handed_over: Instant::now(),
        records: 0,
        releases: Vec::new(),
        wishes: Vec::new(),
        stopping,
    };
    (lane, committer)
}

impl Rig {
    pub(super) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let stage = Arc::new(Stage::default());
        stage.script().answers.extend(answers);
        let (lane, committer) = halves(&stage);
        let (ownership, board) = (Arc::clone(&lane.ownership), Arc::clone(&lane.board));
        let lane = std::thread::spawn(move || lane::run(lane, committer));
        let rig = Self { stage, ownership, board, lane, fed: 0 };
        rig.adopt(0, 1, 7);
        rig.adopt(1, 1, 7);
        rig
    }

    /// Gives the lane a shard, and waits until it has it.
    pub(super) fn adopt(&self, partition: i32, epoch: u64, offset: i64) {
        self.adopt_shard(partition, epoch, shard(partition, offset));
    }

    /// The same for a shard whose state is kept.
    pub(super) fn adopt_kept(&self, partition: i32, epoch: u64, offset: i64) {
        self.adopt_shard(partition, epoch, Box::new(shard(partition, offset).keeping_state()));
    }

    fn adopt_shard(&self, partition: i32, epoch: u64, shard: Box<Shard>) {
        let (taken, adopted) = channel();
        assert!(self.ownership.post(0, Mail::Adopt { partition, epoch, shard, taken }));
        assert_eq!(adopted.recv_timeout(PATIENCE), Ok(Tenure { partition, epoch }));
    }

    /// Tells the lane to let go of a partition, as the control thread does; the answer comes out of what is returned.
    /// The lane has read it.
    pub(super) fn release(&self, partition: i32) -> Receiver<()> {
        let (done, answered): (Sender<()>, _) = channel();
        assert!(self.ownership.post(0, Mail::Release { partitions: vec![partition], done }));
        // Mail is read in order, and what follows from it is done before more is read.
        let tenure = Tenure { partition: 1, epoch: self.ownership.snapshot().epochs[&1] };
        for _ in 0..2 {
            let (taken, read) = channel();
            assert!(self.ownership.post(0, Mail::Continue { tenure, taken }));
            assert_eq!(read.recv_timeout(PATIENCE), Ok(tenure));
        }
        answered
    }

    /// Hands records to the lane, and waits until they are folded.
    pub(super) fn fold(&mut self, batch: &[(i32, i64)]) {
        self.fed += 1;
        self.stage.change(|script| script.batches.push_back(batch.to_vec()));
        self.stage.wait("the records to be folded", |script| script.folded == self.fed);
    }

    /// Waits until the sink has been called so many times, and is not called again before it has answered.
    pub(super) fn attempts(&self, count: usize) {
        self.stage.wait("a commit", |script| script.attempts.len() >= count);
        assert_eq!(self.stage.script().attempts.len(), count, "one commit at a time");
    }

    pub(super) fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.stage.change(|script| script.answers.extend(answers));
    }

    /// Waits until the board names these problems and no other.
    pub(super) fn shows(&self, reasons: &[&str]) {
        let began = Instant::now();
        loop {
            let problems = self.board.status().problems;
            if problems.iter().map(|problem| problem.reason.as_str()).eq(reasons.iter().copied()) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "waited for {reasons:?}: {problems:?}");
            std::thread::yield_now();
        }
    }

    /// Lets the lane finish.
    pub(super) fn stop(self) -> Ended {
        self.ownership.post(0, Mail::Stop);
        self.lane.join().expect("no panic");
        let mut script = self.stage.script();
        Ended {
            attempts: std::mem::take(&mut script.attempts),
            visible: std::mem::take(&mut script.visible),
            scored: self.board.status().outcomes.scored,
        }
    }

    /// Waits for a lane that ends by itself; false if it panicked.
    pub(super) fn join(self) -> bool {
        self.lane.join().is_ok()
    }
}
