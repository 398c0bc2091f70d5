//! The first step: takes what is queued and hands each record on, until the tick is due.

use std::time::{Duration, Instant};

use tracing::debug;

use crate::lane::{Lane, trip_message};
use crate::outcome::Outcome;
use crate::outputs::Outputs;
use crate::pipeline::{Scratch, Trip};
use crate::ports::{RawEvent, Sink, Source, Taken};
use crate::shard::Shard;

/// An idle lane looks into its mailbox this often.
const IDLE: Duration = Duration::from_millis(20);
/// A tick is committed at the latest with this many records …
const MOST_RECORDS: usize = 20_000;
/// … or this many bytes of outputs, so that a transaction stays short.
const MOST_BYTES: usize = 8 << 20;

/// Folds one record into its shard.
pub(crate) type Fold = fn(&mut Shard, &RawEvent<'_>, &mut Scratch, &mut Outputs) -> Result<Outcome, Trip>;

/// Takes records until the commit interval is over or the tick is full.
pub(crate) fn take<S: Source, K: Sink>(lane: &mut Lane<S, K>, fold: Fold) {
    let due = lane.last_commit + Duration::from_millis(lane.config.delivery.commit_interval_ms);
    lane.records = 0;
    let mut dropped = 0;
    loop {
        let wait = if lane.records == 0 { IDLE } else { due.saturating_duration_since(Instant::now()) };
        let Lane { source, shards, scratch, outputs, ownership, board, records, .. } = lane;
        let taken = source.take(wait, &mut |taken| match taken {
            Taken::Record(raw) => {
                let held = shards.get_mut(&raw.partition);
                let Some(held) = held.filter(|held| held.stall.is_none() && raw.offset >= held.shard.next_offset())
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
                         is lost; lengthen `retention.ms`, then set the group's offset to where it may go on"
                    );
                    held.lost_position("SourceRetentionPassed", &message, board);
                }
                _ => {
                    debug!(partition, reason, "the client reports an error");
                    board.broker_trouble("reading failed", &reason);
                }
            },
        });
        let full = lane.records >= MOST_RECORDS || lane.outputs.len() >= MOST_BYTES;
        if full || Instant::now() >= due || (taken == 0 && lane.records == 0) {
            break;
        }
    }
    if dropped > 0 {
        lane.board.dropped(dropped);
    }
}
