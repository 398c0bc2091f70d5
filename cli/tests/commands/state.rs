//! `faultline state` beside a running worker and after it, on the Kafka that `cargo xtask test` starts; without it these
//! tests fail.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::working::Working;
use super::{ended_with, faultline, run};

pub(super) const EVENTS: usize = 600;
pub(super) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn brokers() -> String {
    std::env::var("FAULTLINE_KAFKA").unwrap_or_else(|_| {
        panic!("FAULTLINE_KAFKA is not set: this test needs a Kafka broker, run `cargo xtask test`")
    })
}

/// A pipeline whose rule finds payments above 100, with an identity of its own.
pub(super) struct Pipeline {
    folder: tempfile::TempDir,
    identity: String,
}

impl Pipeline {
    pub(super) fn new(test: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let identity = format!("{test}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let text = format!(
            "
apiVersion: faultline.dev/v1alpha1
kind: AnomalyPipeline
metadata: {{name: payments, namespace: shop}}
spec:
  kafka: {{bootstrapServers: nowhere:1, identity: {identity}}}
  source:
    topic: {identity}.in
    startFrom: {{earliest: {{}}}}
    key: userId
    eventId: eventId
    timestamp: {{path: timestamp, unit: milliseconds}}
    allowedLateness: 1d
    deduplicate: {{window: 1d}}
    fields: [{{name: amount, path: amount, type: number}}]
  features:
    - {{name: amount, field: amount}}
    - {{name: mean_5m, field: amount, aggregate: mean, window: 5m}}
    - {{name: sum_5m, field: amount, aggregate: sum, window: 5m}}
  models:
    - {{name: rule, modelRef: {{name: rule}}}}
    - {{name: usual, modelRef: {{name: usual}}}}
  decision:
    severities: {{warning: {{oneIn: 1000}}}}
    incident: {{quietPeriod: 1d}}
  outputs:
    results: {{topic: {identity}.results}}
    alerts: {{topic: {identity}.alerts}}
    deadLetter: {{topic: {identity}.dead-letter}}
    late: {{topic: {identity}.late}}
  delivery: {{guarantee: exactlyOnce}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {{name: rule, namespace: shop}}
spec: {{inputs: [amount], detector: {{threshold: {{above: 100}}}}}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {{name: usual, namespace: shop}}
spec: {{inputs: [amount], detector: {{tail: {{}}}}}}
"
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pipeline.yaml"), text).unwrap();
        Self { folder, identity }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn state(&self, more: &[&str]) -> std::process::Output {
        let folder = self.folder().display().to_string();
        run(&[&["state", folder.as_str(), "--brokers", brokers().as_str()], more].concat())
    }

    #[track_caller]
    pub(super) fn lines(&self, more: &[&str]) -> Vec<Value> {
        ended_with(&self.state(&[more, &["--output", "json"]].concat()), 0).0
    }

    #[track_caller]
    fn refusal(&self, more: &[&str], code: i32) -> String {
        ended_with(&self.state(more), code).1
    }

    /// Fills the source; returns what it was filled with.
    pub(super) fn fill(&self) -> Vec<Value> {
        let arguments = ["generate", "card-payments", "--events", &EVENTS.to_string()];
        let topic = format!("{}.in", self.identity);
        ended_with(&run(&[&arguments[..], &["--brokers", &brokers(), "--topic", &topic]].concat()), 0);
        ended_with(&run(&arguments), 0).0
    }

    pub(super) fn worker(&self, more: &[&str]) -> Working {
        let mut command = faultline();
        command.arg("worker").arg(self.folder()).args(["--brokers", &brokers(), "--lanes", "2"]);
        // Time stands still without events, so that no incident ends.
        command.args(["--clock", "records", "--clock-speed", "0"]).args(more);
        Working::start(&mut command, self.folder().join("worker.log"))
    }
}

pub(super) fn sum(lines: &[Value], pointer: &str) -> u64 {
    lines.iter().map(|line| line.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)).sum()
}

fn users<'a>(events: impl Iterator<Item = &'a Value>) -> BTreeSet<&'a str> {
    events.map(|event| event["userId"].as_str().unwrap()).collect()
}

#[test]
fn state_tells_what_a_worker_has_kept_while_it_runs_and_after_it() {
    let pipeline = Pipeline::new("state");
    let events = pipeline.fill();
    let is_high = |event: &&Value| event["amount"].as_f64().unwrap() > 100.0;
    let (all, high) = (users(events.iter()), users(events.iter().filter(is_high)));
    assert!(high.len() > 3 && high.len() < all.len(), "{} of {}", high.len(), all.len());

    let worker = pipeline.worker(&[]);
    let began = Instant::now();
    let mut missing = Vec::new();
    while {
        let output = pipeline.state(&["--output", "json"]);
        // Until the worker has made the state topic there is nothing to read.
        let lines = if output.status.success() { ended_with(&output, 0).0 } else { Vec::new() };
        missing.push(String::from_utf8_lossy(&output.stderr).into_owned());
        lines.iter().for_each(belongs_together);
        sum(&lines, "/marker/records") < EVENTS as u64
    } {
        assert!(began.elapsed() < LIMIT, "the worker did not come to the end: {missing:#?}");
    }
    worker.stop();

    let lines = pipeline.lines(&[]);
    assert_eq!(lines.len(), 6);
    assert_eq!(sum(&lines, "/marker/records"), EVENTS as u64);
    assert_eq!(sum(&lines, "/marker/nextOffset"), EVENTS as u64);
    assert_eq!(sum(&lines, "/state/keyImages"), all.len() as u64);
    assert_eq!(sum(&lines, "/state/openIncidents"), high.len() as u64);
    let ids: BTreeSet<_> = events.iter().map(|event| event["eventId"].as_str().unwrap()).collect();
    assert_eq!(sum(&lines, "/state/ids"), ids.len() as u64);
    for line in &lines {
        assert_eq!((&line["owner"], &line["agreement"]), (&"local/shop/payments".into(), &"same".into()), "{line}");
        let marker = &line["marker"];
        assert_eq!(marker["lowWater"], marker["nextOffset"], "a clean stop leaves nothing to replay: {line}");
        assert_eq!((&marker["sourcePartitions"], &line["recovery"]["replayRecords"]), (&6.into(), &0.into()), "{line}");
        assert!(marker["writtenBy"].as_str().unwrap().starts_with(&pipeline.identity), "{line}");
        assert!(line["state"]["bytes"].as_u64() > Some(0) && marker["sequence"].as_u64() > Some(0), "{line}");
    }
    let only = pipeline.lines(&["--partition", "2"]);
    assert_eq!(only, [lines[2].clone()]);
    let text = String::from_utf8(pipeline.state(&[]).stdout).unwrap();
    assert!(text.contains("state of local/shop/payments") && text.contains("replays 0 records"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("        ")).count(), 12, "{text}");

    a_key_is_described(&pipeline, &events, high.first().unwrap());
}

/// Whatever a worker does meanwhile: marker and offset are of one history.
#[track_caller]
fn belongs_together(line: &Value) {
    let agreement = line["agreement"].as_str().unwrap();
    assert!(["same", "moving", "nothing"].contains(&agreement), "{line}");
    let offset = |name: &str| line["marker"][name].as_u64().unwrap_or(0);
    let replay = offset("nextOffset") - offset("lowWater");
    assert_eq!(line["recovery"]["replayRecords"].as_u64(), Some(replay), "{line}");
}

fn a_key_is_described(pipeline: &Pipeline, events: &[Value], key: &str) {
    let lines = pipeline.lines(&["--key", key]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let found = &lines[0];
    let own = || events.iter().filter(|event| event["userId"] == key);
    let image = &found["image"];
    assert_eq!((&found["key"], &image["appliedUpTo"]), (&key.into(), &found["nextOffset"]), "{found}");
    let last = own().map(|event| event["timestamp"].as_i64().unwrap()).max();
    assert_eq!(image["lastEventTimeMs"].as_i64(), last, "{found}");
    // Mean and sum are read from the same panes.
    assert_eq!(image["states"][0]["features"], serde_json::json!(["mean_5m", "sum_5m"]), "{found}");
    let count = own().map(|event| &event["eventId"]).collect::<Vec<_>>().len();
    assert_eq!(image["models"][0]["name"], "rule", "{found}");
    assert!(image["models"][0]["learned"].as_u64() <= Some(count as u64), "{found}");
    assert_eq!((&image["models"][0]["maturity"], &image["models"][1]["maturity"]), (&"mature".into(), &"cold".into()));
    let incident = &found["incident"];
    let anomalies = own().filter(|event| event["amount"].as_f64().unwrap() > 100.0).count();
    assert_eq!(incident["events"].as_u64(), Some(anomalies as u64), "{found}");
    assert_eq!((&incident["severity"], &incident["models"][0]), (&"warning".into(), &"rule".into()), "{found}");

    let text = String::from_utf8(pipeline.state(&["--key", key]).stdout).unwrap();
    assert!(text.contains("mean_5m, sum_5m") && text.contains("open incident"), "{text}");

    let home = found["partition"].as_i64().unwrap();
    let elsewhere = ((home + 1) % 6).to_string();
    let errors = pipeline.refusal(&["--key", key, "--partition", &elsewhere], 1);
    assert!(errors.contains(&format!("partition {elsewhere}")) && errors.contains(key), "{errors}");
    let errors = pipeline.refusal(&["--key", "nobody"], 1);
    assert!(errors.contains("nothing is known of key `nobody`"), "{errors}");
    let errors = pipeline.refusal(&["--partition", "6"], 64);
    assert!(errors.contains("has 6 partitions") && errors.contains("no 6"), "{errors}");
}

#[test]
fn state_says_that_there_is_no_topic_and_that_none_is_kept() {
    let pipeline = Pipeline::new("state-missing");
    let errors = pipeline.refusal(&[], 1);
    assert!(errors.contains(&format!("no topic `{}.state`", pipeline.identity)), "{errors}");
    let folder = pipeline.folder().display().to_string();
    let path = pipeline.folder().join("pipeline.yaml");
    let text = std::fs::read_to_string(&path).unwrap().replace("guarantee: exactlyOnce", "guarantee: atLeastOnce");
    std::fs::write(&path, text).unwrap();
    let (_, errors) = ended_with(&run(&["state", &folder]), 64);
    assert!(errors.contains("no state is kept"), "{errors}");
}
