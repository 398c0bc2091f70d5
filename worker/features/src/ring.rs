//! The last events of a key, in the order in which they were folded: `lastEvents`, `valuesAgo`.

use std::marker::PhantomData;

use faultline_numerics::image::{ImageError, Reader, Writer};

use crate::memory::{Memory, Stretch};
use crate::pane::{Count, Extrema, Pane, Reading, Slope, Spread, Sums};

/// Most events that a ring keeps.
pub(crate) const MOST_EVENTS: u16 = 1_024;

/// One event of a ring.
pub(crate) trait Item: Copy {
    /// Words that it takes.
    const WORDS: usize;

    fn of(words: &[u64]) -> Self;
    fn put(self, words: &mut [u64]);
    /// Event time, where it is kept, and value; NaN is absent.
    fn event(self) -> (i64, f64);
    fn write(self, image: &mut Writer);
    fn restore(image: &mut Reader<'_>) -> Result<Self, ImageError>;
}

impl Item for f64 {
    const WORDS: usize = 1;

    #[inline]
    fn of(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }

    #[inline]
    fn put(self, words: &mut [u64]) {
        words[0] = self.to_bits();
    }

    #[inline]
    fn event(self) -> (i64, f64) {
        (0, self)
    }

    fn write(self, image: &mut Writer) {
        image.f64(self);
    }

    fn restore(image: &mut Reader<'_>) -> Result<Self, ImageError> {
        image.f64()
    }
}

/// A value with its event time, for slopes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Timed {
    pub(crate) time_ms: i64,
    pub(crate) value: f64,
}

impl Item for Timed {
    const WORDS: usize = 2;

    #[inline]
    fn of(words: &[u64]) -> Self {
        Self { time_ms: words[0] as i64, value: f64::from_bits(words[1]) }
    }

    #[inline]
    fn put(self, words: &mut [u64]) {
        words[..2].copy_from_slice(&[self.time_ms as u64, self.value.to_bits()]);
    }

    #[inline]
    fn event(self) -> (i64, f64) {
        (self.time_ms, self.value)
    }

    fn write(self, image: &mut Writer) {
        image.signed(self.time_ms);
        image.f64(self.value);
    }

    fn restore(image: &mut Reader<'_>) -> Result<Self, ImageError> {
        Ok(Self { time_ms: image.signed()?, value: image.f64()? })
    }
}

/// The last events of one key, up to a capacity: where they are in the key's [`Memory`]. The head is one word, how many
/// items there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ring<T> {
    head: usize,
    stretch: usize,
    capacity: usize,
    item: PhantomData<T>,
}

impl<T: Item> Ring<T> {
    #[inline]
    pub(crate) fn at(head: usize, stretch: usize, capacity: usize) -> Self {
        Self { head, stretch, capacity, item: PhantomData }
    }

    #[inline]
    fn held(self, memory: &Memory) -> usize {
        memory.words[self.head] as usize
    }

    /// Two parts: the second one holds the older items.
    #[inline]
    fn items(self, memory: &Memory) -> (&[u64], &[u64]) {
        let Stretch { from, oldest, .. } = memory.stretch(self.stretch);
        memory.words[from..from + self.held(memory) * T::WORDS].split_at(oldest * T::WORDS)
    }

    #[inline]
    pub(crate) fn push(self, memory: &mut Memory, item: T) {
        let held = self.held(memory);
        let Stretch { mut from, capacity, oldest } = memory.stretch(self.stretch);
        let mut at = held;
        if held == self.capacity {
            at = oldest;
            memory.set_oldest(self.stretch, if oldest + 1 == held { 0 } else { oldest + 1 });
        } else {
            if held == capacity {
                // By doubling, but never beyond the capacity of the ring.
                from = self.grow(memory, (held + held.max(2)).min(self.capacity)).from;
            }
            memory.words[self.head] = held as u64 + 1;
        }
        item.put(&mut memory.words[from + at * T::WORDS..from + (at + 1) * T::WORDS]);
    }

    #[inline(never)]
    fn grow(self, memory: &mut Memory, capacity: usize) -> Stretch {
        let before = memory.stretch(self.stretch).capacity;
        memory.grow(self.stretch, capacity, before * T::WORDS, capacity * T::WORDS)
    }

    /// The oldest item, if the ring is full.
    #[inline]
    pub(crate) fn oldest(self, memory: &Memory) -> Option<T> {
        if !self.is_full(memory) {
            return None;
        }
        Some(T::of(self.items(memory).1))
    }

    /// From the oldest to the newest.
    #[inline]
    pub(crate) fn iter(self, memory: &Memory) -> impl Iterator<Item = T> {
        let (newer, older) = self.items(memory);
        older.chunks_exact(T::WORDS).chain(newer.chunks_exact(T::WORDS)).map(T::of)
    }

    /// A reading over the items, the `skip` oldest left out.
    pub(crate) fn read(self, memory: &Memory, reading: Reading, skip: usize, value: f64) -> f64 {
        match reading {
            Reading::Count | Reading::Rate(_) => self.statistic::<Count>(memory, skip).read(reading, value),
            Reading::Sum | Reading::Mean => self.statistic::<Sums>(memory, skip).read(reading, value),
            Reading::Min | Reading::Max | Reading::Range => {
                self.statistic::<Extrema>(memory, skip).read(reading, value)
            }
            Reading::Stddev | Reading::ZScore => self.statistic::<Spread>(memory, skip).read(reading, value),
            Reading::Slope => self.statistic::<Slope>(memory, skip).read(reading, value),
        }
    }

    fn statistic<P: Pane>(self, memory: &Memory, skip: usize) -> P {
        let mut statistic = P::default();
        let mut add = |items: &[u64]| {
            for (time_ms, value) in items.chunks_exact(T::WORDS).map(|words| T::of(words).event()) {
                if !value.is_nan() {
                    statistic.add(time_ms, value);
                }
            }
        };
        // Two plain loops: one over both parts costs twice as much.
        let (newer, older) = self.items(memory);
        let skipped = (skip * T::WORDS).min(older.len());
        add(&older[skipped..]);
        add(&newer[(skip * T::WORDS - skipped).min(newer.len())..]);
        statistic
    }

    #[inline]
    pub(crate) fn is_full(self, memory: &Memory) -> bool {
        self.held(memory) == self.capacity
    }

    pub(crate) fn is_empty(self, memory: &Memory) -> bool {
        self.held(memory) == 0
    }

    /// Memory when the ring is full.
    pub(crate) fn most_bytes(capacity: usize) -> usize {
        (2 + capacity * T::WORDS) * size_of::<u64>()
    }

    pub(crate) fn write(self, memory: &Memory, image: &mut Writer) {
        image.varint(self.held(memory) as u64);
        self.iter(memory).for_each(|item| item.write(image));
    }

    pub(crate) fn restore(self, memory: &mut Memory, image: &mut Reader<'_>) -> Result<(), ImageError> {
        let items = read_items(image, self.capacity, 8, T::restore)?;
        if !items.is_empty() {
            self.grow(memory, items.len());
        }
        items.into_iter().for_each(|item| self.push(memory, item));
        Ok(())
    }
}

/// As many items as the image says, refused if they are more than a ring takes.
pub(crate) fn read_items<T>(
    image: &mut Reader<'_>,
    capacity: usize,
    item_bytes: usize,
    one: impl Fn(&mut Reader<'_>) -> Result<T, ImageError>,
) -> Result<Vec<T>, ImageError> {
    let count = image.count(item_bytes)?;
    if count > capacity {
        return Err(ImageError::Invalid { what: "the length of a ring", found: count as u64 });
    }
    (0..count).map(|_| one(image)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(capacity: usize) -> (Ring<f64>, Memory) {
        (Ring::at(Memory::first_head(1), 0, capacity), Memory::new(1, 1))
    }

    #[test]
    fn a_ring_keeps_the_last_items_in_order() {
        let (ring, mut memory) = alone(3);
        for value in 1..=7 {
            assert_eq!(ring.oldest(&memory), (value > 3).then(|| f64::from(value - 3)));
            ring.push(&mut memory, f64::from(value));
        }
        assert_eq!(ring.iter(&memory).collect::<Vec<_>>(), [5.0, 6.0, 7.0]);
        assert_eq!(ring.read(&memory, Reading::Sum, 1, 0.0), 13.0);
    }

    #[test]
    fn absent_values_take_a_place_and_no_part() {
        let (ring, mut memory) = alone(3);
        for value in [1.0, f64::NAN, 5.0] {
            ring.push(&mut memory, value);
        }
        assert_eq!(ring.read(&memory, Reading::Mean, 0, 0.0), 3.0);
        ring.push(&mut memory, f64::NAN);
        assert_eq!(ring.read(&memory, Reading::Mean, 0, 0.0), 5.0);
    }
}
