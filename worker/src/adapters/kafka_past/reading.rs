//! Reads a range of offsets of one partition as fast as it comes, with a client of its own.
//!
//! A new client for each read, so that nothing of an earlier one (positions, fetched records, metadata of a topic that
//! was made anew) can be taken for its own. That costs about 10 ms; a read that ends long before the partition does
//! also throws away what was fetched ahead, which costs 100 more.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::requests::{DEADLINE, LastWords, TURN, refused};
use super::takeover::STUCK;
use crate::adapters::kafka_native::LaneQueue;
use crate::past::PastError;
use crate::ports::{RawEvent, Source, Taken};

/// One read.
pub(super) struct Reading<'a> {
    pub(super) settings: &'a ClientConfig,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) range: Range<i64>,
    pub(super) cancelled: &'a dyn Fn() -> bool,
    /// Told the next offset, batch by batch.
    pub(super) moved: &'a mut dyn FnMut(i64),
    /// Called when nothing has come for [`STUCK`], and again after as long, with the next offset.
    pub(super) stuck: &'a mut dyn FnMut(i64) -> Result<(), PastError>,
}

impl Reading<'_> {
    /// Hands over the records of the range, until they end or `each` breaks off.
    pub(super) fn run(self, each: &mut dyn FnMut(&RawEvent<'_>) -> ControlFlow<()>) -> Result<(), PastError> {
        if self.range.is_empty() {
            return Ok(());
        }
        let consumer: Arc<BaseConsumer<LastWords>> =
            Arc::new(self.open().map_err(|error| refused(self.what(), error))?);
        let mut queue = LaneQueue::new(&consumer, self.topic);
        queue.target().forward(consumer.client(), self.topic, self.partition);
        self.assign(&consumer).map_err(|error| refused(self.what(), error))?;
        let mut position = self.range.start;
        let mut moved_at = Instant::now();
        let mut looked_at = moved_at;
        let mut trouble = String::new();
        while position < self.range.end {
            if (self.cancelled)() {
                return Err(PastError::Cancelled);
            }
            let before = position;
            let mut flow = ControlFlow::Continue(());
            let mut gone = false;
            let taken = queue.take(TURN, &mut |taken| match taken {
                Taken::Record(raw) => {
                    if flow.is_continue() && self.range.contains(&raw.offset) {
                        flow = each(&raw);
                    }
                    position = position.max(raw.offset + 1);
                }
                Taken::Failed { gone: lost, reason, .. } => {
                    gone |= lost;
                    trouble = reason;
                }
            });
            if flow.is_break() {
                return Ok(());
            }
            if gone {
                return Err(PastError::Gone {
                    topic: self.topic.to_owned(),
                    partition: self.partition,
                    offset: position,
                });
            }
            position = position.max(self.position_of(&consumer));
            if position > before {
                (self.moved)(position.min(self.range.end));
                moved_at = Instant::now();
                looked_at = moved_at;
            } else if taken == 0 {
                // Serves what the client has to say about its connections.
                drop(consumer.poll(Duration::ZERO));
            }
            if moved_at.elapsed() > DEADLINE {
                let reason = if trouble.is_empty() { consumer.context().last() } else { trouble };
                return Err(PastError::NoProgress { what: self.what(), seconds: DEADLINE.as_secs(), reason });
            }
            if looked_at.elapsed() >= STUCK {
                (self.stuck)(position)?;
                looked_at = Instant::now();
            }
        }
        Ok(())
    }

    fn what(&self) -> String {
        format!("read topic `{}`, partition {}, up to offset {}", self.topic, self.partition, self.range.end)
    }

    fn open(&self) -> Result<BaseConsumer<LastWords>, KafkaError> {
        self.settings.create_with_context(LastWords::default())
    }

    fn assign(&self, consumer: &BaseConsumer<LastWords>) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(self.topic, self.partition, Offset::Offset(self.range.start))?;
        consumer.assign(&list)
    }

    /// Where the client stands: behind the last record it gave, or behind the markers that follow it.
    fn position_of(&self, consumer: &BaseConsumer<LastWords>) -> i64 {
        let positions = consumer.position().ok();
        let found = positions.as_ref().and_then(|list| list.find_partition(self.topic, self.partition));
        match found.map(|element| element.offset()) {
            Some(Offset::Offset(position)) => position,
            _ => -1,
        }
    }
}

/// The end of a partition, for what is written again and again.
pub(super) struct Tail<'a> {
    pub(super) settings: &'a ClientConfig,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    /// The offsets that the partition holds.
    pub(super) held: Range<i64>,
    /// Looked back from here.
    pub(super) from: i64,
    pub(super) cancelled: &'a dyn Fn() -> bool,
}

impl Tail<'_> {
    /// What `pick` makes of the last records, reading from so many offsets before [`from`](Self::from), then from further
    /// back as long as nothing was found.
    pub(super) fn newest<T>(
        &self,
        look_backs: [i64; 3],
        pick: &mut dyn FnMut(&RawEvent<'_>, &mut Option<T>),
    ) -> Result<Option<T>, PastError> {
        for look_back in look_backs {
            let start = self.from.saturating_sub(look_back).max(self.held.start);
            let mut found = None;
            let reading = Reading {
                settings: self.settings,
                topic: self.topic,
                partition: self.partition,
                range: start..self.held.end,
                cancelled: self.cancelled,
                moved: &mut |_| {},
                stuck: &mut |_| Ok(()),
            };
            reading.run(&mut |raw| {
                pick(raw, &mut found);
                ControlFlow::Continue(())
            })?;
            if found.is_some() || start == self.held.start {
                return Ok(found);
            }
        }
        Ok(None)
    }
}
