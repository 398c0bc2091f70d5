//! Does surprise keep its promise? Observed over nominal rates.

use faultline_crds::worker_config::Severities;
use faultline_numerics::math;

use crate::decide::Severity;

/// How often a model's surprise has reached each severity, against how often it should have.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Name of the model within the pipeline.
    pub model: String,
    /// Events scored.
    pub scored: u64,
    /// Of them, at or above the threshold of each severity, in the order of [`Severity::ALL`].
    pub observed: [u64; 3],
    thresholds: [Option<f64>; 3],
}

impl Calibration {
    pub(crate) fn new(model: &str, severities: &Severities) -> Self {
        let thresholds = Severity::ALL.map(|severity| severity.threshold(severities));
        Self { model: model.to_owned(), scored: 0, observed: [0; 3], thresholds }
    }

    pub(crate) fn count(&mut self, surprise: f64) {
        self.scored += 1;
        for (observed, threshold) in self.observed.iter_mut().zip(self.thresholds) {
            *observed += u64::from(threshold.is_some_and(|threshold| surprise >= threshold));
        }
    }

    /// Events that should have reached a severity: `scored · 10^−threshold`.
    #[must_use]
    pub fn nominal(&self, severity: Severity) -> Option<f64> {
        self.thresholds[severity as usize].map(|threshold| self.scored as f64 * math::pow(10.0, -threshold))
    }

    /// Observed over nominal; `None` without a threshold or an event.
    #[must_use]
    pub fn ratio(&self, severity: Severity) -> Option<f64> {
        let nominal = self.nominal(severity).filter(|nominal| *nominal > 0.0)?;
        Some(self.observed[severity as usize] as f64 / nominal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_observed_over_nominal() {
        let mut calibration =
            Calibration::new("m", &Severities { warning: Some(2.0), major: None, critical: Some(3.0) });
        (0..1000).for_each(|at| calibration.count(if at < 20 { 2.5 } else { 0.1 }));
        assert!((calibration.ratio(Severity::Warning).unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(calibration.ratio(Severity::Major), None);
        assert_eq!(calibration.ratio(Severity::Critical), Some(0.0));
    }
}
