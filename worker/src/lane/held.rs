//! A shard and what its lane knows about its reading: since when nothing comes, why it stands still, whether it is read yet.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::decide::Severity;
use crate::fold_rate::FoldRate;
use crate::forget::Receipt;
use crate::keep::Backlog;
use crate::outputs::Outputs;
use crate::ownership::{Epoch, Ownership, Request, Tenure};
use crate::ports::Position;
use crate::score::Calibration;
use crate::shard::Shard;
use crate::status::{Board, PartitionState, PartitionStatus, Rate, ShardReport};

/// A stalled partition is tried again after this long first …
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// … and at most after this long.
const LAST_RETRY: Duration = Duration::from_secs(300);

/// A source whose first offset comes so near to what a replay needs is about to lose it …
const NEARLY_LOST: i64 = 10_000;
/// … and in time it loses everything before the last record. Images that the next records do not ask for are written when
/// none have come for so long: no retention is that short, and a source that delivers every half minute does not pay for it.
const QUIET: Duration = Duration::from_secs(60);

/// A shard and what the lane knows about its reading.
pub(crate) struct Held {
    pub(crate) shard: Shard,
    pub(crate) epoch: Epoch,
    clock: Box<dyn Clock>,
    /// The clock's second of this tick.
    pub(super) second: i64,
    /// Where the open tick began: up to here everything is committed, or on its way in the tick in flight.
    pub(crate) committed: i64,
    /// What a restart would have to replay.
    pub(super) backlog: Backlog,
    /// When records came last …
    pub(super) moved: Instant,
    /// … and whether that is long ago.
    pub(super) is_quiet: bool,
    /// Why it stands still, if it does.
    pub(crate) stall: Option<Stall>,
    /// It stood still and is being tried again.
    pub(crate) recovering: bool,
    backoff: Backoff,
    /// It is not read yet.
    pub(super) opening: Option<Opening>,
    /// Owed for keys that it has forgotten in the open tick.
    pub(super) receipts: Vec<Receipt>,
}

/// A partition that is read when the tick that introduces its shard is visible: whose state it is, and where it begins. A
/// worker that dies before has read nothing, and the next one finds the beginning anew.
pub(super) struct Opening {
    pub(super) taken: Sender<Tenure>,
    pub(super) handed_over: bool,
}

/// A partition that stands still at its offset.
pub(crate) struct Stall {
    pub(super) retry_at: Instant,
    /// The control thread has been asked to try it again.
    pub(super) asked: bool,
    /// The client has stopped fetching too: it has to be assigned again.
    pub(super) restart: bool,
}

impl Held {
    pub(super) fn new(mut shard: Shard, epoch: Epoch, clock: Box<dyn Clock>, taken: &Sender<Tenure>) -> Self {
        let replay = (shard.next_offset() - shard.low_water().offset).max(0) as u64;
        Self {
            committed: shard.next_offset(),
            opening: shard.introduces().then(|| Opening { taken: taken.clone(), handed_over: false }),
            shard,
            epoch,
            clock,
            second: 0,
            backlog: Backlog { replay, ..Backlog::default() },
            moved: Instant::now(),
            is_quiet: false,
            stall: None,
            recovering: false,
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
            receipts: Vec::new(),
        }
    }

    /// Has its partition read.
    pub(super) fn open(&self, taken: &Sender<Tenure>, fold_rate: &FoldRate, board: &Board) {
        board.shard(self.report(fold_rate));
        // The control thread may be gone already; then nobody reads anyway.
        let _ = taken.send(self.tenure());
    }

    pub(super) fn tenure(&self) -> Tenure {
        Tenure { partition: self.shard.partition(), epoch: self.epoch }
    }

    pub(super) fn position(&self) -> Position {
        Position { partition: self.shard.partition(), next_offset: self.shard.next_offset() }
    }

    pub(super) fn has_moved(&self) -> bool {
        self.shard.next_offset() > self.committed
    }

    /// Whether it moved, or has to say that a key is forgotten, which nothing else may show where no state is kept.
    pub(super) fn has_news(&self) -> bool {
        self.has_moved() || !self.receipts.is_empty()
    }

    /// Whether the open tick holds something of it: it has news, or wrote something without moving.
    pub(super) fn is_in(&self, outputs: &Outputs) -> bool {
        let partition = self.shard.partition();
        self.has_news() || outputs.records().iter().any(|record| record.partition == partition)
    }

    /// Whether the source is about to lose what a replay would need.
    pub(super) fn is_nearly_lost(&self, board: &Board) -> bool {
        let low = self.committed - self.backlog.replay as i64;
        let is_near = |first: i64| first > 0 && first + NEARLY_LOST > low;
        self.backlog.replay > 0 && board.first_offset(self.shard.partition()).is_some_and(is_near)
    }

    pub(super) fn begin_tick(&mut self, now: Instant) {
        self.is_quiet = now.saturating_duration_since(self.moved) >= QUIET;
        self.second = self.clock.second(self.shard.greatest_timestamp_ms());
        self.shard.begin_tick(self.second);
    }

    /// Stops at the offset it is at; the partition is not fetched until the pause is over.
    pub(crate) fn stop<F>(&mut self, reason: &str, message: &str, ownership: &Ownership<F>, board: &Board) {
        ownership.ask(Request::Pause(self.shard.partition()));
        self.stand_still(reason, message, false, board);
    }

    /// The client itself has stopped fetching the partition, because its position does not exist.
    pub(crate) fn lost_position(&mut self, reason: &str, message: &str, board: &Board) {
        self.stand_still(reason, message, true, board);
    }

    fn stand_still(&mut self, reason: &str, message: &str, restart: bool, board: &Board) {
        board.stalled(self.shard.partition(), reason, message);
        self.stall = Some(Stall { retry_at: Instant::now() + self.backoff.next_pause(), asked: false, restart });
        self.recovering = true;
    }

    /// A record went through: whatever stopped the shard before is over.
    pub(crate) fn went_on(&mut self, board: &Board) {
        board.resumed(self.shard.partition());
        self.recovering = false;
        self.backoff.reset();
    }

    pub(super) fn report(&self, fold_rate: &FoldRate) -> ShardReport {
        ShardReport {
            status: PartitionStatus {
                partition: self.shard.partition(),
                // The board knows whether it stands still, and where the source ends.
                state: PartitionState::Running,
                lag: None,
                next_offset: self.committed,
                watermark_ms: self.shard.watermark_ms(),
                keys: self.shard.keys() as u64,
                evicted_keys: self.shard.evicted_keys(),
                replay: self.backlog.replay,
                replay_seconds: fold_rate.seconds(self.backlog.replay),
                // The board knows what bringing it back took.
                read_seconds: None,
                state_bytes: self.shard.state_bytes() as u64,
            },
            read_to: self.shard.read_to,
            calibration: self.shard.calibration().flat_map(rates).collect(),
        }
    }
}

fn rates(model: &Calibration) -> impl Iterator<Item = Rate> {
    Severity::ALL.into_iter().filter_map(|severity| {
        let (observed, nominal) = (model.observed[severity as usize] as f64, model.nominal(severity)?);
        Some(Rate { model: model.model.clone(), severity: severity.name(), observed, nominal })
    })
}
