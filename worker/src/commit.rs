//! The last step, on a thread of its own: makes a tick visible, whole, or drops what is not ours any more.
//!
//! ```text
//!            ┌────────────── aborted: the same tick again, under the newest snapshot ◄─┐
//! tick ─► still the epoch it was read under? ─► sink ─► acknowledged: counts go to the board
//!            │ no: drop the shard                  └─► in doubt: ask for the committed positions
//!            ▼                                            end = done · start = again · else restart the shard
//! ```
//! A share that wrote without moving has start = end, and its position tells nothing. Where state is kept it has the fate
//! of the shares that moved, for all of them are one transaction; if none did, its shard starts again, and its state says
//! what became of it.
//!
//! A partition that is being taken away leaves the tick as soon as a try has failed. When the worker stops and its time
//! is over, all of them do: nothing is lost, as the committed positions stay where they were.
//!
//! The fold thread goes on meanwhile. It hands the next tick over only when this one is settled, so what one tick lost
//! is never made visible by the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::faults::{Promise, is_broken, point};
use crate::forget::Receipt;
use crate::ownership::{Ownership, Request};
use crate::ports::{CommitError, Position, Sink};
use crate::status::Board;
use crate::tick::{CommitEnd, Gone, Share, Tick, Word};

/// A commit thread without a tick shows that it is alive this often.
const IDLE: Duration = Duration::from_millis(500);

/// Longest wait for a newer snapshot before the tick is sent again.
const AGAIN: Duration = Duration::from_millis(100);

/// [`Committer::patience`] of a worker: as long as its transactions may be open.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A doubt is settled for this long even when its partitions are being taken away.
const SETTLE: Duration = Duration::from_secs(1);

/// What the commit thread of a lane works with.
pub(crate) struct Committer<K: Sink> {
    pub(crate) index: usize,
    pub(crate) sink: K,
    /// Whether state is kept: what a shard knows can then be read back.
    pub(crate) durable: bool,
    pub(crate) ownership: Arc<Ownership<K::Fence>>,
    pub(crate) board: Arc<Board>,
    pub(crate) fold: CommitEnd,
    /// A tick that has not become visible after this long is a problem, whatever the reason.
    pub(crate) patience: Duration,
    /// The lane finishes: its last ticks are on their way.
    pub(crate) stopping: Arc<AtomicBool>,
}

/// Commits tick after tick until the fold thread has ended.
pub(crate) fn run<K: Sink>(mut committer: Committer<K>) {
    committer.prepare();
    loop {
        committer.board.commit_turned(committer.index);
        match committer.fold.take(IDLE) {
            Ok(Some(tick)) => commit(&mut committer, tick),
            // A transaction that was given up may still be open, and holds up whoever reads the state, ourselves too.
            Ok(None) => committer.prepare(),
            Err(Gone) => return,
        }
    }
}

/// Settles a tick. Returns when it is visible or dropped.
pub(crate) fn commit<K: Sink>(committer: &mut Committer<K>, mut tick: Tick) {
    let began = Instant::now();
    loop {
        committer.board.commit_turned(committer.index);
        let snapshot = committer.ownership.snapshot();
        let is_gone =
            |partition, epoch| snapshot.epochs.get(&partition) != Some(&epoch) && !is_broken(Promise::FencePerEpoch);
        let shares = tick.shares.iter();
        let gone = shares.filter(|share| is_gone(share.partition, share.epoch)).map(|share| share.partition).collect();
        committer.lose(&mut tick, gone);
        point("tick");
        let positions = tick.positions();
        if positions.is_empty() {
            // What is left of it is done by others, or read back: there is nothing to wait for here.
            committer.board.commit_is_well(committer.index);
            break;
        }
        let cancelled = {
            let (ownership, waiting) = (&committer.ownership, committer.waiting(began));
            let positions = &positions;
            move || {
                waiting();
                has_to_go(ownership, positions)
            }
        };
        let Some(fence) = &snapshot.fence else {
            if cancelled() {
                committer.lose_what_has_to_go(&mut tick);
            }
            committer.ownership.wait_for_news(&snapshot, AGAIN);
            continue;
        };
        match committer.sink.commit(&tick.outputs, &positions, fence, &cancelled) {
            Ok(()) => {
                acknowledged(committer, &mut tick, began);
                break;
            }
            Err(CommitError::InDoubt(reason)) => {
                let message = format!("a commit was not answered ({reason}); asking what became of it");
                committer.board.commit_trouble(committer.index, "CommitInDoubt", &message);
                if is_visible(committer, &mut tick, began) {
                    acknowledged(committer, &mut tick, began);
                    break;
                }
            }
            Err(CommitError::Lost) => committer.lose_what_has_to_go(&mut tick),
            Err(error) => {
                let message = format!("{error}; the same tick is sent again, nothing is lost");
                committer.board.commit_trouble(committer.index, "CommitAborted", &message);
                if has_to_go(&committer.ownership, &positions) {
                    committer.lose_what_has_to_go(&mut tick);
                }
                committer.ownership.wait_for_news(&snapshot, AGAIN);
            }
        }
    }
    let mut outputs = tick.outputs;
    outputs.clear();
    committer.fold.say(Word::Settled(outputs));
}

/// Settles a doubt: asks until there is an answer, for a tick that may be visible is never sent again on a guess.
/// Partitions that are being taken away leave the tick; the doubt about the others stays.
fn is_visible<K: Sink>(committer: &mut Committer<K>, tick: &mut Tick, began: Instant) -> bool {
    // What became visible must be counted here, also when the partitions are being taken away: their next owner goes on
    // behind it.
    let patience = Instant::now() + SETTLE;
    loop {
        let positions = tick.positions();
        if positions.is_empty() {
            return false;
        }
        let given_up = {
            let (ownership, waiting) = (&committer.ownership, committer.waiting(began));
            let positions = &positions;
            move || {
                waiting();
                ownership.is_over() || (has_to_go(ownership, positions) && Instant::now() > patience)
            }
        };
        match committer.sink.committed(&partitions(&positions), &given_up) {
            Ok(committed) => return settle(committer, tick, &committed),
            Err(_) if given_up() => committer.lose_what_has_to_go(tick),
            Err(_) => committer.ownership.wait_for_news(&committer.ownership.snapshot(), AGAIN),
        }
    }
}

/// After a doubt: true if the tick is visible. Shards whose position fits neither its start nor its end start again; so does
/// one that only wrote and did not move, unless the position of another, in the same transaction, tells.
fn settle<K: Sink>(committer: &Committer<K>, tick: &mut Tick, committed: &[Position]) -> bool {
    let has_moved = |share: &Share| share.end > share.start;
    let tells = !committer.durable || tick.shares.iter().any(has_moved);
    if tells && tick.positions().iter().all(|position| committed.contains(position)) {
        return true;
    }
    let found = |partition| committed.iter().find(|c| c.partition == partition).map(|c| c.next_offset);
    let is_at_start = |share: &Share| found(share.partition) == Some(share.start);
    // One that has moved and is at its start still tells of all: nothing of the transaction is visible.
    let none_is_visible = !committer.durable || tick.shares.iter().any(|share| has_moved(share) && is_at_start(share));
    let is_unknown = |share: &&Share| !none_is_visible || !is_at_start(share);
    let unknown: Vec<i32> = tick.shares.iter().filter(is_unknown).map(|share| share.partition).collect();
    unknown.iter().for_each(|partition| committer.ownership.ask(Request::Restart(*partition)));
    committer.lose(tick, unknown);
    false
}

fn acknowledged<K: Sink>(committer: &Committer<K>, tick: &mut Tick, began: Instant) {
    let (reports, receipts): (_, Vec<_>) = tick.shares.drain(..).map(|share| (share.report, share.receipts)).unzip();
    committer.board.committed(&tick.outputs, reports, began.elapsed());
    receipts.into_iter().flatten().for_each(Receipt::redeem);
    committer.board.commit_is_well(committer.index);
    committer.board.broker_is_well();
}

impl<K: Sink> Committer<K> {
    /// What a commit that began then does while it waits: shows that its thread is alive, and says so when it is long.
    fn waiting(&self, began: Instant) -> impl Fn() + use<K> {
        let (board, index, patience) = (Arc::clone(&self.board), self.index, self.patience);
        move || {
            board.commit_turned(index);
            if began.elapsed() > patience {
                board.commit_waits(index, patience);
            }
        }
    }

    /// Has the sink ready, unless something else has to be done first.
    fn prepare(&mut self) {
        let Self { index, sink, ownership, board, stopping, .. } = self;
        let cancelled = || {
            board.commit_turned(*index);
            stopping.load(Ordering::Relaxed) || !ownership.snapshot().draining.is_empty()
        };
        if !cancelled() {
            sink.prepare(&cancelled);
        }
    }

    /// Takes shards out of a tick and says so: the open tick must not hold anything of them either.
    fn lose(&self, tick: &mut Tick, partitions: Vec<i32>) {
        for partition in partitions {
            if let Some(share) = tick.forget(partition) {
                self.fold.say(Word::Lost { partition, epoch: share.epoch });
            }
        }
    }

    fn lose_what_has_to_go(&self, tick: &mut Tick) {
        let snapshot = self.ownership.snapshot();
        let is_over = self.ownership.is_over();
        let mut going = partitions(&tick.positions());
        going.retain(|partition| is_over || snapshot.draining.contains(partition));
        if is_over {
            let records: u64 = going.iter().map(|partition| tick.outputs.tally(*partition).records()).sum();
            warn!(records, "stopping without a commit of the last tick: its records are read again by the next worker");
        }
        self.lose(tick, going);
    }
}

fn partitions(positions: &[Position]) -> Vec<i32> {
    positions.iter().map(|position| position.partition).collect()
}

/// Whether a partition of the tick is being taken away, or the time of the whole worker is over.
fn has_to_go<F>(ownership: &Ownership<F>, positions: &[Position]) -> bool {
    let draining = &ownership.snapshot().draining;
    let is_draining =
        |position: &Position| draining.contains(&position.partition) && !is_broken(Promise::FencePerEpoch);
    ownership.is_over() || positions.iter().any(is_draining)
}

#[cfg(test)]
mod tests;
