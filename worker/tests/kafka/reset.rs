//! What `--reset-state` and `--trust-marker` do to a partition in trouble, and who may do it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use faultline_crds::WorkerConfig;
use faultline_worker::adapters::kafka_native::GroupMetadata;
use faultline_worker::adapters::kafka_past::{Erasure, state_topic};
use faultline_worker::outcome::Tally;
use faultline_worker::past::{Past, PastError};
use faultline_worker::{Disagreement, Options, Worker};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::json;

use crate::broker::{create_topic, partitions, shared};
use crate::history::{History, read_state, wait};
use crate::pipeline::{self, Names};
use crate::stream::{now_ms, send};
use crate::wait_until;

/// Payments that the first worker folds.
const FIRST: u64 = 300;
const LIMIT: Duration = Duration::from_secs(60);

/// A pipeline of one partition whose first worker has folded [`FIRST`] payments and was stopped.
struct Left {
    names: Names,
    config: Arc<WorkerConfig>,
    start_ms: i64,
}

impl Left {
    #[track_caller]
    fn behind(test: &str) -> Self {
        let names = Names::new(test);
        create_topic(&shared(), &names.input(), 1);
        let left = Self { config: pipeline::config(&names, &[]), names, start_ms: now_ms() - 60_000 };
        left.pay(0..FIRST);
        assert_eq!(left.goes_on(Disagreement::Stop, FIRST).scored, FIRST);
        left
    }

    fn pay(&self, ids: std::ops::Range<u64>) {
        let producer: BaseProducer = client().create().unwrap();
        for id in ids {
            let (user, merchant, time) = (format!("u{}", id % 20), json!({ "id": "m" }), self.start_ms + id as i64);
            let value = json!({
                "eventId": id, "timestamp": time, "userId": user, "amount": 1, "status": "ok", "merchant": merchant,
            });
            let (topic, value) = (self.names.input(), value.to_string());
            send(&producer, BaseRecord::to(&topic).partition(0).key(user.as_str()).payload(value.as_bytes()));
        }
        producer.flush(LIMIT).unwrap();
    }

    fn start(&self, disagreement: Disagreement) -> Worker {
        let options = Options { brokers: Some(shared()), lanes: Some(1), disagreement, ..Options::default() };
        faultline_worker::start(Arc::clone(&self.config), options).unwrap()
    }

    /// What another worker makes of so many records.
    #[track_caller]
    fn goes_on(&self, disagreement: Disagreement, records: u64) -> Tally {
        let worker = self.start(disagreement);
        crate::records(&worker, records);
        worker.stop().unwrap().outcomes
    }

    /// What another worker says that stands in its way; it reads nothing.
    #[track_caller]
    fn waits(&self, disagreement: Disagreement, reason: &str) -> String {
        let worker = self.start(disagreement);
        let message = crate::problem(&worker, reason);
        assert_eq!(worker.stop().unwrap().outcomes.records(), 0);
        message
    }

    /// The group's offset.
    fn committed(&self) -> Option<i64> {
        let group: BaseConsumer = client().set("group.id", &self.names.identity).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.names.input(), 0);
        match group.committed_offsets(list, LIMIT).unwrap().elements()[0].offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    /// An administrator sets the group's offset.
    fn set_offset(&self, offset: i64) {
        let group: BaseConsumer = client().set("group.id", &self.names.identity).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.names.input(), 0, Offset::Offset(offset)).unwrap();
        group.commit(&list, CommitMode::Sync).unwrap();
    }

    fn lose_offsets(&self) {
        let answers = wait(admin().delete_groups(&[&self.names.identity], &AdminOptions::new())).unwrap();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }

    /// Somebody deletes a record of state.
    fn delete_state(&self, key: &str) {
        let producer: BaseProducer = client().create().unwrap();
        let topic = state_topic(&self.names.identity);
        producer.send(BaseRecord::<str, [u8]>::to(&topic).partition(0).key(key)).map_err(|(error, _)| error).unwrap();
        producer.flush(LIMIT).unwrap();
    }
}

fn client() -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", shared());
    client
}

fn admin() -> AdminClient<DefaultClientContext> {
    client().create().unwrap()
}

#[test]
fn a_state_without_marker_and_offset_waits_for_a_decision() {
    let left = Left::behind("unmarked");
    left.lose_offsets();
    left.delete_state("m");
    let message = left.waits(Disagreement::Stop, "StateDisagrees");
    assert!(message.contains("no marker") && message.contains("no committed offset"), "{message}");
    let message = left.waits(Disagreement::TrustMarker, "StateDisagrees");
    assert!(message.contains("use --reset-state"), "{message}");
    // As at a first start: from the earliest record on, and no id is known.
    assert_eq!(left.goes_on(Disagreement::ResetState, FIRST).scored, FIRST);
    assert_eq!(left.committed(), Some(FIRST as i64));
}

#[test]
fn a_source_that_was_made_anew_is_told_and_read_from_its_beginning() {
    let left = Left::behind("recreated");
    let answers = wait(admin().delete_topics(&[&left.names.input()], &AdminOptions::new())).unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    wait_until("its end", LIMIT, || partitions(&shared(), &left.names.input()) == 0, String::new);
    create_topic(&shared(), &left.names.input(), 1);
    left.pay(0..100);
    for disagreement in [Disagreement::Stop, Disagreement::TrustMarker] {
        let message = left.waits(disagreement, "SourceRecreated");
        assert!(message.contains("ends at offset 100 and the state goes to 300"), "{message}");
        assert!(message.contains("--reset-state"), "{message}");
    }
    assert_eq!(left.goes_on(Disagreement::ResetState, 100).scored, 100, "no id is known");
    assert_eq!(left.committed(), Some(100));
}

#[test]
fn a_trusted_marker_is_committed_though_no_record_comes() {
    let left = Left::behind("trusted");
    left.set_offset(100);
    let worker = left.start(Disagreement::TrustMarker);
    wait_until("its offset", LIMIT, || left.committed() == Some(FIRST as i64), || format!("{:?}", worker.status()));
    worker.stop().unwrap();
    left.pay(FIRST..FIRST + 10);
    assert_eq!(left.goes_on(Disagreement::Stop, 10).scored, 10, "nobody has to be asked again");
}

/// A member of the group, and what it is.
fn member(history: &History) -> (BaseConsumer, Arc<GroupMetadata>) {
    let consumer: BaseConsumer = client().set("group.id", &history.identity).create().unwrap();
    consumer.subscribe(&[&history.source()]).unwrap();
    let metadata = || GroupMetadata::of(consumer.client()).filter(GroupMetadata::is_member);
    let is_member = || {
        drop(consumer.poll(Duration::from_millis(50)));
        metadata().is_some()
    };
    wait_until("a member", LIMIT, is_member, String::new);
    let metadata = Arc::new(metadata().unwrap());
    (consumer, metadata)
}

#[test]
fn a_worker_that_others_have_replaced_deletes_no_state() {
    let history = History::new("reset-fenced", &[]);
    history.writer("a").begin().state("k/a", "1").state("k/b", "1").state("m", "1").offset(7).commit();
    let (consumer, metadata) = member(&history);
    let transactional_ids = format!("{}.", history.identity);
    let erasure = |metadata: &Arc<GroupMetadata>| {
        let metadata = Arc::clone(metadata);
        Erasure { transactional_ids: transactional_ids.clone(), fence: Box::new(move || Some(Arc::clone(&metadata))) }
    };
    let mut past = history.onlooker().erasing(erasure(&metadata));
    let keys = |keys: &[&str]| keys.iter().map(|key| key.as_bytes().to_vec()).collect::<Vec<_>>().into_iter();
    let left = |past: &mut _| {
        let (records, _) = read_state(past).unwrap();
        let deleted = records.iter().filter(|(_, _, value)| value.is_none()).map(|(_, key, _)| key.clone());
        deleted.collect::<Vec<_>>().join(" ")
    };

    past.delete_state(0, 9, &mut keys(&["m", "k/a"]), &|| false).unwrap();
    assert_eq!((left(&mut past), past.committed(0, &|| false).unwrap()), ("m k/a".to_owned(), Some(9)));

    consumer.unsubscribe();
    drop(consumer);
    // It does not know yet, and learns of it after some tries.
    let asked = Cell::new(0);
    let cancelled = || {
        asked.set(asked.get() + 1);
        asked.get() > 20
    };
    let refused = past.delete_state(0, 5, &mut keys(&["k/b"]), &cancelled);
    assert!(matches!(refused, Err(PastError::Cancelled)), "{refused:?}");
    assert_eq!((left(&mut past), past.committed(0, &|| false).unwrap()), ("m k/a".to_owned(), Some(9)));

    let refused = history.onlooker().delete_state(0, 5, &mut keys(&["k/b"]), &|| false);
    assert!(matches!(refused, Err(PastError::Request { .. })), "{refused:?}");
}
