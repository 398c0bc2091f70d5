//! What is the same in all payloads of a pipeline, encoded once.

use faultline_crds::worker_config::WorkerConfig;
use faultline_detectors::DetectorSpec;
use faultline_features::Value;
use faultline_numerics::hash::hash128;

use super::json;

/// Names and fragments of a pipeline's payloads.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// Identity of the pipeline in hashes: `namespace/name`.
    pub(crate) pipeline: String,
    /// `topic-partition-`, the beginning of default event ids.
    pub(crate) id_prefix: String,
    pub(crate) models: Vec<ModelFragments>,
    pub(crate) columns: Vec<ColumnFragment>,
    /// `"labels":{…},"runbookUrl":…` of alerts.
    pub(crate) alert_tail: Vec<u8>,
    pub(crate) features_always: bool,
    hides_key: bool,
    hides_id: bool,
}

/// Fragments of one model.
#[derive(Debug)]
pub(crate) struct ModelFragments {
    /// `{"name":…,"revision":…,"role":…,"surprise":` of results.
    pub(crate) result: Vec<u8>,
    /// The whole object of alerts.
    pub(crate) alert: Vec<u8>,
    /// Name and version, for the summary.
    pub(crate) label: String,
    /// Length of a count's bucket.
    pub(crate) every_ms: Option<i64>,
    /// It expects what it was told, not what it has seen.
    pub(crate) is_rule: bool,
}

/// One column of the plan.
#[derive(Debug)]
pub(crate) struct ColumnFragment {
    pub(crate) name: String,
    /// `"name":`.
    pub(crate) member: Vec<u8>,
    /// Its values are a sensitive field's: outputs show their hashes.
    pub(crate) is_hidden: bool,
}

impl Encoder {
    pub(crate) fn new(config: &WorkerConfig, partition: i32) -> Self {
        let is_sensitive =
            |path| config.source.fields.iter().any(|field| field.sensitive && Some(field.spec.path) == path);
        Self {
            pipeline: format!("{}/{}", config.namespace, config.name),
            id_prefix: format!("{}-{partition}-", config.source.topic),
            models: config.models.iter().map(ModelFragments::new).collect(),
            columns: config
                .plan
                .columns()
                .iter()
                .zip(&config.hidden_columns)
                .map(|(column, &is_hidden)| ColumnFragment {
                    name: column.name.clone(),
                    member: member(&column.name),
                    is_hidden,
                })
                .collect(),
            alert_tail: alert_tail(config),
            features_always: config.outputs.results.features_always,
            hides_key: is_sensitive(config.source.key),
            hides_id: is_sensitive(config.source.event_id),
        }
    }

    /// The entity key as outputs show it.
    pub(crate) fn shown_key<'a>(&self, key: &'a str, buffer: &'a mut String) -> &'a str {
        if self.hides_key { hidden(key, buffer) } else { key }
    }

    /// Appends the event's id in quotes.
    pub(crate) fn event_id(&self, out: &mut Vec<u8>, id: Option<&str>, offset: i64) {
        match id {
            Some(id) if self.hides_id => json::text(out, hidden(id, &mut String::new())),
            Some(id) => json::text(out, id),
            None => {
                out.push(b'"');
                out.extend_from_slice(self.id_prefix.as_bytes());
                json::integer(out, offset);
                out.push(b'"');
            }
        }
    }
}

impl ColumnFragment {
    /// Appends a value of the column.
    pub(crate) fn value(&self, out: &mut Vec<u8>, value: Value<'_>) {
        match value {
            Value::Absent => out.extend_from_slice(b"null"),
            Value::Bool(value) => json::boolean(out, value),
            Value::Number(value) if self.is_hidden => json::text(out, hidden(&value.to_string(), &mut String::new())),
            Value::Text(value) if self.is_hidden => json::text(out, hidden(value, &mut String::new())),
            Value::Number(value) => json::number(out, value),
            Value::Text(value) => json::text(out, value),
        }
    }
}

impl ModelFragments {
    fn new(bound: &faultline_crds::worker_config::BoundModel) -> Self {
        let mut result = Vec::from(*b"{\"name\":");
        json::text(&mut result, &bound.name);
        result.extend_from_slice(b",\"revision\":");
        json::text(&mut result, &bound.revision);
        result.extend_from_slice(b",\"role\":\"stable\",\"surprise\":");
        let mut alert = Vec::from(*b"{\"name\":");
        json::text(&mut alert, &bound.name);
        alert.extend_from_slice(b",\"version\":");
        json::text(&mut alert, &bound.version);
        alert.extend_from_slice(b",\"revision\":");
        json::text(&mut alert, &bound.revision);
        alert.push(b'}');
        let every_ms = match bound.model.spec().detector {
            DetectorSpec::Count { every_ms, .. } => Some(every_ms),
            _ => None,
        };
        let label = [bound.name.as_str(), bound.version.as_str()].join(" ").trim_end().to_owned();
        Self { result, alert, label, every_ms, is_rule: bound.model.is_rule() }
    }
}

fn member(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    json::text(&mut out, name);
    out.push(b':');
    out
}

fn alert_tail(config: &WorkerConfig) -> Vec<u8> {
    let alerts = &config.outputs.alerts;
    let mut out = Vec::from(*b"\"labels\":{");
    for (at, (name, value)) in alerts.labels.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&member(name));
        json::text(&mut out, value);
    }
    out.extend_from_slice(b"},\"runbookUrl\":");
    match &alerts.runbook_url {
        Some(url) => json::text(&mut out, url),
        None => out.extend_from_slice(b"null"),
    }
    out
}

/// 128 bits of hash in place of a sensitive value: equal values stay equal.
fn hidden<'a>(value: &str, buffer: &'a mut String) -> &'a str {
    buffer.clear();
    buffer.push_str(&format!("{:032x}", hash128(value.as_bytes())));
    buffer
}
