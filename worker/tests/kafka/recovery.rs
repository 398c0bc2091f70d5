//! What a worker does with the state that another one left: it knows what that one knew, or says what does not fit and
//! waits for a decision.

use std::sync::Arc;
use std::time::Duration;

use faultline_crds::WorkerConfig;
use faultline_worker::outcome::Tally;
use faultline_worker::{Disagreement, Options, Worker};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::json;

use crate::broker::{create_topic, shared};
use crate::history::{History, wait};
use crate::pipeline::{self, Names};
use crate::stream::{now_ms, send};

/// Payments that the first worker folds.
const FIRST: u64 = 300;
const USERS: u64 = 20;

/// A pipeline whose first worker has folded [`FIRST`] payments and was stopped.
struct Left {
    names: Names,
    config: Arc<WorkerConfig>,
    start_ms: i64,
}

impl Left {
    fn behind(test: &str) -> Self {
        let names = Names::new(test);
        create_topic(&shared(), &names.input(), 1);
        let left = Self { config: pipeline::config(&names, &[]), names, start_ms: now_ms() - 60_000 };
        left.pay(0..FIRST);
        let worker = left.start(Disagreement::Stop);
        crate::records(&worker, FIRST);
        assert_eq!(worker.stop().unwrap().outcomes.scored, FIRST);
        left
    }

    /// Payments with these ids.
    fn pay(&self, ids: std::ops::Range<u64>) {
        let producer: BaseProducer = client().create().unwrap();
        for id in ids {
            let (user, merchant) = (format!("u{}", id % USERS), json!({ "id": "m" }));
            let time = self.start_ms + id as i64;
            let value = json!({ "eventId": id, "timestamp": time, "userId": user, "amount": 1, "status": "ok", "merchant": merchant });
            let value = value.to_string();
            send(
                &producer,
                BaseRecord::to(&self.names.input()).partition(0).key(user.as_str()).payload(value.as_bytes()),
            );
        }
        producer.flush(Duration::from_secs(30)).unwrap();
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

    /// An administrator sets the group's offset.
    fn set_offset(&self, offset: i64) {
        let consumer: BaseConsumer = client().set("group.id", &self.names.identity).create().unwrap();
        consumer.commit(&self.position(offset), CommitMode::Sync).unwrap();
    }

    fn position(&self, offset: i64) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.names.input(), 0, Offset::Offset(offset)).unwrap();
        list
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
fn a_restarted_worker_knows_what_the_former_one_knew() {
    let left = Left::behind("restart");
    left.pay(0..FIRST + 10);
    let worker = left.start(Disagreement::Stop);
    crate::records(&worker, FIRST + 10);
    let status = worker.status();
    assert_eq!((status.outcomes.duplicate, status.outcomes.scored), (FIRST, 10), "ids are known");
    assert_eq!(status.keys, USERS);
    worker.stop().unwrap();
}

#[test]
fn an_offset_that_was_moved_by_hand_waits_for_a_decision() {
    let left = Left::behind("moved");
    left.set_offset(100);
    let worker = left.start(Disagreement::Stop);
    let message = crate::problem(&worker, "StateDisagrees");
    assert!(message.contains("100") && message.contains(&format!("{FIRST}")), "{message}");
    assert!(message.contains("--reset-state") && message.contains("--trust-marker"), "{message}");
    assert_eq!(worker.stop().unwrap().outcomes.records(), 0);

    left.pay(FIRST..FIRST + 10);
    let trusting = left.goes_on(Disagreement::TrustMarker, 10);
    assert_eq!((trusting.scored, trusting.duplicate), (10, 0), "it goes on where the state ends");

    left.set_offset(100);
    let reset = left.goes_on(Disagreement::ResetState, FIRST - 100 + 10);
    assert_eq!((reset.scored, reset.duplicate), (FIRST - 100 + 10, 0), "it goes on at the offset and knows no id");
    left.pay(0..FIRST);
    let after = left.goes_on(Disagreement::Stop, FIRST);
    assert_eq!((after.scored, after.duplicate), (100, FIRST - 100), "nothing of the deleted state is left");
}

#[test]
fn a_state_topic_without_its_marker_is_told() {
    let left = Left::behind("no-marker");
    let producer: BaseProducer = client().create().unwrap();
    let state = format!("{}.state", left.names.identity);
    producer.send(BaseRecord::<str, [u8]>::to(&state).partition(0).key("m")).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
    let worker = left.start(Disagreement::Stop);
    let message = crate::problem(&worker, "StateDisagrees");
    assert!(message.contains("nowhere"), "{message}");
    worker.stop().unwrap();
    let worker = left.start(Disagreement::TrustMarker);
    let message = crate::problem(&worker, "StateDisagrees");
    assert!(message.contains("use --reset-state"), "{message}");
    worker.stop().unwrap();
}

#[test]
fn the_state_of_another_pipeline_is_not_touched() {
    let left = Left::behind("foreign");
    let other = Left {
        config: pipeline::config(&left.names, &[("/metadata/name", json!("refunds"))]),
        names: left.names.clone(),
        start_ms: left.start_ms,
    };
    let worker = other.start(Disagreement::ResetState);
    let message = crate::problem(&worker, "StateOwnedByAnother");
    assert!(message.contains("local/shop/payments") && message.contains("local/shop/refunds"), "{message}");
    worker.stop().unwrap();
    left.pay(0..FIRST);
    assert_eq!(left.goes_on(Disagreement::Stop, FIRST).duplicate, FIRST, "it is as it was");
}

#[test]
fn a_group_whose_offsets_are_gone_goes_on_where_the_state_ends() {
    let left = Left::behind("expired");
    let answers = wait(admin().delete_groups(&[&left.names.identity], &AdminOptions::new())).unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    left.pay(FIRST..FIRST + 10);
    let tally = left.goes_on(Disagreement::Stop, 10);
    assert_eq!((tally.scored, tally.records()), (10, 10));
}

#[test]
fn a_source_that_lost_what_the_state_needs_is_told() {
    let left = Left::behind("retention");
    left.pay(FIRST..FIRST + 100);
    wait(admin().delete_records(&left.position(FIRST as i64 + 50), &AdminOptions::new())).unwrap();
    let worker = left.start(Disagreement::Stop);
    let message = crate::problem(&worker, "SourceRetentionPassed");
    assert!(message.contains("300 to 350") && message.contains("50 records"), "{message}");
    assert_eq!(worker.stop().unwrap().outcomes.records(), 0);
    assert_eq!(left.goes_on(Disagreement::ResetState, 50).scored, 50);
}

#[test]
fn a_worker_that_waits_for_a_committed_offset_is_not_available() {
    let left = Left::behind("pending");
    let history = History { brokers: shared(), identity: left.names.identity.clone() };
    let other = history.writer("other");
    other.begin().offset(FIRST as i64).leave();
    let worker = left.start(Disagreement::Stop);
    let waits = || {
        let status = worker.status();
        let is_waiting = status.warming_up.get(&0).is_some_and(|stage| stage.doing == "waiting");
        assert!(!(is_waiting && status.available), "{status:?}");
        is_waiting
    };
    crate::wait_until("the partition waits", Duration::from_secs(60), waits, || format!("{:?}", worker.status()));
    other.abort();
    let is_available = || worker.status().available && !worker.status().partitions.is_empty();
    crate::wait_until("it is read", Duration::from_secs(60), is_available, || format!("{:?}", worker.status()));
    worker.stop().unwrap();
}
