//! How much CPU time the fold of one event takes (Linux): `cargo run --release --example fold_speed -- <pipeline.yaml> [events] [users]`.
//!
//! Without a file, three pipelines: a threshold rule, the default detectors with six features, and the rule without
//! results. Events are card payments of 10,000 users, the first of them the most active.

#![expect(clippy::print_stdout, reason = "a tool")]

use std::sync::Arc;

use faultline_crds::WorkerConfig;
use faultline_numerics::random::Random;
use faultline_worker::outputs::Outputs;
use faultline_worker::pipeline::{Scratch, fold, turn};
use faultline_worker::ports::{RawEvent, RecordTime};
use faultline_worker::shard::Shard;

const START: i64 = 1_793_498_400_000;

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next();
    let events = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let users = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let pipelines = match file {
        Some(file) => vec![(file.clone(), std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?)],
        None => vec![
            ("threshold rule".to_owned(), pipeline(RULE, "all")),
            ("threshold rule, no results".to_owned(), pipeline(RULE, "none")),
            ("tail and count, six features".to_owned(), pipeline(DEFAULTS, "all")),
        ],
    };
    for (name, text) in pipelines {
        let config = resolve(&text)?;
        measure(&name, &config, &records(events, users))?;
    }
    Ok(())
}

fn measure(name: &str, config: &Arc<WorkerConfig>, records: &[(String, String)]) -> Result<(), String> {
    let bytes: usize = records.iter().map(|(_, value)| value.len()).sum();
    let mut shard = Shard::new(Arc::clone(config), 0, 0);
    let (mut scratch, mut outputs) = (Scratch::new(), Outputs::new());
    let (mut scored, mut written) = (0, 0);
    let begin = cpu_seconds()?;
    for (tick, batch) in records.chunks(500).enumerate() {
        shard.begin_tick(START / 1000 + 90 * 86_400);
        for (at, (key, value)) in batch.iter().enumerate() {
            let offset = (tick * 500 + at) as i64;
            let timestamp = RecordTime::Created(START);
            let raw = RawEvent {
                partition: 0,
                offset,
                timestamp,
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                traceparent: None,
            };
            fold(&mut shard, &raw, &mut scratch, &mut outputs).map_err(|trip| trip.message)?;
        }
        turn(&mut shard, &mut scratch, &mut outputs);
        scored += outputs.tally(0).scored;
        written += outputs.len();
        outputs.clear();
    }
    let seconds = cpu_seconds()? - begin;
    println!(
        "{name}: {:.3} µs per event of {} bytes, {scored} scored, {} bytes written each, {} keys, {} bytes of state per key",
        seconds * 1e6 / records.len() as f64,
        bytes / records.len(),
        written / records.len(),
        shard.keys(),
        shard.state_bytes() / shard.keys().max(1),
    );
    Ok(())
}

/// CPU time of this thread: other programs on the machine do not count.
fn cpu_seconds() -> Result<f64, String> {
    let file = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse::<f64>().ok());
    nanoseconds.map(|nanoseconds| nanoseconds / 1e9).ok_or_else(|| format!("{file}: expected a number first"))
}

fn records(events: usize, users: u64) -> Vec<(String, String)> {
    let mut random = Random::seeded(11);
    (0..events)
        .map(|number| {
            let user = format!("user-{}", random.below(users).min(random.below(users)));
            let amount = 20.0 * faultline_numerics::math::exp(random.normal());
            let at = START + number as i64 * 20;
            let value = format!(
                r#"{{"eventId":"e-{number:09}","userId":"{user}","timestamp":{}.{:03},"value":{amount:.2},"currency":"EUR","merchant":{{"id":"m-{}"}},"status":"ok"}}"#,
                at / 1000,
                at % 1000,
                random.below(500),
            );
            (user, value)
        })
        .collect()
}

fn resolve(text: &str) -> Result<Arc<WorkerConfig>, String> {
    let folder = faultline_crds::read_text("pipeline.yaml", text).map_err(|problems| format!("{problems:#?}"))?;
    let config =
        faultline_crds::resolve(&folder.pipelines[0], &folder.models).map_err(|problems| format!("{problems:#?}"))?;
    Ok(Arc::new(config))
}

fn pipeline(rest: &str, mode: &str) -> String {
    format!(
        r#"
apiVersion: faultline.dev/v1alpha1
kind: AnomalyPipeline
metadata: {{name: card-payments}}
spec:
  kafka: {{bootstrapServers: "localhost:9092"}}
  source:
    topic: payments
    eventId: eventId
    key: userId
    timestamp: {{path: timestamp, unit: seconds}}
    fields: [{{name: value, path: value, type: number, whenMissing: reject}}]
  outputs: {{results: {{topic: results, mode: {mode}}}}}
{rest}"#
    )
}

const RULE: &str = r#"
  features: [{name: value, field: value}]
  models: [{name: limit, modelRef: {name: limit}}]
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: limit}
spec: {version: "1", inputs: [value], detector: {threshold: {above: 1000}}}
"#;

const DEFAULTS: &str = r#"
  features:
    - {name: value, field: value}
    - {name: mean_5m, field: value, aggregate: mean, window: 5m}
    - {name: events_1h, aggregate: count, window: 1h}
    - {name: max_1h, field: value, aggregate: max, window: 1h}
    - {name: before, field: value, valuesAgo: 3}
    - {name: ratio, expression: "value / mean_5m"}
  models:
    - {name: amount, modelRef: {name: amount}}
    - {name: speed, modelRef: {name: speed}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: amount}
spec: {version: "1", inputs: [value], detector: {tail: {}}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: speed}
spec: {version: "1", inputs: [], detector: {count: {every: 5m}}}
"#;
