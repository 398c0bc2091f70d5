//! A broker that is not there yet, and one that goes away and comes back: the worker waits, says so, and goes on. A
//! worker that is told to stop meanwhile does not wait for ever.

use std::thread;
use std::time::Duration;

use tempfile::tempdir;

use crate::broker::{Broker, create_topic, free_port};
use crate::pipeline::{self, Names};
use crate::stream::Stream;
use crate::verify::{Expected, verify};

#[test]
fn a_worker_waits_for_its_broker_and_survives_its_restart() {
    let (folder, port, names) = (tempdir().unwrap(), free_port(), Names::new("away"));
    let address = format!("127.0.0.1:{port}");
    let worker = pipeline::start(&pipeline::config(&names, &[]), &address);
    let message = crate::problem(&worker, "TopicsNotReady");
    assert!(message.contains(&address), "{message}");

    let broker = Broker::start(folder.path(), port, false);
    create_topic(&address, &names.input(), 2);
    let mut stream = Stream::new(&address, &names.input(), 2, 4);
    stream.send(10_000);
    crate::records(&worker, 5_000);

    broker.stop();
    let broker = Broker::start(folder.path(), port, false);
    stream.send(10_000);
    crate::records(&worker, 20_000);
    let tally = worker.stop().unwrap().outcomes;
    verify(&address, &names, Expected::Exactly, &tally);
    broker.stop();
}

const RECORDS: u64 = 400_000;

#[test]
fn a_worker_stops_without_its_broker_and_the_next_one_goes_on() {
    let (folder, port, names) = (tempdir().unwrap(), free_port(), Names::new("stopped-away"));
    let address = format!("127.0.0.1:{port}");
    let broker = Broker::start(folder.path(), port, false);
    create_topic(&address, &names.input(), 2);
    Stream::new(&address, &names.input(), 2, 5).send(RECORDS);
    let worker = pipeline::start(&pipeline::config(&names, &[]), &address);
    crate::records(&worker, 1_000);
    // It is gone before all have ended; that commits are given up then is for the tests of the commit to show.
    broker.stop();
    let stopping = thread::spawn(move || worker.stop().unwrap());
    crate::wait_until("the end of the worker", Duration::from_secs(60), || stopping.is_finished(), String::new);
    let mut tally = stopping.join().unwrap().outcomes;

    let broker = Broker::start(folder.path(), port, false);
    let next = pipeline::start(&pipeline::config(&names, &[]), &address);
    crate::records(&next, RECORDS - tally.records());
    tally.add(&next.stop().unwrap().outcomes);
    verify(&address, &names, Expected::Exactly, &tally);
    broker.stop();
}
