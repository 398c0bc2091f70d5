//! Where the states of a plan are in the memory of a key.
//!
//! Heads stand in the order in which an event reads them.

use super::Plan;
use super::step::{WindowFamily, WindowKind};
use crate::ewma::Ewma;
use crate::key::KeyWindows;
use crate::memory::Memory;
use crate::pane::{Count, Extrema, Pane, Slope, Spread, Sums};
use crate::ring::{Item, Ring, Timed};
use crate::text::{Text, TextRing};
use crate::window::Panes;

/// First word of each kind of state, and the stretches of those that grow.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    /// By [`WindowKind`].
    windows: [Span; WindowKind::ALL.len()],
    rings: Span,
    timed_rings: Span,
    pub(super) tallies: usize,
    pub(super) last_values: usize,
    pub(super) last_times: usize,
    ewmas: usize,
    pub(super) previous_numbers: usize,
    /// The numbers of a key that was never seen.
    fresh: Memory,
}

/// Where states of one kind begin.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    head: usize,
    stretch: usize,
}

/// Hands out words and stretches.
struct Cursor {
    head: usize,
    stretch: usize,
}

impl Cursor {
    fn take(&mut self, states: usize, head_words: usize, stretches: usize) -> Span {
        let span = Span { head: self.head, stretch: self.stretch };
        self.head += states * head_words;
        self.stretch += states * stretches;
        span
    }
}

impl Plan {
    /// Gives every state its place; the last step of compiling.
    pub(super) fn lay_out_memory(&mut self) {
        let growing = self.windows.iter().map(Vec::len).sum::<usize>() + self.rings.len() + self.timed_rings.len();
        let first = Memory::first_head(growing);
        let mut cursor = Cursor { head: first, stretch: 0 };
        let mut layout =
            Layout { previous_numbers: cursor.take(self.previous_numbers.len(), 1, 0).head, ..Layout::default() };
        for kind in WindowKind::ALL {
            layout.windows[kind as usize] = cursor.take(self.windows[kind as usize].len(), head_words(kind), 1);
        }
        layout.rings = cursor.take(self.rings.len(), 1, 1);
        layout.timed_rings = cursor.take(self.timed_rings.len(), 1, 1);
        layout.tallies = cursor.take(self.tallies.len(), 1, 0).head;
        layout.last_values = cursor.take(self.last_values.len(), 1, 0).head;
        layout.last_times = cursor.take(self.last_times.len(), 1, 0).head;
        layout.ewmas = cursor.take(self.ewmas.len(), Ewma::WORDS, 0).head;
        let mut fresh = Memory::new(growing, cursor.head - first);
        for (from, count) in
            [(layout.previous_numbers, self.previous_numbers.len()), (layout.last_values, self.last_values.len())]
        {
            fresh.words[from..from + count].fill(f64::NAN.to_bits());
        }
        fresh.words[layout.last_times..layout.last_times + self.last_times.len()].fill(i64::MIN as u64);
        self.layout = layout;
        self.put_empty::<Count>(WindowKind::Counts, &mut fresh);
        self.put_empty::<Sums>(WindowKind::Sums, &mut fresh);
        self.put_empty::<Extrema>(WindowKind::Extrema, &mut fresh);
        self.put_empty::<Spread>(WindowKind::Spreads, &mut fresh);
        self.put_empty::<Slope>(WindowKind::Slopes, &mut fresh);
        self.layout.fresh = fresh;
    }

    fn put_empty<P: Pane>(&self, kind: WindowKind, memory: &mut Memory) {
        for at in 0..self.windows[kind as usize].len() {
            self.panes::<P>(kind, at).put_empty(memory);
        }
    }

    pub(super) fn empty_key(&self) -> KeyWindows {
        KeyWindows {
            time_ms: i64::MIN,
            memory: self.layout.fresh.clone(),
            text_rings: empty::<_, TextRing>(&self.text_rings),
            previous_texts: empty::<_, Text>(&self.previous_texts),
        }
    }

    #[inline]
    pub(super) fn panes<P: Pane>(&self, kind: WindowKind, at: usize) -> Panes<P> {
        let WindowFamily { shape, .. } = self.windows[kind as usize][at];
        let Span { head, stretch } = self.layout.windows[kind as usize];
        Panes::at(head + at * Panes::<P>::HEAD_WORDS, stretch + at, shape)
    }

    #[inline]
    pub(super) fn ring(&self, at: usize) -> Ring<f64> {
        ring(self.layout.rings, at, self.rings[at].capacity)
    }

    #[inline]
    pub(super) fn timed_ring(&self, at: usize) -> Ring<Timed> {
        ring(self.layout.timed_rings, at, self.timed_rings[at].capacity)
    }

    /// First word of an EWMA.
    #[inline]
    pub(super) fn ewma(&self, at: usize) -> usize {
        self.layout.ewmas + at * Ewma::WORDS
    }
}

fn head_words(kind: WindowKind) -> usize {
    match kind {
        WindowKind::Counts => Panes::<Count>::HEAD_WORDS,
        WindowKind::Sums => Panes::<Sums>::HEAD_WORDS,
        WindowKind::Extrema => Panes::<Extrema>::HEAD_WORDS,
        WindowKind::Spreads => Panes::<Spread>::HEAD_WORDS,
        WindowKind::Slopes => Panes::<Slope>::HEAD_WORDS,
    }
}

#[inline]
fn ring<T: Item>(span: Span, at: usize, capacity: usize) -> Ring<T> {
    Ring::at(span.head + at, span.stretch + at, capacity)
}

fn empty<S, T: Default>(steps: &[S]) -> Box<[T]> {
    steps.iter().map(|_| T::default()).collect()
}
