//! Plain sums: `sum`, `mean`. Without an origin, so that sums of integers stay integers.

use faultline_numerics::image::{ImageError, Reader, Writer};

use super::{Pane, Reading};

/// How many values, and their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sums {
    count: u64,
    sum: f64,
}

impl Pane for Sums {
    const KIND: &'static str = "sums";
    const NUMBERS: usize = 1;
    const IS_COUNTED: bool = true;

    #[inline]
    fn of(count: u64, numbers: &[u64]) -> Self {
        Self { count, sum: f64::from_bits(numbers[0]) }
    }

    #[inline]
    fn put_numbers(&self, numbers: &mut [u64]) {
        numbers[0] = self.sum.to_bits();
    }

    #[inline]
    fn count(&self) -> u64 {
        self.count
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    fn add(&mut self, _time_ms: i64, value: f64) {
        self.count = self.count.saturating_add(1);
        self.sum += value;
    }

    #[inline]
    fn absorb(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
    }

    #[inline]
    fn read(&self, reading: Reading, _value: f64) -> f64 {
        match reading {
            Reading::Sum => self.sum,
            Reading::Mean => self.sum / self.count as f64,
            _ => f64::NAN,
        }
    }

    fn write(&self, image: &mut Writer) {
        image.varint(self.count);
        image.f64(self.sum);
    }

    fn restore(image: &mut Reader<'_>) -> Result<Self, ImageError> {
        Ok(Self { count: image.varint()?, sum: image.f64()? })
    }
}
