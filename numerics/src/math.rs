//! Floating-point functions whose bits do not depend on the CPU or the platform's C library.
//!
//! Addition, multiplication, division, square root and rounding are exact in IEEE 754 and may be used
//! directly; everything transcendental goes through here.

/// Natural logarithm.
#[inline]
#[must_use]
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// Natural logarithm of `1 + x`, accurate near zero.
#[inline]
#[must_use]
pub fn ln_1p(x: f64) -> f64 {
    libm::log1p(x)
}

/// Logarithm to base 10.
#[inline]
#[must_use]
pub fn log10(x: f64) -> f64 {
    libm::log10(x)
}

/// `e` to the power of `x`.
#[inline]
#[must_use]
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// `exp(x) - 1`, accurate near zero.
#[inline]
#[must_use]
pub fn exp_m1(x: f64) -> f64 {
    libm::expm1(x)
}

/// 2 to the power of `x`.
#[inline]
#[must_use]
pub fn exp2(x: f64) -> f64 {
    libm::exp2(x)
}

/// `base` to the power of `exponent`.
#[inline]
#[must_use]
pub fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

/// Square root (exact in IEEE 754, here so that callers need one module only).
#[inline]
#[must_use]
pub fn sqrt(x: f64) -> f64 {
    libm::sqrt(x)
}

/// Sine of `x` radians.
#[inline]
#[must_use]
pub fn sin(x: f64) -> f64 {
    libm::sin(x)
}

/// Cosine of `x` radians.
#[inline]
#[must_use]
pub fn cos(x: f64) -> f64 {
    libm::cos(x)
}

/// Natural logarithm of the gamma function of a positive `x`.
#[inline]
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_come_out_to_the_bit() {
        assert_eq!(ln(2.0).to_bits(), std::f64::consts::LN_2.to_bits());
        // One unit in the last place above e: what matters is that it never moves.
        assert_eq!(exp(1.0).to_bits(), 0x4005_bf0a_8b14_576a);
        assert_eq!(log10(1e-6).to_bits(), (-6.0f64).to_bits());
        assert_eq!(sqrt(2.0).to_bits(), std::f64::consts::SQRT_2.to_bits());
        assert!((ln_gamma(5.0) - ln(24.0)).abs() < 1e-12);
    }
}
