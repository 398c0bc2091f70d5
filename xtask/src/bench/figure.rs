//! One measured number.

/// A figure of a benchmark: the median of its runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    /// The benchmark that measured it.
    pub(crate) benchmark: &'static str,
    /// What was measured.
    pub(crate) metric: String,
    /// Median over the runs.
    pub(crate) value: f64,
    /// Unit of the value.
    pub(crate) unit: &'static str,
    /// Number of runs.
    pub(crate) runs: usize,
    /// (greatest − least) / median over the runs.
    pub(crate) spread: f64,
}

impl Figure {
    /// The figure of the values of all runs; no value gives NaN.
    pub(crate) fn of(benchmark: &'static str, metric: String, unit: &'static str, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let value = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
        let range = values.last().copied().unwrap_or(f64::NAN) - values.first().copied().unwrap_or(f64::NAN);
        let spread = if range == 0.0 { 0.0 } else { range / value };
        Self { benchmark, metric, value, unit, runs: values.len(), spread }
    }
}
