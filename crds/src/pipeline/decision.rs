//! `spec.decision`: how surprises become severities, incidents and alerts.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::duration::Duration;
use crate::schema::{DNS_NAME, NotYet, TIME_OF_DAY, unset};

/// How surprises become severities, incidents and alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// How several models are combined.
    #[serde(default)]
    pub combine: Combine,
    /// From which surprise on each severity is given.
    #[serde(default)]
    pub severities: Severities,
    /// How anomalies become incidents.
    #[serde(default)]
    pub incident: Incident,
    /// What a key without history gets.
    #[serde(default)]
    pub new_keys: NewKeys,
    /// What happens while trained models do not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_model_unavailable: Option<NotYet>,
    /// When anomalies are recorded but not alerted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub mute: Vec<Mute>,
}

impl Default for Decision {
    fn default() -> Self {
        unset()
    }
}

/// How several models are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Combine {
    /// The greatest surprise, corrected for the number of models.
    #[default]
    Any,
    /// The harmonic mean of the probabilities.
    Consensus,
    /// The mean by `models[].weight`.
    Weighted,
}

/// From which surprise on each severity is given; a severity that is not named is not given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.warning) || has(self.major) || has(self.critical)",
        "message": "expected at least one of warning, major, critical"
    },
    {
        "rule": "!(has(self.warning) && has(self.warning.oneIn) && has(self.major) && has(self.major.oneIn)) || self.warning.oneIn < self.major.oneIn",
        "message": "severities must grow: major needs a greater oneIn than warning"
    },
    {
        "rule": "!(has(self.major) && has(self.major.oneIn) && has(self.critical) && has(self.critical.oneIn)) || self.major.oneIn < self.critical.oneIn",
        "message": "severities must grow: critical needs a greater oneIn than major"
    },
    {
        "rule": "has(self.major) || !(has(self.warning) && has(self.warning.oneIn) && has(self.critical) && has(self.critical.oneIn)) || self.warning.oneIn < self.critical.oneIn",
        "message": "severities must grow: critical needs a greater oneIn than warning"
    }
]))]
pub struct Severities {
    /// Worth a look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<Severity>,
    /// Worth an interruption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<Severity>,
    /// Worth waking someone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<Severity>,
}

impl Default for Severities {
    fn default() -> Self {
        let one_in = |n| Some(Severity { one_in: Some(n), per_day: None });
        Self { warning: one_in(1_000), major: one_in(100_000), critical: one_in(1_000_000) }
    }
}

/// Where a severity begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.oneIn) != has(self.perDay)", "message": "expected exactly one of oneIn, perDay"}
]))]
pub struct Severity {
    /// At what a normal event reaches once in this many: surprise = log10 of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 1_000_000_000_000_i64))]
    pub one_in: Option<u64>,
    /// An alert budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::number_not_yet")]
    pub per_day: Option<NotYet>,
}

/// How anomalies become incidents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// An incident closes after this long without an anomaly.
    #[serde(default = "default_quiet_period")]
    pub quiet_period: Duration,
    /// An open incident is alerted again when its surprise has risen by this much.
    #[serde(default = "default_escalate_by")]
    #[schemars(range(min = 0.1, max = 20.0))]
    pub escalate_by: f64,
}

impl Default for Incident {
    fn default() -> Self {
        unset()
    }
}

fn default_quiet_period() -> Duration {
    Duration::from_ms(600_000)
}

fn default_escalate_by() -> f64 {
    1.0
}

/// What a key without history gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NewKeys {
    /// Judged as new keys are.
    #[default]
    UsePeers,
    /// No severity until mature.
    Silent,
}

/// When anomalies are recorded but not alerted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.schedule) != has(self.when)", "message": "expected exactly one of schedule, when"},
    {"rule": "has(self.schedule) == has(self.duration)", "message": "schedule and duration need each other"}
]))]
pub struct Mute {
    /// Its name.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_NAME))]
    pub name: String,
    /// When it begins, in event time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// How long it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// An expression over `features.<name>`, `key`, `surprise` and `severity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub when: Option<String>,
}

/// When a mute begins; days that are not named do not limit it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Days of the month, 1 to 31 or `last`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub days_of_month: Vec<DayOfMonth>,
    /// Days of the week.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7), extend("x-kubernetes-list-type" = "atomic"))]
    pub days_of_week: Vec<Weekday>,
    /// Time of day, `22:00`.
    #[schemars(length(equal = 5), regex(pattern = TIME_OF_DAY))]
    pub at: String,
    /// An IANA name; UTC when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

/// A day of the month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayOfMonth {
    /// 1 to 31.
    Day(i8),
    /// The last one, however many there are.
    Last,
}

impl Serialize for DayOfMonth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Day(day) => serializer.serialize_i8(*day),
            Self::Last => serializer.serialize_str("last"),
        }
    }
}

impl<'de> Deserialize<'de> for DayOfMonth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(i8),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(day) => Ok(Self::Day(day)),
            Either::Text(text) if text == "last" => Ok(Self::Last),
            Either::Text(text) => Err(serde::de::Error::custom(format!("expected 1 to 31 or last, found `{text}`"))),
        }
    }
}

impl JsonSchema for DayOfMonth {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DayOfMonth".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true, "minimum": 1, "maximum": 31, "pattern": "^last$"})
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Weekday {
    /// Monday.
    Monday,
    /// Tuesday.
    Tuesday,
    /// Wednesday.
    Wednesday,
    /// Thursday.
    Thursday,
    /// Friday.
    Friday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}
