//! What a plan remembers of one key.

use crate::memory::Memory;
use crate::text::{Text, TextRing};

/// The state of one key. What its words mean is known to the [`Plan`](crate::Plan) that made it; windows and rings take
/// memory as their key is seen.
#[derive(Debug, Clone)]
pub struct KeyWindows {
    /// Greatest event time folded; it never moves back. `i64::MIN` before the first event.
    pub(crate) time_ms: i64,
    /// Everything that is a number.
    pub(crate) memory: Memory,
    pub(crate) text_rings: Box<[TextRing]>,
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
            + self.memory.heap_bytes()
            + family(&self.text_rings, TextRing::heap_bytes)
            + family(&self.previous_texts, Text::heap_bytes)
    }
}

fn family<T>(states: &[T], heap_bytes: impl Fn(&T) -> usize) -> usize {
    size_of_val(states) + states.iter().map(heap_bytes).sum::<usize>()
}
