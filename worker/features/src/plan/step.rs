//! The pieces of a compiled plan.

use chrono_tz::Tz;
use faultline_numerics::hash::Fingerprint;

use crate::pane::{Count, Extrema, Pane, Reading, Slope, Spread, Sums};
use crate::spec::Cycle;
use crate::window::Shape;

/// The filter that every event passes.
pub(super) const ALL_EVENTS: usize = 0;

/// Most distinct `where` of a plan: their outcomes for an event are the bits of a `u128`, and one means "all events".
pub(super) const MOST_FILTERS: usize = 127;

/// Where a state takes its values from. During a fold the slots are the columns, then the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Input {
    /// Slot of the field.
    pub(super) slot: usize,
    /// Which events.
    pub(super) filter: usize,
}

/// A column that is a field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Direct {
    pub(super) column: usize,
    pub(super) slot: usize,
}

/// A field with `whenMissing: previous`, perhaps declared under several names.
#[derive(Debug, Clone)]
pub(super) struct Previous {
    pub(super) slots: Vec<usize>,
}

/// Two columns from `column` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seasonal {
    pub(super) column: usize,
    pub(super) cycle: Cycle,
    pub(super) time_zone: Tz,
}

/// A column read from a statistic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) column: usize,
    pub(super) reading: Reading,
    /// Panes of the time window; not used by rings.
    pub(super) panes: i64,
}

/// Time windows of equal field, filter, kind and pane: they share their panes.
#[derive(Debug, Clone)]
pub(super) struct WindowFamily {
    /// `None`: events are counted, values do not matter.
    pub(super) slot: Option<usize>,
    pub(super) filter: usize,
    pub(super) shape: Shape,
    /// Read before the event is taken in: `zScore`.
    pub(super) before: Vec<Read>,
    /// Read after it.
    pub(super) after: Vec<Read>,
}

/// Kinds of statistics that time windows keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WindowKind {
    Counts,
    Sums,
    Extrema,
    Spreads,
    Slopes,
}

impl WindowKind {
    pub(super) const ALL: [Self; 5] = [Self::Counts, Self::Sums, Self::Extrema, Self::Spreads, Self::Slopes];

    /// The statistic that answers a reading.
    pub(super) fn of(reading: Reading) -> Self {
        match reading {
            Reading::Count | Reading::Rate(_) => Self::Counts,
            Reading::Sum | Reading::Mean => Self::Sums,
            Reading::Min | Reading::Max | Reading::Range => Self::Extrema,
            Reading::Stddev | Reading::ZScore => Self::Spreads,
            Reading::Slope => Self::Slopes,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counts => Count::KIND,
            Self::Sums => Sums::KIND,
            Self::Extrema => Extrema::KIND,
            Self::Spreads => Spread::KIND,
            Self::Slopes => Slope::KIND,
        }
    }
}

/// `count` over `lastEvents`.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub(super) filter: usize,
    pub(super) capacity: u16,
    pub(super) columns: Vec<usize>,
}

/// A ring of numbers, with times or without.
#[derive(Debug, Clone)]
pub(super) struct RingStep {
    pub(super) input: Input,
    pub(super) capacity: usize,
    /// Read before the event is taken in: `zScore`.
    pub(super) before: Vec<Read>,
    /// Read after it.
    pub(super) after: Vec<Read>,
    /// Columns with the oldest value before the event is taken in: `valuesAgo`.
    pub(super) oldest: Vec<usize>,
}

/// `valuesAgo` of a text. The ring also holds the current event, and is read after it.
#[derive(Debug, Clone)]
pub(super) struct TextRingStep {
    pub(super) slot: usize,
    pub(super) capacity: usize,
    pub(super) columns: Vec<usize>,
}

/// `delta`.
#[derive(Debug, Clone)]
pub(super) struct LastValue {
    pub(super) input: Input,
    pub(super) columns: Vec<usize>,
}

/// `secondsSincePrevious`.
#[derive(Debug, Clone)]
pub(super) struct LastTime {
    pub(super) filter: usize,
    pub(super) columns: Vec<usize>,
}

/// `ewma`.
#[derive(Debug, Clone)]
pub(super) struct EwmaStep {
    pub(super) input: Input,
    pub(super) half_life_ms: i64,
    pub(super) columns: Vec<usize>,
}

/// One piece of a key's state.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) fingerprint: Fingerprint,
    pub(super) canonical: String,
    pub(super) place: Place,
    pub(super) features: Vec<usize>,
}

/// Where in a [`KeyWindows`](crate::KeyWindows) a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Window(WindowKind, usize),
    Tally(usize),
    Ring(usize),
    TimedRing(usize),
    TextRing(usize),
    LastValue(usize),
    LastTime(usize),
    Ewma(usize),
    PreviousNumber(usize),
    PreviousText(usize),
}
