//! End to end on a real Kafka broker. `cargo xtask test` starts one and says where it is; without it these tests fail,
//! they do not pass silently.
//!
//! The input topic itself is the reference: every record says in a header how it has to end, and [`verify`] compares
//! what the output topics hold, read committed, with that.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod broker;
mod history;
mod left;
mod pipeline;
mod stream;
mod verify;

mod at_least_once;
mod broker_away;
mod exactly_once;
mod forget;
mod growth;
mod large;
mod past;
mod recovery;
mod retention;
mod reset;
mod rights;
mod source_topic;
mod start;
mod silence;
mod state_topic;
mod trips;

use std::time::{Duration, Instant};

use faultline_worker::Worker;

/// Looks again and again until the condition holds; fails with what it was told to say.
#[track_caller]
fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool, say: impl FnOnce() -> String) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < limit, "{what}: not within {} s; {}", limit.as_secs(), say());
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Waits until the worker names a problem with this reason and returns its message.
#[track_caller]
fn problem(worker: &Worker, reason: &str) -> String {
    let find = || worker.status().problems.into_iter().find(|problem| problem.reason == reason);
    wait_until(reason, Duration::from_secs(60), || find().is_some(), || format!("status: {:?}", worker.status()));
    find().map(|problem| problem.message).unwrap_or_default()
}

/// Waits until the worker reads every partition that it was given.
#[track_caller]
fn reads(worker: &Worker) {
    let is_available = || worker.status().available && !worker.status().partitions.is_empty();
    wait_until("every partition is read", Duration::from_secs(60), is_available, || {
        format!("status: {:?}", worker.status())
    });
}

/// Waits until the worker has ended so many records: it may take its time, but not stand still.
#[track_caller]
fn records(worker: &Worker, count: u64) {
    let (mut ended, mut moved) = (0, Instant::now());
    loop {
        let status = worker.status();
        match status.outcomes.records() {
            now if now >= count => return,
            now if now > ended => (ended, moved) = (now, Instant::now()),
            _ => assert!(moved.elapsed() < Duration::from_secs(60), "{count} records: stopped; status: {status:?}"),
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
