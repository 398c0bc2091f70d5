//! From a surprise to a severity, an incident, an alert.
//!
//! ```text
//! surprise ─► severity ─► muted? too old? ─► the key's incident: open · go on · escalate ─► alert?
//!                                              └─ closed by a timer after the quiet period
//! ```
//! Detectors only score; what wakes a person is decided here.

mod incident;
mod mute;

use faultline_crds::worker_config::{Decision, NewKeys, Severities};
use faultline_detectors::Maturity;

pub(crate) use incident::{Anomaly, Incident, ModelSet, advance, incident_id};
pub(crate) use mute::{MuteFacts, is_muted};

/// How bad an anomaly is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a look.
    Warning,
    /// Worth work.
    Major,
    /// Worth waking someone.
    Critical,
}

impl Severity {
    /// All of them, growing.
    pub const ALL: [Self; 3] = [Self::Warning, Self::Major, Self::Critical];

    /// The name that users see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Major => "major",
            Self::Critical => "critical",
        }
    }

    /// Lowest surprise of the severity.
    #[must_use]
    pub fn threshold(self, severities: &Severities) -> Option<f64> {
        match self {
            Self::Warning => severities.warning,
            Self::Major => severities.major,
            Self::Critical => severities.critical,
        }
    }
}

/// What was decided about one event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    /// The combined surprise; `None`: no model scored.
    pub(crate) surprise: Option<f64>,
    /// `None`: normal.
    pub(crate) severity: Option<Severity>,
    /// Recorded, not alerted: muted, or older than `maxEventAge`.
    pub(crate) muted: bool,
    /// The least of the models'.
    pub(crate) maturity: Maturity,
}

/// The severity of a surprise.
pub(crate) fn severity(decision: &Decision, surprise: Option<f64>, maturity: Maturity) -> Option<Severity> {
    let surprise = surprise?;
    if decision.new_keys == NewKeys::Silent && maturity != Maturity::Mature {
        return None;
    }
    Severity::ALL
        .into_iter()
        .rev()
        .find(|severity| severity.threshold(&decision.severities).is_some_and(|threshold| surprise >= threshold))
}
