//! One alert per incident, not one per event.

use faultline_crds::worker_config::Decision;
use faultline_detectors::{Maturity, Score};
use faultline_numerics::hash::hash128;

use super::Severity;
use crate::emit::AlertState;

/// Anomalies of one key with less than the quiet period between them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Incident {
    /// Hash of pipeline, source partition, key and first offset.
    pub(crate) id: u128,
    /// Event time of the first anomaly.
    pub(crate) opened_ms: i64,
    /// Greatest event time of an anomaly.
    pub(crate) last_ms: i64,
    /// Anomalies so far.
    pub(crate) events: u64,
    /// Greatest surprise.
    pub(crate) peak: f64,
    /// Greatest surprise when it was last alerted.
    pub(crate) alerted_peak: f64,
    /// Greatest severity.
    pub(crate) severity: Severity,
    /// Maturity at the peak.
    pub(crate) maturity: Maturity,
    /// Models that scored an anomaly of it.
    pub(crate) models: ModelSet,
    /// When its end is looked at; other timers of the key's incidents are stale.
    pub(crate) end_timer_ms: i64,
}

/// A set of a pipeline's models.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ModelSet(u64);

impl ModelSet {
    /// The models that scored.
    pub(crate) fn of(scores: &[Option<Score>]) -> Self {
        Self(
            scores
                .iter()
                .take(64)
                .enumerate()
                .filter(|(_, score)| score.is_some())
                .fold(0, |set, (at, _)| set | 1 << at),
        )
    }

    pub(crate) fn contains(self, model: usize) -> bool {
        model < 64 && self.0 & (1 << model) != 0
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    fn join(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// An event with a severity that is neither muted nor too old.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Anomaly {
    pub(crate) time_ms: i64,
    pub(crate) surprise: f64,
    pub(crate) severity: Severity,
    pub(crate) maturity: Maturity,
    pub(crate) models: ModelSet,
}

/// The identity of an incident.
pub(crate) fn incident_id(pipeline: &str, partition: i32, key: &str, first_offset: i64) -> u128 {
    let mut identity = Vec::with_capacity(pipeline.len() + key.len() + 16);
    identity.extend_from_slice(pipeline.as_bytes());
    identity.push(0);
    identity.extend_from_slice(&partition.to_be_bytes());
    identity.extend_from_slice(&first_offset.to_be_bytes());
    identity.extend_from_slice(key.as_bytes());
    hash128(&identity)
}

/// Takes an anomaly into the key's incident, or opens one; says whether that is worth an alert. `id` is asked for
/// only when one is opened.
pub(crate) fn advance(
    open: &mut Option<Box<Incident>>,
    decision: &Decision,
    anomaly: &Anomaly,
    id: impl FnOnce() -> u128,
) -> Option<AlertState> {
    let Some(incident) = open else {
        *open = Some(Box::new(Incident {
            id: id(),
            opened_ms: anomaly.time_ms,
            last_ms: anomaly.time_ms,
            events: 1,
            peak: anomaly.surprise,
            alerted_peak: anomaly.surprise,
            severity: anomaly.severity,
            maturity: anomaly.maturity,
            models: anomaly.models,
            end_timer_ms: i64::MIN,
        }));
        return Some(AlertState::Opened);
    };
    incident.events += 1;
    incident.last_ms = incident.last_ms.max(anomaly.time_ms);
    incident.severity = incident.severity.max(anomaly.severity);
    incident.models = incident.models.join(anomaly.models);
    if anomaly.surprise > incident.peak {
        incident.peak = anomaly.surprise;
        incident.maturity = anomaly.maturity;
    }
    if anomaly.surprise >= incident.alerted_peak + decision.escalate_by {
        incident.alerted_peak = incident.peak;
        return Some(AlertState::Escalated);
    }
    None
}
