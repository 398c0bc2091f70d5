//! A source that grows while it is read.

use faultline_worker::adapters::kafka_past::state_topic;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;

use crate::broker::{create_topic, partitions, shared};
use crate::pipeline::{self, Names};
use crate::verify::ends;

fn send(brokers: &str, topic: &str, partition: i32, ids: std::ops::Range<u32>) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    for id in ids {
        let event = serde_json::json!({
            "eventId": format!("e-{id}"), "userId": format!("user-{partition}"), "timestamp": 1_790_000_000_000_i64 + i64::from(id),
            "amount": 5, "merchant": { "id": "m" }, "status": "approved",
        });
        let (key, value) = (format!("user-{partition}"), event.to_string());
        producer
            .send(BaseRecord::to(topic).key(&key).payload(&value).partition(partition))
            .map_err(|(e, _)| e)
            .unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

fn grow(brokers: &str, topic: &str, partitions: usize) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let grown = NewPartitions::new(topic, partitions);
    let answers = runtime.block_on(admin.create_partitions([&grown], &AdminOptions::new())).unwrap();
    answers.into_iter().for_each(|answer| drop(answer.unwrap()));
}

#[test]
fn a_partition_added_later_is_read_from_its_beginning_into_grown_results() {
    let names = Names::new("growth");
    let brokers = shared();
    create_topic(&brokers, &names.input(), 1);
    let worker = pipeline::start(&pipeline::config(&names, &[]), &brokers);
    send(&brokers, &names.input(), 0, 0..100);
    crate::records(&worker, 100);
    assert_eq!(ends(&brokers, &names.results()).len(), 1);
    grow(&brokers, &names.input(), 2);
    // Written before the worker has noticed the partition: its metadata are half a minute old at the most.
    send(&brokers, &names.input(), 1, 100..200);
    let all = || worker.status().outcomes.records() >= 200;
    crate::wait_until("the new partition's records", Duration::from_secs(120), all, || {
        format!("{:?}", worker.status())
    });
    assert_eq!(worker.stop().unwrap().outcomes.scored, 200);
    let results = ends(&brokers, &names.results());
    assert!(results.len() == 2 && results[1] >= 100, "{results:?}");
    assert_eq!(partitions(&brokers, &state_topic(&names.identity)), 2, "the state grows with its source");
}
