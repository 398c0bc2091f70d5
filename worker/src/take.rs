//! The first step: takes what is queued and hands each record on, until the tick is due and can be handed over.

use std::time::{Duration, Instant};

use tracing::debug;

use crate::lane::{Lane, trip_message};
use crate::outcome::Outcome;
use crate::outputs::Outputs;
use crate::pipeline::{Scratch, Trip};
use crate::ports::{RawEvent, Source, Taken};
use crate::shard::Shard;

/// A lane looks into its mailbox this often, whatever it waits for …
pub(crate) const IDLE: Duration = Duration::from_millis(20);
/// … and a tick that is due looks this often whether the former one is settled. The client counts in milliseconds.
const LOOK: Duration = Duration::from_millis(1);
/// A tick takes no more than this many records …
const MOST_RECORDS: usize = 20_000;
/// … and this many bytes of outputs, so that a transaction stays short …
const MOST_BYTES: usize = 8 << 20;
/// … and, when it is due and the former one is not settled, for no longer than this: the shards' clocks are sampled when
/// it begins, in whole seconds.
const STRETCH: Duration = Duration::from_secs(1);

/// Folds one record into its shard.
pub(crate) type Fold = fn(&mut Shard, &RawEvent<'_>, &mut Scratch, &mut Outputs) -> Result<Outcome, Trip>;

/// Takes records until the commit interval is over and the former tick is settled, or the tick is full, or nothing comes.
pub(crate) fn take<S: Source, F>(lane: &mut Lane<S, F>, fold: Fold) {
    let due = lane.handed_over + Duration::from_millis(lane.config.delivery.commit_interval_ms);
    let latest = due.max(Instant::now() + STRETCH);
    lane.records = 0;
    let mut dropped = 0;
    loop {
        let wait = match lane.records {
            0 => IDLE,
            _ => due.saturating_duration_since(Instant::now()).clamp(LOOK, IDLE),
        };
        let Lane { source, shards, scratch, outputs, ownership, board, records, fold_rate, .. } = lane;
        let (mut began, before) = (None, *records);
        let taken = source.take(wait, &mut |taken| match taken {
            Taken::Record(raw) => {
                began.get_or_insert_with(Instant::now);
                let held = shards.get_mut(&raw.partition);
                let Some(held) = held.filter(|held| held.stall.is_none() && held.shard.next_offset() <= raw.offset)
                else {
                    dropped += 1;
                    return;
                };
                match fold(&mut held.shard, &raw, scratch, outputs) {
                    Ok(_) => {
                        outputs.created_ms.extend(raw.timestamp.millis());
                        *records += 1;
                        if held.recovering {
                            held.went_on(board);
                        }
                    }
                    Err(trip) => held.stop(trip.reason, &trip_message(&trip), ownership, board),
                }
            }
            Taken::Failed { partition, gone, reason } => match shards.get_mut(&partition) {
                Some(held) if gone => {
                    let offset = held.shard.next_offset();
                    let message = format!(
                        "the source no longer holds offset {offset}: its retention has passed it, and what lay between \
                         is lost; lengthen `retention.ms`, then start with --reset-state to go on with empty windows"
                    );
                    held.lost_position("SourceRetentionPassed", &message, board);
                }
                // Where it was assigned before its shard was there does not matter.
                None if gone => debug!(partition, reason, "a partition that is not read yet"),
                _ => {
                    debug!(partition, reason, "the client reports an error");
                    board.broker_trouble("reading failed", &reason);
                }
            },
        });
        if let Some(began) = began {
            fold_rate.note((*records - before) as u64, began.elapsed());
        }
        lane.attend(Duration::ZERO);
        let now = Instant::now();
        let full = lane.records >= MOST_RECORDS || lane.outputs.len() >= MOST_BYTES || now >= latest;
        let nothing_came = taken == 0 && lane.records == 0;
        if full || nothing_came || lane.is_stopping() || (now >= due && !lane.commits.is_busy()) {
            break;
        }
    }
    if dropped > 0 {
        lane.board.dropped(dropped);
    }
}
