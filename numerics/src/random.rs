//! A seeded random generator (SplitMix64) and the distributions that scenarios and detectors draw from.
//!
//! SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
//! Its whole state is one word, so it fits into an image and a stream can be derived from any hash.

use crate::math;

/// A stream of random numbers; equal seeds give equal streams on every machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The state, to be kept in an image and given to [`Random::seeded`] again.
    #[must_use]
    pub fn state(&self) -> u64 {
        self.state
    }

    /// 64 uniform bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1), 53 bits.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in (0, 1): safe for logarithms.
    #[inline]
    pub fn open_uniform(&mut self) -> f64 {
        ((self.next_u64() >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64)
    }

    /// Uniform in 0..`bound` (multiply and shift; the bias is below 2^-32 for the bounds used here).
    ///
    /// `bound` 0 gives 0.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = math::sqrt(-2.0 * math::ln(self.open_uniform()));
        radius * math::cos(2.0 * std::f64::consts::PI * self.uniform())
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -math::ln(self.open_uniform())
    }

    /// Poisson with the given mean: multiplication of uniforms (Knuth) below 30, a rounded normal above.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 30.0 {
            return (mean + math::sqrt(mean) * self.normal() + 0.5).max(0.0) as u64;
        }
        let limit = math::exp(-mean);
        let mut product = self.open_uniform();
        let mut count = 0;
        while product > limit {
            product *= self.open_uniform();
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_seed_does_not_move() {
        // Reference values of SplitMix64 with seed 1234567.
        let mut random = Random::seeded(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::seeded(7);
        let n = 200_000;
        let mean = |draw: &mut dyn FnMut() -> f64| (0..n).map(|_| draw()).sum::<f64>() / f64::from(n);
        assert!((mean(&mut || random.uniform()) - 0.5).abs() < 0.005);
        assert!(mean(&mut || random.normal()).abs() < 0.01);
        assert!((mean(&mut || random.exponential()) - 1.0).abs() < 0.01);
        assert!((mean(&mut || random.poisson(3.0) as f64) - 3.0).abs() < 0.03);
        assert!((mean(&mut || random.poisson(80.0) as f64) - 80.0).abs() < 0.2);
    }
}
