//! A lane: two threads that own some of the worker's shards and turn them, tick after tick. The fold thread, here, takes
//! and folds; the commit thread makes visible what it hands over.
//!
//! ```text
//! fold    │ fold n │ fold n+1       │ fold n+2     │
//! commit           │ commit n │     │ commit n+1 │
//! ```
//! At most one tick is in flight while the next one is folded, and that one is handed over only when the former is
//! settled. A shard that is lost to the tick in flight is lost to the open one too, so none is ever visible without
//! those before it.
//!
//! Nothing here is shared but the mailbox, the snapshot and the board: no lock is held while records are folded.
//! A revocation takes its shards out of the open tick at once; it is answered when the tick in flight holds nothing of
//! them either.

mod held;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::commit::{self, Committer};
use crate::faults::point;
use crate::fold_rate::FoldRate;
use crate::forget::Wish;
use crate::keep::{Backlog, Keeper, Pace, keep};
use crate::outputs::Outputs;
use crate::ownership::{Epoch, Mail, Ownership, Request, Tenure};
use crate::pipeline::{self, Scratch, Trip};
use crate::ports::{Position, Sink, Source};
use crate::replay_time::{ReplayTime, Verdict};
use crate::shard::Shard;
use crate::status::Board;
use crate::take::IDLE;
use crate::tick::{FoldEnd, Gone, Share};
use faultline_crds::WorkerConfig;
use held::{Held, Opening};

/// Most bytes of images of one shard in one tick.
const MOST_IMAGE_BYTES: usize = 2 << 20;

/// Adds what has changed in a shard to the outputs.
pub(crate) type Keep = fn(&mut Shard, &mut Keeper, Pace, &mut Outputs) -> Backlog;

/// Drops a key from a shard; false if it is not known there.
pub(crate) type Forget = fn(&mut Shard, &str, &mut Scratch, &mut Outputs) -> bool;

/// What the fold thread of a lane works with.
pub(crate) struct Lane<S, F> {
    pub(crate) index: usize,
    pub(crate) config: Arc<WorkerConfig>,
    pub(crate) source: S,
    pub(crate) ownership: Arc<Ownership<F>>,
    pub(crate) board: Arc<Board>,
    pub(crate) new_clock: Box<dyn Fn() -> Box<dyn Clock> + Send>,
    pub(crate) shards: BTreeMap<i32, Held>,
    pub(crate) scratch: Scratch,
    /// What the open tick writes.
    pub(crate) outputs: Outputs,
    pub(crate) keeper: Keeper,
    pub(crate) fold_rate: FoldRate,
    pub(crate) replay_time: ReplayTime,
    pub(crate) commits: FoldEnd,
    /// When the last tick was handed over.
    pub(crate) handed_over: Instant,
    /// Records taken in this tick.
    pub(crate) records: usize,
    /// Revocations that are answered when the tick in flight holds nothing of their partitions.
    pub(crate) releases: Vec<(Vec<i32>, Sender<()>)>,
    /// Keys that the next tick forgets.
    pub(crate) wishes: Vec<Wish>,
    pub(crate) stopping: Arc<AtomicBool>,
}

impl<S: Source, F> Lane<S, F> {
    /// Looks after what comes from the other threads: what became of the tick in flight, for which it waits at most
    /// `wait`, and the mailbox.
    pub(crate) fn attend(&mut self, wait: Duration) {
        self.hear(wait);
        self.read_mail();
        self.open_shards();
        let commits = &self.commits;
        self.releases.retain(|(partitions, done)| {
            let held = partitions.iter().any(|partition| commits.holds(*partition));
            if !held {
                // The control thread may be gone already; then nobody waits anyway.
                let _ = done.send(());
            }
            held
        });
        self.board.fold_turned(self.index);
    }

    fn hear(&mut self, mut wait: Duration) {
        loop {
            match self.commits.hear(wait) {
                Ok(Some((partition, epoch))) => {
                    if self.shards.get(&partition).is_some_and(|held| held.epoch == epoch) {
                        self.drop_shard(partition);
                    }
                }
                Ok(None) => return,
                // The commit thread has panicked: this one ends too, and the panic goes on where both are joined.
                Err(Gone) => return self.stopping.store(true, Ordering::Relaxed),
            }
            wait = Duration::ZERO;
        }
    }

    /// Takes what the control thread has put into the mailbox.
    fn read_mail(&mut self) {
        while let Some(mail) = self.ownership.collect(self.index) {
            match mail {
                Mail::Adopt { partition, epoch, shard, taken } => {
                    // What the open tick holds of it from an assignment before this one is read again.
                    self.drop_shard(partition);
                    self.adopt(partition, epoch, *shard, taken);
                    self.shards.get_mut(&partition).into_iter().for_each(|held| held.begin_tick(Instant::now()));
                }
                Mail::Continue { tenure, taken } => {
                    if let Some(held) = self.shards.get_mut(&tenure.partition).filter(|held| held.tenure() == tenure) {
                        held.stall = None;
                        let _ = taken.send(tenure);
                    }
                }
                Mail::Release { partitions, done } => {
                    point("revoke");
                    partitions.iter().for_each(|partition| self.drop_shard(*partition));
                    self.releases.push((partitions, done));
                }
                // Not now: the open tick may have been written down already.
                Mail::Forget(wish) => self.wishes.push(wish),
                Mail::Stop => self.stopping.store(true, Ordering::Relaxed),
            }
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn adopt(&mut self, partition: i32, epoch: Epoch, shard: Shard, taken: Sender<Tenure>) {
        let held = Held::new(shard, epoch, (self.new_clock)(), &taken);
        self.board.resumed(partition);
        if held.opening.is_none() {
            held.open(&taken, &self.fold_rate, &self.board);
        }
        self.shards.insert(partition, held);
    }

    /// Opens the shards whose introduction is visible.
    fn open_shards(&mut self) {
        let Self { shards, commits, board, fold_rate, .. } = self;
        for (partition, held) in shards {
            let is_visible = |opening: &mut Opening| opening.handed_over && !commits.holds(*partition);
            if let Some(opening) = held.opening.take_if(is_visible) {
                held.open(&opening.taken, fold_rate, board);
            }
        }
    }

    /// Lets time go on in partitions that have been read to their end: by the clock, as no record says so.
    pub(crate) fn turn_silent_shards(&mut self, turn: fn(&mut Shard, &mut Scratch, &mut Outputs)) {
        // What they write would have to wait for the tick in flight, and records that arrive meanwhile with it; a tick with
        // records waits anyway.
        if self.records == 0 && self.commits.is_busy() {
            return;
        }
        // The clock was sampled before the records of this tick.
        let is_still = |held: &&Held| held.stall.is_none() && held.opening.is_none() && !held.has_moved();
        let read: Vec<Position> = self.shards.values().filter(is_still).map(Held::position).collect();
        for end in self.source.silent(&read) {
            if let Some(held) = self.shards.get_mut(&end.partition) {
                held.shard.at_end(held.second);
                held.shard.has_read_to(end.next_offset);
                turn(&mut held.shard, &mut self.scratch, &mut self.outputs);
            }
        }
    }

    /// Forgets the keys that people want forgotten, in every shard that knows them.
    pub(crate) fn forget_keys(&mut self, forget: Forget) {
        for wish in std::mem::take(&mut self.wishes) {
            let mut known = Vec::new();
            for (partition, held) in &mut self.shards {
                if forget(&mut held.shard, &wish.key, &mut self.scratch, &mut self.outputs) {
                    held.receipts.push(wish.receipt(*partition));
                    known.push(*partition);
                }
            }
            wish.answer(self.shards.keys().copied().collect(), known);
        }
    }

    /// Adds what has to be remembered of the open tick.
    pub(crate) fn keep(&mut self, keep: Keep) {
        self.write_state(keep, false);
    }

    /// Writes every image that is not whole, tick by tick, so that the next owner replays nothing, and how far was read.
    pub(crate) fn write_all_images(&mut self, keep: Keep) {
        for (partition, held) in self.shards.iter_mut().filter(|(_, held)| held.stall.is_none()) {
            if let Some(offset) = self.source.handed_over(*partition) {
                held.shard.has_read_to(offset);
            }
        }
        while !self.ownership.is_over() {
            self.settle();
            if self.shards.values_mut().all(|held| !held.shard.is_dirty() && !held.shard.has_to_tell()) {
                return;
            }
            self.write_state(keep, true);
            self.hand_over();
        }
    }

    fn write_state(&mut self, keep: Keep, all: bool) {
        // Shards of a lane are replayed one after the other.
        let replay = self.fold_rate.per_second() * self.most_recovery_seconds() / self.shards.len().max(1) as f64;
        // As with what silence does: nothing but images need not hold up records that arrive meanwhile.
        let is_free = self.records > 0 || !self.commits.is_busy();
        for held in self.shards.values_mut() {
            let changed = held.is_in(&self.outputs) || held.shard.has_to_tell();
            if !changed && !held.shard.is_dirty() {
                continue;
            }
            let hurry = all || held.is_quiet || held.is_nearly_lost(&self.board);
            if changed || (hurry && is_free) {
                let folded = (held.shard.next_offset() - held.committed).max(0) as u64;
                let pace = Pace { replay, folded, most_bytes: MOST_IMAGE_BYTES, hurry };
                held.backlog = keep(&mut held.shard, &mut self.keeper, pace, &mut self.outputs);
            }
        }
    }

    /// Samples each shard's clock, once per tick, and tries stalled partitions again whose time has come.
    pub(crate) fn begin_tick(&mut self, now: Instant) {
        for (partition, held) in &mut self.shards {
            held.begin_tick(now);
            // Where it goes on is known when the tick in flight is settled.
            if self.commits.holds(*partition) {
                continue;
            }
            // It stands still until the client has gone back: what is queued lies behind the shard's position.
            if let Some(stall) = held.stall.as_mut().filter(|stall| !stall.asked && now >= stall.retry_at) {
                stall.asked = true;
                self.ownership.ask(match stall.restart {
                    true => Request::Restart(*partition),
                    false => Request::Resume { tenure: held.tenure(), offset: held.shard.next_offset() },
                });
            }
        }
    }

    /// Hands the open tick to the commit thread, if there is anything in it. Waits for the former tick first: what is lost
    /// to that one must not be in this one.
    pub(crate) fn hand_over(&mut self) {
        if self.shards.values().any(Held::has_news) || !self.outputs.is_empty() {
            self.settle();
            let shares = self.shares();
            if !shares.is_empty() {
                self.tell_replay_time();
                self.handed_over = Instant::now();
                if let Err(Gone) = self.commits.hand_over(&mut self.outputs, shares) {
                    self.stopping.store(true, Ordering::Relaxed);
                }
                return;
            }
        }
        self.outputs.clear();
    }

    /// Waits until no tick is in flight.
    pub(crate) fn settle(&mut self) {
        while self.commits.is_busy() {
            self.attend(IDLE);
        }
    }

    fn most_recovery_seconds(&self) -> f64 {
        self.config.delivery.max_recovery_ms as f64 / 1000.0
    }

    /// Says so when the replay after a crash would take too long.
    fn tell_replay_time(&mut self) {
        let records: u64 = self.shards.values().map(|held| held.backlog.replay).sum();
        let most = self.most_recovery_seconds();
        let seconds = self.fold_rate.seconds(records);
        match self.replay_time.note(seconds, most) {
            Verdict::Unchanged => {}
            Verdict::Exceeded => self.board.replay_exceeds(self.index, seconds, most),
            Verdict::WellAgain => self.board.replay_is_well(self.index),
        }
    }

    /// What the open tick holds: shards that moved, forgot, or wrote something without moving.
    fn shares(&mut self) -> Vec<Share> {
        let (outputs, fold_rate, now) = (&self.outputs, &self.fold_rate, Instant::now());
        self.shards
            .iter_mut()
            .filter(|(_, held)| held.is_in(outputs))
            .map(|(partition, held)| {
                let start = held.committed;
                if held.has_moved() {
                    held.moved = now;
                }
                held.committed = held.shard.next_offset();
                held.opening.iter_mut().for_each(|opening| opening.handed_over = true);
                Share {
                    partition: *partition,
                    epoch: held.epoch,
                    start,
                    end: held.committed,
                    report: held.report(fold_rate),
                    receipts: std::mem::take(&mut held.receipts),
                }
            })
            .collect()
    }

    /// Drops a shard and what the open tick holds of it: its owner does it again.
    fn drop_shard(&mut self, partition: i32) {
        if self.shards.remove(&partition).is_some() {
            self.outputs.forget_partition(partition);
        }
        if self.shards.is_empty() {
            self.replay_time = ReplayTime::default();
            self.board.replay_is_well(self.index);
        }
    }
}

/// Turns until it is told to stop; the last ticks are committed before it ends.
pub(crate) fn run<S: Source, K: Sink + Send>(lane: Lane<S, K::Fence>, committer: Committer<K>)
where
    K::Fence: Send + Sync,
{
    let (index, ownership) = (lane.index, Arc::clone(&lane.ownership));
    std::thread::scope(|scope| {
        scope.spawn(move || commit::run(committer));
        turn(lane);
    });
    // Whatever the lane owned is gone with it; a revocation must not wait for it.
    ownership.close(index);
}

/// The life of the fold thread. The commit thread ends when this one has let go of the lane.
fn turn<S: Source, F>(mut lane: Lane<S, F>) {
    while !lane.is_stopping() {
        lane.attend(Duration::ZERO);
        pipeline::tick(&mut lane);
    }
    lane.write_all_images(keep);
    lane.settle();
}

/// A trip, said for people.
pub(crate) fn trip_message(trip: &Trip) -> String {
    format!("{}; stopped before offset {}, nothing is lost", trip.message, trip.offset)
}
