//! From an event to the features of its key: is it in time, is it new, and what do the key's windows say.
//!
//! Windows follow event time; the clock only guards against events from the future.

mod duplicates;
mod event_time;

use faultline_crds::worker_config::WorkerConfig;
use faultline_features::{Event, KeyWindows, Value};

use crate::decode::{Rejected, Slots};
use crate::outcome::Class;
use crate::ports::{RawEvent, RecordTime};

pub(crate) use duplicates::Duplicates;
pub(crate) use event_time::EventTime;

/// What the future guard measures from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// The shard's clock, milliseconds; a record stamped by the broker brings its own time.
    ShardClock(i64),
    /// Each record's timestamp.
    RecordTime,
}

/// Refuses events too far ahead: one bad clock must not close every window.
pub(crate) fn guard_future(
    config: &WorkerConfig,
    guard: Guard,
    raw: &RawEvent<'_>,
    time_ms: i64,
) -> Result<(), Rejected> {
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

/// Folds the event into its key's windows and reads all columns. The values live as long as the borrow of the key's
/// windows and of the record.
pub(crate) fn fold<'a>(
    config: &'a WorkerConfig,
    windows: &'a mut KeyWindows,
    time_ms: i64,
    slots: &'a Slots<'a>,
    columns: &mut Vec<Value<'a>>,
) {
    let event = Event { time_ms, paths: &slots.paths, fields: &slots.fields };
    config.plan.fold(windows, &event, columns);
}
