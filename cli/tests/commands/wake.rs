//! A worker that is held until another one has taken its partitions over, and woken then: whatever it had under way,
//! readers of committed records never see it. On the Kafka that `cargo xtask test` starts; without it this test fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use super::faultline;
use super::state::brokers;
use super::working::Working;

const PARTITIONS: i32 = 2;
/// A worker that is held stays a member of its group for 10 s.
const LIMIT: Duration = Duration::from_secs(90);
/// One request to the broker.
const REQUEST: Duration = Duration::from_secs(30);

const PIPELINE: &str = "
apiVersion: faultline.dev/v1alpha1
kind: AnomalyPipeline
metadata: {name: readings}
spec:
  kafka: {bootstrapServers: nowhere:1, identity: IDENTITY}
  source:
    topic: IDENTITY.in
    startFrom: {earliest: {}}
    key: sensor
    fields: [{name: value, path: value, type: number}]
  features:
    - {name: value, field: value}
    - {name: mean_5m, field: value, aggregate: mean, window: 5m}
  models: [{name: high, modelRef: {name: high}}]
  outputs: {results: {topic: IDENTITY.results, mode: all}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: high}
spec: {inputs: [value], detector: {threshold: {above: 100}}}
";

/// A pipeline whose every event gives a result, on topics of its own.
struct Pipeline {
    folder: tempfile::TempDir,
    identity: String,
    committed: BaseConsumer,
    uncommitted: BaseConsumer,
}

impl Pipeline {
    fn new() -> Self {
        let identity = format!("wake-{}", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pipeline.yaml"), PIPELINE.replace("IDENTITY", &identity)).unwrap();
        let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
        let name = format!("{identity}.in");
        let topic = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(1));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answers = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
        answers.into_iter().for_each(|answer| drop(answer.unwrap()));
        let reader = |isolation| {
            let mut settings = client();
            settings.set("group.id", &identity).set("enable.auto.commit", "false").set("enable.partition.eof", "true");
            settings.set("isolation.level", isolation).create().unwrap()
        };
        let (committed, uncommitted) = (reader("read_committed"), reader("read_uncommitted"));
        Self { folder, identity, committed, uncommitted }
    }

    fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.identity)
    }

    fn worker(&self, name: &str) -> Working {
        let log = self.folder.path().join(name);
        let mut command = faultline();
        command.arg("worker").arg(self.folder.path()).args(["--brokers", &brokers(), "--lanes", "1"]);
        Working::start(&mut command, log)
    }

    /// Where the source ends, by partition.
    fn ends(&self) -> Vec<i64> {
        (0..PARTITIONS).map(|partition| end(&self.uncommitted, &self.topic("in"), partition)).collect()
    }

    /// The group's offsets, by partition; 0: none yet.
    fn offsets(&self) -> Vec<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic("in"), 0, PARTITIONS - 1);
        // What is pending counts as not committed. The first group of a broker has no coordinator for a moment.
        let found =
            once_known("the group's offsets", || self.uncommitted.committed_offsets(list.clone(), REQUEST).ok());
        let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        found.elements().iter().map(|element| offset(element.offset())).collect()
    }

    /// Whether a transaction is open on a partition of the results.
    fn is_open(&self) -> bool {
        let results = self.topic("results");
        let is_open =
            |partition| end(&self.committed, &results, partition) < end(&self.uncommitted, &results, partition);
        (0..PARTITIONS).any(is_open)
    }

    #[track_caller]
    fn until_committed(&self, what: &str, goal: &[i64]) {
        let reached = || self.offsets().iter().zip(goal).all(|(offset, goal)| offset >= goal);
        until(what, reached, || format!("{:?} of {goal:?}", self.offsets()));
    }

    /// Whether one stays open: a commit that is under way ends it within milliseconds.
    fn stays_open(&self) -> bool {
        let began = Instant::now();
        while self.is_open() {
            if began.elapsed() > Duration::from_millis(500) {
                return true;
            }
        }
        false
    }

    /// Source offsets of the results of a partition, as a reader sees them.
    fn results(&self, reader: &BaseConsumer, partition: i32) -> Vec<i64> {
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

fn client() -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers());
    client
}

/// Where a partition ends for this reader.
#[track_caller]
fn end(reader: &BaseConsumer, topic: &str, partition: i32) -> i64 {
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
fn until(what: &str, mut holds: impl FnMut() -> bool, say: impl FnOnce() -> String) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LIMIT, "{what}: not within {} s; {}", LIMIT.as_secs(), say());
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Events without end, at a pace at which some tick is always under way.
struct Feeder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Feeder {
    fn start(topic: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let producer: BaseProducer = client().set("enable.idempotence", "true").create().unwrap();
        let feed = move || {
            let stopped = || stopped.load(Ordering::Relaxed);
            for number in (0_u64..).take_while(|_| !stopped()) {
                for partition in 0..PARTITIONS {
                    let key = format!("s-{partition}-{}", number % 7);
                    let value = format!("{{\"sensor\":\"{key}\",\"value\":{}}}", number % 90);
                    let record = BaseRecord::to(&topic).partition(partition).key(key.as_str());
                    producer.send(record.payload(value.as_str())).map_err(|(error, _)| error).unwrap();
                }
                producer.poll(Duration::ZERO);
                std::thread::park_timeout(Duration::from_millis(1));
            }
            producer.flush(REQUEST).unwrap();
        };
        Self { stop, thread: std::thread::spawn(feed) }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

#[test]
fn an_owner_that_is_woken_after_a_takeover_shows_nothing_to_readers() {
    let pipeline = Pipeline::new();
    let feeder = Feeder::start(pipeline.topic("in"));
    let former = pipeline.worker("former.log");
    let mut before = vec![0; PARTITIONS as usize];
    until(
        "the former owner held with a transaction open",
        || {
            let now = pipeline.offsets();
            if now.iter().zip(&before).any(|(now, before)| now <= before) {
                return false;
            }
            before = now;
            former.signal("-STOP");
            let open = pipeline.stays_open();
            if !open {
                former.signal("-CONT");
            }
            open
        },
        || former.log(),
    );

    let successor = pipeline.worker("successor.log");
    pipeline.until_committed("the successor has everything", &pipeline.ends());
    assert!(!former.log().contains("partitions lost"), "{}", former.log());

    former.signal("-CONT");
    until("the former owner knows", || former.log().contains("partitions lost"), || former.log());
    pipeline.until_committed("both go on", &pipeline.ends());
    feeder.stop();
    let ends = pipeline.ends();
    pipeline.until_committed("the end", &ends);
    former.stop();
    successor.stop();

    assert!(!pipeline.is_open(), "nothing is hidden from the reader any more");
    let mut hidden = 0;
    for (partition, end) in (0..).zip(ends) {
        let results = pipeline.results(&pipeline.committed, partition);
        hidden += pipeline.results(&pipeline.uncommitted, partition).len() - results.len();
        let first_wrong = results.iter().zip(0..).find(|(offset, expected)| *offset != expected);
        assert_eq!((results.len() as i64, first_wrong), (end, None), "partition {partition}");
    }
    assert!(hidden > 0, "the former owner had nothing under way");
}
