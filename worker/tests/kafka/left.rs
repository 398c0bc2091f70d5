//! A pipeline of payments in one partition, what earlier workers have left of it, and what somebody does to it while
//! none runs, or beside one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use faultline_crds::WorkerConfig;
use faultline_worker::adapters::kafka_past::state_topic;
use faultline_worker::outcome::Tally;
use faultline_worker::state::Marker;
use faultline_worker::{Disagreement, Options, Worker};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::broker::{create_topic, partitions, shared};
use crate::history::{History, wait};
use crate::pipeline::{self, Names};
use crate::stream::{now_ms, send};
use crate::verify::read_all;
use crate::wait_until;

/// Payments that the first worker folds.
pub(crate) const FIRST: u64 = 300;
pub(crate) const USERS: u64 = 20;

const LIMIT: Duration = Duration::from_secs(30);

/// See above.
pub(crate) struct Left {
    pub(crate) names: Names,
    pub(crate) config: Arc<WorkerConfig>,
    pub(crate) start_ms: i64,
}

impl Left {
    /// No worker has been there yet; `changes` as in [`pipeline::config`].
    pub(crate) fn nothing(test: &str, changes: &[(&str, Value)]) -> Self {
        let names = Names::new(test);
        create_topic(&shared(), &names.input(), 1);
        Self { config: pipeline::config(&names, changes), names, start_ms: now_ms() - 60_000 }
    }

    /// The first worker has folded [`FIRST`] payments and was stopped.
    #[track_caller]
    pub(crate) fn behind(test: &str) -> Self {
        let left = Self::nothing(test, &[]);
        left.pay(0..FIRST);
        assert_eq!(left.goes_on(Disagreement::Stop, FIRST).scored, FIRST);
        left
    }

    /// The first worker has folded [`FIRST`] payments and goes on; `changes` as in [`pipeline::config`].
    #[track_caller]
    pub(crate) fn beside(test: &str, changes: &[(&str, Value)], disagreement: Disagreement) -> (Self, Worker) {
        let left = Self::nothing(test, changes);
        left.pay(0..FIRST);
        let worker = left.start(disagreement);
        crate::records(&worker, FIRST);
        (left, worker)
    }

    /// Payments with these ids; the id is the millisecond of the event and of its record.
    pub(crate) fn pay(&self, ids: impl IntoIterator<Item = u64>) {
        let producer: BaseProducer = client().create().unwrap();
        for id in ids {
            let (user, merchant) = (format!("u{}", id % USERS), json!({ "id": "m" }));
            let time = self.start_ms + id as i64;
            let value = json!({
                "eventId": id, "timestamp": time, "userId": user, "amount": 1, "status": "ok", "merchant": merchant,
            });
            let (topic, value) = (self.names.input(), value.to_string());
            let record = BaseRecord::to(&topic).partition(0).key(user.as_str()).timestamp(time);
            send(&producer, record.payload(value.as_bytes()));
        }
        producer.flush(LIMIT).unwrap();
    }

    pub(crate) fn start(&self, disagreement: Disagreement) -> Worker {
        let options = Options { brokers: Some(shared()), lanes: Some(1), disagreement, ..Options::default() };
        faultline_worker::start(Arc::clone(&self.config), options).unwrap()
    }

    /// What another worker makes of so many records.
    #[track_caller]
    pub(crate) fn goes_on(&self, disagreement: Disagreement, records: u64) -> Tally {
        let worker = self.start(disagreement);
        crate::records(&worker, records);
        worker.stop().unwrap().outcomes
    }

    /// What another worker says that stands in its way; it reads nothing.
    #[track_caller]
    pub(crate) fn waits(&self, disagreement: Disagreement, reason: &str) -> String {
        let worker = self.start(disagreement);
        let message = crate::problem(&worker, reason);
        assert_eq!(worker.stop().unwrap().outcomes.records(), 0);
        message
    }

    /// The same topics and group, for transactions that stay open.
    pub(crate) fn history(&self) -> History {
        History { brokers: shared(), identity: self.names.identity.clone() }
    }

    /// An administrator sets the group's offset.
    pub(crate) fn set_offset(&self, offset: i64) {
        self.group().commit(&at(&self.names.input(), Offset::Offset(offset)), CommitMode::Sync).unwrap();
    }

    /// The group's offset.
    pub(crate) fn committed(&self) -> Option<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.names.input(), 0);
        match self.group().committed_offsets(list, LIMIT).unwrap().elements()[0].offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    fn group(&self) -> BaseConsumer {
        client().set("group.id", &self.names.identity).create().unwrap()
    }

    /// The retention of the source passes an offset.
    pub(crate) fn delete_source_before(&self, offset: i64) {
        delete_before(&self.names.input(), Offset::Offset(offset));
    }

    pub(crate) fn state_topic(&self) -> String {
        state_topic(&self.names.identity)
    }

    /// Somebody writes a record of state, or deletes it.
    pub(crate) fn write_state(&self, key: &str, value: Option<&[u8]>) {
        let producer: BaseProducer = client().create().unwrap();
        let topic = self.state_topic();
        let mut record = BaseRecord::<str, [u8]>::to(&topic).partition(0).key(key);
        record.payload = value;
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(LIMIT).unwrap();
    }

    /// The newest value of each record of state.
    pub(crate) fn state(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut newest = BTreeMap::new();
        read_all(&shared(), &self.state_topic(), |message| {
            use rdkafka::message::Message;
            let key = message.key().unwrap().to_vec();
            match message.payload() {
                Some(value) => drop(newest.insert(key, value.to_vec())),
                None => drop(newest.remove(&key)),
            }
        });
        newest
    }

    /// L and C of the marker.
    pub(crate) fn marker(&self) -> (i64, i64) {
        let marker = Marker::read(&self.state()[&b"m"[..]]).unwrap();
        (marker.low_water.offset, marker.next_offset)
    }

    /// Somebody deletes the state topic.
    #[track_caller]
    pub(crate) fn delete_state_topic(&self) {
        let answers = wait(admin().delete_topics(&[&self.state_topic()], &AdminOptions::new())).unwrap();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let is_gone = || partitions(&shared(), &self.state_topic()) == 0;
        wait_until("the end of the state topic", LIMIT, is_gone, String::new);
    }
}

pub(crate) fn client() -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", shared());
    client
}

pub(crate) fn admin() -> AdminClient<DefaultClientContext> {
    client().create().unwrap()
}

/// Removes the records of a topic's first partition before an offset.
#[track_caller]
pub(crate) fn delete_before(topic: &str, offset: Offset) {
    let answer = wait(admin().delete_records(&at(topic, offset), &AdminOptions::new())).unwrap();
    answer.elements().iter().for_each(|element| element.error().unwrap());
}

fn at(topic: &str, offset: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, offset).unwrap();
    list
}
