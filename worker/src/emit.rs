//! From a judged event to bytes: results, alerts, rejected records.
//!
//! Payloads have a fixed order of members and hold nothing that differs between a run and its replay: no wall clock,
//! no host. Everything that is the same for all events of a pipeline is encoded once, in the [`Encoder`].

mod alert;
mod encoder;
mod json;
mod result;
mod rfc3339;
mod summary;

use faultline_crds::worker_config::ResultsMode;
use faultline_detectors::{Maturity, Score};
use faultline_features::Value;

use crate::decide::{Incident, Verdict};
use crate::decode::Event;
use crate::outputs::{Output, Outputs, Topic};
use crate::pipeline::Work;
use crate::score::{Explained, explain};
use crate::shard::Opened;
use alert::{write_alert, write_closing};
use result::write_result;

pub(crate) use alert::{AlertState, Closing, close_reason};
pub(crate) use encoder::Encoder;
pub(crate) use rfc3339::days_from_civil;

/// Everything that outputs say about one event.
#[derive(Debug, Clone, Copy)]
struct Judged<'a> {
    /// The entity key, as outputs show it.
    key: &'a str,
    /// The event's own id, if it has one.
    id: Option<&'a str>,
    /// Source offset.
    offset: i64,
    /// Event time.
    time_ms: i64,
    /// One value per column of the plan.
    columns: &'a [Value<'a>],
    /// One score per model.
    scores: &'a [Option<Score>],
    /// What the event's surprise is made of; only for anomalies.
    explanation: &'a [Explained],
    /// What was decided.
    verdict: &'a Verdict,
}

/// Writes the result and the alert that an event causes, and counts them.
pub(crate) fn emit(
    key: &Opened<'_>,
    event: &Event<'_>,
    columns: &[Value<'_>],
    verdict: &Verdict,
    work: &mut Work,
    outputs: &mut Outputs,
) {
    let Opened { config, encoder, partition, .. } = *key;
    if let Some(severity) = verdict.severity {
        let tally = outputs.tally(partition);
        tally.anomalies += 1;
        tally.by_severity[severity as usize] += 1;
    }
    let wants_result = match config.outputs.results.mode {
        ResultsMode::All => true,
        ResultsMode::Anomalies => verdict.severity.is_some(),
        ResultsMode::None => false,
    };
    if !wants_result && verdict.alert.is_none() {
        return;
    }
    if verdict.severity.is_some() || encoder.features_always {
        explain(config, columns, &mut work.scores, &mut work.explanation);
    }
    let judged = Judged {
        key: encoder.shown_key(event.key, &mut work.shown_key),
        id: event.id,
        offset: event.raw.offset,
        time_ms: event.time_ms,
        columns,
        scores: &work.scores.models,
        explanation: &work.explanation,
        verdict,
    };
    let shown_key = Some(outputs.put(judged.key.as_bytes()));
    let traceparent = event.raw.traceparent.map(|trace| outputs.put(trace));
    let output = |topic, value| Output {
        topic,
        partition,
        offset: judged.offset,
        record_time_ms: event.raw.timestamp.millis().unwrap_or(-1),
        key: shown_key.clone(),
        value: Some(value),
        traceparent: traceparent.clone(),
        rejection: None,
    };
    if wants_result {
        let value = outputs.write(|out| write_result(encoder, &judged, out));
        outputs.push(output(Topic::Results, value));
    }
    if let (Some(state), Some(incident)) = (verdict.alert, key.incident.as_deref()) {
        let value = outputs.write(|out| write_alert(encoder, incident, state, &judged, out));
        outputs.push(output(Topic::Alerts, value));
        outputs.tally(partition).alerts += 1;
    }
}

/// Writes the alert that ends an incident, and counts it.
pub(crate) fn emit_closing(
    encoder: &Encoder,
    incident: &Incident,
    closing: &Closing,
    shown_key: &str,
    outputs: &mut Outputs,
) {
    let key = Some(outputs.put(shown_key.as_bytes()));
    let value = Some(outputs.write(|out| write_closing(encoder, incident, closing, shown_key, out)));
    let Closing { partition, offset, .. } = *closing;
    outputs.push(Output {
        topic: Topic::Alerts,
        partition,
        offset,
        record_time_ms: -1,
        key,
        value,
        traceparent: None,
        rejection: None,
    });
    outputs.tally(partition).alerts += 1;
}

/// How payloads name a maturity.
pub(crate) fn maturity_name(maturity: Maturity) -> &'static str {
    match maturity {
        Maturity::Cold => "cold",
        Maturity::Warming => "warming",
        Maturity::Mature => "mature",
    }
}
