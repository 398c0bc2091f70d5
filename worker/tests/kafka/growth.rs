//! A source that grows while it is read, and while no worker runs. `startFrom` says `latest`: it is about the first
//! start, and does not count for a partition that is added later.

use std::sync::Arc;
use std::time::Duration;

use faultline_crds::WorkerConfig;
use faultline_worker::adapters::kafka_past::state_topic;
use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;

use crate::broker::{create_topic, partitions, shared};
use crate::history::wait;
use crate::left::{admin, client};
use crate::pipeline::{self, Names};
use crate::stream::send;
use crate::verify::ends;

/// A source with one partition, which nobody has read yet.
struct Growing {
    names: Names,
    config: Arc<WorkerConfig>,
}

impl Growing {
    fn new(test: &str, guarantee: &str) -> Self {
        let names = Names::new(test);
        create_topic(&shared(), &names.input(), 1);
        let latest = ("/spec/source/startFrom", json!({ "latest": {} }));
        let config = pipeline::config(&names, &[latest, ("/spec/delivery/guarantee", json!(guarantee))]);
        Self { names, config }
    }

    fn send(&self, partition: i32, ids: std::ops::Range<u32>) {
        let producer: BaseProducer = client().create().unwrap();
        for id in ids {
            let event = json!({
                "eventId": format!("e-{id}"), "userId": format!("user-{partition}"), "amount": 5, "status": "approved",
                "timestamp": 1_790_000_000_000_i64 + i64::from(id), "merchant": { "id": "m" },
            });
            let (topic, key, value) = (self.names.input(), format!("user-{partition}"), event.to_string());
            send(&producer, BaseRecord::to(&topic).key(key.as_str()).payload(value.as_bytes()).partition(partition));
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    }

    fn grow(&self) {
        let topic = self.names.input();
        let grown = NewPartitions::new(&topic, 2);
        let answers = wait(admin().create_partitions([&grown], &AdminOptions::new())).unwrap();
        answers.into_iter().for_each(|answer| drop(answer.unwrap()));
    }
}

#[test]
fn a_partition_added_later_is_read_from_its_beginning_into_grown_results() {
    grows_while_it_is_read("exactlyOnce", 2);
}

#[test]
fn a_partition_added_later_is_read_from_its_beginning_where_no_state_is_kept_too() {
    grows_while_it_is_read("atLeastOnce", 0);
}

#[track_caller]
fn grows_while_it_is_read(guarantee: &str, state_partitions: usize) {
    let growing = Growing::new("growth", guarantee);
    growing.send(0, 0..50);
    let worker = pipeline::start(&growing.config, &shared());
    crate::reads(&worker);
    growing.send(0, 50..100);
    crate::records(&worker, 50);
    assert_eq!(ends(&shared(), &growing.names.results()).len(), 1);
    growing.grow();
    // Written before the worker has noticed the partition: its metadata are half a minute old at the most.
    growing.send(1, 100..200);
    let all = || worker.status().outcomes.records() >= 150;
    crate::wait_until("the new partition's records", Duration::from_secs(120), all, || {
        format!("{:?}", worker.status())
    });
    assert_eq!(worker.stop().unwrap().outcomes.scored, 150, "what was there before the first start stays unread");
    let results = ends(&shared(), &growing.names.results());
    assert!(results.len() == 2 && results[1] >= 100, "{results:?}");
    // The state grows with its source.
    assert_eq!(partitions(&shared(), &state_topic(&growing.names.identity)), state_partitions);
}

#[test]
fn a_partition_added_while_no_worker_runs_is_read_from_its_beginning() {
    for guarantee in ["exactlyOnce", "atLeastOnce"] {
        let growing = Growing::new("growth-between", guarantee);
        let worker = pipeline::start(&growing.config, &shared());
        crate::reads(&worker);
        growing.send(0, 0..10);
        crate::records(&worker, 10);
        worker.stop().unwrap();
        growing.grow();
        growing.send(1, 10..20);
        growing.send(0, 20..30);
        let worker = pipeline::start(&growing.config, &shared());
        crate::records(&worker, 20);
        assert_eq!(worker.stop().unwrap().outcomes.scored, 20, "{guarantee}");
        let results = ends(&shared(), &growing.names.results());
        assert!(results[0] >= 20 && results[1] >= 10, "{guarantee}: {results:?}");
    }
}
