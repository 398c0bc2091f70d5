//! From a record to an event, or to the reason why it is none.
//!
//! ```text
//! record ─► interpret ─► from the future? ─► trips ─► filter ─► event
//!              │ │            │                │         └ filtered
//!              │ └────────────┴─► dead letter  └ the shard stops before the record
//!              └ skipped
//! ```
//! Of the shard only the counters of the trips change here.

mod event_time;
mod future;
mod interpret;
mod json;
mod layout;
mod leaf;

use faultline_features::Value;

use crate::outcome::{Class, Ended, Outcome};
use crate::outputs::{Outputs, Topic};
use crate::ports::RawEvent;
use crate::shard::{Shard, Sighting, Trip};
use interpret::{Interpreted, interpret};

pub(crate) use event_time::{MAX_TIME_MS, likely_unit, unit_name};
pub(crate) use future::Guard;
pub(crate) use interpret::KEY_BYTES;
pub(crate) use json::special_bytes;
pub(crate) use layout::Layout;
pub(crate) use leaf::Leaf;

/// A decoded record: what the later steps see of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    /// The record itself.
    pub(crate) raw: &'a RawEvent<'a>,
    /// The entity key.
    pub(crate) key: &'a str,
    /// The event's own id; `None`: topic, partition and offset identify it.
    pub(crate) id: Option<&'a str>,
    /// Event time.
    pub(crate) time_ms: i64,
    /// What stands at each needed path.
    pub(crate) paths: &'a [Value<'a>],
    /// The declared fields, typed.
    pub(crate) fields: &'a [Value<'a>],
}

/// The values of one record, borrowed from it and from the scratch.
#[derive(Debug, Default)]
pub(crate) struct Slots<'a> {
    /// What stands at each needed path.
    leaves: Vec<Leaf<'a>>,
    /// The same as values: the slots of filters.
    paths: Vec<Value<'a>>,
    /// The declared fields, typed.
    fields: Vec<Value<'a>>,
}

impl Slots<'_> {
    /// The same buffers, empty, for another record.
    pub(crate) fn recycle<'b>(self) -> Slots<'b> {
        Slots {
            leaves: recycle(self.leaves, |_| Leaf::Missing),
            paths: recycle(self.paths, |_| Value::Absent),
            fields: recycle(self.fields, |_| Value::Absent),
        }
    }
}

/// Empties a vector and gives it another element type of the same layout; the standard library keeps the allocation.
fn recycle<A, B>(mut buffer: Vec<A>, convert: fn(A) -> B) -> Vec<B> {
    buffer.clear();
    buffer.into_iter().map(convert).collect()
}

/// A record that becomes no event.
#[derive(Debug)]
enum Unfit {
    /// It goes to the dead letters.
    Rejected(Rejected),
    /// A field is missing whose policy is to skip the record.
    Skipped,
}

impl From<Rejected> for Unfit {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

/// Why a record goes to the dead letters.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// `decode`, `fields` or `future`.
    stage: &'static str,
    /// Header and metric label.
    class: Class,
    /// What was expected and what was found; never a value of the event.
    message: String,
}

impl Rejected {
    fn decode(class: Class, message: String) -> Self {
        Self { stage: "decode", class, message }
    }
}

/// Decodes a record, with empty slots.
///
/// # Errors
/// The record ends here: as a dead letter, skipped, filtered, or because the shard must stop before it.
pub(crate) fn decode<'e, 'a>(
    shard: &mut Shard,
    raw: &'e RawEvent<'a>,
    arena: &'a mut String,
    slots: &'e mut Slots<'a>,
    outputs: &mut Outputs,
) -> Result<Event<'e>, Ended> {
    let interpreted = interpret(&shard.layout, raw, arena, slots).and_then(|interpreted| {
        future::guard(&shard.config, shard.guard(), raw, interpreted.time_ms)?;
        Ok(interpreted)
    });
    let Interpreted { key, id, time_ms } = match interpreted {
        Ok(interpreted) => interpreted,
        Err(unfit) => return Err(end(shard, raw, &unfit, slots, outputs).map_or_else(Ended::Tripped, Ended::Outcome)),
    };
    let slots: &'e Slots<'a> = slots;
    let event = Event { raw, key, id, time_ms, paths: &slots.paths, fields: &slots.fields };

    let (trips, encoder) = (&mut shard.trips, &shard.encoder);
    let differs = trips.compares_keys() && raw.key != Some(key.as_bytes());
    let mut buffer = String::new();
    let sighting = Sighting {
        dead_letter: None,
        key_mismatch: differs.then(|| encoder.shown_key(key, &mut buffer)),
        time_ms: Some(time_ms),
        time_text: shard.layout.time_text(&slots.leaves),
    };
    trips.take_in(&sighting, raw.offset).map_err(Ended::Tripped)?;

    match &shard.config.source.filter {
        Some(filter) if !filter.is_true(event.paths) => Err(Ended::Outcome(Outcome::Filtered)),
        _ => Ok(event),
    }
}

/// Ends a record that becomes no event; too many dead letters stop the shard.
fn end(
    shard: &mut Shard,
    raw: &RawEvent<'_>,
    unfit: &Unfit,
    slots: &Slots<'_>,
    outputs: &mut Outputs,
) -> Result<Outcome, Trip> {
    match unfit {
        Unfit::Skipped => {
            shard.trips.take_in(&Sighting::default(), raw.offset)?;
            Ok(Outcome::Skipped)
        }
        Unfit::Rejected(Rejected { stage, class, message }) => {
            let sighting = Sighting {
                dead_letter: Some((*class, message)),
                time_text: shard.layout.time_text(&slots.leaves),
                ..Sighting::default()
            };
            shard.trips.take_in(&sighting, raw.offset)?;
            outputs.push_rejected(Topic::DeadLetter, raw, stage, Some(*class), message);
            Ok(Outcome::DeadLettered(*class))
        }
    }
}
