//! The record of the results topic.

use faultline_features::Value;

use super::{Encoder, Judged, json, maturity_name, rfc3339};

/// Appends the payload of a result.
pub(super) fn write_result(encoder: &Encoder, judged: &Judged<'_>, out: &mut Vec<u8>) {
    let verdict = judged.verdict;
    out.extend_from_slice(b"{\"eventId\":");
    encoder.event_id(out, judged.id, judged.offset);
    out.extend_from_slice(b",\"key\":");
    json::text(out, judged.key);
    out.extend_from_slice(b",\"timestamp\":");
    rfc3339::time(out, judged.time_ms);
    out.extend_from_slice(b",\"surprise\":");
    json::number_or_null(out, verdict.scored.surprise);
    out.extend_from_slice(b",\"severity\":");
    match verdict.severity {
        None => out.extend_from_slice(b"null"),
        Some(severity) => json::text(out, severity.name()),
    }
    out.extend_from_slice(b",\"muted\":");
    json::boolean(out, verdict.muted);
    out.extend_from_slice(b",\"maturity\":\"");
    out.extend_from_slice(maturity_name(verdict.scored.maturity).as_bytes());
    out.extend_from_slice(b"\",\"models\":[");
    for (at, (fragments, score)) in encoder.models.iter().zip(judged.scores).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&fragments.result);
        json::number_or_null(out, score.map(|score| score.surprise));
        out.push(b'}');
    }
    out.push(b']');
    if verdict.severity.is_some() || encoder.features_always {
        write_features(encoder, judged, out);
        write_explanation(encoder, judged, out);
    }
    out.extend_from_slice(b",\"degraded\":false}");
}

fn write_features(encoder: &Encoder, judged: &Judged<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"features\":{");
    for (at, (fragment, value)) in encoder.columns.iter().zip(judged.columns).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&fragment.member);
        fragment.value(out, *value);
    }
    out.push(b'}');
}

/// Appends `,"explanation":[…]`.
pub(super) fn write_explanation(encoder: &Encoder, judged: &Judged<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"explanation\":[");
    for (at, item) in judged.explanation.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let column = item.column.and_then(|column| encoder.columns.get(column));
        out.extend_from_slice(b"{\"feature\":");
        json::text(out, column.map_or("events", |column| &column.name));
        out.extend_from_slice(b",\"value\":");
        match column {
            Some(column) => column.value(out, Value::number(item.value)),
            None => json::number(out, item.value),
        }
        out.extend_from_slice(b",\"expected\":");
        json::range_or_null(out, item.expected.filter(|_| !column.is_some_and(|column| column.is_hidden)));
        out.extend_from_slice(b",\"contribution\":");
        json::number(out, item.contribution);
        out.push(b'}');
    }
    out.push(b']');
}
