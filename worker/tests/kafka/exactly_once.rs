//! Nothing lost, nothing twice, while workers come and go.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use faultline_crds::WorkerConfig;
use faultline_worker::Worker;
use faultline_worker::outcome::Tally;
use serde_json::{Value, json};

use crate::broker::{create_topic, shared};
use crate::pipeline::{self, Names};
use crate::stream::Stream;
use crate::verify::{Expected, ends, verify};
use crate::wait_until;

const PARTITIONS: i32 = 6;
/// Takes 15 s on two cores that have nothing else to do.
const LIMIT: Duration = Duration::from_secs(180);

/// The workers of one group, and what those that have left had counted.
struct Crew {
    config: Arc<WorkerConfig>,
    brokers: String,
    working: Vec<Worker>,
    left: Tally,
}

impl Crew {
    fn joins(&mut self) {
        self.working.push(pipeline::start(&self.config, &self.brokers));
    }

    /// The one that has worked longest leaves.
    fn leaves(&mut self) {
        let last_words = self.working.remove(0).stop().unwrap();
        self.left.add(&last_words.outcomes);
    }

    fn tally(&self) -> Tally {
        let mut tally = self.left.clone();
        self.working.iter().for_each(|worker| tally.add(&worker.status().outcomes));
        tally
    }

    /// Waits until so many records have ended.
    #[track_caller]
    fn until(&self, records: u64) {
        let reached = || self.tally().records() >= records;
        wait_until(&format!("{records} records"), LIMIT, reached, || self.states());
    }

    /// Waits until every partition is owned and its committed position is the end of what can be read. Whether all that
    /// lies before it has ended well is for the verifier to say.
    #[track_caller]
    fn until_the_end(&self, ends: &[i64]) {
        let reached = || {
            let partitions = self.working.iter().flat_map(|worker| worker.status().partitions);
            partitions.filter(|held| ends[held.partition as usize] <= held.next_offset).count() == ends.len()
        };
        wait_until(&format!("the ends {ends:?}"), LIMIT, reached, || self.states());
    }

    fn states(&self) -> String {
        self.working.iter().map(|worker| format!("\n{:?}", worker.status())).collect()
    }
}

/// Workers of one group join and leave while records stream in; then every record has ended exactly once.
#[track_caller]
fn crew_changes(test: &str, events: u64, changes: &[(&str, Value)]) {
    let names = Names::new(test);
    let brokers = shared();
    create_topic(&brokers, &names.input(), PARTITIONS);
    let mut crew = Crew {
        config: pipeline::config(&names, changes),
        brokers: brokers.clone(),
        working: Vec::new(),
        left: Tally::default(),
    };
    let producing = {
        let (brokers, input) = (brokers.clone(), names.input());
        thread::spawn(move || Stream::new(&brokers, &input, PARTITIONS, 1).send(events))
    };
    crew.joins();
    crew.until(events / 8);
    crew.joins();
    crew.until(events / 4);
    crew.joins();
    crew.until(events / 2);
    crew.leaves();
    crew.until(events * 5 / 8);
    crew.leaves();
    crew.until(events * 3 / 4);
    crew.joins();
    producing.join().unwrap();
    crew.until_the_end(&ends(&brokers, &names.input()));
    crew.leaves();
    crew.leaves();
    let input = verify(&brokers, &names, Expected::Exactly, &crew.left);
    assert_eq!(input, events);
}

#[test]
fn every_record_ends_exactly_once_while_workers_join_and_leave() {
    crew_changes("moves", 1_000_000, &[]);
}

#[test]
fn every_record_ends_exactly_once_when_the_broker_assigns_the_partitions() {
    crew_changes("moves-848", 500_000, &[("/spec/kafka/groupProtocol", json!("consumer"))]);
}

#[test]
fn every_record_ends_as_its_kind_demands() {
    let names = Names::new("kinds");
    let brokers = shared();
    create_topic(&brokers, &names.input(), 2);
    let worker = pipeline::start(&pipeline::config(&names, &[]), &brokers);
    Stream::new(&brokers, &names.input(), 2, 2).send(40_000);
    crate::records(&worker, 40_000);
    let tally = worker.stop().unwrap().outcomes;
    assert!(tally.by_class.iter().all(|count| *count > 0), "a class is missing: {tally:?}");
    assert!(tally.late > 0 && tally.duplicate > 0 && tally.filtered > 0 && tally.skipped > 0, "{tally:?}");
    assert!(tally.anomalies > 0 && tally.alerts > 0, "{tally:?}");
    verify(&brokers, &names, Expected::Exactly, &tally);
}
