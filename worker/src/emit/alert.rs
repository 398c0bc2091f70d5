//! The record of the alerts topic.

use faultline_numerics::hash::hash128;

use super::result::write_explanation;
use super::{Encoder, Judged, json, maturity_name, rfc3339, summary};
use crate::decide::Incident;

/// What an alert says about its incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AlertState {
    /// Its first alert.
    Opened,
    /// It has become worse.
    Escalated,
    /// It is over.
    Closed,
}

impl AlertState {
    fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Escalated => "escalated",
            Self::Closed => "closed",
        }
    }
}

/// Values of `closeReason`.
pub(crate) mod close_reason {
    /// The quiet period has passed.
    pub(crate) const QUIET: &str = "quiet";
    /// The key has expired.
    pub(crate) const KEY_EXPIRED: &str = "keyExpired";
    /// The key made room for others.
    pub(crate) const KEY_EVICTED: &str = "keyEvicted";
    /// A person wanted the key forgotten.
    pub(crate) const KEY_FORGOTTEN: &str = "keyForgotten";
}

/// How an incident ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closing {
    /// Event time of the end.
    pub(crate) at_ms: i64,
    /// Source partition.
    pub(crate) partition: i32,
    /// The shard's next offset.
    pub(crate) offset: i64,
    /// One of [`close_reason`].
    pub(crate) reason: &'static str,
}

/// Appends the payload of an alert that an event causes.
pub(super) fn write_alert(
    encoder: &Encoder,
    incident: &Incident,
    state: AlertState,
    judged: &Judged<'_>,
    out: &mut Vec<u8>,
) {
    begin(incident, state, judged.offset, judged.key, judged.time_ms, out);
    out.extend_from_slice(b",\"summary\":");
    json::text(out, &summary::of_event(encoder, judged));
    write_explanation(encoder, judged, out);
    end(encoder, incident, None, out);
}

/// Appends the payload of the alert that ends an incident.
pub(super) fn write_closing(
    encoder: &Encoder,
    incident: &Incident,
    closing: &Closing,
    shown_key: &str,
    out: &mut Vec<u8>,
) {
    begin(incident, AlertState::Closed, closing.offset, shown_key, closing.at_ms, out);
    out.extend_from_slice(b",\"summary\":");
    json::text(out, &summary::of_closing(incident, shown_key));
    out.extend_from_slice(b",\"explanation\":[]");
    end(encoder, incident, Some(closing.reason), out);
}

fn begin(incident: &Incident, state: AlertState, offset: i64, shown_key: &str, at_ms: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"alertId\":\"");
    json::hex128(out, alert_id(incident.id, state, offset));
    out.extend_from_slice(b"\",\"incidentId\":\"");
    json::hex128(out, incident.id);
    out.extend_from_slice(b"\",\"state\":\"");
    out.extend_from_slice(state.name().as_bytes());
    out.extend_from_slice(b"\",\"severity\":\"");
    out.extend_from_slice(incident.severity.name().as_bytes());
    out.extend_from_slice(b"\",\"key\":");
    json::text(out, shown_key);
    out.extend_from_slice(b",\"openedAt\":");
    rfc3339::time(out, incident.opened_ms);
    out.extend_from_slice(b",\"timestamp\":");
    rfc3339::time(out, at_ms);
    out.extend_from_slice(b",\"events\":");
    json::unsigned(out, incident.events);
    out.extend_from_slice(b",\"peak\":");
    json::number(out, incident.peak);
}

fn end(encoder: &Encoder, incident: &Incident, reason: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"models\":[");
    let named = encoder.models.iter().enumerate().filter(|(at, _)| incident.models.contains(*at));
    for (count, (_, fragments)) in named.enumerate() {
        if count > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&fragments.alert);
    }
    out.extend_from_slice(b"],\"maturity\":\"");
    out.extend_from_slice(maturity_name(incident.maturity).as_bytes());
    out.extend_from_slice(b"\",\"degraded\":false,");
    out.extend_from_slice(&encoder.alert_tail);
    out.extend_from_slice(b",\"closeReason\":");
    match reason {
        Some(reason) => json::text(out, reason),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// One id per incident, state and offset: the same event gives the same alert again.
fn alert_id(incident: u128, state: AlertState, offset: i64) -> u128 {
    let mut identity = [0; 25];
    identity[..16].copy_from_slice(&incident.to_be_bytes());
    identity[16] = state as u8;
    identity[17..].copy_from_slice(&offset.to_be_bytes());
    hash128(&identity)
}
