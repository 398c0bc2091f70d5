//! Sums of differences to an origin: `stddev`, `zScore`.
//!
//! The shifted-data form of Chan, Golub & LeVeque, "Algorithms for Computing the Sample Variance" (1983), §3. The origin
//! of a pane is its first value, that of a total the mean of its newest pane.

use faultline_numerics::image::{ImageError, Reader, Writer};
use faultline_numerics::math::sqrt;

use super::{Pane, Reading};

/// With `d = x − origin`: `n`, `Σd`, `Σd²`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Spread {
    count: u64,
    origin: f64,
    sum: f64,
    squares: f64,
}

impl Spread {
    /// Sample standard deviation; NaN below two values.
    #[inline]
    fn stddev(&self) -> f64 {
        if self.count < 2 {
            return f64::NAN;
        }
        let n = self.count as f64;
        let around_mean = self.squares - self.sum * self.sum / n;
        // Rounding may leave a tiny negative number where all values are equal.
        let around_mean = if around_mean < 0.0 { 0.0 } else { around_mean };
        sqrt(around_mean / (n - 1.0))
    }
}

impl Pane for Spread {
    const KIND: &'static str = "spread";
    const NUMBERS: usize = 3;
    const IS_COUNTED: bool = true;

    #[inline]
    fn of(count: u64, numbers: &[u64]) -> Self {
        let number = |at: usize| f64::from_bits(numbers[at]);
        Self { count, origin: number(0), sum: number(1), squares: number(2) }
    }

    #[inline]
    fn put_numbers(&self, numbers: &mut [u64]) {
        numbers[..3].copy_from_slice(&[self.origin, self.sum, self.squares].map(f64::to_bits));
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
        if self.count == 0 {
            self.origin = value;
        }
        let difference = value - self.origin;
        self.count = self.count.saturating_add(1);
        self.sum += difference;
        self.squares += difference * difference;
    }

    fn anchor(&self) -> Self {
        Self { origin: self.origin + self.sum / self.count as f64, ..Self::default() }
    }

    /// `Σ(d + shift)² = Σd² + 2·shift·Σd + n·shift²`.
    #[inline]
    fn absorb(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let shift = other.origin - self.origin;
        let shifted = other.count as f64 * shift;
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum + shifted;
        self.squares += other.squares + shift * (2.0 * other.sum + shifted);
    }

    #[inline]
    fn read(&self, reading: Reading, value: f64) -> f64 {
        match reading {
            Reading::Stddev => self.stddev(),
            Reading::ZScore => (value - self.origin - self.sum / self.count as f64) / self.stddev(),
            _ => f64::NAN,
        }
    }

    fn write(&self, image: &mut Writer) {
        image.varint(self.count);
        image.f64(self.origin);
        image.f64(self.sum);
        image.f64(self.squares);
    }

    fn restore(image: &mut Reader<'_>) -> Result<Self, ImageError> {
        Ok(Self { count: image.varint()?, origin: image.f64()?, sum: image.f64()?, squares: image.f64()? })
    }
}
