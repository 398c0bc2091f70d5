//! A worker process that was killed, or finds that somebody has moved its offset, shortened its source or added
//! partitions: what it says in its log, and what `--reset-state` and `--trust-marker` make of it. On the Kafka that
//! `cargo xtask test` starts; without it these tests fail.

use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

use super::readings::{Pipeline, REQUEST, admin, client, until_said, wait};
use super::state::brokers;
use super::{ended_with, run};

/// The least that brokers allow: a killed worker's partition stands still for so long.
const SESSION: [&str; 2] = ["--session-timeout", "6"];

fn send(pipeline: &Pipeline, partition: i32, count: u64) {
    let producer: BaseProducer = client().create().unwrap();
    for number in 0..count {
        let key = format!("s-{}", number % 5);
        let (topic, value) = (pipeline.topic("in"), format!("{{\"sensor\":\"{key}\",\"value\":1}}"));
        let record = BaseRecord::to(&topic).partition(partition).key(key.as_str()).payload(value.as_str());
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(REQUEST).unwrap();
}

fn at(pipeline: &Pipeline, offset: i64) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&pipeline.topic("in"), 0, Offset::Offset(offset)).unwrap();
    list
}

/// A worker with these flags commits up to an offset and is stopped; returns what it said.
#[track_caller]
fn works_until(pipeline: &Pipeline, name: &str, flags: &[&str], offset: i64) -> String {
    let worker = pipeline.worker(name, flags);
    pipeline.until_committed(name, &[offset]);
    worker.stop()
}

/// A worker is killed once it has committed up to an offset.
#[track_caller]
fn is_killed_at(pipeline: &Pipeline, offset: i64) {
    let killed = pipeline.worker("killed", &SESSION);
    pipeline.until_committed("what the killed worker reads", &[offset]);
    drop(killed);
}

fn results(pipeline: &Pipeline) -> Vec<i64> {
    pipeline.results(&pipeline.committed, 0)
}

/// L and C, as `faultline state` tells.
#[track_caller]
fn low_and_next(pipeline: &Pipeline) -> (i64, i64) {
    let folder = pipeline.folder().display().to_string();
    let (lines, _) = ended_with(&run(&["state", &folder, "--brokers", &brokers(), "--output", "json"]), 0);
    let offset = |name: &str| lines[0]["marker"][name].as_i64();
    offset("lowWater").zip(offset("nextOffset")).unwrap_or_else(|| panic!("{:?}", Value::from(lines)))
}

#[test]
fn each_flag_does_what_it_says_where_the_offset_was_moved() {
    let pipeline = Pipeline::new("flags", 1, "earliest", "10s");
    send(&pipeline, 0, 30);
    works_until(&pipeline, "first", &[], 30);
    let move_to_10 = || pipeline.committed.commit(&at(&pipeline, 10), CommitMode::Sync).unwrap();

    move_to_10();
    let asking = pipeline.worker("asking", &[]);
    until_said(&asking, "StateDisagrees");
    asking.stop();
    assert_eq!((pipeline.offsets(), results(&pipeline).len()), (vec![10], 30));

    send(&pipeline, 0, 1);
    let said = works_until(&pipeline, "trusting", &["--trust-marker"], 31);
    assert!(said.contains("as --trust-marker says") && !said.contains("as --reset-state says"), "{said}");
    assert_eq!(results(&pipeline), Vec::from_iter(0..31), "it goes on where the state ends");

    move_to_10();
    send(&pipeline, 0, 1);
    let said = works_until(&pipeline, "resetting", &["--reset-state"], 32);
    assert!(said.contains("as --reset-state says") && !said.contains("as --trust-marker says"), "{said}");
    assert_eq!(results(&pipeline), Vec::from_iter((0..31).chain(10..32)), "it goes on at the offset that was set");
}

#[test]
fn a_killed_worker_whose_source_has_lost_what_has_to_be_replayed_waits_for_reset_state_and_goes_on_at_its_offset() {
    // So much may be replayed that no image is written.
    let pipeline = Pipeline::new("lost-replay", 1, "earliest", "1h");
    send(&pipeline, 0, 40);
    is_killed_at(&pipeline, 40);
    assert_eq!(low_and_next(&pipeline), (0, 40));
    wait(admin().delete_records(&at(&pipeline, 20), &AdminOptions::new())).unwrap();
    send(&pipeline, 0, 5);

    // This flag is for another trouble.
    let waiting = pipeline.worker("waiting", &[&SESSION[..], &["--trust-marker"]].concat());
    until_said(&waiting, "SourceRetentionPassed");
    let said = waiting.stop();
    assert!(said.contains("partition 0 waits: the source no longer holds offsets 0 to 20"), "{said}");
    assert_eq!((pipeline.offsets(), low_and_next(&pipeline)), (vec![40], (0, 40)), "it is as it was");

    works_until(&pipeline, "resetting", &["--reset-state"], 45);
    assert_eq!(results(&pipeline), Vec::from_iter(0..45), "nothing is read that has been committed");
}

#[test]
fn a_worker_that_is_killed_before_its_first_record_goes_on_where_it_began() {
    let pipeline = Pipeline::new("killed-first", 1, "latest", "10s");
    send(&pipeline, 0, 10);
    is_killed_at(&pipeline, 10);
    send(&pipeline, 0, 5);
    works_until(&pipeline, "next", &[], 15);
    assert_eq!(results(&pipeline), Vec::from_iter(10..15));
}

#[test]
fn a_group_without_offsets_goes_on_where_the_state_ends_and_says_so() {
    let pipeline = Pipeline::new("no-offsets", 1, "earliest", "10s");
    send(&pipeline, 0, 10);
    let words = "the group has no committed offset";
    let said = works_until(&pipeline, "first", &[], 10);
    assert!(said.contains("first start") && !said.contains(words), "{said}");

    let answers = wait(admin().delete_groups(&[&pipeline.identity], &AdminOptions::new())).unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    send(&pipeline, 0, 5);
    let said = works_until(&pipeline, "next", &[], 15);
    let line = said.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("WARN") && line.contains("partition=0") && line.contains("offset=10"), "{line}");
    assert_eq!(results(&pipeline), Vec::from_iter(0..15));
}

#[test]
fn partitions_that_were_added_are_told_in_the_log() {
    let pipeline = Pipeline::new("grown", 1, "latest", "10s");
    let first = pipeline.worker("first", &[]);
    until_said(&first, "shard is ready");
    send(&pipeline, 0, 5);
    pipeline.until_committed("first", &[5]);
    first.stop();
    let topic = pipeline.topic("in");
    wait(admin().create_partitions([&NewPartitions::new(&topic, 2)], &AdminOptions::new())).unwrap();
    send(&pipeline, 1, 5);
    let next = pipeline.worker("next", &[]);
    until_said(&next, "a new partition of the source: it is read from its beginning");
    until_said(&next, "the source has more partitions: keys that moved between them start cold");
    next.stop();
}
