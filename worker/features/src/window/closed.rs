//! How statistics stand in words: a running or total one whole, closed ones packed in a stretch.

use std::marker::PhantomData;

use crate::memory::Stretch;
use crate::pane::Pane;

/// Words of a statistic with a count of its own.
pub(super) const fn whole_words<P: Pane>() -> usize {
    P::IS_COUNTED as usize + P::NUMBERS
}

#[inline]
pub(super) fn whole<P: Pane>(words: &[u64]) -> P {
    let words = &words[..whole_words::<P>()];
    if P::IS_COUNTED { P::of(words[0], &words[1..]) } else { P::of(0, words) }
}

#[inline]
pub(super) fn put_whole<P: Pane>(statistic: &P, words: &mut [u64]) {
    let words = &mut words[..whole_words::<P>()];
    if P::IS_COUNTED {
        words[0] = statistic.count();
        statistic.put_numbers(&mut words[1..]);
    } else {
        statistic.put_numbers(words);
    }
}

/// Words of so many closed panes.
#[inline]
pub(super) const fn closed_words<P: Pane>(capacity: usize) -> usize {
    capacity * P::NUMBERS + if P::IS_COUNTED { capacity.div_ceil(2) } else { 0 }
}

/// The closed panes of one key and one family of windows, from the oldest to the newest: the numbers of all that fit,
/// then their counts. What leaves and what comes moves nothing.
pub(super) struct Closed<W, P> {
    words: W,
    stretch: Stretch,
    kind: PhantomData<P>,
}

impl<W: AsRef<[u64]>, P: Pane> Closed<W, P> {
    #[inline]
    pub(super) fn of(words: W, stretch: Stretch) -> Self {
        Self { words, stretch, kind: PhantomData }
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> P {
        self.get_slot(self.slot(at))
    }

    /// Where the pane stands that is so many after the oldest.
    #[inline]
    fn slot(&self, at: usize) -> usize {
        let Stretch { capacity, oldest, .. } = self.stretch;
        if oldest + at < capacity { oldest + at } else { oldest + at - capacity }
    }

    #[inline]
    fn get_slot(&self, slot: usize) -> P {
        let words = self.words.as_ref();
        let count = if P::IS_COUNTED { words[self.counts() + slot / 2] >> (slot % 2 * 32) } else { 0 };
        P::of(count & u64::from(u32::MAX), &words[slot * P::NUMBERS..(slot + 1) * P::NUMBERS])
    }

    /// Where the counts begin.
    #[inline]
    fn counts(&self) -> usize {
        self.stretch.capacity * P::NUMBERS
    }

    /// The total of the panes up to `to` in their order, relative to the newest of them.
    #[inline]
    pub(super) fn total(&self, from: usize, to: usize) -> P {
        if from == to {
            return P::default();
        }
        let mut total = self.get(to - 1).anchor();
        let Stretch { capacity, oldest, .. } = self.stretch;
        let (from, to) = (oldest + from, oldest + to);
        for slot in from..to.min(capacity) {
            total.absorb(&self.get_slot(slot));
        }
        for slot in from.max(capacity)..to {
            total.absorb(&self.get_slot(slot - capacity));
        }
        total
    }
}

impl<P: Pane> Closed<&mut [u64], P> {
    #[inline]
    pub(super) fn put(&mut self, at: usize, pane: &P) {
        let slot = self.slot(at);
        pane.put_numbers(&mut self.words[slot * P::NUMBERS..(slot + 1) * P::NUMBERS]);
        if P::IS_COUNTED {
            let (counts, shift) = (self.counts(), slot % 2 * 32);
            let word = &mut self.words[counts + slot / 2];
            *word = *word & !(u64::from(u32::MAX) << shift) | pane.count().min(u64::from(u32::MAX)) << shift;
        }
    }

    /// An empty pane at a place; the newer ones move. There is room for one more than are `held`.
    pub(super) fn insert(&mut self, at: usize, held: usize) {
        for moved in (at..held).rev() {
            self.put(moved + 1, &self.get(moved));
        }
        self.put(at, &P::default());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pane::{Count, Spread};

    fn filled<P: Pane + PartialEq + std::fmt::Debug>(capacity: usize, steps: &[(bool, usize)]) {
        let mut words = vec![0; closed_words::<P>(capacity)];
        let mut stretch = Stretch { from: 0, capacity, oldest: 0 };
        let mut expected: Vec<P> = Vec::new();
        for (event, &(inserts, at)) in steps.iter().enumerate() {
            let at = at % (expected.len() + 1);
            if !inserts || expected.len() == capacity {
                stretch.oldest = (stretch.oldest + at) % capacity;
                expected.drain(..at);
            } else {
                let mut pane = P::default();
                (0..=event).for_each(|value| pane.add(0, value as f64));
                let mut closed: Closed<&mut [u64], P> = Closed::of(&mut words, stretch);
                closed.insert(at, expected.len());
                closed.put(at, &pane);
                expected.insert(at, pane);
            }
            let closed: Closed<&[u64], P> = Closed::of(&words, stretch);
            let found: Vec<P> = (0..expected.len()).map(|at| closed.get(at)).collect();
            assert_eq!(found, expected);
            let mut total = expected.last().map_or(P::default(), P::anchor);
            expected.iter().for_each(|pane| total.absorb(pane));
            assert_eq!(closed.total(0, expected.len()), total);
        }
    }

    proptest! {
        #[test]
        fn packed_panes_are_those_that_were_put(capacity in 1usize..60, steps in proptest::collection::vec((any::<bool>(), 0usize..64), 1..60)) {
            filled::<Count>(capacity, &steps);
            filled::<Spread>(capacity, &steps);
        }
    }

    #[test]
    fn a_count_that_does_not_fit_stays_at_the_most() {
        let mut words = [0; 1];
        let mut closed: Closed<&mut [u64], Count> = Closed::of(&mut words, Stretch { from: 0, capacity: 2, oldest: 0 });
        closed.put(0, &Count::of(1 << 40, &[]));
        closed.put(1, &Count::of(7, &[]));
        assert_eq!((closed.get(0).count(), closed.get(1).count()), (u64::from(u32::MAX), 7));
    }
}
