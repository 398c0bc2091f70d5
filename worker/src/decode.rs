//! From a record to an event: JSON, key, event time, fields.
//!
//! ```text
//! value ─► UTF-8 ─► one pass of JSON over the needed paths ─► key ─► event time ─► fields by type and policy
//! ```
//! The whole record is validated, not only the paths: trailing garbage or a truncated end is never folded. Nothing
//! here changes the shard, and no input makes it panic. Texts are borrowed from the record; only texts with escapes
//! are copied, into the scratch.

mod event_time;
mod json;
mod layout;
mod leaf;

use faultline_features::{FieldKind, Value, WhenMissing};

use crate::outcome::Class;
use crate::ports::RawEvent;

pub(crate) use event_time::{MAX_TIME_MS, likely_unit, unit_name};
pub(crate) use layout::Layout;
pub(crate) use leaf::Leaf;

/// Longest entity key, bytes.
pub(crate) const KEY_BYTES: usize = 1024;

/// What the later steps need of a record beside its values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decoded<'a> {
    /// The entity key.
    pub(crate) key: &'a str,
    /// The event's own id; `None`: topic, partition and offset identify it.
    pub(crate) id: Option<&'a str>,
    /// Event time.
    pub(crate) time_ms: i64,
}

/// The values of one record, borrowed from it and from the scratch.
#[derive(Debug, Default)]
pub(crate) struct Slots<'a> {
    /// What stands at each needed path.
    pub(crate) leaves: Vec<Leaf<'a>>,
    /// The same as values: the slots of filters.
    pub(crate) paths: Vec<Value<'a>>,
    /// The declared fields, typed.
    pub(crate) fields: Vec<Value<'a>>,
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
pub(crate) fn recycle<A, B>(mut buffer: Vec<A>, convert: fn(A) -> B) -> Vec<B> {
    buffer.clear();
    buffer.into_iter().map(convert).collect()
}

/// A record that becomes no event.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It goes to the dead letters.
    Rejected(Rejected),
    /// A field is missing whose policy is to skip the record.
    Skipped,
}

/// Why a record goes to the dead letters.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// `decode`, `fields` or `future`.
    pub(crate) stage: &'static str,
    /// Header and metric label.
    pub(crate) class: Class,
    /// What was expected and what was found; never a value of the event.
    pub(crate) message: String,
}

impl Rejected {
    fn decode(class: Class, message: String) -> Self {
        Self { stage: "decode", class, message }
    }
}

/// Validates the record's value and finds the leaves of the needed paths.
pub(crate) fn read<'a>(
    layout: &Layout,
    raw: &RawEvent<'a>,
    leaves: &mut Vec<Leaf<'a>>,
    arena: &mut String,
) -> Result<(), Rejected> {
    arena.clear();
    let bytes = match raw.value {
        Some(bytes) if !bytes.is_empty() => bytes,
        Some(_) => {
            return Err(Rejected::decode(Class::Empty, "expected a JSON object, found an empty value".to_owned()));
        }
        None => return Err(Rejected::decode(Class::Empty, "expected a JSON object, found a null value".to_owned())),
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Rejected::decode(
            Class::NotUtf8,
            format!("expected UTF-8, found an invalid byte at position {}", error.valid_up_to()),
        )
    })?;
    json::read(text, &layout.root, layout.paths, leaves)
        .map_err(|error| Rejected::decode(Class::NotJson, format!("expected one JSON object: {error}")))?;
    leaves.iter_mut().for_each(|leaf| leaf.unescape(arena));
    Ok(())
}

/// Key, event time, values and fields of a record that [`read`] accepted.
pub(crate) fn interpret<'a>(
    layout: &Layout,
    raw: &RawEvent<'a>,
    arena: &'a str,
    slots: &mut Slots<'a>,
) -> Result<Decoded<'a>, Unfit> {
    slots.paths.clear();
    slots.paths.extend(slots.leaves.iter().map(|leaf| leaf.value(arena)));
    let key = key(layout, raw, arena, &slots.leaves).map_err(Unfit::Rejected)?;
    let time_ms = event_time(layout, raw, arena, &slots.leaves).map_err(Unfit::Rejected)?;
    let id = layout.event_id.and_then(|path| slots.leaves[path].identity(arena)).filter(|id| !id.is_empty());
    fields(layout, slots)?;
    Ok(Decoded { key, id, time_ms })
}

fn key<'a>(layout: &Layout, raw: &RawEvent<'a>, arena: &'a str, leaves: &[Leaf<'a>]) -> Result<&'a str, Rejected> {
    let reject = |what: String| {
        Rejected::decode(Class::Key, format!("entity key: expected UTF-8 of 1 to {KEY_BYTES} bytes, found {what}"))
    };
    let key = match layout.key {
        None => {
            let bytes = raw.key.ok_or_else(|| reject("a record without a key".to_owned()))?;
            std::str::from_utf8(bytes).map_err(|_| reject("a record key that is not UTF-8".to_owned()))?
        }
        Some(path) => {
            let leaf = &leaves[path];
            leaf.identity(arena).ok_or_else(|| reject(format!("{} at `{}`", leaf.kind(), layout.key_name)))?
        }
    };
    match key.len() {
        1..=KEY_BYTES => Ok(key),
        0 => Err(reject("an empty one".to_owned())),
        bytes => Err(reject(format!("{bytes} bytes"))),
    }
}

fn event_time<'a>(layout: &Layout, raw: &RawEvent<'a>, arena: &'a str, leaves: &[Leaf<'a>]) -> Result<i64, Rejected> {
    let reject = |message: String| Rejected::decode(Class::Timestamp, message);
    let Some(timestamp) = layout.timestamp else {
        let at = raw.timestamp.millis().filter(|at| (1..=MAX_TIME_MS).contains(at));
        return at.ok_or_else(|| reject("expected a record timestamp after 1970, found none".to_owned()));
    };
    let leaf = &leaves[timestamp.path.0 as usize];
    let name = &layout.timestamp_name;
    let expected = event_time::expected(timestamp.unit);
    let at = match (timestamp.unit, leaf) {
        (faultline_crds::worker_config::TimeUnit::Rfc3339, Leaf::Text(_) | Leaf::Unescaped(_)) => {
            leaf.text(arena).and_then(event_time::rfc3339)
        }
        (unit, Leaf::Number(text)) => event_time::number(text, unit),
        _ => return Err(reject(format!("timestamp `{name}`: expected {expected}, found {}", leaf.kind()))),
    };
    at.filter(|at| (1..=MAX_TIME_MS).contains(at)).ok_or_else(|| {
        reject(format!("timestamp `{name}`: expected {expected} between 1970 and 9999, found {}", leaf.kind()))
    })
}

/// Types the declared fields. A rejection anywhere counts more than a skip, so that the order of the declarations
/// does not matter.
fn fields(layout: &Layout, slots: &mut Slots<'_>) -> Result<(), Unfit> {
    slots.fields.clear();
    let mut skip = false;
    for field in &layout.fields {
        let found = slots.paths[field.path];
        let value = match (field.kind, found) {
            (FieldKind::Number, Value::Number(_)) | (FieldKind::Text, Value::Text(_)) => found,
            _ => match field.when_missing {
                WhenMissing::Reject => return Err(Unfit::Rejected(field.problem(&slots.leaves[field.path]))),
                WhenMissing::Skip => {
                    skip = true;
                    Value::Absent
                }
                WhenMissing::Zero if field.kind == FieldKind::Number => Value::Number(0.0),
                WhenMissing::Zero => Value::Text(""),
                WhenMissing::Previous => Value::Absent,
            },
        };
        slots.fields.push(value);
    }
    if skip { Err(Unfit::Skipped) } else { Ok(()) }
}
