//! How statistics stand in words: a running or total one whole, closed ones packed in a stretch.

use std::marker::PhantomData;

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

/// The closed panes of one key and one family of windows: the numbers of `capacity` panes, then their counts.
pub(super) struct Closed<W, P> {
    pub(super) words: W,
    /// Where the counts begin.
    counts: usize,
    kind: PhantomData<P>,
}

impl<W: AsRef<[u64]>, P: Pane> Closed<W, P> {
    #[inline]
    pub(super) fn of(words: W, capacity: usize) -> Self {
        Self { words, counts: capacity * P::NUMBERS, kind: PhantomData }
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> P {
        let words = self.words.as_ref();
        P::of(self.count(at), &words[at * P::NUMBERS..(at + 1) * P::NUMBERS])
    }

    #[inline]
    fn count(&self, at: usize) -> u64 {
        if !P::IS_COUNTED {
            return 0;
        }
        self.words.as_ref()[self.counts + at / 2] >> (at % 2 * 32) & u64::from(u32::MAX)
    }

    /// The total of the panes up to `to` in their order, relative to the newest of them.
    #[inline]
    pub(super) fn total(&self, from: usize, to: usize) -> P {
        if from == to {
            return P::default();
        }
        let mut total = self.get(to - 1).anchor();
        for at in from..to {
            total.absorb(&self.get(at));
        }
        total
    }
}

impl<P: Pane> Closed<&mut [u64], P> {
    #[inline]
    pub(super) fn put(&mut self, at: usize, pane: &P) {
        pane.put_numbers(&mut self.words[at * P::NUMBERS..(at + 1) * P::NUMBERS]);
        self.put_count(at, pane.count());
    }

    #[inline]
    fn put_count(&mut self, at: usize, count: u64) {
        if P::IS_COUNTED {
            let (word, shift) = (&mut self.words[self.counts + at / 2], at % 2 * 32);
            *word = *word & !(u64::from(u32::MAX) << shift) | count.min(u64::from(u32::MAX)) << shift;
        }
    }

    /// An empty pane at a place, those from there on move.
    pub(super) fn insert(&mut self, at: usize, held: usize) {
        self.words.copy_within(at * P::NUMBERS..held * P::NUMBERS, (at + 1) * P::NUMBERS);
        for moved in (at..held).rev() {
            self.put_count(moved + 1, self.count(moved));
        }
        self.put(at, &P::default());
    }

    /// Takes out the `left` oldest of those `held`.
    #[inline]
    pub(super) fn remove_oldest(&mut self, left: usize, held: usize) {
        self.words.copy_within(left * P::NUMBERS..held * P::NUMBERS, 0);
        if P::IS_COUNTED {
            let counts = &mut self.words[self.counts..];
            let used = held.div_ceil(2);
            counts.copy_within(left / 2..used, 0);
            if left % 2 == 1 {
                let used = used - left / 2;
                for at in 1..used {
                    counts[at - 1] = counts[at - 1] >> 32 | counts[at] << 32;
                }
                counts[used - 1] >>= 32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pane::{Count, Spread};

    fn filled<P: Pane + PartialEq + std::fmt::Debug>(steps: &[(bool, usize)]) {
        let mut words = vec![0; closed_words::<P>(steps.len())];
        let mut closed: Closed<&mut [u64], P> = Closed::of(&mut words, steps.len());
        let mut expected: Vec<P> = Vec::new();
        for (event, &(inserts, at)) in steps.iter().enumerate() {
            let at = at % (expected.len() + 1);
            if inserts {
                let mut pane = P::default();
                (0..=event).for_each(|value| pane.add(0, value as f64));
                closed.insert(at, expected.len());
                closed.put(at, &pane);
                expected.insert(at, pane);
            } else {
                closed.remove_oldest(at, expected.len());
                expected.drain(..at);
            }
            let found: Vec<P> = (0..expected.len()).map(|at| closed.get(at)).collect();
            assert_eq!(found, expected);
        }
    }

    proptest! {
        #[test]
        fn packed_panes_are_those_that_were_put(steps in proptest::collection::vec((any::<bool>(), 0usize..64), 1..60)) {
            filled::<Count>(&steps);
            filled::<Spread>(&steps);
        }
    }

    #[test]
    fn a_count_that_does_not_fit_stays_at_the_most() {
        let mut words = [0; 1];
        let mut closed: Closed<&mut [u64], Count> = Closed::of(&mut words, 2);
        closed.put(0, &Count::of(1 << 40, &[]));
        closed.put(1, &Count::of(7, &[]));
        assert_eq!((closed.get(0).count(), closed.get(1).count()), (u64::from(u32::MAX), 7));
    }
}
