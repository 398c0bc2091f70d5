//! From an event to the features of its key: is it in time, is it new, and what do the key's windows say.
//!
//! Windows follow event time only; no clock is looked at here.

mod duplicates;
mod event_time;

use faultline_crds::worker_config::WorkerConfig;
use faultline_features::{KeyWindows, Value};
use faultline_numerics::hash::hash128;

use crate::decode::Event;
use crate::outcome::{Ended, Outcome};
use crate::outputs::{Outputs, Topic};
use crate::shard::Shard;

pub(crate) use duplicates::{Duplicates, New};
pub(crate) use event_time::EventTime;

/// Takes an event in, which may move the watermark.
///
/// # Errors
/// The event ends here: it is late, or its id was taken in before.
pub(crate) fn admit(shard: &mut Shard, event: &Event<'_>, outputs: &mut Outputs) -> Result<(), Ended> {
    if shard.time.is_late(event.time_ms) {
        let behind_ms = shard.time.greatest_ms().unwrap_or_default() - event.time_ms;
        let allowed_s = shard.config.source.allowed_lateness_ms / 1000;
        let message =
            format!("expected an event at most {allowed_s} s behind the latest, found {} s", behind_ms / 1000);
        outputs.push_rejected(Topic::Late, event.raw, "late", None, &message);
        return Err(Ended::Outcome(Outcome::Late));
    }
    if is_duplicate(shard, event) {
        return Err(Ended::Outcome(Outcome::Duplicate));
    }
    shard.time.accept(event.time_ms);
    Ok(())
}

/// Whether the event's id was taken in before; takes it in if not.
fn is_duplicate(shard: &mut Shard, event: &Event<'_>) -> bool {
    let Some(duplicates) = &mut shard.duplicates else { return false };
    let watermark_ms =
        shard.time.watermark_ms().unwrap_or(i64::MIN).max(event.time_ms - shard.config.source.allowed_lateness_ms);
    let (offset, journal) = (event.raw.offset, &mut shard.journal);
    let id = event.id.map(|id| hash128(id.as_bytes()));
    // A duplicate does not move the watermark, so nothing is forgotten for it.
    if id.is_some_and(|id| duplicates.is_duplicate(id, offset, watermark_ms)) {
        return true;
    }
    duplicates.forget(watermark_ms, |minute| journal.forgot(minute, offset));
    if let Some(New { minute, id }) = id.and_then(|id| duplicates.take_in(id, offset, event.time_ms)) {
        journal.took_in(minute, id);
    }
    false
}

/// Folds an event into its key's windows and reads all columns, into a buffer. The values live as long as the borrows of
/// the key's windows and of the event.
pub(crate) fn window<'a>(
    config: &'a WorkerConfig,
    windows: &'a mut KeyWindows,
    event: &Event<'a>,
    mut columns: Vec<Value<'a>>,
) -> Vec<Value<'a>> {
    let event = faultline_features::Event { time_ms: event.time_ms, paths: event.paths, fields: event.fields };
    config.plan.fold(windows, &event, &mut columns);
    columns
}
