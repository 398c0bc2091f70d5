//! A broker that asks who we are: SASL PLAIN and SCRAM-SHA-512, and an identity that may not create topics.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use faultline_crds::WorkerConfig;
use faultline_worker::adapters::kafka_past::state_topic;
use faultline_worker::{Options, Worker};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::broker::{Broker, create_compacted_topic, create_topic, free_port};
use crate::pipeline::{self, Names};
use crate::stream::Stream;
use crate::verify::{Expected, verify};

/// A pipeline that connects as this user; the password is where a mounted Secret would be.
fn config(names: &Names, mechanism: &str, user: &str, secrets: &Path) -> Arc<WorkerConfig> {
    let secret = secrets.join(user);
    fs::create_dir_all(&secret).unwrap();
    fs::write(secret.join("password"), format!("{user}-secret\n")).unwrap();
    let mut authentication = Value::Object(serde_json::Map::new());
    authentication[mechanism] =
        json!({ "username": user, "password": { "secret": { "name": user, "key": "password" } } });
    pipeline::config(names, &[("/spec/kafka/authentication", authentication)])
}

fn start(config: &Arc<WorkerConfig>, brokers: &str, secrets: &Path) -> Worker {
    let options =
        Options { brokers: Some(brokers.to_owned()), secrets: Some(secrets.to_owned()), ..Options::default() };
    faultline_worker::start(Arc::clone(config), options).unwrap()
}

#[test]
fn a_worker_proves_who_it_is_and_says_which_right_it_lacks() {
    let (folder, secrets) = (tempdir().unwrap(), tempdir().unwrap());
    let broker = Broker::start(folder.path(), free_port(), true);
    let address = broker.address();

    let may_create = Names::new("scram");
    create_topic(address, &may_create.input(), 2);
    let worker =
        start(&config(&may_create, "scramSha512", "worker", secrets.path()), broker.sasl_address(), secrets.path());
    Stream::new(address, &may_create.input(), 2, 5).send(3_000);
    crate::records(&worker, 3_000);
    let tally = worker.stop().unwrap().outcomes;
    verify(address, &may_create, Expected::Exactly, &tally);

    let may_not = Names::new("plain");
    create_topic(address, &may_not.input(), 2);
    let worker = start(&config(&may_not, "plain", "reader", secrets.path()), broker.sasl_address(), secrets.path());
    let message = crate::problem(&worker, "TopicsNotReady");
    assert!(message.contains(&may_not.results()) && message.contains("create"), "{message}");
    // Somebody who may creates them: the worker goes on by itself.
    for topic in [may_not.results(), may_not.alerts(), may_not.dead_letter(), may_not.late()] {
        create_topic(address, &topic, 2);
    }
    create_compacted_topic(address, &state_topic(&may_not.identity), 2);
    Stream::new(address, &may_not.input(), 2, 6).send(3_000);
    crate::records(&worker, 3_000);
    let status = worker.stop().unwrap();
    assert!(status.problems.is_empty(), "{status:?}");
    verify(address, &may_not, Expected::Exactly, &status.outcomes);
    broker.stop();
}
