//! The panes of a time window of one key: sparse, ordered, aligned to the epoch.
//!
//! ```text
//!   closed, only those that hold events        running
//!   [ 0 s ] [ 5 s ]         [ 20 s ]  …        [ 55 s … T … 60 s )
//!   └────────────── total ──────────┘     ⊕    └──── joined when read
//! ```
//! The total of the closed panes is computed anew, in their order, when a pane closes or takes a late event; so its bits
//! are a function of the panes, and whatever leaves the window leaves nothing behind.

mod closed;

use std::marker::PhantomData;

use faultline_numerics::image::{ImageError, Reader, Writer};

use crate::memory::{Memory, Stretch};
use crate::pane::Pane;
use closed::{Closed, closed_words, put_whole, whole, whole_words};

/// Division of event time: how long a pane is, how many make the longest window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) pane_ms: i64,
    pub(crate) panes: i64,
}

impl Shape {
    /// Shortest pane: finer ones cost memory and tell nothing about streams with jitter.
    const SHORTEST_PANE_MS: i64 = 100;

    /// pane = max(100 ms, ⌈window / 60⌉); a window is its last ⌈window / pane⌉ panes.
    pub(crate) fn of_window(window_ms: i64) -> Self {
        let pane_ms = Self::SHORTEST_PANE_MS.max((window_ms + 59) / 60);
        Self { pane_ms, panes: (window_ms + pane_ms - 1) / pane_ms }
    }

    /// Start of the pane that holds a time.
    fn start_of(self, time_ms: i64) -> i64 {
        time_ms - time_ms.rem_euclid(self.pane_ms)
    }

    /// Start of the oldest of `panes` panes of which the last one ends at `end_ms`.
    fn oldest(self, end_ms: i64, panes: i64) -> i64 {
        end_ms - panes * self.pane_ms
    }
}

/// The panes of one key and one family of windows: where they are in the key's [`Memory`].
///
/// ```text
/// head:    end of the running pane · places of the closed panes · running · total
/// stretch: numbers of the closed panes, a ring · their counts, two in a word
/// ```
/// Bit `i` of the places: the pane `i + 1` before the running one holds events. A window has at most 60 panes, see
/// [`Shape::of_window`]. Counts of closed panes end at 2³² − 1: a key would need 8,000 events a second for six days,
/// the pane of a window of a year.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panes<P> {
    head: usize,
    stretch: usize,
    shape: Shape,
    kind: PhantomData<P>,
}

impl<P: Pane> Panes<P> {
    /// End of the running pane, exclusive; `i64::MIN` before the first event.
    const END: usize = 0;
    const PLACES: usize = 1;
    const RUNNING: usize = 2;
    const TOTAL: usize = Self::RUNNING + whole_words::<P>();
    pub(crate) const HEAD_WORDS: usize = Self::TOTAL + whole_words::<P>();

    #[inline]
    pub(crate) fn at(head: usize, stretch: usize, shape: Shape) -> Self {
        Self { head, stretch, shape, kind: PhantomData }
    }

    /// Puts the head of a key that was never seen.
    pub(crate) fn put_empty(self, memory: &mut Memory) {
        let head = self.head_mut(memory);
        head[Self::END] = i64::MIN as u64;
        put_whole(&P::default(), &mut head[Self::RUNNING..]);
        put_whole(&P::default(), &mut head[Self::TOTAL..]);
    }

    #[inline]
    fn head(self, memory: &Memory) -> &[u64] {
        &memory.words[self.head..self.head + Self::HEAD_WORDS]
    }

    #[inline]
    fn head_mut(self, memory: &mut Memory) -> &mut [u64] {
        &mut memory.words[self.head..self.head + Self::HEAD_WORDS]
    }

    #[inline]
    fn end_ms(self, memory: &Memory) -> i64 {
        self.head(memory)[Self::END] as i64
    }

    #[inline]
    fn places(self, memory: &Memory) -> u64 {
        self.head(memory)[Self::PLACES]
    }

    /// Moves the running pane to the one that holds the key's time.
    #[inline]
    pub(crate) fn advance(self, memory: &mut Memory, now_ms: i64) {
        if now_ms >= self.end_ms(memory) {
            self.close(memory, now_ms);
        }
    }

    #[inline(never)]
    fn close(self, memory: &mut Memory, now_ms: i64) {
        let Shape { pane_ms, panes } = self.shape;
        let head = self.head_mut(memory);
        let end_ms = head[Self::END] as i64;
        if end_ms == i64::MIN {
            head[Self::END] = (self.shape.start_of(now_ms) + pane_ms) as u64;
            return;
        }
        let steps = (now_ms - end_ms) / pane_ms + 1;
        head[Self::END] = (end_ms + steps * pane_ms) as u64;
        let before = head[Self::PLACES];
        let running: P = whole(&head[Self::RUNNING..]);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let kept = before.checked_shl(steps).unwrap_or(0) & nearest(panes - 1);
        let closes = !running.is_empty() && i64::from(steps) < panes;
        if !running.is_empty() {
            put_whole(&P::default(), &mut head[Self::RUNNING..]);
        }
        head[Self::PLACES] = if closes { kept | 1 << (steps - 1) } else { kept };
        let (held, left) = (before.count_ones() as usize, (before.count_ones() - kept.count_ones()) as usize);
        if left > 0 {
            let Stretch { capacity, oldest, .. } = memory.stretch(self.stretch);
            memory.set_oldest(
                self.stretch,
                if oldest + left < capacity { oldest + left } else { oldest + left - capacity },
            );
        }
        if closes {
            self.reserve(memory, held - left);
            self.closed_mut(memory).put(held - left, &running);
        }
        if closes || left > 0 {
            self.sum_up(memory);
        }
    }

    #[inline]
    fn sum_up(self, memory: &mut Memory) {
        let held = self.places(memory).count_ones() as usize;
        let total = self.closed(memory).total(0, held);
        put_whole(&total, &mut self.head_mut(memory)[Self::TOTAL..]);
    }

    #[inline]
    fn closed(self, memory: &Memory) -> Closed<&[u64], P> {
        let stretch = memory.stretch(self.stretch);
        Closed::of(&memory.words[stretch.from..stretch.from + closed_words::<P>(stretch.capacity)], stretch)
    }

    #[inline]
    fn closed_mut(self, memory: &mut Memory) -> Closed<&mut [u64], P> {
        let stretch = memory.stretch(self.stretch);
        Closed::of(&mut memory.words[stretch.from..stretch.from + closed_words::<P>(stretch.capacity)], stretch)
    }

    /// Room for one more than are `held`; grows by doubling, but never beyond what the window can hold.
    #[inline]
    fn reserve(self, memory: &mut Memory, held: usize) {
        if held == memory.stretch(self.stretch).capacity {
            let most = usize::try_from(self.shape.panes - 1).unwrap_or(usize::MAX);
            self.grow(memory, held, (held + held.max(2)).min(most));
        }
    }

    #[inline(never)]
    fn grow(self, memory: &mut Memory, held: usize, capacity: usize) {
        let panes: Vec<P> = (0..held).map(|at| self.closed(memory).get(at)).collect();
        let before = memory.stretch(self.stretch).capacity;
        memory.grow(self.stretch, capacity, closed_words::<P>(before), closed_words::<P>(capacity));
        memory.set_oldest(self.stretch, 0);
        let mut closed = self.closed_mut(memory);
        panes.iter().enumerate().for_each(|(at, pane)| closed.put(at, pane));
    }

    /// Takes in an event whose time is not after the key's. What lies before the window is of no consequence.
    #[inline]
    pub(crate) fn insert(self, memory: &mut Memory, time_ms: i64, value: f64) {
        let head = self.head_mut(memory);
        let end_ms = head[Self::END] as i64;
        if time_ms >= end_ms - self.shape.pane_ms {
            let mut running: P = whole(&head[Self::RUNNING..]);
            running.add(time_ms, value);
            put_whole(&running, &mut head[Self::RUNNING..]);
        } else if time_ms >= self.shape.oldest(end_ms, self.shape.panes) {
            self.insert_late(memory, time_ms, value);
        }
    }

    #[inline(never)]
    fn insert_late(self, memory: &mut Memory, time_ms: i64, value: f64) {
        let running_ms = self.end_ms(memory) - self.shape.pane_ms;
        let place = (running_ms - self.shape.start_of(time_ms)) / self.shape.pane_ms - 1;
        let places = self.places(memory);
        let at = (places >> place >> 1).count_ones() as usize;
        if places >> place & 1 == 0 {
            let held = places.count_ones() as usize;
            self.reserve(memory, held);
            self.closed_mut(memory).insert(at, held);
            self.head_mut(memory)[Self::PLACES] |= 1 << place;
        }
        let mut closed = self.closed_mut(memory);
        let mut pane = closed.get(at);
        pane.add(time_ms, value);
        closed.put(at, &pane);
        self.sum_up(memory);
    }

    #[inline]
    fn running(self, memory: &Memory) -> P {
        whole(&self.head(memory)[Self::RUNNING..])
    }

    /// The longest window.
    #[inline]
    pub(crate) fn longest(self, memory: &Memory) -> P {
        let total: P = whole(&self.head(memory)[Self::TOTAL..]);
        total.joined(&self.running(memory))
    }

    /// A window of fewer panes than the longest.
    pub(crate) fn last(self, memory: &Memory, panes: i64) -> P {
        let places = self.places(memory);
        let held = places.count_ones() as usize;
        let from = held - (places & nearest(panes - 1)).count_ones() as usize;
        self.closed(memory).total(from, held).joined(&self.running(memory))
    }

    /// Memory when every pane holds events.
    pub(crate) fn most_bytes(shape: Shape) -> usize {
        let closed = usize::try_from(shape.panes - 1).unwrap_or(usize::MAX);
        (1 + Self::HEAD_WORDS + closed_words::<P>(closed)) * size_of::<u64>()
    }

    pub(crate) fn is_empty(self, memory: &Memory) -> bool {
        self.places(memory) == 0 && self.running(memory).is_empty()
    }

    /// The end of the running pane in panes, the running pane, then the closed ones from the newest to the oldest, each
    /// with its distance to the one before. The total is not written: it is a function of the panes.
    pub(crate) fn write(self, memory: &Memory, image: &mut Writer) {
        image.signed(self.end_ms(memory) / self.shape.pane_ms);
        self.running(memory).write(image);
        let mut places = self.places(memory);
        let mut held = places.count_ones() as usize;
        image.varint(held as u64);
        while places != 0 {
            let distance = places.trailing_zeros() + 1;
            image.varint(u64::from(distance));
            held -= 1;
            self.closed(memory).get(held).write(image);
            places = places.checked_shr(distance).unwrap_or(0);
        }
    }

    /// Panes that the window no longer reaches (it has become shorter) are left out.
    pub(crate) fn restore(self, memory: &mut Memory, image: &mut Reader<'_>) -> Result<(), ImageError> {
        let invalid = |found: u64| ImageError::Invalid { what: "a pane's place", found };
        let end = image.signed()?;
        let end_ms = end.checked_mul(self.shape.pane_ms).filter(|end_ms| end_ms.abs() <= FARTHEST_MS * 2);
        let end_ms = end_ms.ok_or_else(|| invalid(end as u64))?;
        let running = P::restore(image)?;
        let (mut places, mut before, mut closed) = (0, 0u64, Vec::new());
        for _ in 0..image.count(2)? {
            let distance = image.varint()?;
            let pane = P::restore(image)?;
            before = before.checked_add(distance).filter(|_| distance > 0).ok_or_else(|| invalid(distance))?;
            if pane.is_empty() {
                return Err(ImageError::Invalid { what: "the events of a closed pane", found: 0 });
            }
            if before < self.shape.panes as u64 {
                places |= 1 << (before - 1);
                closed.push(pane);
            }
        }
        if !closed.is_empty() {
            self.grow(memory, 0, closed.len());
        }
        for (at, pane) in closed.iter().rev().enumerate() {
            self.closed_mut(memory).put(at, pane);
        }
        let head = self.head_mut(memory);
        head[Self::END] = end_ms as u64;
        head[Self::PLACES] = places;
        put_whole(&running, &mut head[Self::RUNNING..]);
        self.sum_up(memory);
        Ok(())
    }
}

/// The places of the `count` newest closed panes.
fn nearest(count: i64) -> u64 {
    (1 << count) - 1
}

/// Event times are kept within ± 2^53 ms: exact as doubles, and far from overflow.
pub(crate) const FARTHEST_MS: i64 = 1 << 53;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pane::{Count, Reading, Sums};

    #[test]
    fn a_window_is_cut_into_at_most_sixty_panes() {
        for (window_ms, pane_ms, panes) in [
            (100, 100, 1),
            (150, 100, 2),
            (5_950, 100, 60),
            (6_001, 101, 60),
            (300_000, 5_000, 60),
            (300_001, 5_001, 60),
        ] {
            assert_eq!(Shape::of_window(window_ms), Shape { pane_ms, panes }, "{window_ms}");
        }
    }

    fn alone<P: Pane>(window_ms: i64) -> (Panes<P>, Memory) {
        let mut memory = Memory::new(1, Panes::<P>::HEAD_WORDS);
        let panes = Panes::at(Memory::first_head(1), 0, Shape::of_window(window_ms));
        panes.put_empty(&mut memory);
        (panes, memory)
    }

    #[test]
    fn what_leaves_the_window_leaves_nothing_behind() {
        let (panes, mut memory) = alone::<Sums>(1_000);
        for (time_ms, value) in [(0, 1e300), (950, 1.25), (1_050, 2.0)] {
            panes.advance(&mut memory, time_ms);
            panes.insert(&mut memory, time_ms, value);
        }
        assert_eq!(panes.longest(&memory).read(Reading::Sum, 0.0), 3.25);
        panes.advance(&mut memory, 100_000);
        assert!(panes.is_empty(&memory) && panes.longest(&memory).is_empty());
    }

    #[test]
    fn a_late_event_makes_the_pane_that_was_empty() {
        let (panes, mut memory) = alone::<Count>(1_000);
        panes.advance(&mut memory, 950);
        for time_ms in [950, 500, 520, 0, -50] {
            panes.insert(&mut memory, time_ms, 0.0);
        }
        assert_eq!(panes.longest(&memory).read(Reading::Count, 0.0), 4.0);
        assert_eq!(panes.last(&memory, 5).read(Reading::Count, 0.0), 3.0);
        assert_eq!(panes.last(&memory, 4).read(Reading::Count, 0.0), 1.0);
        assert_eq!(panes.places(&memory).count_ones(), 2);
    }
}
