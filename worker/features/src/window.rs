//! The panes of a time window of one key: sparse, ordered, aligned to the epoch.
//!
//! ```text
//!   closed, only those that hold events        running
//!   [ 0 s ] [ 5 s ]         [ 20 s ]  …        [ 55 s … T … 60 s )
//!   └────────────── total ──────────┘     ⊕    └──── joined when read
//! ```
//! The total of the closed panes is computed anew, in their order, when a pane closes or takes a late event; so its bits
//! are a function of the panes, and whatever leaves the window leaves nothing behind.

use std::collections::VecDeque;

use faultline_numerics::image::{ImageError, Reader, Writer};

use crate::pane::Pane;

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

/// The panes of one key and one family of windows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Panes<P> {
    /// End of the running pane, exclusive; `i64::MIN` before the first event.
    end_ms: i64,
    running: P,
    total: P,
    closed: VecDeque<Closed<P>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Closed<P> {
    start_ms: i64,
    pane: P,
}

impl<P: Pane> Default for Panes<P> {
    fn default() -> Self {
        Self { end_ms: i64::MIN, running: P::default(), total: P::default(), closed: VecDeque::new() }
    }
}

impl<P: Pane> Panes<P> {
    /// Moves the running pane to the one that holds the key's time.
    #[inline]
    pub(crate) fn advance(&mut self, now_ms: i64, shape: Shape) {
        if now_ms >= self.end_ms {
            self.close(now_ms, shape);
        }
    }

    fn close(&mut self, now_ms: i64, shape: Shape) {
        let closed_start_ms = self.end_ms.saturating_sub(shape.pane_ms);
        self.end_ms = shape.start_of(now_ms) + shape.pane_ms;
        let oldest_ms = shape.oldest(self.end_ms, shape.panes);
        let before = self.closed.len();
        while self.closed.front().is_some_and(|oldest| oldest.start_ms < oldest_ms) {
            self.closed.pop_front();
        }
        let running = std::mem::take(&mut self.running);
        let closes = !running.is_empty() && closed_start_ms >= oldest_ms;
        if closes {
            self.reserve(shape);
            self.closed.push_back(Closed { start_ms: closed_start_ms, pane: running });
        }
        if closes || self.closed.len() < before {
            self.total = P::total(self.closed.iter().map(|closed| &closed.pane));
        }
    }

    /// Grows by doubling, but never beyond what the window can hold.
    fn reserve(&mut self, shape: Shape) {
        let held = self.closed.len();
        if held == self.closed.capacity() {
            let most = usize::try_from(shape.panes - 1).unwrap_or(usize::MAX);
            self.closed.reserve_exact(held.max(2).min(most.saturating_sub(held).max(1)));
        }
    }

    /// Takes in an event whose time is not after the key's. What lies before the window is of no consequence.
    #[inline]
    pub(crate) fn insert(&mut self, time_ms: i64, value: f64, shape: Shape) {
        if time_ms >= self.end_ms - shape.pane_ms {
            self.running.add(time_ms, value);
        } else if time_ms >= shape.oldest(self.end_ms, shape.panes) {
            self.insert_late(time_ms, value, shape);
        }
    }

    fn insert_late(&mut self, time_ms: i64, value: f64, shape: Shape) {
        let start_ms = shape.start_of(time_ms);
        let at = match self.closed.binary_search_by_key(&start_ms, |closed| closed.start_ms) {
            Ok(at) => at,
            Err(at) => {
                self.reserve(shape);
                self.closed.insert(at, Closed { start_ms, pane: P::default() });
                at
            }
        };
        self.closed[at].pane.add(time_ms, value);
        self.total = P::total(self.closed.iter().map(|closed| &closed.pane));
    }

    /// The longest window.
    #[inline]
    pub(crate) fn longest(&self) -> P {
        self.total.joined(&self.running)
    }

    /// A window of fewer panes than the longest.
    pub(crate) fn last(&self, panes: i64, shape: Shape) -> P {
        let oldest_ms = shape.oldest(self.end_ms, panes);
        let from = self.closed.partition_point(|closed| closed.start_ms < oldest_ms);
        P::total(self.closed.range(from..).map(|closed| &closed.pane)).joined(&self.running)
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.closed.capacity() * size_of::<Closed<P>>()
    }

    /// Memory when every pane holds events.
    pub(crate) fn most_bytes(panes: usize) -> usize {
        size_of::<Self>() + panes * size_of::<Closed<P>>()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.closed.is_empty()
    }

    /// The end of the running pane in panes, the running pane, then the closed ones from the newest to the oldest, each
    /// with its distance to the one before. The total is not written: it is a function of the panes.
    pub(crate) fn write(&self, image: &mut Writer, shape: Shape) {
        image.signed(self.end_ms / shape.pane_ms);
        self.running.write(image);
        image.varint(self.closed.len() as u64);
        let mut newer_ms = self.end_ms - shape.pane_ms;
        for closed in self.closed.iter().rev() {
            image.varint(((newer_ms - closed.start_ms) / shape.pane_ms) as u64);
            closed.pane.write(image);
            newer_ms = closed.start_ms;
        }
    }

    /// Panes that the window no longer reaches (it has become shorter) are left out.
    pub(crate) fn restore(image: &mut Reader<'_>, shape: Shape) -> Result<Self, ImageError> {
        let invalid = |found: i64| ImageError::Invalid { what: "a pane's place", found: found as u64 };
        let end = image.signed()?;
        let end_ms = end.checked_mul(shape.pane_ms).filter(|end_ms| end_ms.abs() <= FARTHEST_MS * 2);
        let end_ms = end_ms.ok_or_else(|| invalid(end))?;
        let running = P::restore(image)?;
        let count = image.count(2)?;
        let oldest_ms = shape.oldest(end_ms, shape.panes);
        let mut start_ms = end_ms - shape.pane_ms;
        let mut closed = VecDeque::new();
        closed.reserve_exact(count.min(usize::try_from(shape.panes).unwrap_or(0)));
        for _ in 0..count {
            let distance = image.varint()?;
            let pane = P::restore(image)?;
            let distance_ms = i64::try_from(distance).ok().and_then(|panes| panes.checked_mul(shape.pane_ms));
            start_ms = distance_ms
                .filter(|distance_ms| *distance_ms > 0)
                .and_then(|distance_ms| start_ms.checked_sub(distance_ms))
                .ok_or_else(|| invalid(distance as i64))?;
            if start_ms >= oldest_ms {
                closed.push_front(Closed { start_ms, pane });
            }
        }
        let total = P::total(closed.iter().map(|closed| &closed.pane));
        Ok(Self { end_ms, running, total, closed })
    }
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

    #[test]
    fn what_leaves_the_window_leaves_nothing_behind() {
        let shape = Shape::of_window(1_000);
        let mut panes: Panes<Sums> = Panes::default();
        for (time_ms, value) in [(0, 1e300), (950, 1.25), (1_050, 2.0)] {
            panes.advance(time_ms, shape);
            panes.insert(time_ms, value, shape);
        }
        assert_eq!(panes.longest().read(Reading::Sum, 0.0), 3.25);
        panes.advance(100_000, shape);
        assert!(panes.is_empty() && panes.longest().is_empty());
    }

    #[test]
    fn a_late_event_makes_the_pane_that_was_empty() {
        let shape = Shape::of_window(1_000);
        let mut panes: Panes<Count> = Panes::default();
        panes.advance(950, shape);
        for time_ms in [950, 500, 520, 0, -50] {
            panes.insert(time_ms, 0.0, shape);
        }
        assert_eq!(panes.longest().read(Reading::Count, 0.0), 4.0);
        assert_eq!(panes.last(5, shape).read(Reading::Count, 0.0), 3.0);
        assert_eq!(panes.last(4, shape).read(Reading::Count, 0.0), 1.0);
        assert_eq!(panes.closed.len(), 2);
    }
}
