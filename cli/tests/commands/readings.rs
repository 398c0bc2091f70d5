//! A pipeline of sensor readings, each of which gives a result, on topics of its own, and what a test sees of it in the
//! Kafka that `cargo xtask test` starts.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use super::faultline;
use super::state::brokers;
use super::working::Working;

/// A worker that is held or killed stays a member of its group for 10 s.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);
/// One request to the broker.
pub(crate) const REQUEST: Duration = Duration::from_secs(30);

const PIPELINE: &str = "
apiVersion: faultline.dev/v1alpha1
kind: AnomalyPipeline
metadata: {name: readings}
spec:
  kafka: {bootstrapServers: nowhere:1, identity: IDENTITY}
  source:
    topic: IDENTITY.in
    startFrom: {START: {}}
    key: sensor
    fields: [{name: value, path: value, type: number}]
  features:
    - {name: value, field: value}
    - {name: mean_5m, field: value, aggregate: mean, window: 5m}
  models: [{name: high, modelRef: {name: high}}]
  outputs: {results: {topic: IDENTITY.results, mode: all}}
  delivery: {maxRecoveryTime: RECOVERY}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: high}
spec: {inputs: [value], detector: {threshold: {above: 100}}}
";

/// See above.
pub(crate) struct Pipeline {
    folder: tempfile::TempDir,
    pub(crate) identity: String,
    partitions: i32,
    pub(crate) committed: BaseConsumer,
    pub(crate) uncommitted: BaseConsumer,
}

impl Pipeline {
    /// Begins where `start` says: `earliest` or `latest`; `recovery` is what a replay may take.
    pub(crate) fn new(test: &str, partitions: i32, start: &str, recovery: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let identity = format!("{test}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().unwrap();
        let text = PIPELINE.replace("IDENTITY", &identity).replace("START", start).replace("RECOVERY", recovery);
        std::fs::write(folder.path().join("pipeline.yaml"), text).unwrap();
        let name = format!("{identity}.in");
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        let answers = wait(admin().create_topics([&topic], &AdminOptions::new())).unwrap();
        answers.into_iter().for_each(|answer| drop(answer.unwrap()));
        let reader = |isolation| {
            let mut settings = client();
            settings.set("group.id", &identity).set("enable.auto.commit", "false").set("enable.partition.eof", "true");
            settings.set("isolation.level", isolation).create().unwrap()
        };
        let (committed, uncommitted) = (reader("read_committed"), reader("read_uncommitted"));
        Self { folder, identity, partitions, committed, uncommitted }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.identity)
    }

    /// A worker with one lane; its log has this name.
    pub(crate) fn worker(&self, name: &str, more: &[&str]) -> Working {
        let log = self.folder().join(format!("{name}.log"));
        let mut command = faultline();
        command.arg("worker").arg(self.folder()).args(["--brokers", &brokers(), "--lanes", "1"]).args(more);
        Working::start(&mut command, log)
    }

    /// Where the source ends, by partition.
    pub(crate) fn ends(&self) -> Vec<i64> {
        (0..self.partitions).map(|partition| end(&self.uncommitted, &self.topic("in"), partition)).collect()
    }

    /// The group's offsets, by partition; 0: none yet.
    pub(crate) fn offsets(&self) -> Vec<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic("in"), 0, self.partitions - 1);
        // What is pending counts as not committed. The first group of a broker has no coordinator for a moment.
        let found =
            once_known("the group's offsets", || self.uncommitted.committed_offsets(list.clone(), REQUEST).ok());
        let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        found.elements().iter().map(|element| offset(element.offset())).collect()
    }

    #[track_caller]
    pub(crate) fn until_committed(&self, what: &str, goal: &[i64]) {
        let reached = || self.offsets().iter().zip(goal).all(|(offset, goal)| offset >= goal);
        until(what, reached, || format!("{:?} of {goal:?}", self.offsets()));
    }

    /// Source offsets of the results of a partition, as a reader sees them.
    pub(crate) fn results(&self, reader: &BaseConsumer, partition: i32) -> Vec<i64> {
        let topic = self.topic("results");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, partition, Offset::Beginning).unwrap();
        reader.assign(&list).unwrap();
        let prefix = format!("{}-{partition}-", self.topic("in"));
        let mut offsets = Vec::new();
        loop {
            match reader.poll(LIMIT) {
                Some(Ok(message)) => {
                    let result: Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
                    let offset = result["eventId"].as_str().unwrap().strip_prefix(&prefix);
                    offsets.push(offset.unwrap_or_else(|| panic!("{result}")).parse().unwrap());
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return offsets,
                Some(Err(error)) => panic!("{error}"),
                None => panic!("partition {partition} of {topic} was not read to its end"),
            }
        }
    }
}

pub(crate) fn client() -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers());
    client
}

pub(crate) fn admin() -> AdminClient<DefaultClientContext> {
    client().create().unwrap()
}

/// Runs one administrative request.
pub(crate) fn wait<T>(request: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(request)
}

/// Where a partition ends for this reader.
#[track_caller]
pub(crate) fn end(reader: &BaseConsumer, topic: &str, partition: i32) -> i64 {
    // A topic that was just made is not known everywhere at once.
    once_known("the end of a partition", || reader.fetch_watermarks(topic, partition, REQUEST).ok()).1
}

/// Asks again and again until there is an answer.
#[track_caller]
fn once_known<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let mut answer = None;
    let is_known = || {
        answer = ask();
        answer.is_some()
    };
    until(what, is_known, String::new);
    answer.unwrap()
}

/// Looks again and again until the condition holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool, say: impl FnOnce() -> String) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LIMIT, "{what}: not within {} s; {}", LIMIT.as_secs(), say());
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Waits until the worker has said this.
#[track_caller]
pub(crate) fn until_said(worker: &Working, words: &str) {
    until(words, || worker.log().contains(words), || worker.log());
}
