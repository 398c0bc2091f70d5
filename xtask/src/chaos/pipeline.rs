//! The pipeline under disturbance: every detector, windows of many kinds, incidents, every outcome of a record. What
//! varies from run to run follows from the seed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use faultline_crds::WorkerConfig;
use serde_json::{Value, json};

/// A pipeline, as its workers and the oracle get it.
pub(crate) struct Pipeline {
    /// Group, prefix of its topics.
    pub(crate) identity: String,
    /// Source topic.
    pub(crate) source: String,
    /// What the oracle folds with.
    pub(crate) config: Arc<WorkerConfig>,
}

impl Pipeline {
    /// Writes the pipeline of a seed into a folder. Pipelines of one seed differ in nothing but their names and the
    /// protocol of their groups, `classic` or `consumer`: no output shows either.
    pub(crate) fn write(folder: &Path, identity: &str, source: &str, protocol: &str, seed: u64) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
        let objects: Vec<Value> = std::iter::once(pipeline(identity, source, protocol, seed)).chain(models()).collect();
        let texts: Vec<String> =
            objects.iter().map(serde_yaml::to_string).collect::<Result<_, _>>().context("failed to write YAML")?;
        let text = texts.join("---\n");
        fs::write(folder.join("pipeline.yaml"), &text).context("failed to write the pipeline")?;
        Ok(Self { identity: identity.to_owned(), source: source.to_owned(), config: resolve(&text)? })
    }

    /// Where its workers keep their state.
    pub(crate) fn state_topic(&self) -> String {
        format!("{}.state", self.identity)
    }
}

fn resolve(text: &str) -> Result<Arc<WorkerConfig>> {
    let refused = |problems: Vec<faultline_crds::Problem>| {
        anyhow!("the pipeline is refused: {}", problems.iter().map(|p| format!("\n  {p}")).collect::<String>())
    };
    let folder = faultline_crds::read_text("pipeline.yaml", text).map_err(refused)?;
    let pipeline = folder.pipeline(None).map_err(|problem| refused(vec![problem]))?;
    Ok(Arc::new(faultline_crds::resolve(pipeline, &folder.models).map_err(refused)?))
}

fn pipeline(identity: &str, source: &str, protocol: &str, seed: u64) -> Value {
    // A few bits of the seed choose among what is written beside them.
    let varied = |choices: &[Value], shift: u32| choices[(seed >> shift) as usize % choices.len()].clone();
    json!({
        "apiVersion": "faultline.dev/v1alpha1",
        "kind": "AnomalyPipeline",
        "metadata": { "name": "payments", "namespace": "chaos" },
        "spec": {
            "kafka": { "bootstrapServers": "localhost:9092", "identity": identity, "groupProtocol": protocol },
            "source": {
                "topic": source,
                "startFrom": { "earliest": {} },
                "filter": "status != 'test'",
                "key": "userId",
                "eventId": "eventId",
                "timestamp": { "path": "timestamp", "unit": "milliseconds" },
                "allowedLateness": "30s",
                "deduplicate": { "window": "10m" },
                "keyExpiry": "10m",
                "maxKeysPerPartition": varied(&[json!(200), json!(200_000)], 0),
                "fields": [
                    { "name": "amount", "path": "amount", "type": "number" },
                    { "name": "items", "path": "items", "type": "number", "whenMissing": varied(&[json!("previous"), json!("zero")], 1) },
                    { "name": "merchant", "path": "merchant.id", "type": "text", "whenMissing": "skip" },
                    { "name": "status", "path": "status", "type": "text" },
                ],
            },
            "features": [
                { "name": "amount", "field": "amount" },
                { "name": "items", "field": "items" },
                { "name": "hour", "seasonal": "hourOfDay" },
                { "name": "before", "field": "amount", "valuesAgo": 1 },
                { "name": "change", "field": "amount", "aggregate": "delta" },
                { "name": "pause", "aggregate": "secondsSincePrevious" },
                { "name": "mean_5m", "field": "amount", "aggregate": "mean", "window": "5m" },
                { "name": "spread_5m", "field": "amount", "aggregate": "stddev", "window": "5m" },
                { "name": "most_10m", "field": "amount", "aggregate": "max", "window": "10m" },
                { "name": "sum_20", "field": "amount", "aggregate": "sum", "lastEvents": 20 },
                { "name": "slope_20", "field": "amount", "aggregate": "slope", "lastEvents": 20 },
                { "name": "level", "field": "amount", "aggregate": "ewma", "halfLife": "10m" },
                { "name": "declined_10m", "aggregate": "count", "window": "10m", "where": "status == 'declined'" },
                { "name": "ratio", "expression": "amount / mean_5m" },
            ],
            "models": [
                { "name": "amount", "modelRef": { "name": "amount" } },
                { "name": "items", "modelRef": { "name": "items" } },
                { "name": "activity", "modelRef": { "name": "activity" } },
                { "name": "rule", "modelRef": { "name": "rule" } },
            ],
            "decision": {
                "combine": varied(&[json!("any"), json!("weighted"), json!("consensus")], 2),
                "severities": { "warning": { "oneIn": 200 }, "major": { "oneIn": 5_000 }, "critical": { "oneIn": 1_000_000 } },
                "incident": { "quietPeriod": "2m", "escalateBy": 0.5 },
                "mute": [{ "name": "small", "when": "features.amount < 1" }],
            },
            "outputs": {
                "results": { "topic": format!("{identity}.results"), "mode": "all", "features": varied(&[json!("anomalies"), json!("always")], 4) },
                "alerts": { "topic": format!("{identity}.alerts") },
                "deadLetter": { "topic": format!("{identity}.dead-letter"), "maxShare": 0.1 },
                "late": { "topic": format!("{identity}.late") },
            },
            "delivery": { "guarantee": "exactlyOnce", "commitInterval": "100ms" },
        },
    })
}

fn models() -> impl Iterator<Item = Value> {
    let model = |name: &str, inputs: Value, detector: Value| {
        json!({
            "apiVersion": "faultline.dev/v1alpha1",
            "kind": "DetectionModel",
            "metadata": { "name": name, "namespace": "chaos" },
            "spec": { "version": "1", "inputs": inputs, "detector": detector, "quarantine": "5m" },
        })
    };
    [
        model("amount", json!(["amount", "hour"]), json!({ "tail": { "halfLife": 50 } })),
        model("items", json!(["items"]), json!({ "ewma": { "halfLife": 30 } })),
        model("activity", json!([]), json!({ "count": { "every": "1m", "halfLife": 30 } })),
        model("rule", json!(["ratio"]), json!({ "threshold": { "above": 12, "surprise": 5 } })),
    ]
    .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pipeline_of_every_seed_resolves() {
        for seed in 0..32 {
            let objects = std::iter::once(pipeline("i", "s", "classic", seed)).chain(models());
            let text: Vec<String> = objects.map(|object| serde_yaml::to_string(&object).unwrap()).collect();
            let config = resolve(&text.join("---\n")).unwrap();
            assert_eq!(config.models.len(), 4);
            // What ends after the lateness only, never at once, is what makes the oracle's order the worker's.
            assert!(config.source.allowed_lateness_ms < config.decision.quiet_period_ms);
            assert!(config.source.allowed_lateness_ms < config.source.key_expiry_ms);
            assert_eq!(config.outputs.alerts.max_event_age_ms, None, "it would depend on the clock at a tick");
        }
    }
}
