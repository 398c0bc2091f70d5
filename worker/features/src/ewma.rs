//! The moving mean of a key, weighted by event time: `ewma`.

use faultline_numerics::image::{ImageError, Reader, Writer};
use faultline_numerics::math::exp2;

/// The mean of all values with weights that halve with every half-life of event time. In offset order: a late value
/// weighs as one at the newest time seen.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Ewma {
    mean: f64,
    /// Sum of the weights at `time_ms`; 0 before the first value.
    weight: f64,
    time_ms: i64,
}

impl Ewma {
    /// Words that it takes.
    pub(crate) const WORDS: usize = 3;

    #[inline]
    pub(crate) fn of(words: &[u64]) -> Self {
        Self { mean: f64::from_bits(words[0]), weight: f64::from_bits(words[1]), time_ms: words[2] as i64 }
    }

    #[inline]
    pub(crate) fn put(&self, words: &mut [u64]) {
        words[..Self::WORDS].copy_from_slice(&[self.mean.to_bits(), self.weight.to_bits(), self.time_ms as u64]);
    }

    /// `mean ← mean + (value − mean) / weight`, as a mixture that cannot overflow.
    pub(crate) fn add(&mut self, time_ms: i64, value: f64, half_life_ms: i64) {
        if self.weight == 0.0 {
            *self = Self { mean: value, weight: 1.0, time_ms };
            return;
        }
        let elapsed_ms = time_ms.saturating_sub(self.time_ms).max(0);
        self.weight = 1.0 + self.weight * exp2(-(elapsed_ms as f64) / half_life_ms as f64);
        self.time_ms = self.time_ms.max(time_ms);
        let share = 1.0 / self.weight;
        self.mean = self.mean * (1.0 - share) + value * share;
    }

    /// NaN before the first value.
    pub(crate) fn read(&self) -> f64 {
        if self.is_empty() { f64::NAN } else { self.mean }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.weight == 0.0
    }

    pub(crate) fn write(&self, image: &mut Writer) {
        image.f64(self.mean);
        image.f64(self.weight);
        image.signed(self.time_ms);
    }

    pub(crate) fn restore(image: &mut Reader<'_>) -> Result<Self, ImageError> {
        Ok(Self { mean: image.f64()?, weight: image.f64()?, time_ms: image.signed()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_halve_with_every_half_life() {
        let mut ewma = Ewma::default();
        ewma.add(0, 4.0, 1_000);
        ewma.add(1_000, 1.0, 1_000);
        assert_eq!(ewma.read(), (4.0 * 0.5 + 1.0) / 1.5);
        ewma.add(3_000, 1.0, 1_000);
        assert!((ewma.read() - (4.0 * 0.125 + 0.25 + 1.0) / 1.375).abs() < 1e-12);
    }

    #[test]
    fn a_late_value_weighs_as_a_new_one() {
        let (mut late, mut same) = (Ewma::default(), Ewma::default());
        for (ewma, second) in [(&mut late, 400), (&mut same, 900)] {
            ewma.add(900, 4.0, 1_000);
            ewma.add(second, 1.0, 1_000);
            ewma.add(1_500, 3.0, 1_000);
        }
        assert_eq!(late, same);
    }

    #[test]
    fn values_at_the_end_of_the_range_do_not_overflow() {
        let mut ewma = Ewma::default();
        for value in [f64::MAX, f64::MIN, f64::MAX, f64::MIN] {
            ewma.add(0, value, 1_000);
            assert!(ewma.read().is_finite());
        }
    }
}
