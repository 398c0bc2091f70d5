//! `spec.source`: what is read and how a record becomes an event.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::schema::{Chosen, IDENTIFIER, NotYet, PATH, TOPIC, is_false};

/// The source topic and the way from a record to an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Topic.
    #[schemars(length(min = 1, max = 249), regex(pattern = TOPIC))]
    pub topic: String,
    /// How the record's value is written.
    #[serde(default)]
    pub format: Format,
    /// Where a group without offsets starts.
    #[serde(default)]
    pub start_from: StartFrom,
    /// Events for which it is not true are dropped and counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub filter: Option<String>,
    /// Path of the event's id; `<topic>-<partition>-<offset>` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = PATH))]
    pub event_id: Option<String>,
    /// Path of the entity's key; the record's key when absent. The topic must be partitioned by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = PATH))]
    pub key: Option<String>,
    /// Whether the topic's partitioning by the key is checked.
    #[serde(default)]
    pub partitioning: Partitioning,
    /// The event's time; the record's timestamp when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// How far an event may lie behind the greatest timestamp seen.
    #[serde(default = "default_allowed_lateness")]
    pub allowed_lateness: Duration,
    /// How far an event may lie ahead; further ahead it is a dead letter.
    #[serde(default = "default_max_future_skew")]
    pub max_future_skew: Duration,
    /// Events whose id was seen are dropped and counted; absent: they are not looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deduplicate: Option<Deduplicate>,
    /// Keys without events for this long are forgotten.
    #[serde(default = "default_key_expiry")]
    pub key_expiry: Duration,
    /// Most keys kept per partition; beyond it the idlest are forgotten early.
    #[serde(default = "default_max_keys_per_partition")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_keys_per_partition: u32,
    /// Values of the event that features use.
    #[serde(default)]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub fields: Vec<Field>,
}

fn default_allowed_lateness() -> Duration {
    Duration::from_ms(30_000)
}

fn default_max_future_skew() -> Duration {
    Duration::from_ms(300_000)
}

fn default_key_expiry() -> Duration {
    Duration::from_ms(30 * 86_400_000)
}

fn default_max_keys_per_partition() -> u32 {
    200_000
}

/// How the record's value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// A JSON object.
    #[default]
    Json,
}

/// Where a group without offsets starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.latest), has(self.earliest), has(self.time)].exists_one(x, x)",
        "message": "expected exactly one of latest, earliest, time"
    }
]))]
pub struct StartFrom {
    /// At the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Chosen>,
    /// At the oldest record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest: Option<Chosen>,
    /// At the first record at or after this time, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 20, max = 40))]
    pub time: Option<String>,
    /// Fold that much history silently first, so that keys are warm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text_not_yet")]
    pub learn_from: Option<NotYet>,
}

impl Default for StartFrom {
    fn default() -> Self {
        Self { latest: Some(Chosen {}), earliest: None, time: None, learn_from: None }
    }
}

/// Whether the topic's partitioning by the key is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Partitioning {
    /// Compared with each record's key.
    #[default]
    Verified,
    /// Not compared.
    Trusted,
}

/// Event time inside the event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timestamp {
    /// Where it is.
    #[schemars(length(min = 1, max = 256), regex(pattern = PATH))]
    pub path: String,
    /// What it counts, since 1970.
    pub unit: TimeUnit,
}

/// Unit of an event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TimeUnit {
    /// Seconds, fractions allowed.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// RFC 3339 text.
    Rfc3339,
}

/// Looking for repeated events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deduplicate {
    /// How long ids are remembered.
    pub window: Duration,
}

/// One value of the event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.whenMissing) || self.whenMissing != 'zero' || self.type == 'number'",
        "message": "whenMissing: zero needs type: number"
    }
]))]
pub struct Field {
    /// What features and expressions call it.
    #[schemars(length(min = 1, max = 63), regex(pattern = IDENTIFIER))]
    pub name: String,
    /// Where it is in the event.
    #[schemars(length(min = 1, max = 256), regex(pattern = PATH))]
    pub path: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// What happens to an event without it.
    #[serde(default)]
    pub when_missing: WhenMissing,
    /// Hashed in outputs as it is; what aggregates and expressions compute from it is shown. Absent from logs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sensitive: bool,
}

/// Type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FieldType {
    /// A number.
    Number,
    /// A text.
    Text,
}

/// What happens to an event without a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WhenMissing {
    /// It is a dead letter.
    #[default]
    Reject,
    /// It is skipped and counted.
    Skip,
    /// The field counts as 0.
    Zero,
    /// The field keeps the key's previous value.
    Previous,
}
