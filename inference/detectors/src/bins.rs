//! Logarithmic bins that cost a shift and a subtraction.
//!
//! The exponent and the first bits of the mantissa of a double are a piecewise linear logarithm to base 2, so
//! the bin of a number is read off its bits: exact, monotone, the same on every CPU, and without a call to `ln`.

/// Bins of strangeness.
pub(crate) const STRANGENESS_BINS: usize = 448;
/// 32 bins per doubling: 2 to 3 % wide, a quarter of a decade of probability at most where tails are light.
const STRANGENESS_SHIFT: u32 = 52 - 5;
/// Added before the logarithm, so that bins near zero are of even width.
const OFFSET: f64 = 0.25;
const STRANGENESS_BASE: u64 = OFFSET.to_bits() >> STRANGENESS_SHIFT;

/// A position among the bins of strangeness.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The bin.
    pub(crate) bin: usize,
    /// How far into the bin, from 0 to 1.
    pub(crate) share: f64,
}

/// Place of a strangeness; what is negative or not a number is 0.
#[inline]
pub(crate) fn place(strangeness: f64) -> Place {
    let bits = (strangeness.max(0.0) + OFFSET).to_bits();
    let bin = ((bits >> STRANGENESS_SHIFT) - STRANGENESS_BASE) as usize;
    if bin >= STRANGENESS_BINS {
        return Place { bin: STRANGENESS_BINS - 1, share: 1.0 };
    }
    let rest = bits & ((1 << STRANGENESS_SHIFT) - 1);
    Place { bin, share: rest as f64 * (1.0 / (1u64 << STRANGENESS_SHIFT) as f64) }
}

/// Lower edge of a bin of strangeness (the upper edge is that of the next).
pub(crate) fn edge(bin: usize) -> f64 {
    f64::from_bits((STRANGENESS_BASE + bin as u64) << STRANGENESS_SHIFT) - OFFSET
}

/// Magnitudes from 2^−48 to 2^48, 8 bins per doubling, of either sign, and zero in the middle.
const MAGNITUDES: usize = 96 * 8;
/// Bins of values.
pub(crate) const VALUE_BINS: usize = 2 * MAGNITUDES + 1;
const VALUE_SHIFT: u32 = 52 - 3;
const VALUE_BASE: u64 = ((1023 - 48) << 52) >> VALUE_SHIFT;

/// Bin of any finite value, in the order of the values.
#[inline]
pub(crate) fn value_bin(value: f64) -> usize {
    if value == 0.0 {
        return MAGNITUDES;
    }
    let magnitude = (value.abs().to_bits() >> VALUE_SHIFT).saturating_sub(VALUE_BASE) as usize;
    let magnitude = magnitude.min(MAGNITUDES - 1);
    if value > 0.0 { MAGNITUDES + 1 + magnitude } else { MAGNITUDES - 1 - magnitude }
}

/// Middle of a bin of values.
pub(crate) fn value_of(bin: usize) -> f64 {
    let middle = |magnitude: usize| {
        let low = f64::from_bits((VALUE_BASE + magnitude as u64) << VALUE_SHIFT);
        let high = f64::from_bits((VALUE_BASE + magnitude as u64 + 1) << VALUE_SHIFT);
        (low + high) / 2.0
    };
    match bin {
        MAGNITUDES => 0.0,
        above if above > MAGNITUDES => middle(above - MAGNITUDES - 1),
        below => -middle(MAGNITUDES - 1 - below),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangeness_lies_between_the_edges_of_its_bin() {
        assert_eq!(edge(0), 0.0);
        for step in 0..400_000 {
            let strangeness = f64::from(step) * 0.01;
            let Place { bin, share } = place(strangeness);
            let found = edge(bin) + share * (edge(bin + 1) - edge(bin));
            assert!((found - strangeness).abs() < 1e-9, "{strangeness} came back as {found}");
        }
        for extreme in [f64::INFINITY, 1e300, 4096.0] {
            assert_eq!(place(extreme).bin, STRANGENESS_BINS - 1);
        }
        assert_eq!(place(f64::NAN).bin, 0);
        assert_eq!(place(-3.0).bin, 0);
    }

    #[test]
    fn values_keep_their_order_and_come_back_within_a_bin() {
        let values = [-1e200, -3e9, -5.0, -0.001, -1e-300, 0.0, 1e-300, 0.001, 5.0, 3e9, 1e200];
        assert!(values.windows(2).all(|pair| value_bin(pair[0]) <= value_bin(pair[1])));
        for value in [-3e9, -5.0, -0.001, 0.001, 1.0, 5.0, 3e9] {
            let back = value_of(value_bin(value));
            assert!((back / value - 1.0).abs() < 0.07, "{value} came back as {back}");
        }
        assert!(value_bin(f64::MAX) < VALUE_BINS);
        assert_eq!(value_of(value_bin(0.0)), 0.0);
    }
}
