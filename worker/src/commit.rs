//! The last step: makes the tick visible, whole, or drops what is not ours any more.
//!
//! ```text
//!            ┌────────────── aborted: the same tick again, under the newest snapshot ◄─┐
//! tick ─► still the epoch it was read under? ─► sink ─► acknowledged: counts go to the board
//!            │ no: drop the shard                  └─► in doubt: ask for the committed positions
//!            ▼                                            end = done · start = again · else restart the shard
//! ```
//! A partition that is being taken away leaves the tick as soon as a try has failed. When the worker stops and its time
//! is over, all of them do: nothing is lost, as the committed positions stay where they were.

use std::time::{Duration, Instant};

use tracing::warn;

use crate::lane::Lane;
use crate::outcome::Tally;
use crate::ownership::{Ownership, Request};
use crate::ports::{CommitError, Position, Sink, Source};

/// Longest wait for a newer snapshot before the tick is sent again.
const AGAIN: Duration = Duration::from_millis(100);

/// A doubt is settled for this long even when its partitions are being taken away.
const SETTLE: Duration = Duration::from_secs(1);

/// Commits what the tick holds. Returns when it is visible or dropped.
pub(crate) fn commit<S: Source, K: Sink>(lane: &mut Lane<S, K>) {
    let began = Instant::now();
    loop {
        let snapshot = lane.ownership.snapshot();
        let gone: Vec<i32> = lane
            .shards
            .iter()
            .filter(|(partition, held)| snapshot.epochs.get(partition) != Some(&held.epoch))
            .map(|(partition, _)| *partition)
            .collect();
        gone.into_iter().for_each(|partition| lane.drop_shard(partition));
        let positions = lane.positions();
        if positions.is_empty() {
            break;
        }
        let cancelled = {
            let (ownership, board, index) = (&lane.ownership, &lane.board, lane.index);
            let positions = &positions;
            move || {
                board.lane_turned(index);
                has_to_go(ownership, positions)
            }
        };
        let Some(fence) = &snapshot.fence else {
            if cancelled() {
                drop_what_has_to_go(lane, &positions);
            }
            lane.ownership.wait_for_news(&snapshot, AGAIN);
            continue;
        };
        match lane.sink.commit(&lane.outputs, &positions, fence, &cancelled) {
            Ok(()) => {
                acknowledged(lane, &positions, began);
                break;
            }
            Err(CommitError::InDoubt(reason)) => {
                let message = format!("a commit was not answered ({reason}); asking what became of it");
                lane.board.problem("commit", "CommitInDoubt", &message);
                if is_visible(lane) {
                    let positions = lane.positions();
                    acknowledged(lane, &positions, began);
                    break;
                }
            }
            Err(CommitError::Lost) => drop_what_has_to_go(lane, &positions),
            Err(error) => {
                let message = format!("{error}; the same tick is sent again, nothing is lost");
                lane.board.problem("commit", "CommitAborted", &message);
                lane.board.lane_turned(lane.index);
                if has_to_go(&lane.ownership, &positions) {
                    drop_what_has_to_go(lane, &positions);
                }
                lane.ownership.wait_for_news(&snapshot, AGAIN);
            }
        }
    }
    lane.outputs.clear();
    lane.last_commit = Instant::now();
}

/// Settles a doubt: asks until there is an answer, for a tick that may be visible is never sent again on a guess.
/// Partitions that are being taken away leave the tick; the doubt about the others stays.
fn is_visible<S: Source, K: Sink>(lane: &mut Lane<S, K>) -> bool {
    // What became visible must be counted here, also when the partitions are being taken away: their next owner goes on
    // behind it.
    let patience = Instant::now() + SETTLE;
    loop {
        let positions = lane.positions();
        if positions.is_empty() {
            return false;
        }
        let given_up = {
            let (ownership, board, index) = (&lane.ownership, &lane.board, lane.index);
            let positions = &positions;
            move || {
                board.lane_turned(index);
                ownership.is_over() || (has_to_go(ownership, positions) && Instant::now() > patience)
            }
        };
        match lane.sink.committed(&partitions(&positions), &given_up) {
            Ok(committed) => return settle(lane, &positions, &committed),
            Err(_) if given_up() => drop_what_has_to_go(lane, &positions),
            Err(_) => lane.ownership.wait_for_news(&lane.ownership.snapshot(), AGAIN),
        }
    }
}

/// After a doubt: true if the tick is visible. Shards whose position fits neither its start nor its end start again.
fn settle<S: Source, K: Sink>(lane: &mut Lane<S, K>, positions: &[Position], committed: &[Position]) -> bool {
    if positions.iter().all(|position| committed.contains(position)) {
        return true;
    }
    for position in positions {
        let start = lane.shards.get(&position.partition).map(|held| held.committed);
        let found = committed.iter().find(|c| c.partition == position.partition).map(|c| c.next_offset);
        if start != found {
            lane.ownership.ask(Request::Restart(position.partition));
            lane.drop_shard(position.partition);
        }
    }
    false
}

fn acknowledged<S: Source, K: Sink>(lane: &mut Lane<S, K>, positions: &[Position], began: Instant) {
    for position in positions {
        if let Some(held) = lane.shards.get_mut(&position.partition) {
            held.committed = position.next_offset;
        }
    }
    lane.board.committed(&lane.outputs, lane.reports(positions), began.elapsed());
    lane.board.clear("commit");
    lane.board.clear("broker");
}

fn partitions(positions: &[Position]) -> Vec<i32> {
    positions.iter().map(|position| position.partition).collect()
}

/// Whether a partition of the tick is being taken away, or the time of the whole worker is over.
fn has_to_go<F>(ownership: &Ownership<F>, positions: &[Position]) -> bool {
    let draining = &ownership.snapshot().draining;
    ownership.is_over() || positions.iter().any(|position| draining.contains(&position.partition))
}

fn drop_what_has_to_go<S: Source, K: Sink>(lane: &mut Lane<S, K>, positions: &[Position]) {
    let (over, snapshot) = (lane.ownership.is_over(), lane.ownership.snapshot());
    let goes = |partition: &i32| over || snapshot.draining.contains(partition);
    let partitions: Vec<i32> = partitions(positions).into_iter().filter(goes).collect();
    if over {
        let tallies = lane.outputs.tallies();
        let records: u64 = partitions.iter().filter_map(|partition| tallies.get(partition)).map(Tally::records).sum();
        warn!(
            records,
            "stopped before the broker acknowledged the last records; the next worker begins with them, nothing is lost"
        );
    }
    partitions.into_iter().for_each(|partition| lane.drop_shard(partition));
}

#[cfg(test)]
mod tests;
