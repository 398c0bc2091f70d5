//! What a pipeline declares: fields, features, windows.

use crate::expression::Ast;
use crate::path::PathId;

/// A declared field: a typed value taken from a path of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldSpec {
    /// Its name.
    pub name: String,
    /// Where it is in the event.
    pub path: PathId,
    /// Number or text.
    pub kind: FieldKind,
    /// What happens to an event without it.
    pub when_missing: WhenMissing,
    /// The path as written; part of the fingerprint of everything that reads the field.
    pub path_name: String,
}

/// Type of a field or of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A finite double.
    Number,
    /// A text.
    Text,
}

/// What happens to an event that lacks a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenMissing {
    /// It is a dead letter (never reaches the plan).
    Reject,
    /// It is skipped and counted (never reaches the plan).
    Skip,
    /// The field is 0 (filled in before the plan).
    Zero,
    /// The field keeps its last value of the key (filled in by the plan); absent if there is none.
    Previous,
}

/// A declared feature.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureSpec {
    /// Its name, unique within the plan.
    pub name: String,
    /// What it computes.
    pub source: FeatureSource,
    /// `where`: limits an aggregate to events for which it is true.
    pub filter: Option<Ast>,
}

/// What a feature computes.
#[derive(Debug, Clone, PartialEq)]
pub enum FeatureSource {
    /// A field of the event.
    Field {
        /// Name of the field.
        field: String,
    },
    /// A field's value some accepted events of the key ago.
    ValuesAgo {
        /// Name of the field.
        field: String,
        /// How many events ago, 1 to 1,024.
        events: u16,
    },
    /// An aggregate over a window, or a memory of what came before.
    Aggregate {
        /// Name of the field; none for `count`, `rate`, `secondsSincePrevious`.
        field: Option<String>,
        /// What is computed.
        aggregate: Aggregate,
        /// Over what; none for `delta`, `secondsSincePrevious`, `ewma`.
        extent: Option<Extent>,
    },
    /// The event time's place in a cycle, as the two columns `name.sin` and `name.cos`.
    Seasonal {
        /// The cycle.
        cycle: Cycle,
        /// The zone in which it is local time.
        time_zone: chrono_tz::Tz,
    },
    /// An expression over features and fields.
    Expression(Ast),
}

/// Aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Events.
    Count,
    /// Events per second of the window.
    Rate,
    /// Sum of the values present; 0 without any.
    Sum,
    /// Mean of the values present.
    Mean,
    /// Smallest value.
    Min,
    /// Greatest value.
    Max,
    /// Greatest − smallest value.
    Range,
    /// Sample standard deviation.
    Stddev,
    /// (value − mean) / stddev of the window without the current event.
    ZScore,
    /// Least squares of value on event time, per second.
    Slope,
    /// Value − previous value present.
    Delta,
    /// Seconds since the previous event, ≥ 0.
    SecondsSincePrevious,
    /// Mean with weights that halve with every half-life of event time.
    Ewma {
        /// The half-life.
        half_life_ms: i64,
    },
}

impl Aggregate {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Rate => "rate",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Range => "range",
            Self::Stddev => "stddev",
            Self::ZScore => "zScore",
            Self::Slope => "slope",
            Self::Delta => "delta",
            Self::SecondsSincePrevious => "secondsSincePrevious",
            Self::Ewma { .. } => "ewma",
        }
    }
}

/// What an aggregate looks back on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// `window`: a stretch of event time.
    Time {
        /// Its length.
        window_ms: i64,
    },
    /// `lastEvents`: so many (matching) events, the current one included.
    Events {
        /// 1 to 1,024.
        count: u16,
    },
}

/// Cycles of local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cycle {
    /// The day, from midnight.
    HourOfDay,
    /// The week, from Monday's midnight.
    DayOfWeek,
}
