//! `POST /forget`: what a worker knew of a key is gone, for its successors too.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use faultline_crds::WorkerConfig;
use faultline_worker::state::{Marker, RecordKey, read_head};
use faultline_worker::{Options, Worker};
use rdkafka::ClientConfig;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

use crate::broker::{create_topic, partitions, shared};
use crate::pipeline::{self, Names};
use crate::stream::{now_ms, send};
use crate::verify::read_all;
use crate::wait_until;

const USERS: i64 = 10;
const ROUNDS: i64 = 10;
/// The user who is forgotten; the rule finds what he pays.
const USER: &str = "u3";

/// A pipeline over a source in which every user has events in every partition, as after partitions were added.
struct Payments {
    names: Names,
    config: Arc<WorkerConfig>,
    partitions: i32,
    producer: BaseProducer,
    start_ms: i64,
    rounds: i64,
}

impl Payments {
    fn new(test: &str, partitions: i32, guarantee: &str) -> Self {
        let names = Names::new(test);
        create_topic(&shared(), &names.input(), partitions);
        let features = json!([
            { "name": "amount", "field": "amount" },
            { "name": "before", "field": "amount", "valuesAgo": 1 },
        ]);
        let changes = [
            ("/spec/features", features),
            ("/spec/outputs/results", json!({ "topic": names.results(), "mode": "all", "features": "always" })),
            ("/spec/delivery", json!({ "guarantee": guarantee })),
        ];
        Self {
            config: pipeline::config(&names, &changes),
            names,
            partitions,
            producer: ClientConfig::new().set("bootstrap.servers", shared()).create().unwrap(),
            start_ms: now_ms() - 60_000,
            rounds: 0,
        }
    }

    /// Every user pays in every partition, so many times. Returns the records sent until now.
    fn pay(&mut self, rounds: i64) -> u64 {
        for round in self.rounds..self.rounds + rounds {
            for (partition, user) in (0..self.partitions).flat_map(|partition| (0..USERS).map(move |u| (partition, u)))
            {
                let (user, amount) = (format!("u{user}"), if user == 3 { 1000 } else { 1 });
                let value = json!({
                    "eventId": format!("{round}-{partition}-{user}"), "timestamp": self.start_ms + round * 100,
                    "userId": user, "amount": amount, "status": "ok", "merchant": { "id": "m" },
                });
                let (topic, value) = (self.names.input(), value.to_string());
                let record = BaseRecord::to(&topic).partition(partition).key(user.as_str());
                send(&self.producer, record.payload(value.as_bytes()));
            }
        }
        self.producer.flush(Duration::from_secs(30)).unwrap();
        self.rounds += rounds;
        (self.rounds * USERS) as u64 * self.partitions as u64
    }

    fn start(&self) -> Worker {
        let listen = Some(([127, 0, 0, 1], 0).into());
        let options = Options { brokers: Some(shared()), lanes: Some(2), listen, ..Options::default() };
        faultline_worker::start(Arc::clone(&self.config), options).unwrap()
    }

    /// The newest value of each record of the state topic, by partition and key.
    fn state(&self) -> BTreeMap<(i32, Vec<u8>), Option<Vec<u8>>> {
        let mut newest = BTreeMap::new();
        read_all(&shared(), &format!("{}.state", self.names.identity), |message| {
            let key = (message.partition(), message.key().unwrap().to_vec());
            newest.insert(key, message.payload().map(Into::into));
        });
        newest
    }

    /// Whether an image or an incident of the user lies in a partition's state.
    fn lies_in_state(&self, partition: i32) -> (bool, bool) {
        let (mut image, mut incident) = (false, false);
        for ((of, key), value) in self.state() {
            let Some(value) = value.filter(|_| of == partition) else { continue };
            match RecordKey::parse(&key) {
                Some(RecordKey::Image { key: USER, part }) => {
                    image |= part > 0 || read_head(&value).unwrap().0.parts > 0
                }
                Some(RecordKey::Decision { key: USER }) => incident = true,
                _ => {}
            }
        }
        (image, incident)
    }

    /// Where the replay of a partition would begin and end.
    fn replay(&self, partition: i32) -> (i64, i64) {
        let value = self.state().remove(&(partition, b"m".to_vec())).flatten().unwrap();
        let marker = Marker::read(&value).unwrap();
        (marker.low_water.offset, marker.next_offset)
    }

    /// The users for whom the event was the first that was known of them, by round; the same in every partition.
    #[track_caller]
    fn new_users(&self) -> BTreeMap<i64, Vec<String>> {
        let mut found: BTreeMap<(i32, i64), Vec<String>> = BTreeMap::new();
        let mut results: BTreeMap<i32, i64> = BTreeMap::new();
        read_all(&shared(), &self.names.results(), |message| {
            let result: Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
            let nth = results.entry(message.partition()).or_default();
            if result["features"]["before"].is_null() {
                let user = result["key"].as_str().unwrap().to_owned();
                found.entry((message.partition(), *nth / USERS)).or_default().push(user);
            }
            *nth += 1;
        });
        let of = |partition: i32| -> BTreeMap<i64, Vec<String>> {
            let own = found.iter().filter(|((of, _), _)| *of == partition);
            own.map(|((_, round), users)| (*round, users.clone())).collect()
        };
        assert_eq!(results, (0..self.partitions).map(|partition| (partition, self.rounds * USERS)).collect());
        assert!((1..self.partitions).all(|partition| of(partition) == of(0)), "{found:?}");
        of(0)
    }

    /// Why alerts said that an incident is over, by key.
    fn closings(&self) -> Vec<(String, String)> {
        let mut closings = Vec::new();
        read_all(&shared(), &self.names.alerts(), |message| {
            let alert: Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
            let text = |name: &str| alert[name].as_str().unwrap_or_default().to_owned();
            if alert["state"] == "closed" {
                closings.push((text("key"), text("closeReason")));
            }
        });
        closings
    }
}

/// Status and body of the answer to `POST /forget`.
fn forget(worker: &Worker, key: &str) -> (u16, String) {
    let body = json!({ "key": key }).to_string();
    let mut stream = TcpStream::connect(worker.address().unwrap()).unwrap();
    let head = "POST /forget HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length:";
    write!(stream, "{head} {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn forgotten(partitions: &[i32]) -> (u16, String) {
    (200, json!({ "forgotten": !partitions.is_empty(), "partitions": partitions }).to_string())
}

fn everybody() -> Vec<String> {
    (0..USERS).map(|user| format!("u{user}")).collect()
}

#[test]
fn a_key_that_is_forgotten_is_new_to_every_later_worker() {
    let mut payments = Payments::new("forget", 2, "exactlyOnce");
    let first = payments.start();
    let sent = payments.pay(ROUNDS);
    crate::records(&first, sent);
    assert!((0..2).all(|partition| payments.lies_in_state(partition).1), "an incident is open");

    assert_eq!(forget(&first, USER), forgotten(&[0, 1]));
    // What was answered is visible: nothing is waited for here.
    for partition in 0..2 {
        assert_eq!(payments.lies_in_state(partition), (false, false), "partition {partition}");
        let (low, end) = payments.replay(partition);
        assert_eq!(end, ROUNDS * USERS);
        assert!(low < end - USERS, "a successor has to replay events of the forgotten key: {low} to {end}");
    }
    let closed = (USER.to_owned(), "keyForgotten".to_owned());
    assert_eq!(payments.closings(), [closed.clone(), closed]);
    assert_eq!(forget(&first, USER), forgotten(&[]), "it is not known any more");
    assert_eq!(forget(&first, "nobody"), forgotten(&[]));

    // One of the partitions moves as it is, without a last image.
    let second = payments.start();
    let has_one = || !second.status().partitions.is_empty();
    wait_until("a partition that has moved", Duration::from_secs(60), has_one, || format!("{:?}", second.status()));
    let sent = payments.pay(2);
    wait_until("the rest", Duration::from_secs(60), || records(&first) + records(&second) == sent, String::new);
    assert!(records(&second) > 0 && records(&first) < sent, "each has one partition");
    let new = BTreeMap::from([(0, everybody()), (ROUNDS, vec![USER.to_owned()])]);
    assert_eq!(payments.new_users(), new);

    first.stop().unwrap();
    second.stop().unwrap();
    let third = payments.start();
    let sent = payments.pay(1) - sent;
    crate::records(&third, sent);
    assert_eq!(payments.new_users(), new, "and known again from then on");
    assert_eq!(forget(&third, USER), forgotten(&[0, 1]));
    third.stop().unwrap();
}

fn records(worker: &Worker) -> u64 {
    worker.status().outcomes.records()
}

#[test]
fn a_key_is_forgotten_where_no_state_is_kept_too() {
    let mut payments = Payments::new("forget-at-least-once", 1, "atLeastOnce");
    let worker = payments.start();
    let sent = payments.pay(1);
    crate::records(&worker, sent);
    assert_eq!(forget(&worker, "u5"), forgotten(&[0]));
    let sent = payments.pay(1);
    crate::records(&worker, sent);
    assert_eq!(payments.new_users(), BTreeMap::from([(0, everybody()), (1, vec!["u5".to_owned()])]));
    assert_eq!(partitions(&shared(), &format!("{}.state", payments.names.identity)), 0);
    worker.stop().unwrap();
}

#[test]
fn a_worker_that_owns_nothing_cannot_say_that_a_key_is_unknown() {
    let mut payments = Payments::new("forget-idle", 1, "exactlyOnce");
    let owner = payments.start();
    let sent = payments.pay(1);
    crate::records(&owner, sent);
    let idle = payments.start();
    let (code, reason) = forget(&idle, USER);
    assert_eq!(code, 503);
    assert!(reason.contains("owns no partition"), "{reason}");
    assert_eq!(forget(&owner, USER), forgotten(&[0]));
    idle.stop().unwrap();
    owner.stop().unwrap();
}
