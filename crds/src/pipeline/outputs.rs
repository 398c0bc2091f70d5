//! `spec.outputs` and `spec.delivery`: where everything goes, and how surely.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::schema::{NotYet, TOPIC, unset};

/// Output topics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outputs {
    /// Results.
    #[serde(default)]
    pub results: Results,
    /// Alerts.
    #[serde(default)]
    pub alerts: Alerts,
    /// Records that could not be read.
    #[serde(default)]
    pub dead_letter: DeadLetter,
    /// Records that came too late.
    #[serde(default)]
    pub late: Late,
    /// Who makes the topics, and how.
    #[serde(default)]
    pub topics: Topics,
}

impl Default for Outputs {
    fn default() -> Self {
        unset()
    }
}

/// Results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Results {
    /// Topic; `<pipeline>.results` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = TOPIC))]
    pub topic: Option<String>,
    /// Which events get one.
    #[serde(default)]
    pub mode: ResultsMode,
    /// Which results hold the features.
    #[serde(default)]
    pub features: ResultFeatures,
}

impl Default for Results {
    fn default() -> Self {
        unset()
    }
}

/// Which events get a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ResultsMode {
    /// Every scored event.
    #[default]
    All,
    /// Those with a severity.
    Anomalies,
    /// None.
    None,
}

/// Which results hold the features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ResultFeatures {
    /// Those of anomalies.
    #[default]
    Anomalies,
    /// All.
    Always,
}

/// Alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alerts {
    /// Topic; `<pipeline>.alerts` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = TOPIC))]
    pub topic: Option<String>,
    /// Older events are marked, not alerted; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_event_age: Option<Duration>,
    /// Copied into each alert.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
    /// Copied into each alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^https?://"))]
    pub runbook_url: Option<String>,
}

impl Default for Alerts {
    fn default() -> Self {
        unset()
    }
}

fn labels(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 256}
    })
}

/// Records that could not be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Topic; `<pipeline>.dead-letter` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = TOPIC))]
    pub topic: Option<String>,
    /// Largest share among the last 1,000 records of a partition before it stops.
    #[serde(default = "default_max_share")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_share: f64,
}

impl Default for DeadLetter {
    fn default() -> Self {
        unset()
    }
}

fn default_max_share() -> f64 {
    0.05
}

/// Records that came too late.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Late {
    /// Topic; `<pipeline>.late` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = TOPIC))]
    pub topic: Option<String>,
}

/// Who makes the topics, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Topics {
    /// Who makes them.
    #[serde(default)]
    pub managed_by: ManagedBy,
    /// Strimzi makes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strimzi: Option<NotYet>,
    /// Replicas; the broker's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32767))]
    pub replication_factor: Option<i32>,
    /// How long records are kept; the broker's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
    /// Whether topics go with the pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

impl Default for Topics {
    fn default() -> Self {
        unset()
    }
}

/// Who makes topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ManagedBy {
    /// The worker creates, grows and configures.
    #[default]
    Worker,
    /// Nobody: the worker only checks.
    None,
}

/// Whether topics go with the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay.
    Retain,
    /// They go.
    Delete,
}

/// Guarantee and pace of the commits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The guarantee.
    #[serde(default)]
    pub guarantee: Guarantee,
    /// Least time between two commits of a lane.
    #[serde(default = "default_commit_interval")]
    pub commit_interval: Duration,
    /// Longest replay after a crash: how often the state of keys is written follows from it.
    #[serde(default = "default_max_recovery_time")]
    pub max_recovery_time: Duration,
}

impl Default for Delivery {
    fn default() -> Self {
        unset()
    }
}

fn default_commit_interval() -> Duration {
    Duration::from_ms(10)
}

fn default_max_recovery_time() -> Duration {
    Duration::from_ms(10_000)
}

/// The guarantee of delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Guarantee {
    /// Results, alerts, state and offsets become visible together.
    #[default]
    ExactlyOnce,
    /// Outputs may repeat after a crash.
    AtLeastOnce,
}
