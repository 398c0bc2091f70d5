//! Where a tick ends never shows.

use std::sync::Arc;

use faultline_crds::WorkerConfig;
use faultline_worker::ports::RecordTime;
use proptest::prelude::*;

use super::support::{Record, Run, START, resolved};

/// Short windows, so that a few hundred events open and close incidents, expire keys, evict keys, and are late.
pub(crate) const BUSY: &str = r#"
apiVersion: faultline.dev/v1alpha1
kind: AnomalyPipeline
metadata: {name: busy}
spec:
  kafka: {bootstrapServers: "localhost:9092"}
  source:
    topic: payments
    filter: "status != 'test'"
    eventId: id
    key: user
    timestamp: {path: at, unit: seconds}
    allowedLateness: 20s
    deduplicate: {window: 2m}
    keyExpiry: 5m
    maxKeysPerPartition: 20
    fields:
      - {name: value, path: value, type: number, whenMissing: previous}
      - {name: merchant, path: merchant.id, type: text, whenMissing: skip}
  features:
    - {name: value, field: value}
    - {name: mean_5m, field: value, aggregate: mean, window: 5m}
    - {name: events_1m, aggregate: count, window: 1m}
    - {name: before, field: value, valuesAgo: 1}
    - {name: hour, seasonal: hourOfDay, timeZone: Europe/Berlin}
    - {name: ratio, expression: "value / mean_5m"}
    - {name: merchant, field: merchant}
  models:
    - {name: amount, modelRef: {name: amount}}
    - {name: speed, modelRef: {name: speed}}
    - {name: limit, modelRef: {name: limit}, features: [value]}
  decision:
    severities: {warning: {oneIn: 20}, major: {oneIn: 100}, critical: {oneIn: 1000000}}
    incident: {quietPeriod: 1m, escalateBy: 0.5}
    mute: [{name: small, when: "features.value < 20.0"}]
  outputs:
    results: {topic: results, mode: all, features: always}
    deadLetter: {maxShare: 1}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: amount}
spec: {version: "2026-11-01", inputs: [value], detector: {tail: {}}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: speed}
spec: {version: "1", inputs: [], detector: {count: {every: 1m}}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: limit}
spec: {version: "1", inputs: [value], detector: {threshold: {above: 3000}}}
"#;

pub(crate) fn busy() -> Arc<WorkerConfig> {
    resolved(BUSY)
}

/// A stream with everything in it, from a seed.
pub(crate) fn stream(seed: u64, events: usize) -> Vec<Record> {
    let mut random = faultline_numerics::random::Random::seeded(seed);
    let mut at = START as f64;
    (0..events)
        .map(|number| {
            at += random.exponential() * 3.0;
            let user = format!("u{}", random.below(30).min(random.below(30)));
            let lag = if random.below(10) == 0 { random.below(40) as i64 } else { 0 };
            let amount = 10.0 + random.exponential() * 40.0;
            let value = match random.below(200) {
                0..3 => format!("{:.2}", amount * 100.0),
                3..6 => "null".to_owned(),
                _ => format!("{amount:.2}"),
            };
            let id = if random.below(20) == 0 { number.saturating_sub(3) } else { number };
            let status = if random.below(15) == 0 { "test" } else { "ok" };
            let merchant =
                if random.below(40) == 0 { "{}".to_owned() } else { format!(r#"{{"id":"m{}"}}"#, random.below(9)) };
            let mut text = format!(
                r#"{{"id":"e{id}","user":"{user}","at":{},"value":{value},"status":"{status}","merchant":{merchant}}}"#,
                at as i64 - lag
            );
            if random.below(50) == 0 {
                text.truncate(random.below(text.len() as u64) as usize);
            }
            Record { timestamp: RecordTime::Appended(at as i64 * 1000), ..Record::new(&user, text) }
        })
        .collect()
}

/// Everything that came out when ticks end after the given records.
fn outputs(config: &Arc<WorkerConfig>, records: &[Record], ends: &[usize]) -> (String, u64) {
    let mut run = Run::new(config);
    for (at, record) in records.iter().enumerate() {
        if ends.contains(&at) {
            run.tick(START + 3600);
        }
        run.take(record);
    }
    run.tick(START + 3600);
    let tally = run.tally();
    assert_eq!(tally.records(), records.len() as u64);
    (run.transcript(), tally.alerts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_into_ticks_gives_the_same_bytes(seed in any::<u64>(), ends in prop::collection::vec(0..600_usize, 0..40)) {
        let config = busy();
        let records = stream(seed, 600);
        let whole = outputs(&config, &records, &[]).0;
        let every: Vec<usize> = (0..600).collect();
        prop_assert!(outputs(&config, &records, &ends).0 == whole);
        prop_assert!(outputs(&config, &records, &every).0 == whole);
    }
}

#[test]
fn the_streams_raise_alerts() {
    let alerts: u64 = (0..24).map(|seed| outputs(&busy(), &stream(seed, 600), &[]).1).sum();
    assert!(alerts > 3 * 24, "{alerts} alerts");
}

#[test]
fn buffers_are_reused_without_a_trace() {
    // Two shards that share one scratch give what each gives alone.
    use faultline_worker::outputs::Outputs;
    use faultline_worker::pipeline::{Scratch, fold};
    use faultline_worker::ports::RawEvent;
    use faultline_worker::shard::Shard;

    let config = busy();
    let streams = [stream(1, 300), stream(2, 300)];
    let mut shards = [Shard::new(Arc::clone(&config), 3, 0), Shard::new(Arc::clone(&config), 3, 0)];
    let mut together = [Outputs::new(), Outputs::new()];
    let mut scratch = Scratch::new();
    for (offset, pair) in streams[0].iter().zip(&streams[1]).enumerate() {
        for (side, record) in [pair.0, pair.1].into_iter().enumerate() {
            let raw = RawEvent {
                partition: 3,
                offset: offset as i64,
                timestamp: record.timestamp,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                traceparent: None,
            };
            shards[side].begin_tick(START + 3600);
            fold(&mut shards[side], &raw, &mut scratch, &mut together[side]).unwrap();
        }
    }
    for side in 0..2 {
        let mut alone = Run::new(&config);
        for record in &streams[side] {
            alone.take(record);
        }
        let bytes = |outputs: &Outputs| -> Vec<Vec<u8>> {
            outputs
                .records()
                .iter()
                .filter_map(|output| output.value.as_ref())
                .map(|span| outputs.bytes(span).to_vec())
                .collect()
        };
        assert!(bytes(&alone.outputs) == bytes(&together[side]));
    }
}
