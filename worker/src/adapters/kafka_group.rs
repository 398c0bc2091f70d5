//! The group consumer: answers assignments and revocations inside librdkafka's rebalance callback.
//!
//! On every assignment, in this order: each partition's queue is forwarded to its lane, the partitions are assigned
//! and paused at once; nothing is read until the control thread has found where each shard starts, has
//! sought there and resumed. On a revocation the lanes let go first; only then does the group learn of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, error, info, warn};

use super::kafka_native::{GroupMetadata, LaneTarget};
use crate::ownership::{Epoch, Ownership, Snapshot, lock};
use crate::status::Board;

/// The consumer of the control thread.
pub(crate) type GroupConsumer = BaseConsumer<GroupContext>;

/// A lane that has not let go of its partitions after this long ends the process: another worker is about to get them.
pub(crate) const RELEASE_LIMIT: Duration = Duration::from_secs(5);

/// Where a partition is assigned before it is known where its shard starts: nothing is read there. A number and not the
/// end: the client would ask the broker where the end is, and when the answer comes after the seek to the shard's start,
/// it asks again half a second later and goes to the end, past records that nobody has read.
const ANYWHERE: Offset = Offset::Offset(0);

/// What the rebalance callback works on.
pub(crate) struct GroupContext {
    topic: String,
    ownership: Arc<Ownership<Arc<GroupMetadata>>>,
    board: Arc<Board>,
    lanes: OnceLock<Vec<LaneTarget>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_epoch: Epoch,
    epochs: BTreeMap<i32, Epoch>,
    // Assigned, and not yet asked where to start.
    fresh: Vec<(i32, Epoch)>,
}

impl GroupContext {
    /// A context for a source topic; the lanes are made known by [`GroupContext::set_lanes`] before subscribing.
    #[must_use]
    pub(crate) fn new(topic: &str, ownership: Arc<Ownership<Arc<GroupMetadata>>>, board: Arc<Board>) -> Self {
        Self { topic: topic.to_owned(), ownership, board, lanes: OnceLock::new(), state: Mutex::default() }
    }

    /// The queues that partitions are forwarded to. The first call counts.
    pub(crate) fn set_lanes(&self, lanes: Vec<LaneTarget>) {
        drop(self.lanes.set(lanes));
    }

    /// Partitions assigned since the last call.
    pub(crate) fn take_fresh(&self) -> Vec<(i32, Epoch)> {
        std::mem::take(&mut lock(&self.state).fresh)
    }

    /// Starts a partition of ours from the beginning, as if it had just been assigned.
    ///
    /// # Errors
    /// The client's words.
    pub(crate) fn renew(&self, consumer: &GroupConsumer, partition: i32) -> Result<(), KafkaError> {
        if self.epoch(partition).is_none() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        consumer.incremental_unassign(&list)?;
        self.assigned(consumer, &list);
        Ok(())
    }

    /// Assigns a partition of ours again, paused, at an offset that exists, under the same epoch. A source that no longer
    /// holds the offset at which it was assigned first makes the client give the partition up; then it cannot be sought.
    ///
    /// # Errors
    /// The client's words.
    pub(crate) fn revive(&self, consumer: &GroupConsumer, partition: i32, offset: i64) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        consumer.incremental_unassign(&list)?;
        self.assign(consumer, &list)?;
        consumer.pause(&list)
    }

    /// Assigns partitions whose queues lead to their lanes: before anything is fetched, and once more when the assignment
    /// stands, for of one that was unassigned shortly before the client may end the forwarding only now.
    fn assign(&self, consumer: &GroupConsumer, list: &TopicPartitionList) -> Result<(), KafkaError> {
        let forward = || partitions(list).into_iter().for_each(|partition| self.forward(consumer, partition));
        forward();
        consumer.incremental_assign(list)?;
        forward();
        Ok(())
    }

    fn forward(&self, consumer: &GroupConsumer, partition: i32) {
        if let Some(lane) = self.lanes.get().and_then(|lanes| lanes.get(self.ownership.lane_of(partition))) {
            lane.forward(consumer.client(), &self.topic, partition);
        }
    }

    /// The epoch of a partition that is ours.
    pub(crate) fn epoch(&self, partition: i32) -> Option<Epoch> {
        lock(&self.state).epochs.get(&partition).copied()
    }

    /// Publishes what is owned now, with the membership of this moment.
    pub(crate) fn publish(&self, consumer: &GroupConsumer, draining: &[i32]) {
        let fence = GroupMetadata::of(consumer.client()).filter(GroupMetadata::is_member).map(Arc::new);
        let epochs = lock(&self.state).epochs.clone();
        self.ownership.publish(Snapshot { epochs, draining: draining.iter().copied().collect(), fence });
    }

    /// Publishes again when the membership has changed without a change of partitions.
    pub(crate) fn refresh(&self, consumer: &GroupConsumer) {
        let Some(now) = GroupMetadata::of(consumer.client()) else { return };
        let now = Some(now).filter(GroupMetadata::is_member);
        let published = self.ownership.snapshot();
        let identity = |metadata: &GroupMetadata| (metadata.generation(), metadata.member());
        if now.as_ref().map(identity) != published.fence.as_deref().map(identity) {
            self.publish(consumer, &[]);
        }
    }

    fn assigned(&self, consumer: &GroupConsumer, list: &TopicPartitionList) {
        let partitions = partitions(list);
        self.board.assigned(&partitions);
        let mut paused = TopicPartitionList::new();
        for partition in &partitions {
            if let Err(error) = paused.add_partition_offset(&self.topic, *partition, ANYWHERE) {
                error!(partition, %error, "failed to note an assigned partition");
            }
        }
        // Before, too: what the client asks in between may be answered, late, with an offset that is gone, and then it gives
        // up a partition that has been sought since, without a word that its lane would understand.
        let pause = || {
            if let Err(error) = consumer.pause(&paused) {
                error!(%error, "failed to pause the assigned partitions");
            }
        };
        pause();
        if let Err(error) = self.assign(consumer, &paused) {
            error!(%error, "failed to take the assignment");
            return;
        }
        pause();
        {
            let mut state = lock(&self.state);
            for partition in &partitions {
                state.last_epoch += 1;
                let epoch = state.last_epoch;
                state.epochs.insert(*partition, epoch);
                state.fresh.push((*partition, epoch));
            }
        }
        self.publish(consumer, &[]);
        info!(?partitions, "partitions assigned");
    }

    fn revoked(&self, consumer: &GroupConsumer, list: &TopicPartitionList) {
        let partitions = partitions(list);
        let lost = consumer.assignment_lost();
        self.publish(consumer, &partitions);
        if !self.ownership.release(&partitions, RELEASE_LIMIT) {
            error!(?partitions, "a lane did not let go of its partitions in time, ending the process");
            std::process::abort();
        }
        {
            let mut state = lock(&self.state);
            state.epochs.retain(|partition, _| !partitions.contains(partition));
            state.fresh.retain(|(partition, _)| !partitions.contains(partition));
        }
        self.board.forget_partitions(&partitions);
        if let Err(error) = consumer.incremental_unassign(list) {
            error!(%error, "failed to give up the partitions");
        }
        self.publish(consumer, &[]);
        if lost {
            warn!(
                ?partitions,
                "partitions lost: the group went on without this worker; what was not committed is done again by their new owner"
            );
        } else {
            info!(?partitions, "partitions given up");
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect()
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assigned(consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoked(consumer, list),
            other => warn!(code = ?other, "the group could not be joined, trying again"),
        }
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.board.broker_trouble(&error.to_string(), reason);
    }
}

/// The client library's own log lines, one level lower than it thinks: what concerns a user is said by the worker.
pub(crate) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            warn!(facility, "kafka client: {message}")
        }
        _ => debug!(facility, "kafka client: {message}"),
    }
}
