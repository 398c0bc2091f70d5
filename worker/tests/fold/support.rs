//! Pipelines from YAML, records from text, and a shard to put them together.

use std::sync::Arc;

use faultline_crds::WorkerConfig;
use faultline_worker::outcome::{Outcome, Tally};
use faultline_worker::outputs::{Output, Outputs, Topic};
use faultline_worker::pipeline::{Scratch, Trip, fold, forget, turn};
use faultline_worker::ports::{RawEvent, RecordTime};
use faultline_worker::shard::Shard;
use serde_json::Value;

/// 2026-11-01T02:00:00Z in seconds.
pub(crate) const START: i64 = 1_793_498_400;

/// A pipeline with a rule on `value`: above 100 is a warning, above 1,000 critical. `source` and `rest` are members of
/// `spec.source` and of `spec`, in flow style, one per line.
pub(crate) fn rules(source: &str, rest: &str) -> Arc<WorkerConfig> {
    let indented = |text: &str, by: &str| text.lines().map(|line| format!("{by}{}\n", line.trim())).collect::<String>();
    resolved(&format!(
        r#"
apiVersion: faultline.dev/v1alpha1
kind: AnomalyPipeline
metadata: {{name: payments}}
spec:
  kafka: {{bootstrapServers: "localhost:9092"}}
  source:
    topic: payments
{}
  features:
    - {{name: value, field: value}}
    - {{name: events_5m, aggregate: count, window: 5m}}
    - {{name: before, field: value, valuesAgo: 1}}
  models:
    - {{name: high, modelRef: {{name: high}}, features: [value]}}
    - {{name: huge, modelRef: {{name: huge}}, features: [value]}}
{}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {{name: high}}
spec: {{version: "1", inputs: [value], detector: {{threshold: {{above: 100, surprise: 4}}}}}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {{name: huge}}
spec: {{version: "2", inputs: [value], detector: {{threshold: {{above: 1000, surprise: 6}}}}}}
"#,
        indented(source, "    "),
        indented(rest, "  "),
    ))
}

/// Members of `spec.source` that most tests use.
pub(crate) const KEYED: &str = r"
eventId: id
key: user
timestamp: {path: at, unit: seconds}
allowedLateness: 30s
maxFutureSkew: 5m
deduplicate: {window: 10m}
fields: [{name: value, path: value, type: number, whenMissing: reject}]
";

/// Members of `spec` that most tests use.
pub(crate) const SEVERITIES: &str = r"
decision: {severities: {warning: {oneIn: 1000}, critical: {oneIn: 1000000}}, incident: {quietPeriod: 10m, escalateBy: 1.0}}
outputs: {results: {topic: results, mode: all}, deadLetter: {maxShare: 1}}
";

/// The pipeline of a text with one pipeline and its models.
pub(crate) fn resolved(text: &str) -> Arc<WorkerConfig> {
    let folder = faultline_crds::read_text("test.yaml", text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let config = faultline_crds::resolve(&folder.pipelines[0], &folder.models);
    Arc::new(config.unwrap_or_else(|problems| panic!("{problems:#?}")))
}

/// One record of the source.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) timestamp: RecordTime,
}

impl Record {
    pub(crate) fn new(key: &str, value: impl Into<Vec<u8>>) -> Self {
        Self {
            key: Some(key.as_bytes().to_vec()),
            value: Some(value.into()),
            timestamp: RecordTime::Created(START * 1000),
        }
    }
}

/// A payment of a user, so many seconds after [`START`].
pub(crate) fn payment(user: &str, after: i64, value: impl std::fmt::Display) -> Record {
    Record::new(user, format!(r#"{{"user":"{user}","at":{},"value":{value}}}"#, START + after))
}

/// A shard and what came out of it.
pub(crate) struct Run {
    pub(crate) shard: Shard,
    pub(crate) outputs: Outputs,
    scratch: Scratch,
    offset: i64,
}

impl Run {
    /// A shard of partition 3 at offset 0, in a tick that began an hour after [`START`].
    pub(crate) fn new(config: &Arc<WorkerConfig>) -> Self {
        Self::of(Shard::new(Arc::clone(config), 3, 0))
    }

    pub(crate) fn of(mut shard: Shard) -> Self {
        shard.begin_tick(START + 3600);
        Self { offset: shard.next_offset(), shard, outputs: Outputs::new(), scratch: Scratch::new() }
    }

    /// Folds a record at the next offset.
    pub(crate) fn try_take(&mut self, record: &Record) -> Result<Outcome, Trip> {
        let raw = RawEvent {
            partition: 3,
            offset: self.offset,
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            traceparent: None,
        };
        let outcome = fold(&mut self.shard, &raw, &mut self.scratch, &mut self.outputs)?;
        self.offset += 1;
        assert_eq!(self.shard.next_offset(), self.offset);
        Ok(outcome)
    }

    /// Folds a record that trips nothing.
    pub(crate) fn take(&mut self, record: &Record) -> Outcome {
        self.try_take(record).unwrap_or_else(|trip| panic!("{trip:?}"))
    }

    /// Ends a tick and begins the next.
    pub(crate) fn tick(&mut self, clock_second: i64) {
        turn(&mut self.shard, &mut self.scratch, &mut self.outputs);
        self.shard.begin_tick(clock_second);
    }

    /// The partition has been read to its end at this second.
    pub(crate) fn idle(&mut self, clock_second: i64) {
        self.shard.at_end(clock_second);
        turn(&mut self.shard, &mut self.scratch, &mut self.outputs);
    }

    /// Forgets a key; false if it is not known.
    pub(crate) fn forget(&mut self, key: &str) -> bool {
        forget(&mut self.shard, key, &mut self.scratch, &mut self.outputs)
    }

    pub(crate) fn tally(&mut self) -> Tally {
        self.outputs.tally(3).clone()
    }

    /// The records written to a topic.
    pub(crate) fn written(&self, topic: Topic) -> Vec<&Output> {
        self.outputs.records().iter().filter(|output| output.topic == topic).collect()
    }

    /// The payloads written to a topic, as JSON.
    pub(crate) fn payloads(&self, topic: Topic) -> Vec<Value> {
        let value = |output: &&Output| self.outputs.bytes(output.value.as_ref().unwrap()).to_vec();
        self.written(topic).iter().map(value).map(|bytes| serde_json::from_slice(&bytes).unwrap()).collect()
    }

    /// Why the last record was rejected.
    pub(crate) fn last_message(&self) -> String {
        let rejection = self.outputs.records().last().and_then(|output| output.rejection.as_ref()).unwrap();
        String::from_utf8(self.outputs.bytes(&rejection.message).to_vec()).unwrap()
    }

    /// Everything that came out, in order, as text.
    pub(crate) fn transcript(&self) -> String {
        let text = |span: &Option<std::ops::Range<u32>>| {
            span.as_ref().map_or("-".to_owned(), |span| String::from_utf8_lossy(self.outputs.bytes(span)).into_owned())
        };
        let line = |output: &Output| {
            let rejection = output.rejection.as_ref().map_or_else(String::new, |rejection| {
                let class = rejection.class.map_or("-", |class| class.name());
                format!(" {}/{class}: {}", rejection.stage, text(&Some(rejection.message.clone())))
            });
            let Output { topic, partition, offset, record_time_ms, .. } = output;
            format!(
                "{topic:?} {partition}:{offset}@{record_time_ms} {} {}{rejection}\n",
                text(&output.key),
                text(&output.value)
            )
        };
        self.outputs.records().iter().map(line).collect()
    }
}
