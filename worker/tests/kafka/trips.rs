//! A bad deployment looks different from bad data: the shard stops before the record that shows it, says why with an
//! example, and goes on there once it is put right.

use std::time::Duration;

use faultline_worker::Worker;
use faultline_worker::status::PartitionState;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

use crate::broker::{create_topic, shared};
use crate::pipeline::{self, Names};
use crate::stream::{now_ms, send};
use crate::verify::count;
use crate::wait_until;

/// Payments into the only partition; each is a record key and a value.
fn produce(names: &Names, payments: impl Iterator<Item = (String, String)>) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", shared()).create().unwrap();
    for (key, value) in payments {
        send(&producer, BaseRecord::to(&names.input()).partition(0).key(key.as_str()).payload(value.as_bytes()));
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

fn payment(number: u64, user: &str, time: i64) -> String {
    let merchant = json!({ "id": "m" });
    json!({ "eventId": number, "timestamp": time, "userId": user, "amount": 1, "status": "ok", "merchant": merchant })
        .to_string()
}

/// Waits for the trip; checks that everything before the offset is committed and nothing after it.
#[track_caller]
fn trips_at(worker: Worker, names: &Names, reason: &str, offset: i64) -> String {
    let message = crate::problem(&worker, reason);
    let stalled =
        || worker.status().partitions.iter().any(|p| p.state == PartitionState::Stalled && p.next_offset == offset);
    wait_until("stalled at its offset", Duration::from_secs(30), stalled, || {
        format!("{message}; {:?}", worker.status())
    });
    let outcomes = worker.stop().unwrap().outcomes;
    assert_eq!(outcomes.records(), offset.unsigned_abs());
    assert!(outcomes.scored >= 199, "{outcomes:?}");
    let written = count(&shared(), &names.results()) + count(&shared(), &names.dead_letter());
    assert_eq!(written, offset.unsigned_abs(), "outputs beyond the offset, or missing before it");
    message
}

/// A corrected pipeline goes on where the other one stopped.
#[track_caller]
fn goes_on(names: &Names, changes: &[(&str, Value)], records: u64) {
    let worker = pipeline::start(&pipeline::config(names, changes), &shared());
    crate::records(&worker, records);
    assert_eq!(worker.stop().unwrap().outcomes.records(), records);
}

/// Payments that cannot be read.
fn broken(count: usize) -> impl Iterator<Item = (String, String)> {
    std::iter::repeat_n(("u".to_owned(), "{\"amount\": ".to_owned()), count)
}

/// A worker, with 500 payments that it can read and 100 that it cannot.
fn with_broken_payments(test: &str) -> (Names, Worker) {
    let names = Names::new(test);
    create_topic(&shared(), &names.input(), 1);
    let whole = (0..500).map(|number| ("u".to_owned(), payment(number, "u", now_ms())));
    produce(&names, whole.chain(broken(100)));
    let worker = pipeline::start(&pipeline::config(&names, &[]), &shared());
    (names, worker)
}

#[test]
fn too_many_dead_letters_stop_the_shard() {
    let (names, worker) = with_broken_payments("dead-letter-share");
    // 50 of 1,000 are allowed.
    let message = trips_at(worker, &names, "DeadLetterShare", 550);
    assert!(message.contains("NotJson") && message.contains("maxShare"), "{message}");
    goes_on(&names, &[("/spec/outputs/deadLetter/maxShare", json!(1.0))], 50);
}

#[test]
fn a_topic_that_is_not_partitioned_by_the_key_stops_the_shard() {
    let names = Names::new("key");
    create_topic(&shared(), &names.input(), 1);
    let key = |number| if number % 100 == 99 { "somebody else".to_owned() } else { "u".to_owned() };
    produce(&names, (0..400).map(|number| (key(number), payment(number, "u", now_ms()))));
    let worker = pipeline::start(&pipeline::config(&names, &[]), &shared());
    // One in 1,000 is allowed.
    let message = trips_at(worker, &names, "KeyNotPartitionKey", 199);
    assert!(message.contains("`u`") && message.contains("partitioning: trusted"), "{message}");
    goes_on(&names, &[("/spec/source/partitioning", json!("trusted"))], 201);
}

#[test]
fn a_wrong_unit_of_time_stops_the_shard() {
    let names = Names::new("unit");
    create_topic(&shared(), &names.input(), 1);
    let seconds = now_ms() / 1_000;
    produce(&names, (0..800).map(|number| ("u".to_owned(), payment(number, "u", seconds))));
    let worker = pipeline::start(&pipeline::config(&names, &[]), &shared());
    // Half of 1,000 is allowed.
    let message = trips_at(worker, &names, "SuspiciousTimestampUnit", 500);
    assert!(message.contains("unit: milliseconds") && message.contains("seconds"), "{message}");
    goes_on(&names, &[("/spec/source/timestamp/unit", json!("seconds"))], 300);
}

#[test]
fn a_stalled_partition_falls_behind_and_says_how_far() {
    let (names, worker) = with_broken_payments("stalled-lag");
    crate::problem(&worker, "DeadLetterShare");
    // The client does not fetch the partition any more: only the brokers know where it ends.
    produce(&names, broken(50));
    let is_told = || worker.status().lag == Some(100);
    wait_until("a lag of 100", Duration::from_secs(30), is_told, || format!("{:?}", worker.status()));
    worker.stop().unwrap();
}
