//! Asks the brokers, now and then, where the partitions of the source begin and end.
//!
//! The client itself knows only what its last fetch was told. Of a partition that is not fetched, because it stands still
//! or because something is wrong, it learns nothing; and those are the ones whose lag is asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use tracing::debug;

use crate::status::{Board, Ends};

/// How often they are asked.
const EVERY: Duration = Duration::from_secs(5);
/// How long an answer is waited for: a worker that stops waits for it too.
const REQUEST: Duration = Duration::from_secs(1);

/// Tells the board until it is time to stop; unpark the thread then.
pub(crate) fn watch<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    owned: impl Fn() -> Vec<i32>,
    board: &Board,
    stop: &AtomicBool,
) {
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now < next {
            std::thread::park_timeout(next - now);
            continue;
        }
        next = now + EVERY;
        match ask(consumer, topic, &owned()) {
            Ok(ends) => {
                board.broker_is_well();
                board.asked(ends, Instant::now());
            }
            Err(error) => debug!(%error, "the brokers do not say where the source ends"),
        }
    }
}

/// Where the partitions begin, and where they end; without partitions only whether anybody answers.
fn ask<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str, partitions: &[i32]) -> Result<Ends, KafkaError> {
    if partitions.is_empty() {
        return consumer.fetch_metadata(Some(topic), REQUEST).map(|_| Ends::default());
    }
    let offsets = |which| offsets(consumer, topic, partitions, which);
    Ok(Ends { starts: offsets(Offset::Beginning)?, ends: offsets(Offset::End)? })
}

/// The first offset of each partition, or its end: that of what may be read.
fn offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    which: Offset,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        // Both are times as the protocol has them: before everything, and after it.
        list.add_partition_offset(topic, *partition, which)?;
    }
    let found = consumer.offsets_for_times(list, REQUEST)?;
    let known = found.elements().into_iter().filter(|element| element.error().is_ok());
    let offset = |element: TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => Some((element.partition(), offset)),
        _ => None,
    };
    Ok(known.filter_map(offset).collect())
}
