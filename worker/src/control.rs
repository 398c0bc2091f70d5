//! The control thread: the only one that polls the group consumer. It answers assignments and revocations, has shards
//! brought back, hands them to their lanes, and publishes what is owned.
//!
//! ```text
//! assigned ─► (crew) shard ─► seek ─► lane adopts ─► resume
//! ```
//! A partition stays paused until its lane has its shard, and has committed where a new one begins. Resuming is always
//! explicit: a pause outlives a revocation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, warn};

use crate::adapters::kafka_group::GroupConsumer;
use crate::adapters::kafka_native::{self as native, GroupMetadata, wake_leaders};
use crate::ownership::{Mail, Ownership, Request, Tenure};
use crate::restore::{Crew, Start};
use crate::status::{Board, Ends};

/// How long one poll waits: everything else here happens between polls.
const POLL: Duration = Duration::from_millis(20);
/// How often lag and rate are taken.
const SAMPLE: Duration = Duration::from_millis(500);
/// A seek is answered by the client itself, unless the partition is just being taken away.
const SEEK: Duration = Duration::from_secs(2);

/// What the control thread works with.
pub(crate) struct Control {
    pub(crate) consumer: Arc<GroupConsumer>,
    pub(crate) topic: String,
    pub(crate) ownership: Arc<Ownership<Arc<GroupMetadata>>>,
    pub(crate) board: Arc<Board>,
    pub(crate) crew: Arc<Crew>,
    pub(crate) starts: Receiver<Start>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Control {
    /// Polls until it is told to stop, or until a thread has ended that should not.
    pub(crate) fn run(&self, has_lost_a_thread: impl Fn() -> bool) {
        let (taken, adopted) = channel();
        let mut sampled = Instant::now();
        let mut waiting: Vec<Start> = Vec::new();
        while !self.stop.load(Ordering::Relaxed) && !has_lost_a_thread() {
            self.poll();
            let fresh = self.consumer.context().take_fresh();
            if !fresh.is_empty() {
                self.crew.bring(fresh);
            }
            waiting.extend(self.starts.try_iter());
            waiting = waiting.into_iter().filter_map(|start| self.start(start, &taken)).collect();
            adopted.try_iter().filter(|tenure| self.is_ours(*tenure)).for_each(|tenure| self.resume(tenure.partition));
            // What cannot be done yet is asked again, and comes in the next turn.
            self.ownership.take_requests().into_iter().for_each(|request| self.answer(request, &taken));
            self.refresh();
            if sampled.elapsed() >= SAMPLE {
                self.sample();
                sampled = Instant::now();
            }
            self.board.control_turned();
        }
    }

    /// Serves rebalances and errors. Records never come this way: their queues are forwarded to the lanes.
    pub(crate) fn poll(&self) {
        match self.consumer.poll(POLL) {
            None => {}
            Some(Ok(_)) => warn!("a record arrived outside the lanes' queues"),
            Some(Err(error)) => self.board.broker_trouble("the group consumer reports", &error.to_string()),
        }
    }

    /// Proofs of membership are those of now, also where the brokers change them without a rebalance.
    pub(crate) fn refresh(&self) {
        self.consumer.context().refresh(&self.consumer);
    }

    /// Brings a shard to its lane; gives it back when that has to be tried again.
    fn start(&self, start: Start, taken: &Sender<Tenure>) -> Option<Start> {
        if !self.is_ours(Tenure { partition: start.partition, epoch: start.epoch }) {
            return None;
        }
        if let Err(error) = self.prepare(&start) {
            debug!(partition = start.partition, %error, "a shard cannot start yet, trying again");
            let (partition, offset) = (start.partition, start.shard.next_offset());
            if let Err(error) = self.consumer.context().revive(&self.consumer, partition, offset) {
                debug!(partition, %error, "failed to assign a partition again");
            }
            return Some(start);
        }
        let Start { partition, epoch, shard, .. } = start;
        let mail = Mail::Adopt { partition, epoch, shard, taken: taken.clone() };
        self.ownership.post(self.ownership.lane_of(partition), mail);
        None
    }

    /// Whether it is still the assignment for which the shard was brought.
    fn is_ours(&self, tenure: Tenure) -> bool {
        self.consumer.context().epoch(tenure.partition) == Some(tenure.epoch)
    }

    fn prepare(&self, start: &Start) -> Result<(), KafkaError> {
        let position = self.position(start.partition, start.shard.next_offset())?;
        if start.commits_first {
            self.consumer.commit(&position, CommitMode::Sync)?;
        }
        self.seek(position)
    }

    fn position(&self, partition: i32, offset: i64) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        Ok(list)
    }

    fn seek(&self, position: TopicPartitionList) -> Result<(), KafkaError> {
        let answers = self.consumer.seek_partitions(position, SEEK)?;
        answers.elements().iter().try_for_each(|element| element.error())
    }

    fn resume(&self, partition: i32) {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        if let Err(error) = self.consumer.resume(&list) {
            warn!(partition, %error, "failed to resume a partition");
        }
        if list.set_all_offsets(Offset::End).is_ok() {
            wake_leaders(self.consumer.client(), &list);
        }
    }

    fn answer(&self, request: Request, taken: &Sender<Tenure>) {
        match request {
            Request::Pause(partition) => {
                let mut list = TopicPartitionList::new();
                list.add_partition(&self.topic, partition);
                if let Err(error) = self.consumer.pause(&list) {
                    warn!(partition, %error, "failed to pause a partition");
                }
            }
            Request::Resume { tenure, offset } => {
                if !self.is_ours(tenure) {
                    return;
                }
                match self.position(tenure.partition, offset).and_then(|position| self.seek(position)) {
                    Ok(()) => {
                        let mail = Mail::Continue { tenure, taken: taken.clone() };
                        self.ownership.post(self.ownership.lane_of(tenure.partition), mail);
                    }
                    Err(error) => {
                        debug!(tenure.partition, %error, "failed to seek, trying again");
                        self.ownership.ask(request);
                    }
                }
            }
            Request::Restart(partition) => {
                if let Err(error) = self.consumer.context().renew(&self.consumer, partition) {
                    warn!(partition, %error, "failed to start a partition again");
                }
            }
        }
    }

    fn sample(&self) {
        let owned = self.ownership.snapshot();
        let mut fetched = Ends::default();
        for partition in owned.epochs.keys() {
            if let Some((low, high)) = native::cached_watermarks(self.consumer.client(), &self.topic, *partition) {
                fetched.starts.insert(*partition, low);
                fetched.ends.insert(*partition, high);
            }
        }
        self.board.fetched(fetched);
    }
}
