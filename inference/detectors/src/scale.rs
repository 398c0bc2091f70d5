//! The working scale of a value: as it is, or its logarithm where the data are skewed.

use faultline_numerics::image::{ImageError, Reader, Writer};
use faultline_numerics::math;

use crate::bins::value_of;
use crate::counts::Weights;
use crate::spec::LogScale;

/// Values that a decision wants to have seen.
const ENOUGH: f64 = 64.0;
/// Upper over lower decile distance from the median beyond which data are skewed: 1 is symmetric, an
/// exponential has 2.7, a lognormal with σ = 1 has 3.6.
const SKEWED: f64 = 1.8;
/// Largest share of negative values that a log scale tolerates (a few bad records must not decide).
const MOST_NEGATIVE: f64 = 0.001;
/// Largest share of zeros that a log scale tolerates: more of them are a mode of their own.
const MOST_ZEROS: f64 = 0.05;

/// Scale on which a model looks at its value. Decided once; keys that learned on another one start over.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum Scale {
    /// Not decided: linear for now.
    #[default]
    Undecided,
    /// As it is.
    Linear,
    /// `ln(max(x, 0) + offset)`.
    Log {
        /// Small beside usual values; keeps zero finite.
        offset: f64,
    },
}

impl Scale {
    /// The scale before any version.
    pub(crate) fn new(wanted: LogScale) -> Self {
        if wanted == LogScale::No { Self::Linear } else { Self::Undecided }
    }

    /// Onto the working scale.
    #[inline]
    pub(crate) fn apply(self, value: f64) -> f64 {
        match self {
            Self::Log { offset } => math::ln(value.max(0.0) + offset),
            Self::Undecided | Self::Linear => value,
        }
    }

    /// Back from the working scale.
    #[inline]
    pub(crate) fn invert(self, value: f64) -> f64 {
        match self {
            // 700: just below where `exp` overflows.
            Self::Log { offset } => (math::exp(value.min(700.0)) - offset).max(0.0),
            Self::Undecided | Self::Linear => value,
        }
    }

    pub(crate) fn is_log(self) -> bool {
        matches!(self, Self::Log { .. })
    }

    /// Decides from values seen, if it is undecided and they are enough.
    pub(crate) fn decide(self, wanted: LogScale, values: &Weights) -> Self {
        let total = values.total();
        if self != Self::Undecided || total < ENOUGH {
            return self;
        }
        let bins = values.bins();
        let share = |wanted: &dyn Fn(f64) -> bool| {
            bins.iter().enumerate().filter(|(bin, _)| wanted(value_of(*bin))).map(|(_, weight)| weight).sum::<f64>()
                / total
        };
        let negative = share(&|value| value < 0.0);
        let zeros = share(&|value| value == 0.0);
        let at = |quantile: f64| values.quantile(quantile).map_or(0.0, value_of);
        let (low, median, high) = (at(0.1), at(0.5), at(0.9));
        let is_skewed = high - median > SKEWED * (median - low);
        let is_log = match wanted {
            LogScale::Yes => true,
            LogScale::No => false,
            LogScale::Auto => negative <= MOST_NEGATIVE && zeros <= MOST_ZEROS && median > 0.0 && is_skewed,
        };
        if !is_log {
            return Self::Linear;
        }
        let typical = if median > 0.0 { median } else { high.max(1.0) };
        // With zeros among the data the offset sets how far away they lie; without it only guards the logarithm.
        let offset = if zeros > 0.0 { typical * 0.1 } else { typical * 1e-6 };
        Self::Log { offset }
    }

    pub(crate) fn write(self, w: &mut Writer) {
        match self {
            Self::Undecided => w.u8(0),
            Self::Linear => w.u8(1),
            Self::Log { offset } => {
                w.u8(2);
                w.f64(offset);
            }
        }
    }

    pub(crate) fn restore(r: &mut Reader<'_>) -> Result<Self, ImageError> {
        match r.u8()? {
            0 => Ok(Self::Undecided),
            1 => Ok(Self::Linear),
            2 => match r.f64()? {
                offset if offset > 0.0 && offset.is_finite() => Ok(Self::Log { offset }),
                other => Err(ImageError::Invalid { what: "the offset of a log scale", found: other.to_bits() }),
            },
            other => Err(ImageError::Invalid { what: "a scale", found: u64::from(other) }),
        }
    }
}
