//! Compares what a pipeline wrote with what its input said had to come out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use faultline_worker::outcome::Tally;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::pipeline::Names;
use crate::stream::EXPECT;

/// Source partition and offset.
type Place = (i32, i64);

/// A source record that had to become a dead letter or a late record.
#[derive(Debug, PartialEq, Eq)]
struct Rejected {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

/// What the input topic says: every record that can be read committed, by how it has to end.
#[derive(Default)]
struct Input {
    scored: Vec<Place>,
    filtered: u64,
    skipped: u64,
    duplicates: Vec<Place>,
    late: BTreeMap<Place, Rejected>,
    dead: BTreeMap<Place, (String, Rejected)>,
}

impl Input {
    fn records(&self) -> u64 {
        (self.scored.len() + self.duplicates.len() + self.late.len() + self.dead.len()) as u64
            + self.filtered
            + self.skipped
    }
}

/// What came out, by the source record that it names; the number is how often.
#[derive(Default)]
struct Output {
    results: BTreeMap<Place, u32>,
    late: BTreeMap<Place, u32>,
    dead: BTreeMap<Place, u32>,
}

/// How much a disturbance may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Each record ends exactly as the input says.
    Exactly,
    /// Partitions moved between workers that keep no state. A shard that moves starts cold: it has forgotten ids and
    /// watermark, so a duplicate or a late record may be scored, and everything may come more than once.
    AtLeastOnceAfterMoves,
}

/// Checks outputs and counts against the input; returns the number of input records.
#[track_caller]
pub(crate) fn verify(brokers: &str, names: &Names, expected: Expected, tally: &Tally) -> u64 {
    let input = read_input(brokers, names);
    let output = read_output(brokers, names, &input);
    let exactly = expected == Expected::Exactly;

    assert!(input.scored.len() > 1_000, "too few records to say anything: {}", input.scored.len());
    every(&input.scored, &output.results, "result");
    every(input.dead.keys(), &output.dead, "dead letter");
    if exactly {
        let all = output.results.iter().chain(&output.late).chain(&output.dead);
        let twice: Vec<_> = all.filter(|(_, times)| **times != 1).take(5).collect();
        assert!(twice.is_empty(), "written more than once: {twice:?}");
    }
    for place in input.late.keys() {
        let ways = usize::from(output.late.contains_key(place)) + usize::from(output.results.contains_key(place));
        let fits = if exactly { output.late.contains_key(place) && ways == 1 } else { ways >= 1 };
        assert!(fits, "the late record at {place:?} was written in {ways} ways");
    }
    let scored_duplicates = input.duplicates.iter().filter(|place| output.results.contains_key(place)).count() as u64;
    assert!(!exactly || scored_duplicates == 0, "{scored_duplicates} duplicates were scored");
    let known = input.scored.len() as u64 + scored_duplicates;
    let late_scored = input.late.keys().filter(|place| output.results.contains_key(place)).count() as u64;
    assert_eq!(output.results.len() as u64, known + late_scored, "results of records that must not be scored");
    assert!(output.dead.keys().all(|place| input.dead.contains_key(place)), "dead letters of good records");
    assert!(output.late.keys().all(|place| input.late.contains_key(place)), "late records that were not late");

    if exactly {
        let counted = Tally {
            scored: output.results.len() as u64,
            dead_lettered: input.dead.len() as u64,
            late: output.late.len() as u64,
            duplicate: input.duplicates.len() as u64,
            filtered: input.filtered,
            skipped: input.skipped,
            ..tally.clone()
        };
        assert_eq!(*tally, counted, "the outcomes that the workers counted");
        assert_eq!(tally.records(), input.records(), "the outcomes do not add up to the input");
        assert_eq!(tally.by_class.iter().sum::<u64>(), tally.dead_lettered);
    }
    input.records()
}

#[track_caller]
fn every<'a>(places: impl IntoIterator<Item = &'a Place>, found: &BTreeMap<Place, u32>, what: &str) {
    let missing: Vec<_> = places.into_iter().filter(|place| !found.contains_key(place)).take(5).collect();
    assert!(missing.is_empty(), "no {what} for {missing:?} (first five)");
}

fn read_input(brokers: &str, names: &Names) -> Input {
    let mut input = Input::default();
    read_all(brokers, &names.input(), |message| {
        let place = (message.partition(), message.offset());
        let rejected = || Rejected { key: message.key().map(Into::into), value: message.payload().map(Into::into) };
        match header(message, EXPECT) {
            None => input.scored.push(place),
            Some("filtered") => input.filtered += 1,
            Some("skipped") => input.skipped += 1,
            Some("duplicate") => input.duplicates.push(place),
            Some("late") => drop(input.late.insert(place, rejected())),
            Some(class) => drop(input.dead.insert(place, (class.to_owned(), rejected()))),
        }
    });
    input
}

fn read_output(brokers: &str, names: &Names, input: &Input) -> Output {
    let mut output = Output::default();
    let topic = names.input();
    read_all(brokers, &names.results(), |message| {
        let source = header(message, "faultline-source").unwrap_or_else(|| panic!("a result without its source"));
        let place = place(source, &topic);
        assert_eq!(place.0, message.partition(), "a result in another partition than its source");
        assert_eq!(header(message, "faultline-pipeline"), Some("shop/payments"));
        *output.results.entry(place).or_default() += 1;
    });
    read_all(brokers, &names.dead_letter(), |message| {
        let place = rejected_place(message, &topic);
        let (class, expected) =
            input.dead.get(&place).unwrap_or_else(|| panic!("a dead letter for the good record {place:?}"));
        assert_eq!(header(message, "dlq.error.class"), Some(class.as_str()), "class of {place:?}");
        assert!(header(message, "dlq.error.message").is_some_and(|words| !words.is_empty()), "no words for {place:?}");
        compare(message, expected, place);
        *output.dead.entry(place).or_default() += 1;
    });
    read_all(brokers, &names.late(), |message| {
        let place = rejected_place(message, &topic);
        assert_eq!(header(message, "dlq.stage"), Some("late"));
        let expected = input.late.get(&place).unwrap_or_else(|| panic!("{place:?} was not late"));
        compare(message, expected, place);
        *output.late.entry(place).or_default() += 1;
    });
    output
}

/// Byte for byte. A null value may not become an empty one.
#[track_caller]
fn compare(message: &BorrowedMessage<'_>, expected: &Rejected, place: Place) {
    assert_eq!(message.key(), expected.key.as_deref(), "key of {place:?}");
    assert_eq!(message.payload(), expected.value.as_deref(), "value of {place:?}");
}

fn rejected_place(message: &BorrowedMessage<'_>, topic: &str) -> Place {
    let get = |name| header(message, name).unwrap_or_else(|| panic!("no header {name}"));
    assert_eq!(get("dlq.topic"), topic);
    (get("dlq.partition").parse().unwrap(), get("dlq.offset").parse().unwrap())
}

/// `topic-partition-offset`.
fn place(source: &str, topic: &str) -> Place {
    let rest = source.strip_prefix(topic).and_then(|rest| rest.strip_prefix('-'));
    let (partition, offset) =
        rest.and_then(|rest| rest.split_once('-')).unwrap_or_else(|| panic!("{source} is not of {topic}"));
    (partition.parse().unwrap(), offset.parse().unwrap())
}

fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    let found = message.headers()?.iter().find(|header| header.key == name)?;
    std::str::from_utf8(found.value?).ok()
}

/// Reads a topic from its beginning to its end, read committed.
#[track_caller]
pub(crate) fn read_all(brokers: &str, topic: &str, mut each: impl FnMut(&BorrowedMessage<'_>)) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", format!("verify-{topic}"))
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "20")
        .set("queued.max.messages.kbytes", "65536")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
    let partitions: Vec<i32> = metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect();
    assert!(!partitions.is_empty(), "topic {topic} does not exist");
    let mut list = TopicPartitionList::new();
    for partition in &partitions {
        list.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut ended = std::collections::BTreeSet::new();
    let mut moved = Instant::now();
    while ended.len() < partitions.len() {
        match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(message)) => {
                each(&message);
                moved = Instant::now();
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
            Some(Err(error)) => panic!("failed to read {topic}: {error}"),
            None => assert!(moved.elapsed() < Duration::from_secs(30), "reading {topic} stands still"),
        }
    }
}

/// For each partition the offset behind the last record that can be read committed.
pub(crate) fn ends(brokers: &str, topic: &str) -> Vec<i64> {
    let mut ends = Vec::new();
    read_all(brokers, topic, |message| {
        let partition = message.partition() as usize;
        ends.resize(ends.len().max(partition + 1), 0);
        ends[partition] = message.offset() + 1;
    });
    ends
}

/// Records of a topic.
#[track_caller]
pub(crate) fn count(brokers: &str, topic: &str) -> u64 {
    let mut records = 0;
    read_all(brokers, topic, |_| records += 1);
    records
}
