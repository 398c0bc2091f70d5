//! Smallest and greatest value: `min`, `max`, `range`.

use faultline_numerics::image::{ImageError, Reader, Writer};

use super::{Pane, Reading};

/// The smallest and the greatest value; crossed infinities without any.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Extrema {
    min: f64,
    max: f64,
}

impl Default for Extrema {
    fn default() -> Self {
        Self { min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Pane for Extrema {
    const KIND: &'static str = "extrema";
    const NUMBERS: usize = 2;
    const IS_COUNTED: bool = false;

    #[inline]
    fn of(_count: u64, numbers: &[u64]) -> Self {
        Self { min: f64::from_bits(numbers[0]), max: f64::from_bits(numbers[1]) }
    }

    #[inline]
    fn put_numbers(&self, numbers: &mut [u64]) {
        numbers[..2].copy_from_slice(&[self.min.to_bits(), self.max.to_bits()]);
    }

    #[inline]
    fn count(&self) -> u64 {
        0
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.min > self.max
    }

    /// By comparison: `f64::min` may choose either of −0 and 0.
    #[inline]
    fn add(&mut self, _time_ms: i64, value: f64) {
        self.absorb(&Self { min: value, max: value });
    }

    #[inline]
    fn absorb(&mut self, other: &Self) {
        if other.min < self.min {
            self.min = other.min;
        }
        if other.max > self.max {
            self.max = other.max;
        }
    }

    #[inline]
    fn read(&self, reading: Reading, _value: f64) -> f64 {
        match reading {
            Reading::Min => self.min,
            Reading::Max => self.max,
            Reading::Range => self.max - self.min,
            _ => f64::NAN,
        }
    }

    fn write(&self, image: &mut Writer) {
        image.f64(self.min);
        image.f64(self.max);
    }

    fn restore(image: &mut Reader<'_>) -> Result<Self, ImageError> {
        Ok(Self { min: image.f64()?, max: image.f64()? })
    }
}
