//! A source in which nothing happens any more: time goes on all the same, and what was known stays known.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use faultline_crds::WorkerConfig;
use faultline_worker::adapters::kafka_past::state_topic;
use faultline_worker::state::Marker;
use faultline_worker::{ClockKind, Options, Worker};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::broker::{create_topic, shared};
use crate::history::{History, wait};
use crate::pipeline::{self, Names};
use crate::stream::{now_ms, send};
use crate::verify::read_all;
use crate::wait_until;

const LIMIT: Duration = Duration::from_secs(60);
/// Time stands still between records …
const STILL: ClockKind = ClockKind::Records { speed: 0.0 };
/// … or quiet period and expiry pass within seconds.
const FAST: ClockKind = ClockKind::Records { speed: 600.0 };

fn client() -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", shared());
    client
}

fn payment(id: u64) -> Value {
    json!({
        "eventId": id, "timestamp": now_ms() - 60_000 + id as i64, "userId": "u1", "amount": 1000, "status": "ok",
        "merchant": { "id": "m" },
    })
}

/// A source that has fallen silent after some payments of one user, all of them anomalies.
struct Silent {
    names: Names,
    config: Arc<WorkerConfig>,
}

impl Silent {
    const PAYMENTS: u64 = 10;

    /// A worker has read them, and has been stopped before any time could pass.
    fn behind(test: &str) -> Self {
        let names = Names::new(test);
        create_topic(&shared(), &names.input(), 1);
        let incident = json!({
            "severities": { "warning": { "oneIn": 1000 } },
            "incident": { "quietPeriod": "10m" },
        });
        let changes = [("/spec/decision", incident), ("/spec/source/keyExpiry", json!("1h"))];
        let silent = Self { config: pipeline::config(&names, &changes), names };
        silent.pay(0..Self::PAYMENTS);
        let worker = silent.start(STILL);
        crate::records(&worker, Self::PAYMENTS);
        worker.stop().unwrap();
        assert_eq!(silent.alerts(), ["opened"]);
        silent
    }

    fn pay(&self, ids: Range<u64>) {
        let producer: BaseProducer = client().create().unwrap();
        for id in ids {
            let value = payment(id).to_string();
            let topic = self.names.input();
            send(&producer, BaseRecord::to(&topic).partition(0).key("u1").payload(value.as_bytes()));
        }
        producer.flush(LIMIT).unwrap();
    }

    /// The upstream's transactions each hold one payment.
    fn pay_in_transactions(&self, ids: Range<u64>) {
        let id = format!("{}.upstream", self.names.identity);
        let producer: BaseProducer = client().set("transactional.id", id).create().unwrap();
        producer.init_transactions(LIMIT).unwrap();
        for id in ids {
            producer.begin_transaction().unwrap();
            let (topic, value) = (self.names.input(), payment(id).to_string());
            send(&producer, BaseRecord::to(&topic).partition(0).key("u1").payload(value.as_bytes()));
            producer.commit_transaction(LIMIT).unwrap();
        }
    }

    /// The newest marker.
    fn marker(&self) -> Marker {
        let mut marker = None;
        read_all(&shared(), &state_topic(&self.names.identity), |message| {
            if message.key() == Some(b"m") {
                marker = message.payload().map(|value| Marker::read(value).unwrap());
            }
        });
        marker.unwrap()
    }

    /// The source's retention passes.
    fn delete_before(&self, offset: Offset) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.names.input(), 0, offset).unwrap();
        let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
        let answer = wait(admin.delete_records(&list, &AdminOptions::new())).unwrap();
        answer.elements().iter().for_each(|element| element.error().unwrap());
    }

    fn start(&self, clock: ClockKind) -> Worker {
        let options = Options { brokers: Some(shared()), lanes: Some(1), clock, ..Options::default() };
        faultline_worker::start(Arc::clone(&self.config), options).unwrap()
    }

    /// The states of the incident that were told.
    fn alerts(&self) -> Vec<String> {
        let mut states = Vec::new();
        read_all(&shared(), &self.names.alerts(), |message| {
            let alert: Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
            states.push(alert["state"].as_str().unwrap().to_owned());
        });
        states
    }

    /// Waits until the incident is closed and the key has expired.
    #[track_caller]
    fn ends(&self, worker: &Worker) {
        let is_over = || worker.status().partitions.first().is_some_and(|partition| partition.keys == 0);
        wait_until("the key expires", LIMIT, is_over, || format!("{:?}", worker.status()));
        assert_eq!(self.alerts(), ["opened", "closed"]);
    }
}

#[test]
fn incidents_and_keys_end_in_silence_after_a_restart() {
    let silent = Silent::behind("silence-restart");
    let worker = silent.start(FAST);
    silent.ends(&worker);
    worker.stop().unwrap();
}

#[test]
fn a_transaction_that_is_open_upstream_is_no_silence_after_a_restart() {
    let silent = Silent::behind("silence-open");
    let history = History { brokers: shared(), identity: silent.names.identity.clone() };
    let upstream = history.writer("upstream");
    upstream.begin().event("aborted").leave();
    let worker = silent.start(FAST);
    let is_read = || worker.status().available && !worker.status().partitions.is_empty();
    wait_until("it is read", LIMIT, is_read, || format!("{:?}", worker.status()));
    // Half an hour of the shard's time.
    let began = Instant::now();
    wait_until("time passes", LIMIT, || began.elapsed() > Duration::from_secs(3), String::new);
    assert_eq!(silent.alerts(), ["opened"]);
    upstream.abort();
    silent.ends(&worker);
    worker.stop().unwrap();
}

#[test]
fn images_are_written_in_silence_before_the_source_loses_what_is_not_in_them() {
    let silent = Silent::behind("silence-retention");
    silent.pay(Silent::PAYMENTS..2 * Silent::PAYMENTS);
    let worker = silent.start(STILL);
    crate::records(&worker, Silent::PAYMENTS);
    let replay = || worker.status().partitions.first().map(|partition| partition.replay);
    assert_eq!(replay(), Some(Silent::PAYMENTS), "nothing asked for an image");
    silent.delete_before(Offset::Offset(5));
    wait_until("images", LIMIT, || replay() == Some(0), || format!("{:?}", worker.status()));
    worker.stop().unwrap();
}

#[test]
fn markers_of_transactions_behind_the_last_record_may_be_gone() {
    let silent = Silent::behind("silence-markers");
    silent.pay_in_transactions(Silent::PAYMENTS..Silent::PAYMENTS + 2);
    let worker = silent.start(STILL);
    crate::records(&worker, 2);
    // Each payment is followed by a marker.
    let end = Some(Silent::PAYMENTS as i64 + 4);
    wait_until("a silence", LIMIT, || silent.marker().read_to == end, || format!("{:?}", silent.marker()));
    wait_until("no lag", LIMIT, || worker.status().lag == Some(0), || format!("{:?}", worker.status()));
    worker.stop().unwrap();
    silent.delete_before(Offset::End);

    let worker = silent.start(STILL);
    silent.pay(0..Silent::PAYMENTS + 3);
    crate::records(&worker, Silent::PAYMENTS + 3);
    let tally = worker.stop().unwrap().outcomes;
    assert_eq!((tally.duplicate, tally.scored), (Silent::PAYMENTS + 2, 1), "what was known is known");
}

#[test]
fn a_worker_that_was_stopped_at_once_has_told_how_far_it_read() {
    let silent = Silent::behind("silence-stopped");
    let worker = silent.start(STILL);
    silent.pay_in_transactions(Silent::PAYMENTS..Silent::PAYMENTS + 2);
    crate::records(&worker, 2);
    worker.stop().unwrap();
    silent.delete_before(Offset::End);
    let worker = silent.start(FAST);
    silent.ends(&worker);
    worker.stop().unwrap();
}

#[test]
fn records_behind_the_last_one_that_was_read_may_not_be_gone() {
    let silent = Silent::behind("silence-lost");
    silent.pay_in_transactions(Silent::PAYMENTS..Silent::PAYMENTS + 1);
    silent.delete_before(Offset::End);
    let worker = silent.start(STILL);
    let message = crate::problem(&worker, "SourceRetentionPassed");
    assert!(message.contains("10 to 12"), "{message}");
    worker.stop().unwrap();
}
