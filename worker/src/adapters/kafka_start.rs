//! Finds where a shard starts: the group's committed offset, or `startFrom` on the first start.
//!
//! Runs on a thread of its own with a consumer that belongs to no group protocol (it never subscribes and never
//! commits), so that an offset which waits for an open transaction holds nothing else up.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use faultline_crds::worker_config::StartFrom;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tracing::{info, warn};

use super::kafka_topics::{KafkaTopics, Layout, TopicsError};
use crate::backoff::Backoff;
use crate::ownership::Epoch;
use crate::status::Board;

/// One request may take this long; it is repeated until it succeeds.
const REQUEST: Duration = Duration::from_secs(5);

/// Where a shard starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) partition: i32,
    pub(crate) epoch: Epoch,
    pub(crate) offset: i64,
    /// Nothing was committed yet: the offset has to be committed before anything is read.
    pub(crate) first: bool,
}

/// Why it is not known yet where shards start; worth trying again.
#[derive(Debug, thiserror::Error)]
enum FindError {
    /// A request failed.
    #[error("failed to find where to start")]
    Request(#[source] KafkaError),
    /// The source has grown and the results could not follow.
    #[error(transparent)]
    Topics(TopicsError),
}

pub(crate) struct Starter {
    pub(crate) client: ClientConfig,
    pub(crate) topics: KafkaTopics,
    pub(crate) layout: Arc<RwLock<Layout>>,
    pub(crate) board: Arc<Board>,
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) start_from: StartFrom,
}

impl Starter {
    /// Answers each request of assigned partitions until the other side hangs up.
    pub(crate) fn run(self, requests: &Receiver<Vec<(i32, Epoch)>>, answers: &Sender<Start>) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let mut open: Vec<(i32, Epoch)> = Vec::new();
        loop {
            // Nothing to do is waited out in long turns; the channel ends the wait.
            let pause = if open.is_empty() { Duration::from_secs(3600) } else { backoff.next_pause() };
            match requests.recv_timeout(pause) {
                Ok(assigned) => open.extend(assigned),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            match self.find(&open, answers) {
                Ok(()) => {
                    open.clear();
                    backoff.reset();
                    self.board.clear("start");
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                    let message = format!("partitions {open:?} wait: {error}{cause}; trying again");
                    self.board.problem("start", "ShardsNotStarted", &message);
                }
            }
        }
    }

    fn find(&self, assigned: &[(i32, Epoch)], answers: &Sender<Start>) -> Result<(), FindError> {
        if assigned.is_empty() {
            return Ok(());
        }
        let known = self.layout.read().unwrap_or_else(PoisonError::into_inner).source_partitions;
        if assigned.iter().any(|(partition, _)| *partition >= known) {
            // A result goes to its source's partition: the topic grows before the new partition is read.
            let grown = self.topics.ensure().map_err(FindError::Topics)?;
            *self.layout.write().unwrap_or_else(PoisonError::into_inner) = grown;
        }
        self.answer(assigned, answers).map_err(FindError::Request)
    }

    fn answer(&self, assigned: &[(i32, Epoch)], answers: &Sender<Start>) -> Result<(), KafkaError> {
        let consumer: BaseConsumer = self
            .client
            .clone()
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            // Offsets behind an open transaction are waited for, not guessed.
            .set("isolation.level", "read_committed")
            .create()?;
        let metadata = consumer.fetch_metadata(Some(&self.topic), REQUEST)?;
        let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len()) as i32;
        let mut all = TopicPartitionList::new();
        (0..count).for_each(|partition| {
            all.add_partition(&self.topic, partition);
        });
        let committed = consumer.committed_offsets(all, REQUEST)?;
        let offset_of = |partition| match committed.find_partition(&self.topic, partition).map(|p| p.offset()) {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        };
        let group_is_new = (0..count).all(|partition| offset_of(partition).is_none());
        for &(partition, epoch) in assigned {
            let start = match offset_of(partition) {
                Some(offset) => Start { partition, epoch, offset, first: false },
                None => {
                    let from = if group_is_new { self.start_from } else { StartFrom::Earliest };
                    let offset = self.resolve(&consumer, partition, from)?;
                    if group_is_new {
                        info!(partition, offset, from = ?self.start_from, "first start");
                    } else {
                        warn!(
                            partition,
                            offset,
                            "a new partition of the source: it is read from its beginning, and keys that moved to it start cold"
                        );
                    }
                    Start { partition, epoch, offset, first: true }
                }
            };
            // The control thread drops answers for partitions that were taken away meanwhile.
            if answers.send(start).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn resolve(&self, consumer: &BaseConsumer, partition: i32, from: StartFrom) -> Result<i64, KafkaError> {
        let (low, high) = consumer.fetch_watermarks(&self.topic, partition, REQUEST)?;
        match from {
            StartFrom::Earliest => Ok(low),
            StartFrom::Latest => Ok(high),
            StartFrom::Time { at_ms } => {
                let mut times = TopicPartitionList::new();
                times.add_partition_offset(&self.topic, partition, Offset::Offset(at_ms))?;
                let found = consumer.offsets_for_times(times, REQUEST)?;
                Ok(match found.find_partition(&self.topic, partition).map(|p| p.offset()) {
                    Some(Offset::Offset(offset)) => offset,
                    // No record at or after that time yet.
                    _ => high,
                })
            }
        }
    }
}
