//! `delivery.guarantee: atLeastOnce`: no transaction, outputs first, offsets after them.

use serde_json::json;

use crate::broker::{create_topic, shared};
use crate::pipeline::{self, Names};
use crate::stream::Stream;
use crate::verify::{Expected, verify};

#[test]
fn at_least_once_loses_nothing_when_a_worker_takes_over() {
    let names = Names::new("at-least-once");
    let brokers = shared();
    create_topic(&brokers, &names.input(), 4);
    let config = pipeline::config(&names, &[("/spec/delivery", json!({ "guarantee": "atLeastOnce" }))]);
    let mut stream = Stream::new(&brokers, &names.input(), 4, 3);
    let first = pipeline::start(&config, &brokers);
    stream.send(20_000);
    crate::records(&first, 10_000);
    let second = pipeline::start(&config, &brokers);
    stream.send(20_000);
    let seen = first.stop().unwrap().outcomes;
    crate::records(&second, 40_000 - seen.records());
    let mut tally = second.stop().unwrap().outcomes;
    tally.add(&seen);
    verify(&brokers, &names, Expected::AtLeastOnceAfterMoves, &tally);
}
