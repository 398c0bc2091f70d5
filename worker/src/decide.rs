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
use faultline_features::Value;

use crate::decode::Event;
use crate::emit::AlertState;
use crate::score::{Scored, Scores};
use crate::shard::{Opened, Purpose};
use incident::{Anomaly, advance, incident_id};
use mute::{MuteFacts, is_muted};

pub(crate) use incident::{Incident, ModelSet};

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
    /// What the models said.
    pub(crate) scored: Scored,
    /// `None`: normal.
    pub(crate) severity: Option<Severity>,
    /// Recorded, not alerted: muted, or older than `maxEventAge`.
    pub(crate) muted: bool,
    /// What the key's incident alerts.
    pub(crate) alert: Option<AlertState>,
}

/// Judges an event; an anomaly that is not muted opens the key's incident or goes on with it.
pub(crate) fn decide(
    key: &mut Opened<'_>,
    event: &Event<'_>,
    columns: &[Value<'_>],
    scored: Scored,
    scores: &Scores,
) -> Verdict {
    let decision = &key.config.decision;
    let severity = severity(decision, scored);
    let mut verdict = Verdict { scored, severity, muted: false, alert: None };
    let (Some(severity), Some(surprise)) = (severity, scored.surprise) else { return verdict };

    let age_ms = key.clock_ms.saturating_sub(event.time_ms);
    let too_old = key.config.outputs.alerts.max_event_age_ms.is_some_and(|most| age_ms > most);
    let facts = MuteFacts { time_ms: event.time_ms, columns, key: event.key, surprise, severity };
    verdict.muted = too_old || is_muted(&decision.mutes, &facts);
    if verdict.muted {
        return verdict;
    }

    let models = ModelSet::of(&scores.models);
    let anomaly = Anomaly { time_ms: event.time_ms, surprise, severity, maturity: scored.maturity, models };
    let id = || incident_id(&key.encoder.pipeline, key.partition, event.key, event.raw.offset);
    verdict.alert = advance(key.incident, decision, &anomaly, id);
    key.journal.decided(event.key);
    if let (Some(AlertState::Opened), Some(incident)) = (verdict.alert, key.incident.as_mut()) {
        incident.end_timer_ms = incident.last_ms + decision.quiet_period_ms;
        key.timers.arm(incident.end_timer_ms, event.key, Purpose::IncidentEnd);
    }
    verdict
}

/// The severity of a surprise.
fn severity(decision: &Decision, scored: Scored) -> Option<Severity> {
    let surprise = scored.surprise?;
    if decision.new_keys == NewKeys::Silent && scored.maturity != Maturity::Mature {
        return None;
    }
    Severity::ALL
        .into_iter()
        .rev()
        .find(|severity| severity.threshold(&decision.severities).is_some_and(|threshold| surprise >= threshold))
}
