//! What a model is: the detector, its parameters, and what counts as a change worth noticing.

use std::fmt::Write as _;

use faultline_numerics::hash::Fingerprint;

/// Most context inputs of a tail detector: its regression costs their square in memory.
pub(crate) const MOST_CONTEXTS: usize = 8;

/// A detector and its parameters.
#[derive(Debug, Clone, PartialEq)]
pub enum DetectorSpec {
    /// Robust, decayed distribution of input 0; further inputs are its context.
    Tail {
        /// Memory of the key's level and scale, in events.
        half_life: f64,
        /// Whether the value is looked at on a log scale.
        log_scale: LogScale,
    },
    /// Events (or an amount per event) per bucket of time, judged on the high side.
    Count {
        /// Length of a bucket; buckets are aligned to the epoch.
        every_ms: i64,
        /// Memory of the key's rate, in buckets.
        half_life: f64,
    },
    /// Decayed mean and standard deviation.
    Ewma {
        /// Memory, in events.
        half_life: f64,
    },
    /// A fixed rule; it bypasses the calibrator.
    Threshold {
        /// Values above it are anomalous.
        above: Option<f64>,
        /// Values below it are anomalous.
        below: Option<f64>,
        /// The surprise of such a value.
        surprise: f64,
    },
}

/// Whether a value is looked at on a log scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogScale {
    /// Decided by the first frozen version from sign and skew of the values.
    Auto,
    /// Always; values that are not positive count as tiny.
    Yes,
    /// Never.
    No,
}

/// Which side of the expectation is strange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Above.
    High,
    /// Below.
    Low,
    /// Either.
    Both,
}

/// One model: a detector bound to its inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// The detector.
    pub detector: DetectorSpec,
    /// Number of inputs given to every fold.
    pub inputs: usize,
    /// Which side is strange. `Count` judges the high side only.
    pub direction: Direction,
    /// A distance from the expected value below this is never strange; 0 switches it off.
    pub ignore_below_absolute: f64,
    /// The same as a share of the expected value's magnitude; 0 switches it off.
    pub ignore_below_relative: f64,
    /// Lowest surprise that any severity asks for: where quarantine begins.
    pub lowest_severity: f64,
    /// Event time after which a quarantine ends by itself and a level shift is accepted.
    pub quarantine_ms: i64,
    /// Identity of each input.
    pub input_fingerprints: Vec<Fingerprint>,
}

impl ModelSpec {
    /// Checks numbers and bounds.
    ///
    /// # Errors
    /// Every problem found, each as "member: what was expected, what was found".
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        let mut within = |member: &str, found: f64, low: f64, high: f64| {
            if !(low..=high).contains(&found) {
                problems.push(format!("{member}: expected a number from {low} to {high}, found {found}"));
            }
        };
        match self.detector {
            DetectorSpec::Tail { half_life, .. } | DetectorSpec::Ewma { half_life } => {
                within("halfLife", half_life, 10.0, 100_000.0);
            }
            DetectorSpec::Count { every_ms, half_life } => {
                within("every (ms)", every_ms as f64, 1_000.0, 7.0 * 86_400_000.0);
                within("halfLife", half_life, 1.0, 100_000.0);
            }
            DetectorSpec::Threshold { above, below, surprise } => {
                within("surprise", surprise, 0.0, 300.0);
                within("above", above.unwrap_or(0.0), f64::MIN, f64::MAX);
                within("below", below.unwrap_or(0.0), f64::MIN, f64::MAX);
            }
        }
        within("ignoreChangesBelow.absolute", self.ignore_below_absolute, 0.0, f64::MAX);
        within("ignoreChangesBelow.relative", self.ignore_below_relative, 0.0, f64::MAX);
        within("lowest severity", self.lowest_severity, 0.0, 300.0);
        within("quarantine (ms)", self.quarantine_ms as f64, 0.0, 1e15);
        if let DetectorSpec::Threshold { above: None, below: None, .. } = self.detector {
            problems.push("threshold: expected above, below or both, found neither".to_owned());
        }
        if matches!(self.detector, DetectorSpec::Count { .. }) && self.direction == Direction::Low {
            problems.push("direction: a count of the running bucket is judged on the high side, found low".to_owned());
        }
        let (least, most) = match self.detector {
            DetectorSpec::Tail { .. } => (1, 1 + MOST_CONTEXTS),
            DetectorSpec::Count { .. } => (0, 1),
            DetectorSpec::Ewma { .. } | DetectorSpec::Threshold { .. } => (1, 1),
        };
        if !(least..=most).contains(&self.inputs) {
            let expected = if least == most { format!("{least}") } else { format!("{least} to {most}") };
            problems.push(format!("inputs: {} takes {expected}, found {}", self.kind(), self.inputs));
        }
        if self.input_fingerprints.len() != self.inputs {
            let found = self.input_fingerprints.len();
            problems.push(format!("inputs: expected {} fingerprints, found {found}", self.inputs));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Name of the detector as users write it.
    pub(crate) fn kind(&self) -> &'static str {
        match self.detector {
            DetectorSpec::Tail { .. } => "tail",
            DetectorSpec::Count { .. } => "count",
            DetectorSpec::Ewma { .. } => "ewma",
            DetectorSpec::Threshold { .. } => "threshold",
        }
    }

    /// Identity of the learned state: whatever would make it mean something else.
    ///
    /// The lowest severity and the length of a quarantine are left out, so that tuning alerts keeps keys warm.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut text = match self.detector {
            DetectorSpec::Tail { half_life, log_scale } => format!("tail/1 {half_life:?} {log_scale:?}"),
            DetectorSpec::Count { every_ms, half_life } => format!("count/1 {every_ms} {half_life:?}"),
            DetectorSpec::Ewma { half_life } => format!("ewma/1 {half_life:?}"),
            DetectorSpec::Threshold { above, below, surprise } => {
                format!("threshold/1 {above:?} {below:?} {surprise:?}")
            }
        };
        // Writing into a string cannot fail.
        let _ = write!(text, " {:?} {:?} {:?}", self.direction, self.ignore_below_absolute, self.ignore_below_relative);
        for input in &self.input_fingerprints {
            let _ = write!(text, " {input}");
        }
        Fingerprint::of(&text)
    }
}
