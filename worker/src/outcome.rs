//! Every input record ends in exactly one outcome; here they are, and how they are counted.

use serde::Serialize;

use crate::shard::Trip;

/// Why a record became a dead letter: the header `dlq.error.class` and a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// No value, or an empty one.
    Empty,
    /// The value is not UTF-8.
    NotUtf8,
    /// The value is not one complete JSON text, or not an object.
    NotJson,
    /// A field that must be there is not, or is null.
    FieldMissing,
    /// A field has another type than declared.
    FieldWrongType,
    /// A number is not finite.
    FieldNotFinite,
    /// The entity key is missing, empty, too long or not UTF-8.
    Key,
    /// The event has no usable time.
    Timestamp,
    /// The event lies too far in the future.
    Future,
}

impl Class {
    /// All of them, in the order of their labels.
    pub const ALL: [Self; 9] = [
        Self::Empty,
        Self::NotUtf8,
        Self::NotJson,
        Self::FieldMissing,
        Self::FieldWrongType,
        Self::FieldNotFinite,
        Self::Key,
        Self::Timestamp,
        Self::Future,
    ];

    /// The name that users see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::NotUtf8 => "NotUtf8",
            Self::NotJson => "NotJson",
            Self::FieldMissing => "FieldMissing",
            Self::FieldWrongType => "FieldWrongType",
            Self::FieldNotFinite => "FieldNotFinite",
            Self::Key => "Key",
            Self::Timestamp => "Timestamp",
            Self::Future => "Future",
        }
    }
}

/// How a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Folded and scored.
    Scored,
    /// Written to the dead letters, byte for byte.
    DeadLettered(Class),
    /// Older than the allowed lateness: written to the late topic.
    Late,
    /// Its id was taken in before.
    Duplicate,
    /// Dropped by `source.filter`.
    Filtered,
    /// A field with `whenMissing: skip` is missing.
    Skipped,
}

/// Why a record goes no further than a step of the fold.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It has its outcome.
    Outcome(Outcome),
    /// The shard must stop before it.
    Tripped(Trip),
}

impl Ended {
    /// The outcome, if there is one.
    pub(crate) fn outcome(self) -> Result<Outcome, Trip> {
        match self {
            Self::Outcome(outcome) => Ok(outcome),
            Self::Tripped(trip) => Err(trip),
        }
    }
}

/// Counts of outcomes and of what came out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Events scored.
    pub scored: u64,
    /// Dead letters.
    pub dead_lettered: u64,
    /// Late records.
    pub late: u64,
    /// Duplicates.
    pub duplicate: u64,
    /// Filtered records.
    pub filtered: u64,
    /// Skipped records.
    pub skipped: u64,
    /// Scored events with a severity.
    pub anomalies: u64,
    /// Of them, by severity: warning, major, critical.
    pub by_severity: [u64; 3],
    /// Alerts written (opened, escalated, closed).
    pub alerts: u64,
    /// Dead letters by class, in the order of [`Class::ALL`].
    #[serde(skip)]
    pub by_class: [u64; Class::ALL.len()],
}

impl Tally {
    /// Counts one outcome.
    pub fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Scored => self.scored += 1,
            Outcome::DeadLettered(class) => {
                self.dead_lettered += 1;
                self.by_class[class as usize] += 1;
            }
            Outcome::Late => self.late += 1,
            Outcome::Duplicate => self.duplicate += 1,
            Outcome::Filtered => self.filtered += 1,
            Outcome::Skipped => self.skipped += 1,
        }
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        self.scored += other.scored;
        self.dead_lettered += other.dead_lettered;
        self.late += other.late;
        self.duplicate += other.duplicate;
        self.filtered += other.filtered;
        self.skipped += other.skipped;
        self.anomalies += other.anomalies;
        self.alerts += other.alerts;
        self.by_severity.iter_mut().zip(other.by_severity).for_each(|(mine, theirs)| *mine += theirs);
        self.by_class.iter_mut().zip(other.by_class).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// Records that ended, whatever the outcome.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.scored + self.dead_lettered + self.late + self.duplicate + self.filtered + self.skipped
    }
}
