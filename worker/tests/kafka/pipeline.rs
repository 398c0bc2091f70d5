//! The pipeline under test: every outcome is possible in it, and one threshold rule scores.

use std::sync::Arc;

use faultline_crds::WorkerConfig;
use faultline_worker::{Options, Worker};
use serde_json::{Value, json};

/// Names of one test's topics.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) identity: String,
}

impl Names {
    pub(crate) fn new(test: &str) -> Self {
        Self { identity: crate::broker::unique(test) }
    }

    pub(crate) fn input(&self) -> String {
        format!("{}.in", self.identity)
    }

    pub(crate) fn results(&self) -> String {
        format!("{}.results", self.identity)
    }

    pub(crate) fn alerts(&self) -> String {
        format!("{}.alerts", self.identity)
    }

    pub(crate) fn dead_letter(&self) -> String {
        format!("{}.dead-letter", self.identity)
    }

    pub(crate) fn late(&self) -> String {
        format!("{}.late", self.identity)
    }
}

/// The resolved pipeline; `changes` are members of it by JSON pointer, in place of what is there. Null takes a member
/// away.
#[track_caller]
pub(crate) fn config(names: &Names, changes: &[(&str, Value)]) -> Arc<WorkerConfig> {
    let mut pipeline = json!({
        "apiVersion": "faultline.dev/v1alpha1",
        "kind": "AnomalyPipeline",
        "metadata": { "name": "payments", "namespace": "shop" },
        "spec": {
            "kafka": { "bootstrapServers": "nowhere:1", "identity": names.identity },
            "source": {
                "topic": names.input(),
                "startFrom": { "earliest": {} },
                "filter": "status != 'test'",
                "key": "userId",
                "eventId": "eventId",
                "timestamp": { "path": "timestamp", "unit": "milliseconds" },
                "allowedLateness": "30s",
                "deduplicate": { "window": "10m" },
                "fields": [
                    { "name": "amount", "path": "amount", "type": "number" },
                    { "name": "merchant", "path": "merchant.id", "type": "text", "whenMissing": "skip" },
                ],
            },
            "features": [
                { "name": "amount", "field": "amount" },
                { "name": "mean_5m", "field": "amount", "aggregate": "mean", "window": "5m" },
            ],
            "models": [{ "name": "rule", "modelRef": { "name": "rule" } }],
            "decision": { "severities": { "warning": { "oneIn": 1000 } } },
            "outputs": {
                "results": { "topic": names.results(), "mode": "all" },
                "alerts": { "topic": names.alerts() },
                "deadLetter": { "topic": names.dead_letter(), "maxShare": 0.05 },
                "late": { "topic": names.late() },
            },
            "delivery": { "guarantee": "exactlyOnce" },
        },
    });
    for (pointer, value) in changes {
        set(&mut pipeline, pointer, value);
    }
    let model = json!({
        "apiVersion": "faultline.dev/v1alpha1",
        "kind": "DetectionModel",
        "metadata": { "name": "rule", "namespace": "shop" },
        "spec": { "version": "1", "inputs": ["amount"], "detector": { "threshold": { "above": 990 } } },
    });
    let folder = faultline_crds::read_text("test.yaml", &format!("{pipeline}\n---\n{model}\n")).unwrap();
    let config = faultline_crds::resolve(folder.pipeline(None).unwrap(), &folder.models);
    Arc::new(config.unwrap_or_else(|problems| panic!("{problems:#?}")))
}

fn set(object: &mut Value, pointer: &str, value: &Value) {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
    match value {
        Value::Null => drop(parent.remove(member)),
        value => drop(parent.insert(member.to_owned(), value.clone())),
    }
}

/// Starts a worker with two lanes.
#[track_caller]
pub(crate) fn start(config: &Arc<WorkerConfig>, brokers: &str) -> Worker {
    let options = Options { brokers: Some(brokers.to_owned()), lanes: Some(2), ..Options::default() };
    faultline_worker::start(Arc::clone(config), options).unwrap()
}
