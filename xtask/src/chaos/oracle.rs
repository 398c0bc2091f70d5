//! What a pipeline has to write: the same fold as the worker's, single-threaded, from the first record of the source to
//! the last, with no state that was ever stored. And what it did write.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, bail, ensure};
use faultline_worker::outputs::{Output, Outputs, Topic};
use faultline_worker::pipeline::{Scratch, fold};
use faultline_worker::ports::{RawEvent, RecordTime};
use faultline_worker::shard::Shard;
use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Headers, Message};

use super::pipeline::Pipeline;
use super::topics;
use super::verify::{Comparison, Entry, Report};

/// The output topics, in the order of [`Topic`].
const TOPICS: [&str; 4] = ["results", "alerts", "dead-letter", "late"];

/// Folds each partition and compares what was written. `ends` are the offsets behind the last records that count.
pub(crate) fn compare(brokers: &str, pipeline: &Pipeline, ends: &[i64], report: &mut Report) -> Result<()> {
    let outputs = &pipeline.config.outputs;
    let names = [&outputs.results.topic, &outputs.alerts.topic, &outputs.dead_letter.topic, &outputs.late_topic];
    for (partition, end) in (0..).zip(ends) {
        let (expected, next_offset) = expect(brokers, pipeline, partition)?;
        ensure!(next_offset == *end, "partition {partition} ends at {next_offset}, the input said {end}");
        for ((name, topic), expected) in names.into_iter().zip(TOPICS).zip(expected) {
            let mut comparison = Comparison::new(report, topic, partition, expected);
            topics::read(brokers, name, partition, |message| {
                comparison.found(entry(message, &pipeline.source, partition)?);
                Ok(())
            })?;
            let missing = comparison.finish();
            if !missing.is_empty() {
                let words = what_became_of(brokers, name, &pipeline.source, partition, &missing)?;
                report.tell(format!("{topic}, source partition {partition}: {words}"));
            }
        }
    }
    Ok(())
}

/// Whether what is missing was never written, or written and aborted.
fn what_became_of(brokers: &str, topic: &str, source: &str, partition: i32, missing: &BTreeSet<i64>) -> Result<String> {
    let mut aborted: BTreeMap<i64, i64> = BTreeMap::new();
    topics::read_uncommitted(brokers, topic, partition, |message| {
        let offset = entry(message, source, partition)?.offset;
        if missing.contains(&offset) {
            aborted.insert(offset, message.offset());
        }
        Ok(())
    })?;
    let (count, all) = (aborted.len(), missing.len());
    let written = match (aborted.values().min(), aborted.values().max()) {
        (Some(least), Some(greatest)) => format!("{count} of them were, and aborted, at offsets {least} to {greatest}"),
        _ => "none of them ever was".to_owned(),
    };
    Ok(format!("for {all} source offsets something was not written; {written}"))
}

/// What must be written for a source partition, by topic, and the offset behind its last record.
fn expect(brokers: &str, pipeline: &Pipeline, partition: i32) -> Result<([Vec<Entry>; 4], i64)> {
    // As a worker with `--clock records --clock-speed 0`.
    let mut shard = Shard::new(pipeline.config.clone(), partition, 0).trusting_record_times();
    let (mut scratch, mut outputs) = (Scratch::new(), Outputs::new());
    let mut expected: [Vec<Entry>; 4] = Default::default();
    topics::read(brokers, &pipeline.source, partition, |message| {
        shard.begin_tick(shard.greatest_timestamp_ms().unwrap_or(0).div_euclid(1000));
        let outcome = fold(&mut shard, &raw(message), &mut scratch, &mut outputs);
        outcome.map_err(|trip| anyhow!("the input stops the oracle's shard: {trip:?}"))?;
        for output in outputs.records() {
            if let Some(topic) = index(output.topic) {
                expected[topic].push(entry_of(&outputs, output));
            }
        }
        outputs.clear();
        Ok(())
    })?;
    Ok((expected, shard.next_offset()))
}

/// The place of an output topic; state is compared elsewhere.
fn index(topic: Topic) -> Option<usize> {
    match topic {
        Topic::Results => Some(0),
        Topic::Alerts => Some(1),
        Topic::DeadLetter => Some(2),
        Topic::Late => Some(3),
        Topic::State => None,
    }
}

fn raw<'a>(message: &'a BorrowedMessage<'_>) -> RawEvent<'a> {
    RawEvent {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: match message.timestamp() {
            Timestamp::NotAvailable => RecordTime::Missing,
            Timestamp::CreateTime(at) => RecordTime::Created(at),
            Timestamp::LogAppendTime(at) => RecordTime::Appended(at),
        },
        key: message.key(),
        value: message.payload(),
        traceparent: None,
    }
}

fn entry_of(outputs: &Outputs, output: &Output) -> Entry {
    let bytes = |span: &Option<_>| span.as_ref().map(|span| outputs.bytes(span).to_vec());
    let note = output.rejection.as_ref().map_or_else(String::new, |rejection| {
        let class = rejection.class.map_or("-", |class| class.name());
        let message = String::from_utf8_lossy(outputs.bytes(&rejection.message));
        format!("{} {class} {} {message}", rejection.stage, output.record_time_ms)
    });
    Entry { offset: output.offset, key: bytes(&output.key), value: bytes(&output.value), note }
}

/// A record as it was written.
fn entry(message: &BorrowedMessage<'_>, source: &str, partition: i32) -> Result<Entry> {
    let header = |name: &str| {
        let found = message.headers()?.iter().find(|header| header.key == name)?;
        std::str::from_utf8(found.value?).ok()
    };
    let place = || format!("the record at {}-{}-{}", message.topic(), message.partition(), message.offset());
    let (from, offset, note) = match (header("faultline-source"), header("dlq.offset")) {
        (Some(id), _) => {
            let parts =
                id.strip_prefix(source).and_then(|rest| rest.strip_prefix('-')).and_then(|rest| rest.split_once('-'));
            let (partition, offset) = parts.with_context(|| format!("{}: `{id}` is no source", place()))?;
            (partition, offset, String::new())
        }
        (None, Some(offset)) => {
            let of = |name| header(name).unwrap_or("-");
            let words = ["dlq.stage", "dlq.error.class", "dlq.timestamp", "dlq.error.message"].map(of);
            (of("dlq.partition"), offset, words.join(" "))
        }
        (None, None) => bail!("{} does not name its source", place()),
    };
    ensure!(from.parse() == Ok(partition), "{} comes from partition {from}", place());
    let offset = offset.parse().with_context(|| format!("{}: `{offset}` is no offset", place()))?;
    Ok(Entry { offset, key: message.key().map(Into::into), value: message.payload().map(Into::into), note })
}
