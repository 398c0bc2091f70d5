//! The generalised Pareto distribution behind a threshold, fitted by L-moments.
//!
//! Hosking and Wallis, "Parameter and quantile estimation for the generalized Pareto distribution",
//! Technometrics 29 (1987); in their notation k = −ξ. Excesses over a high threshold follow it in the limit
//! (Pickands 1975).

use faultline_numerics::math;

/// Shapes allowed. Light tails need negative ones: held at 0 they come out far too quiet.
const SHAPES: (f64, f64) = (-0.3, 0.5);
/// Exceedances that weigh as much as the belief in an exponential tail.
const PRIOR_EXCEEDANCES: f64 = 30.0;

/// Distribution of the excess over a threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TailFit {
    shape: f64,
    scale: f64,
}

impl TailFit {
    /// Fits weighted bins of excesses, given as (lower edge, upper edge, weight) in growing order.
    ///
    /// `None` when there is no weight.
    pub(crate) fn of(bins: impl Iterator<Item = (f64, f64, f64)> + Clone) -> Option<Self> {
        let total: f64 = bins.clone().map(|(_, _, weight)| weight).sum();
        if total <= 0.0 {
            return None;
        }
        let (mut mean, mut second, mut below) = (0.0, 0.0, 0.0);
        for (low, high, weight) in bins {
            let share = weight / total;
            let middle = (low + high) / 2.0;
            mean += share * middle;
            // Twice the probability-weighted moment b1; pairs inside one bin differ by a third of its width.
            second += 2.0 * share * middle * (below + share / 2.0) + share * share * (high - low) / 6.0;
            below += share;
        }
        let l_scale = second - mean;
        if mean <= 0.0 || l_scale <= 0.0 {
            return None;
        }
        // One standard error heavier than estimated: extrapolating from the estimate itself promises too little
        // on average, because the probability is convex in the shape.
        let careful = 2.0 - mean / l_scale + 1.0 / math::sqrt(total);
        let shape = careful.clamp(SHAPES.0, SHAPES.1) * total / (total + PRIOR_EXCEEDANCES);
        Some(Self { shape, scale: mean * (1.0 - shape) })
    }

    /// −log10 of the share of exceedances that exceed the threshold by at least `excess`; infinite beyond the
    /// end of a bounded tail.
    pub(crate) fn surprise(&self, excess: f64) -> f64 {
        let relative = excess / self.scale;
        if self.shape.abs() < 1e-6 {
            return relative * std::f64::consts::LOG10_E;
        }
        let inside = 1.0 + self.shape * relative;
        if inside <= 0.0 { f64::INFINITY } else { math::log10(inside) / self.shape }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit_of_shape(shape: f64) -> TailFit {
        let survival = |x: f64| math::pow((1.0 + shape * x).max(0.0), -1.0 / shape);
        let bins: Vec<_> = (0..4_000)
            .map(|bin| (f64::from(bin) * 0.05, f64::from(bin + 1) * 0.05))
            .map(|(low, high)| (low, high, 1e6 * (survival(low) - survival(high))))
            .collect();
        TailFit::of(bins.into_iter()).unwrap()
    }

    #[test]
    fn shape_and_scale_come_back() {
        for shape in [-0.25, -0.1, 0.1, 0.3] {
            let fit = fit_of_shape(shape);
            assert!((fit.shape - shape).abs() < 0.02, "shape {shape} came back as {}", fit.shape);
            assert!((fit.scale - 1.0).abs() < 0.03, "scale 1 came back as {}", fit.scale);
        }
    }

    #[test]
    fn surprise_grows_to_the_end_of_a_bounded_tail() {
        let fit = fit_of_shape(-0.25);
        assert_eq!(fit.surprise(0.0), 0.0);
        assert!(fit.surprise(1.0) < fit.surprise(2.0));
        assert_eq!(fit.surprise(10.0), f64::INFINITY);
        assert_eq!(TailFit::of(std::iter::empty()), None);
    }
}
