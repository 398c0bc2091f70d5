//! What is known of a key, in words and as JSON.

use std::fmt::Write;

use faultline_worker::restore::inspect::{ImageView, IncidentView, KeyView};
use serde_json::{Value, json};

use super::table::Table;
use crate::text::{grouped, time};

pub(super) fn as_text(key: &str, view: &KeyView) -> String {
    let mut text = format!("key {key}, partition {}\n", view.partition);
    match &view.image {
        None => text.push_str("no image of it was written yet; its events are replayed on recovery\n"),
        Some(image) if image.parts == 0 => {
            line(&mut text, format!("dropped: nothing is kept of its events below offset {}", image.applied_upto));
        }
        Some(image) => describe(image, view.next_offset, &mut text),
    }
    match &view.incident {
        None => text.push_str("no open incident\n"),
        Some(incident) => describe_incident(incident, &mut text),
    }
    text
}

fn line(text: &mut String, line: impl AsRef<str>) {
    text.push_str(line.as_ref());
    text.push('\n');
}

fn describe(image: &ImageView, next_offset: Option<i64>, text: &mut String) {
    let last = image.last_ms.map_or_else(|| "unknown".to_owned(), time);
    let records = if image.parts == 1 { "1 record".to_owned() } else { format!("{} records", image.parts) };
    line(text, format!("last event {last}"));
    line(text, format!("image of {} bytes in {records}", grouped(image.bytes as u64)));
    match next_offset.filter(|next| *next > image.applied_upto) {
        Some(next) => line(
            text,
            format!(
                "holds its events below offset {}; those up to {next}, if there are any, are replayed on recovery",
                image.applied_upto
            ),
        ),
        None => line(text, format!("holds all of its events below offset {}", image.applied_upto)),
    }
    if !image.states.is_empty() {
        let mut table = Table::new(&["FEATURES", "BYTES"]);
        for state in &image.states {
            let names =
                if state.features.is_empty() { "of no feature any more".to_owned() } else { state.features.join(", ") };
            table.row(vec![names, grouped(state.bytes as u64)]);
        }
        text.push('\n');
        table.write(text);
    }
    if !image.models.is_empty() {
        let mut table = Table::new(&["MODEL", "LEARNED", "MATURITY", "BYTES"]);
        for model in &image.models {
            let learned = grouped(u64::from(model.learned));
            table.row(vec![model.name.clone(), learned, model.maturity.to_owned(), grouped(model.bytes as u64)]);
        }
        text.push('\n');
        table.write(text);
    }
    if image.foreign_models > 0 {
        line(text, format!("and {} models that the pipeline does not have any more", image.foreign_models));
    }
    text.push('\n');
}

fn describe_incident(incident: &IncidentView, text: &mut String) {
    let IncidentView { id, opened_ms, last_ms, events, peak, severity, maturity, models } = incident;
    // Writing to memory does not fail.
    let _ = writeln!(
        text,
        "open incident {id:032x}: {severity}, {} anomalies from {} to {}, greatest surprise {peak:.2} ({maturity}), \
         models {}",
        grouped(*events),
        time(*opened_ms),
        time(*last_ms),
        models.join(", ")
    );
}

pub(super) fn as_json(key: &str, view: &KeyView) -> Value {
    let image = view.image.as_ref().map(|image| {
        let states = image.states.iter().map(|state| json!({"features": state.features, "bytes": state.bytes}));
        let models = image.models.iter().map(|model| {
            let (learned, maturity) = (model.learned, model.maturity);
            json!({"name": model.name, "learned": learned, "maturity": maturity, "bytes": model.bytes})
        });
        json!({
            "appliedUpTo": image.applied_upto,
            "dropped": image.parts == 0,
            "records": image.parts.max(1),
            "bytes": image.bytes,
            "lastEventTimeMs": image.last_ms,
            "states": states.collect::<Vec<_>>(),
            "models": models.collect::<Vec<_>>(),
            "foreignModels": image.foreign_models,
        })
    });
    let incident = view.incident.as_ref().map(|incident| {
        json!({
            "incidentId": format!("{:032x}", incident.id),
            "openedAtMs": incident.opened_ms,
            "lastAnomalyMs": incident.last_ms,
            "events": incident.events,
            "peak": incident.peak,
            "severity": incident.severity,
            "maturity": incident.maturity,
            "models": incident.models,
        })
    });
    json!({
        "key": key,
        "partition": view.partition,
        "nextOffset": view.next_offset,
        "image": image,
        "incident": incident,
    })
}
