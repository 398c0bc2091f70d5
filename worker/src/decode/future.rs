//! Events from the future.

use faultline_crds::worker_config::WorkerConfig;

use super::Rejected;
use crate::outcome::Class;
use crate::ports::{RawEvent, RecordTime};

/// What the future guard measures from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// The shard's clock, milliseconds; a record stamped by the broker brings its own time.
    ShardClock(i64),
    /// Each record's timestamp.
    RecordTime,
}

/// Refuses events too far ahead: one bad clock must not close every window.
pub(super) fn guard(config: &WorkerConfig, guard: Guard, raw: &RawEvent<'_>, time_ms: i64) -> Result<(), Rejected> {
    let (from, whose) = match (guard, raw.timestamp) {
        (_, RecordTime::Appended(at)) => (at, "the broker's time of the record"),
        (Guard::ShardClock(at), _) => (at, "the worker's clock"),
        (Guard::RecordTime, RecordTime::Created(at)) => (at, "the record's timestamp"),
        (Guard::RecordTime, RecordTime::Missing) => return Ok(()),
    };
    let ahead_ms = time_ms.saturating_sub(from);
    let limit_ms = config.source.max_future_skew_ms;
    if ahead_ms <= limit_ms {
        return Ok(());
    }
    let message =
        format!("expected an event time at most {} s ahead of {whose}, found {} s", limit_ms / 1000, ahead_ms / 1000);
    Err(Rejected { stage: "future", class: Class::Future, message })
}
