//! How far a key goes once it leaves its usual range: keys differ in their tails, not only in their scale.
//!
//! Pooled over all keys, one busy key with a heavy tail would make the extremes of every other key look ordinary.
//! So each key keeps the decayed mean excess of its strangeness over a fixed threshold, and excesses are measured in
//! units of it. Young keys stay near the usual one; the calibrator sees to what remains.

use faultline_numerics::image::{ImageError, Reader, Writer};

/// Where the tail of a key begins, in standard deviations: a seventh of normal events lie beyond, on two sides.
const THRESHOLD: f64 = 1.5;
/// Mean excess of a normal distribution over the threshold.
const USUAL_EXCESS: f64 = 0.44;
/// Exceedances that weigh as much as the belief in the usual one.
const PRIOR_EXCEEDANCES: f64 = 10.0;
/// Longer excesses count as this one: a single extreme is no tail.
const LONGEST_EXCESS: f64 = 5.0;

/// The tail of one key.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct KeyTail {
    /// Decayed number of exceedances.
    count: f64,
    /// Decayed sum of their excesses.
    sum: f64,
}

impl KeyTail {
    /// Units of excess of this key.
    fn unit(&self) -> f64 {
        (PRIOR_EXCEEDANCES * USUAL_EXCESS + self.sum) / ((PRIOR_EXCEEDANCES + self.count) * USUAL_EXCESS)
    }

    #[inline]
    pub(crate) fn relieve(&self, strangeness: f64) -> f64 {
        if strangeness <= THRESHOLD { strangeness } else { THRESHOLD + (strangeness - THRESHOLD) / self.unit() }
    }

    #[inline]
    pub(crate) fn burden(&self, relieved: f64) -> f64 {
        if relieved <= THRESHOLD { relieved } else { THRESHOLD + (relieved - THRESHOLD) * self.unit() }
    }

    #[inline]
    pub(crate) fn learn(&mut self, rate: f64, strangeness: f64) {
        self.count *= 1.0 - rate;
        self.sum *= 1.0 - rate;
        if strangeness > THRESHOLD {
            self.count += 1.0;
            self.sum += (strangeness - THRESHOLD).min(LONGEST_EXCESS);
        }
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.f64(self.count);
        w.f64(self.sum);
    }

    pub(crate) fn restore(r: &mut Reader<'_>) -> Result<Self, ImageError> {
        let (count, sum) = (r.f64()?, r.f64()?);
        if !(count >= 0.0 && count.is_finite() && sum >= 0.0 && sum.is_finite()) {
            return Err(ImageError::Invalid { what: "the tail of a key", found: sum.to_bits() });
        }
        Ok(Self { count, sum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heavy_tail_is_measured_in_its_own_unit() {
        let (mut heavy, mut light) = (KeyTail::default(), KeyTail::default());
        for step in 0..10_000 {
            let extreme = if step % 20 == 0 { 1.0 } else { 0.0 };
            heavy.learn(0.001, 1.0 + extreme * 2.5);
            light.learn(0.001, 1.0 + extreme * 0.7);
        }
        assert!(heavy.relieve(6.0) < 3.0 && light.relieve(6.0) > 7.0);
        for strangeness in [0.0, 1.5, 4.0] {
            assert!((heavy.burden(heavy.relieve(strangeness)) - strangeness).abs() < 1e-12);
        }
        assert_eq!(KeyTail::default().relieve(6.0), 6.0);
    }
}
