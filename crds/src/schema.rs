//! Pieces of schema that several types share: patterns, marker types, and the defaults of a whole section.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names within a list (models, mutes) and of other objects: a DNS label or several.
pub(crate) const DNS_NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// Names that expressions use: fields and features.
pub(crate) const IDENTIFIER: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
/// What Kafka accepts as the name of a topic.
pub(crate) const TOPIC: &str = "^[a-zA-Z0-9._-]+$";
/// `host:port`, comma separated.
pub(crate) const BOOTSTRAP_SERVERS: &str = "^[^ ,:]+(:[0-9]{1,5})?(,[^ ,:]+(:[0-9]{1,5})?)*$";
/// A dotted path into an event.
pub(crate) const PATH: &str = "^[^.]+(\\.[^.]+)*$";
/// A time of day.
pub(crate) const TIME_OF_DAY: &str = "^([01][0-9]|2[0-3]):[0-5][0-9]$";

/// A member of a union that has nothing to say but that it was chosen: `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chosen {}

/// A field that is known, accepted by the API server, and refused by `resolve`: it does not run yet.
///
/// Its schema has a type, even where nothing more is known: rules cannot see a field without one. An object unless
/// `schema_with` says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NotYet(Value);

impl JsonSchema for NotYet {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NotYet".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

/// Schema of a [`NotYet`] that is a text.
pub(crate) fn text_not_yet(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 253})
}

/// Schema of a [`NotYet`] that is a number.
pub(crate) fn number_not_yet(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "number"})
}

/// Schema of a [`NotYet`] that is a list of objects.
pub(crate) fn list_not_yet(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "x-kubernetes-list-type": "atomic"
    })
}

/// An object that is handed on as it is, such as a pod template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Opaque(Value);

impl JsonSchema for Opaque {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Opaque".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

/// A section in which nothing was set, so that `Default` and the schema's defaults cannot differ.
/// Only for sections without required fields; a test builds each of them.
pub(crate) fn unset<T: DeserializeOwned>() -> T {
    T::deserialize(serde_json::json!({})).expect("a section without required fields is made of nothing")
}

pub(crate) fn is_false(value: &bool) -> bool {
    !value
}
