//! Least squares of value on event time: `slope`.
//!
//! Times are relative to the time of the first event of the set, values to its value; so equal times leave exactly
//! zero behind, and times of 1.6e12 ms lose nothing. A total is relative to its newest pane.

use faultline_numerics::image::{ImageError, Reader, Writer};

use super::{Pane, Reading};

/// With `u = t − time_origin_ms` and `d = x − origin`: `n`, `Σu`, `Σu²`, `Σd`, `Σud`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Slope {
    count: u64,
    time_origin_ms: i64,
    origin: f64,
    times: f64,
    time_squares: f64,
    values: f64,
    products: f64,
}

impl Slope {
    /// Value per millisecond; NaN below two distinct times.
    #[inline]
    fn slope_per_ms(&self) -> f64 {
        let n = self.count as f64;
        let times_around_mean = self.time_squares - self.times * self.times / n;
        if self.time_squares == 0.0 || times_around_mean <= 0.0 {
            return f64::NAN;
        }
        (self.products - self.times * self.values / n) / times_around_mean
    }
}

impl Pane for Slope {
    const KIND: &'static str = "slope";
    const NUMBERS: usize = 6;
    const IS_COUNTED: bool = true;

    #[inline]
    fn of(count: u64, numbers: &[u64]) -> Self {
        let number = |at: usize| f64::from_bits(numbers[at]);
        Self {
            count,
            time_origin_ms: numbers[0] as i64,
            origin: number(1),
            times: number(2),
            time_squares: number(3),
            values: number(4),
            products: number(5),
        }
    }

    #[inline]
    fn put_numbers(&self, numbers: &mut [u64]) {
        numbers[0] = self.time_origin_ms as u64;
        let sums = [self.origin, self.times, self.time_squares, self.values, self.products];
        numbers[1..6].copy_from_slice(&sums.map(f64::to_bits));
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
    fn add(&mut self, time_ms: i64, value: f64) {
        if self.count == 0 {
            self.time_origin_ms = time_ms;
            self.origin = value;
        }
        let time = time_ms.wrapping_sub(self.time_origin_ms) as f64;
        let difference = value - self.origin;
        self.count = self.count.saturating_add(1);
        self.times += time;
        self.time_squares += time * time;
        self.values += difference;
        self.products += time * difference;
    }

    fn anchor(&self) -> Self {
        Self {
            time_origin_ms: self.time_origin_ms,
            origin: self.origin + self.values / self.count as f64,
            ..Self::default()
        }
    }

    /// `Σ(u + τ)² = Σu² + 2τΣu + nτ²` and `Σ(u + τ)(d + δ) = Σud + τΣd + δΣu + nτδ`.
    #[inline]
    fn absorb(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let n = other.count as f64;
        let time_shift = other.time_origin_ms.wrapping_sub(self.time_origin_ms) as f64;
        let shift = other.origin - self.origin;
        self.count = self.count.saturating_add(other.count);
        self.times += other.times + n * time_shift;
        self.time_squares += other.time_squares + time_shift * (2.0 * other.times + n * time_shift);
        self.values += other.values + n * shift;
        self.products += other.products + time_shift * (other.values + n * shift) + shift * other.times;
    }

    #[inline]
    fn read(&self, reading: Reading, _value: f64) -> f64 {
        match reading {
            Reading::Slope => 1_000.0 * self.slope_per_ms(),
            _ => f64::NAN,
        }
    }

    fn write(&self, image: &mut Writer) {
        image.varint(self.count);
        image.signed(self.time_origin_ms);
        for number in [self.origin, self.times, self.time_squares, self.values, self.products] {
            image.f64(number);
        }
    }

    fn restore(image: &mut Reader<'_>) -> Result<Self, ImageError> {
        Ok(Self {
            count: image.varint()?,
            time_origin_ms: image.signed()?,
            origin: image.f64()?,
            times: image.f64()?,
            time_squares: image.f64()?,
            values: image.f64()?,
            products: image.f64()?,
        })
    }
}
