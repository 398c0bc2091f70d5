//! Records at the limit of what a topic takes, and beyond it.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;

use crate::broker::{create_topic, shared};
use crate::pipeline::{self, Names};
use crate::verify::read_all;

/// The largest record that a topic with the broker's default limit takes, about.
const LARGEST: usize = 1_048_588 - 200;

fn send(brokers: &str, topic: &str, value: &[u8]) {
    let mut settings = ClientConfig::new();
    let producer: BaseProducer =
        settings.set("bootstrap.servers", brokers).set("message.max.bytes", "2000000").create().unwrap();
    producer.send(BaseRecord::to(topic).key("user-1").payload(value)).map_err(|(e, _)| e).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
}

fn create_small_topic(brokers: &str, name: &str, most_bytes: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let topic = NewTopic::new(name, 1, TopicReplication::Fixed(1)).set("max.message.bytes", most_bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answers = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
    answers.into_iter().for_each(|answer| drop(answer.unwrap()));
}

/// Size of the value (none for null) and whether it was cut, of the only record of a topic.
fn only(brokers: &str, topic: &str) -> (Option<usize>, bool) {
    let mut found = Vec::new();
    read_all(brokers, topic, |message| {
        let cut = |headers: &_| Headers::iter(headers).any(|header| header.key.ends_with("truncated"));
        found.push((message.payload().map(<[u8]>::len), message.headers().is_some_and(cut)));
    });
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

#[test]
fn the_largest_record_fits_the_dead_letters_with_its_headers() {
    let (names, brokers) = (Names::new("large"), shared());
    create_topic(&brokers, &names.input(), 1);
    let worker = pipeline::start(&pipeline::config(&names, &[]), &brokers);
    send(&brokers, &names.input(), &vec![b'x'; LARGEST]);
    crate::records(&worker, 1);
    assert_eq!(worker.stop().unwrap().outcomes.dead_lettered, 1);
    assert_eq!(only(&brokers, &names.dead_letter()), (Some(LARGEST), false));
}

#[test]
fn what_does_not_fit_is_written_without_its_value() {
    let (names, brokers) = (Names::new("too-large"), shared());
    create_topic(&brokers, &names.input(), 1);
    create_small_topic(&brokers, &names.dead_letter(), "10000");
    create_small_topic(&brokers, &names.results(), "10000");
    let worker = pipeline::start(&pipeline::config(&names, &[]), &brokers);
    send(&brokers, &names.input(), &vec![b'x'; 50_000]);
    let event = json!({
        "eventId": "e".repeat(20_000), "userId": "user-1", "timestamp": 1_790_000_000_000_i64, "amount": 5,
        "merchant": {"id": "m"}, "status": "approved",
    });
    send(&brokers, &names.input(), event.to_string().as_bytes());
    crate::records(&worker, 2);
    let outcomes = worker.stop().unwrap().outcomes;
    assert_eq!((outcomes.dead_lettered, outcomes.scored), (1, 1));
    assert_eq!(only(&brokers, &names.dead_letter()), (None, true));
    assert_eq!(only(&brokers, &names.results()), (None, true));
}
