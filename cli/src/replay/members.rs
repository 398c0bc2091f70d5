//! Members of an event by dotted path.

use serde_json::{Map, Value};

/// The value at a path; null counts as none.
pub(super) fn get<'a>(event: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    // A column may have dots in its name.
    if let Some(value) = event.get(path) {
        return Some(value).filter(|value| !value.is_null());
    }
    let (head, rest) = path.split_once('.')?;
    get(event.get(head)?.as_object()?, rest)
}

/// Sets the value at a path, and makes the objects on the way.
pub(super) fn put(event: &mut Map<String, Value>, path: &str, value: Value) -> Result<(), String> {
    let Some((head, rest)) = path.split_once('.') else {
        event.insert(path.to_owned(), value);
        return Ok(());
    };
    let inner = event.entry(head).or_insert_with(|| Value::Object(Map::new()));
    match inner.as_object_mut() {
        Some(inner) => put(inner, rest, value),
        None => Err(format!("expected an object in `{head}`, to hold `{rest}`, found {inner}")),
    }
}
