//! What a plan remembers of one key.

use crate::ewma::Ewma;
use crate::pane::{Count, Extrema, Slope, Spread, Sums};
use crate::ring::{Ring, Timed};
use crate::text::{Text, TextRing};
use crate::window::Panes;

/// The state of one key. Which entry belongs to what is known to the [`Plan`](crate::Plan) that made it; windows and
/// rings take memory as their key is seen.
#[derive(Debug, Clone)]
pub struct KeyWindows {
    /// Greatest event time folded; it never moves back. `i64::MIN` before the first event.
    pub(crate) time_ms: i64,
    pub(crate) counts: Box<[Panes<Count>]>,
    pub(crate) sums: Box<[Panes<Sums>]>,
    pub(crate) extrema: Box<[Panes<Extrema>]>,
    pub(crate) spreads: Box<[Panes<Spread>]>,
    pub(crate) slopes: Box<[Panes<Slope>]>,
    /// `count` over `lastEvents`.
    pub(crate) tallies: Box<[u16]>,
    pub(crate) rings: Box<[Ring<f64>]>,
    pub(crate) timed_rings: Box<[Ring<Timed>]>,
    pub(crate) text_rings: Box<[TextRing]>,
    /// `delta`: the last value, NaN before the first.
    pub(crate) last_values: Box<[f64]>,
    /// `secondsSincePrevious`: the last event's time, `i64::MIN` before the first.
    pub(crate) last_times: Box<[i64]>,
    pub(crate) ewmas: Box<[Ewma]>,
    /// `whenMissing: previous`: the last number of a field, NaN before the first.
    pub(crate) previous_numbers: Box<[f64]>,
    /// `whenMissing: previous`: the last text of a field.
    pub(crate) previous_texts: Box<[Text]>,
}

impl KeyWindows {
    /// The key's time: the greatest event time folded, in milliseconds; `None` before the first event.
    #[must_use]
    pub fn time_ms(&self) -> Option<i64> {
        (self.time_ms != i64::MIN).then_some(self.time_ms)
    }

    /// Memory taken, inline and on the heap.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + family(&self.counts, Panes::heap_bytes)
            + family(&self.sums, Panes::heap_bytes)
            + family(&self.extrema, Panes::heap_bytes)
            + family(&self.spreads, Panes::heap_bytes)
            + family(&self.slopes, Panes::heap_bytes)
            + size_of_val(&*self.tallies)
            + family(&self.rings, Ring::heap_bytes)
            + family(&self.timed_rings, Ring::heap_bytes)
            + family(&self.text_rings, TextRing::heap_bytes)
            + size_of_val(&*self.last_values)
            + size_of_val(&*self.last_times)
            + size_of_val(&*self.ewmas)
            + size_of_val(&*self.previous_numbers)
            + family(&self.previous_texts, Text::heap_bytes)
    }
}

fn family<T>(states: &[T], heap_bytes: impl Fn(&T) -> usize) -> usize {
    size_of_val(states) + states.iter().map(heap_bytes).sum::<usize>()
}
