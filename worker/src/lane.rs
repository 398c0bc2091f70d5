//! A lane: the thread that owns some of the worker's shards and turns them, tick after tick.
//!
//! Nothing here is shared but the mailbox, the snapshot and the board: no lock is held while records are folded.
//! Assignments and revocations are taken between ticks only, so a tick is always whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use faultline_crds::WorkerConfig;
use tracing::info;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::decide::Severity;
use crate::outputs::Outputs;
use crate::ownership::{Epoch, Mail, Ownership, Request};
use crate::pipeline::{self, Scratch, Trip};
use crate::ports::{Position, Sink, Source};
use crate::score::Calibration;
use crate::shard::Shard;
use crate::status::{Board, PartitionState, PartitionStatus, Rate, ShardReport};

/// A stalled partition is tried again after this long first …
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// … and at most after this long.
const LAST_RETRY: Duration = Duration::from_secs(300);

/// What a lane works with.
pub(crate) struct Lane<S, K: Sink> {
    pub(crate) index: usize,
    pub(crate) config: Arc<WorkerConfig>,
    pub(crate) source: S,
    pub(crate) sink: K,
    pub(crate) ownership: Arc<Ownership<K::Fence>>,
    pub(crate) board: Arc<Board>,
    pub(crate) new_clock: Box<dyn Fn() -> Box<dyn Clock> + Send>,
    pub(crate) shards: BTreeMap<i32, Held>,
    pub(crate) scratch: Scratch,
    pub(crate) outputs: Outputs,
    pub(crate) last_commit: Instant,
    /// Records taken in this tick.
    pub(crate) records: usize,
    pub(crate) stopping: bool,
}

/// A shard and what the lane knows about its reading.
pub(crate) struct Held {
    pub(crate) shard: Shard,
    pub(crate) epoch: Epoch,
    clock: Box<dyn Clock>,
    // The clock's second of this tick.
    second: i64,
    /// The position of the last acknowledged commit.
    pub(crate) committed: i64,
    /// Why it stands still, if it does.
    pub(crate) stall: Option<Stall>,
    /// It stood still and is being tried again.
    pub(crate) recovering: bool,
    backoff: Backoff,
}

/// A partition that stands still at its offset.
pub(crate) struct Stall {
    retry_at: Instant,
    /// The control thread has been asked to try it again.
    asked: bool,
    /// The client has stopped fetching too: it has to be assigned again.
    restart: bool,
}

impl<S: Source, K: Sink> Lane<S, K> {
    /// Takes what the control thread has put into the mailbox.
    pub(crate) fn read_mail(&mut self) {
        while let Some(mail) = self.ownership.collect(self.index) {
            match mail {
                Mail::Adopt { partition, epoch, offset, taken } => {
                    self.adopt(partition, epoch, offset);
                    // The control thread may be gone already; then nobody reads anyway.
                    let _ = taken.send(partition);
                }
                Mail::Continue { partition, taken } => {
                    if let Some(held) = self.shards.get_mut(&partition) {
                        held.stall = None;
                        let _ = taken.send(partition);
                    }
                }
                Mail::Release { partitions, done } => {
                    self.shards.retain(|partition, _| !partitions.contains(partition));
                    let _ = done.send(());
                }
                Mail::Stop => self.stopping = true,
            }
        }
    }

    fn adopt(&mut self, partition: i32, epoch: Epoch, offset: i64) {
        let clock = (self.new_clock)();
        let mut shard = Shard::new(Arc::clone(&self.config), partition, offset);
        if clock.follows_records() {
            shard = shard.trusting_record_times();
        }
        info!(
            partition,
            offset, epoch, "shard starts cold: the state of its keys is not kept over restarts and moves yet"
        );
        let held = Held {
            shard,
            epoch,
            clock,
            second: 0,
            committed: offset,
            stall: None,
            recovering: false,
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
        };
        self.board.shard(held.report());
        self.board.resumed(partition);
        self.shards.insert(partition, held);
    }

    /// Lets time go on in partitions that have been read to their end: by the clock, as no record says so.
    pub(crate) fn turn_silent_shards(&mut self, turn: fn(&mut Shard, &mut Scratch, &mut Outputs)) {
        if self.records > 0 {
            return;
        }
        for (partition, held) in &mut self.shards {
            if held.stall.is_none() && self.source.is_at_end(*partition) {
                held.shard.at_end(held.second);
                turn(&mut held.shard, &mut self.scratch, &mut self.outputs);
            }
        }
    }

    /// Samples each shard's clock, once per tick, and tries stalled partitions again whose time has come.
    pub(crate) fn begin_tick(&mut self) {
        let now = Instant::now();
        for (partition, held) in &mut self.shards {
            held.second = held.clock.second(held.shard.greatest_timestamp_ms());
            held.shard.begin_tick(held.second);
            // It stands still until the client has gone back: what is queued lies behind the shard's position.
            if let Some(stall) = held.stall.as_mut().filter(|stall| !stall.asked && now >= stall.retry_at) {
                stall.asked = true;
                let offset = held.shard.next_offset();
                self.ownership.ask(match stall.restart {
                    true => Request::Restart(*partition),
                    false => Request::Resume { partition: *partition, offset },
                });
            }
        }
    }

    /// Positions that a commit has to carry: shards that moved, or wrote something without moving.
    pub(crate) fn positions(&self) -> Vec<Position> {
        let wrote = self.outputs.records();
        self.shards
            .iter()
            .filter(|(partition, held)| {
                held.shard.next_offset() > held.committed || wrote.iter().any(|record| record.partition == **partition)
            })
            .map(|(partition, held)| Position { partition: *partition, next_offset: held.shard.next_offset() })
            .collect()
    }

    /// Drops a shard and what the tick holds of it: its owner does it again.
    pub(crate) fn drop_shard(&mut self, partition: i32) {
        self.shards.remove(&partition);
        self.outputs.forget_partition(partition);
    }

    /// What the board says of the shards of a tick.
    pub(crate) fn reports(&self, positions: &[Position]) -> Vec<ShardReport> {
        positions.iter().filter_map(|position| self.shards.get(&position.partition)).map(Held::report).collect()
    }
}

impl Held {
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
        board.shard(self.report());
    }

    /// A record went through: whatever stopped the shard before is over.
    pub(crate) fn went_on(&mut self, board: &Board) {
        board.resumed(self.shard.partition());
        self.recovering = false;
        self.backoff.reset();
    }

    fn report(&self) -> ShardReport {
        ShardReport {
            status: PartitionStatus {
                partition: self.shard.partition(),
                state: if self.stall.is_some() { PartitionState::Stalled } else { PartitionState::Running },
                next_offset: self.committed,
                lag: None,
                watermark_ms: self.shard.watermark_ms(),
                keys: self.shard.keys() as u64,
                evicted_keys: self.shard.evicted_keys(),
                state_bytes: self.shard.state_bytes() as u64,
            },
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

/// Turns until it is told to stop; the last tick is committed before it ends.
pub(crate) fn run<S: Source, K: Sink>(mut lane: Lane<S, K>) {
    lane.sink.prepare(&|| {
        lane.board.lane_turned(lane.index);
        lane.ownership.is_called_back(lane.index)
    });
    while !lane.stopping {
        lane.read_mail();
        pipeline::tick(&mut lane);
        lane.board.lane_turned(lane.index);
    }
    // Whatever the lane owned is gone with it; a revocation must not wait for it.
    lane.shards.clear();
    lane.ownership.close(lane.index);
}

/// A trip, said for people.
pub(crate) fn trip_message(trip: &Trip) -> String {
    format!("{}; stopped before offset {}, nothing is lost", trip.message, trip.offset)
}
