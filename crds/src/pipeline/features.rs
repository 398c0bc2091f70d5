//! `spec.features`: what is computed for each event.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::schema::{IDENTIFIER, NotYet};

/// One feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.expression), has(self.seasonal), has(self.lookup), has(self.field) || has(self.aggregate)].exists_one(x, x)",
        "message": "expected exactly one of expression, seasonal, lookup, or field and aggregate"
    },
    {
        "rule": "!has(self.valuesAgo) || (has(self.field) && !has(self.aggregate))",
        "message": "valuesAgo needs field and no aggregate"
    },
    {
        "rule": "has(self.aggregate) || !(has(self.window) || has(self.lastEvents) || has(self.halfLife) || has(self.where) || has(self.percentile))",
        "message": "window, lastEvents, halfLife, where and percentile need aggregate"
    },
    {
        "rule": "!(has(self.window) && has(self.lastEvents))",
        "message": "expected at most one of window, lastEvents"
    },
    {
        "rule": "!has(self.aggregate) || has(self.halfLife) == (self.aggregate == 'ewma')",
        "message": "halfLife and aggregate: ewma need each other"
    },
    {
        "rule": "!has(self.timeZone) || has(self.seasonal)",
        "message": "timeZone needs seasonal"
    }
]))]
pub struct Feature {
    /// What models and expressions call it.
    #[schemars(length(min = 1, max = 63), regex(pattern = IDENTIFIER))]
    pub name: String,
    /// The field itself, or the field that is aggregated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = IDENTIFIER))]
    pub field: Option<String>,
    /// The field's value that many accepted events of the key ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub values_ago: Option<u16>,
    /// What is made of the events in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
    /// Which percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::number_not_yet")]
    pub percentile: Option<NotYet>,
    /// The events of this long, up to the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// This many events, the current one included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub last_events: Option<u16>,
    /// After this long of event time a value counts half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_life: Option<Duration>,
    /// Only events for which it is true are aggregated.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub where_true: Option<String>,
    /// The place in a cycle of the calendar, as sine and cosine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seasonal: Option<Seasonal>,
    /// The cycle's time zone, an IANA name; UTC when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// Computed from other features and fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub expression: Option<String>,
    /// A column of a lookup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text_not_yet")]
    pub lookup: Option<NotYet>,
}

/// What is made of the events in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Aggregate {
    /// Value minus previous value.
    Delta,
    /// Seconds since the key's previous event.
    SecondsSincePrevious,
    /// Events.
    Count,
    /// Events per second.
    Rate,
    /// Sum.
    Sum,
    /// Mean.
    Mean,
    /// Smallest.
    Min,
    /// Greatest.
    Max,
    /// Greatest minus smallest.
    Range,
    /// Sample standard deviation.
    Stddev,
    /// Distance from the window's mean in standard deviations, the current event left out of both.
    ZScore,
    /// Least squares of value on time, per second.
    Slope,
    /// Exponentially weighted mean.
    Ewma,
    /// A percentile.
    Percentile,
    /// Different values.
    Distinct,
    /// Whether the value is new.
    FirstSeen,
    /// Share of events with this value.
    Frequency,
}

/// The place in a cycle of the calendar, as sine and cosine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Seasonal {
    /// The day.
    HourOfDay,
    /// The week.
    DayOfWeek,
}
