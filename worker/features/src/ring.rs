//! The last events of a key, in the order in which they were folded: `lastEvents`, `valuesAgo`.

use faultline_numerics::image::{ImageError, Reader, Writer};

use crate::pane::{Count, Extrema, Pane, Reading, Slope, Spread, Sums};

/// Most events that a ring keeps.
pub(crate) const MOST_EVENTS: u16 = 1_024;

/// One event of a ring.
pub(crate) trait Item: Copy {
    /// Event time, where it is kept, and value; NaN is absent.
    fn event(self) -> (i64, f64);
    fn write(self, image: &mut Writer);
    fn restore(image: &mut Reader<'_>) -> Result<Self, ImageError>;
}

impl Item for f64 {
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

/// The last events, up to a capacity that the plan knows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ring<T> {
    items: Vec<T>,
    /// Place of the oldest item, 0 until the ring is full.
    oldest: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { items: Vec::new(), oldest: 0 }
    }
}

impl<T: Item> Ring<T> {
    pub(crate) fn push(&mut self, item: T, capacity: usize) {
        if self.items.len() < capacity {
            reserve(&mut self.items, capacity);
            self.items.push(item);
            return;
        }
        self.items[self.oldest] = item;
        self.oldest = (self.oldest + 1) % capacity;
    }

    /// The oldest item, if the ring is full.
    pub(crate) fn oldest(&self, capacity: usize) -> Option<T> {
        if self.items.len() < capacity { None } else { self.items.get(self.oldest).copied() }
    }

    /// From the oldest to the newest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let (newer, older) = self.items.split_at(self.oldest);
        older.iter().chain(newer).copied()
    }

    /// A reading over the items, the `skip` oldest left out.
    pub(crate) fn read(&self, reading: Reading, skip: usize, value: f64) -> f64 {
        match reading {
            Reading::Count | Reading::Rate(_) => self.statistic::<Count>(skip).read(reading, value),
            Reading::Sum | Reading::Mean => self.statistic::<Sums>(skip).read(reading, value),
            Reading::Min | Reading::Max | Reading::Range => self.statistic::<Extrema>(skip).read(reading, value),
            Reading::Stddev | Reading::ZScore => self.statistic::<Spread>(skip).read(reading, value),
            Reading::Slope => self.statistic::<Slope>(skip).read(reading, value),
        }
    }

    fn statistic<P: Pane>(&self, skip: usize) -> P {
        let mut statistic = P::default();
        for (time_ms, value) in self.iter().skip(skip).map(T::event) {
            if !value.is_nan() {
                statistic.add(time_ms, value);
            }
        }
        statistic
    }

    pub(crate) fn is_full(&self, capacity: usize) -> bool {
        self.items.len() == capacity
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.items.capacity() * size_of::<T>()
    }

    pub(crate) fn write(&self, image: &mut Writer) {
        image.varint(self.items.len() as u64);
        self.iter().for_each(|item| item.write(image));
    }

    pub(crate) fn restore(image: &mut Reader<'_>, capacity: usize) -> Result<Self, ImageError> {
        let items = read_items(image, capacity, 8, T::restore)?;
        Ok(Self { items, oldest: 0 })
    }
}

/// Grows by doubling, but never beyond the capacity of the ring.
pub(crate) fn reserve<T>(items: &mut Vec<T>, capacity: usize) {
    let held = items.len();
    if held == items.capacity() {
        items.reserve_exact(held.clamp(2, (capacity - held).max(2)));
    }
}

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

    #[test]
    fn a_ring_keeps_the_last_items_in_order() {
        let mut ring = Ring::default();
        for value in 1..=7 {
            assert_eq!(ring.oldest(3), (value > 3).then(|| f64::from(value - 3)));
            ring.push(f64::from(value), 3);
        }
        assert_eq!(ring.iter().collect::<Vec<_>>(), [5.0, 6.0, 7.0]);
        assert_eq!(ring.read(Reading::Sum, 1, 0.0), 13.0);
    }

    #[test]
    fn absent_values_take_a_place_and_no_part() {
        let mut ring = Ring::default();
        for value in [1.0, f64::NAN, 5.0] {
            ring.push(value, 3);
        }
        assert_eq!(ring.read(Reading::Mean, 0, 0.0), 3.0);
        ring.push(f64::NAN, 3);
        assert_eq!(ring.read(Reading::Mean, 0, 0.0), 5.0);
    }
}
