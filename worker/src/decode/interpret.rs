//! From the bytes of a record to its key, event time and fields.
//!
//! ```text
//! value ─► UTF-8 ─► one pass of JSON over the needed paths ─► key ─► event time ─► fields by type and policy
//! ```
//! The whole record is validated, not only the paths: trailing garbage or a truncated end is never folded. No input
//! makes it panic. Texts are borrowed from the record; only texts with escapes are copied, into the arena.

use faultline_crds::worker_config::TimeUnit;
use faultline_features::{FieldKind, Value, WhenMissing};

use super::layout::Layout;
use super::leaf::Leaf;
use super::{MAX_TIME_MS, Rejected, Slots, Unfit, event_time, json};
use crate::outcome::Class;
use crate::ports::RawEvent;

/// Longest entity key, bytes.
pub(crate) const KEY_BYTES: usize = 1024;

/// What a record says beside its values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interpreted<'a> {
    pub(super) key: &'a str,
    pub(super) id: Option<&'a str>,
    pub(super) time_ms: i64,
}

/// Fills the slots of a record and finds its key, id and event time.
pub(super) fn interpret<'a>(
    layout: &Layout,
    raw: &RawEvent<'a>,
    arena: &'a mut String,
    slots: &mut Slots<'a>,
) -> Result<Interpreted<'a>, Unfit> {
    arena.clear();
    let text = text(raw)?;
    json::read(text, &layout.root, layout.paths, &mut slots.leaves).map_err(|error| {
        slots.leaves.clear();
        Rejected::decode(Class::NotJson, format!("expected one JSON object: {error}"))
    })?;
    slots.leaves.iter_mut().for_each(|leaf| leaf.unescape(arena));
    let arena: &'a str = arena;
    slots.paths.extend(slots.leaves.iter().map(|leaf| leaf.value(arena)));
    let key = key(layout, raw, arena, &slots.leaves)?;
    let time_ms = event_time(layout, raw, arena, &slots.leaves)?;
    let id = layout.event_id.and_then(|path| slots.leaves[path].identity(arena)).filter(|id| !id.is_empty());
    fields(layout, slots)?;
    Ok(Interpreted { key, id, time_ms })
}

/// The record's value, which must be there and must be UTF-8.
fn text<'a>(raw: &RawEvent<'a>) -> Result<&'a str, Rejected> {
    let bytes = match raw.value {
        Some(bytes) if !bytes.is_empty() => bytes,
        Some(_) => {
            return Err(Rejected::decode(Class::Empty, "expected a JSON object, found an empty value".to_owned()));
        }
        None => return Err(Rejected::decode(Class::Empty, "expected a JSON object, found a null value".to_owned())),
    };
    std::str::from_utf8(bytes).map_err(|error| {
        Rejected::decode(
            Class::NotUtf8,
            format!("expected UTF-8, found an invalid byte at position {}", error.valid_up_to()),
        )
    })
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
        (TimeUnit::Rfc3339, Leaf::Text(_) | Leaf::Unescaped(_)) => leaf.text(arena).and_then(event_time::rfc3339),
        (unit, Leaf::Number(text, value)) => event_time::number(text, *value, unit),
        _ => return Err(reject(format!("timestamp `{name}`: expected {expected}, found {}", leaf.kind()))),
    };
    at.filter(|at| (1..=MAX_TIME_MS).contains(at)).ok_or_else(|| {
        reject(format!("timestamp `{name}`: expected {expected} between 1970 and 9999, found {}", leaf.kind()))
    })
}

/// Types the declared fields. A rejection anywhere counts more than a skip, so that the order of the declarations
/// does not matter.
fn fields(layout: &Layout, slots: &mut Slots<'_>) -> Result<(), Unfit> {
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
