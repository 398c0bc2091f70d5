//! The state topic is made, checked and grown before anything is read.

use std::collections::BTreeMap;

use faultline_worker::adapters::kafka_past::state_topic;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::json;

use crate::broker::{create, create_compacted_topic, create_topic, partitions, shared};
use crate::history::wait;
use crate::pipeline::{self, Names};

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", shared()).create().unwrap()
}

fn settings(topic: &str) -> BTreeMap<String, String> {
    let answers = wait(admin().describe_configs(&[ResourceSpecifier::Topic(topic)], &AdminOptions::new())).unwrap();
    let resource = answers.into_iter().next().unwrap().unwrap();
    resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

#[test]
fn it_is_made_for_short_recoveries() {
    let names = Names::new("state-made");
    create_topic(&shared(), &names.input(), 3);
    let worker = pipeline::start(&pipeline::config(&names, &[]), &shared());
    crate::wait_until(
        "running",
        std::time::Duration::from_secs(60),
        || worker.status().available,
        || format!("{:?}", worker.status()),
    );
    worker.stop().unwrap();
    let topic = state_topic(&names.identity);
    assert_eq!(partitions(&shared(), &topic), 3);
    let found = settings(&topic);
    for (name, value) in [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "67108864"),
        ("segment.ms", "600000"),
        ("min.cleanable.dirty.ratio", "0.2"),
        ("delete.retention.ms", "86400000"),
        // The source's, with room for headers.
        ("max.message.bytes", "1114124"),
        // One broker: there is nobody to wait for.
        ("min.insync.replicas", "1"),
    ] {
        assert_eq!(found[name], value, "{name}");
    }
}

#[test]
fn at_least_once_has_none() {
    let names = Names::new("state-none");
    create_topic(&shared(), &names.input(), 1);
    let config = pipeline::config(&names, &[("/spec/delivery", json!({ "guarantee": "atLeastOnce" }))]);
    let worker = pipeline::start(&config, &shared());
    crate::wait_until(
        "running",
        std::time::Duration::from_secs(60),
        || worker.status().available,
        || format!("{:?}", worker.status()),
    );
    worker.stop().unwrap();
    assert_eq!(partitions(&shared(), &names.results()), 1);
    assert_eq!(partitions(&shared(), &state_topic(&names.identity)), 0);
}

#[test]
fn one_that_would_lose_state_is_refused() {
    let refused = |names: &Names, changes: &[_]| {
        let config = pipeline::config(names, changes);
        let worker = pipeline::start(&config, &shared());
        let message = crate::problem(&worker, "TopicsNotReady");
        worker.stop().unwrap();
        assert!(message.contains(&state_topic(&names.identity)), "{message}");
        message
    };
    let names = Names::new("state-deleted");
    create_topic(&shared(), &names.input(), 1);
    create_topic(&shared(), &state_topic(&names.identity), 1);
    let message = refused(&names, &[]);
    assert!(message.contains("cleanup.policy=delete") && message.contains("set cleanup.policy=compact"), "{message}");

    let names = Names::new("state-small");
    create_topic(&shared(), &names.input(), 1);
    let topic = state_topic(&names.identity);
    let topic = NewTopic::new(&topic, 1, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
    create(&shared(), &topic.set("max.message.bytes", "100000"));
    let message = refused(&names, &[]);
    assert!(message.contains("max.message.bytes=100000") && message.contains("1048576"), "{message}");

    let names = Names::new("state-unmanaged");
    for topic in [names.input(), names.results(), names.alerts(), names.dead_letter(), names.late()] {
        create_topic(&shared(), &topic, 2);
    }
    let unmanaged = [("/spec/outputs/topics", json!({ "managedBy": "none" }))];
    let message = refused(&names, &unmanaged);
    assert!(message.contains("2 partitions and cleanup.policy=compact"), "{message}");
    create_compacted_topic(&shared(), &state_topic(&names.identity), 1);
    let message = refused(&names, &unmanaged);
    assert!(message.contains("has 1 partitions, the source has 2"), "{message}");
}
