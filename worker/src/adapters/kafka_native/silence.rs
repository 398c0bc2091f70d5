//! Tells silence from lag: what the client fetched last may be old, so the leaders are asked where partitions end.
//!
//! An answer counts once, and only when it comes soon. Whoever has read to that end, and read nothing since, has been told that there
//! was nothing more a moment ago.

use std::time::{Duration, Instant};

use rdkafka::{Offset, TopicPartitionList};

use super::{LaneQueue, Question};
use crate::ports::Position;

/// The leaders are asked so often …
const ASK: Duration = Duration::from_millis(500);
/// … an answer that took longer says nothing about now: the shards' clocks count whole seconds …
const FRESH: Duration = Duration::from_secs(1);
/// … and after this long none is expected any more.
const UNANSWERED: Duration = Duration::from_secs(5);

impl LaneQueue {
    /// See [`Source::silent`](crate::ports::Source::silent).
    pub(super) fn silent_now(&mut self, read: &[Position], now: Instant) -> Vec<Position> {
        if let Some(question) = &self.asked {
            let (age, answer) = (now.saturating_duration_since(question.asked), question.answer());
            if answer.is_some() || age > UNANSWERED {
                self.asked = None;
            }
            let ends = answer.filter(|_| age < FRESH).unwrap_or_default();
            return if ends.is_empty() { ends } else { self.at_their_end(read, &ends) };
        }
        if now >= self.ask_at && !read.is_empty() {
            let mut list = self.list(read);
            if list.set_all_offsets(Offset::End).is_ok() {
                self.asked = Some(Question::ask(self.inner.queue.1, &list));
                self.ask_at = now + ASK;
            }
        }
        Vec::new()
    }

    /// Those that were read to their end. The client's position counts the markers of transactions, too, but is not known
    /// before something was handed over.
    fn at_their_end(&self, read: &[Position], ends: &[Position]) -> Vec<Position> {
        let list = self.list(read);
        self.positions(&list);
        let handed_over = |partition| list.find_partition(&self.topic, partition)?.offset().to_raw();
        let reached = |at: &Position| Position {
            next_offset: at.next_offset.max(handed_over(at.partition).unwrap_or(at.next_offset)),
            ..*at
        };
        read.iter().map(reached).filter(|reached| ends.contains(reached)).collect()
    }

    fn list(&self, partitions: &[Position]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        partitions.iter().for_each(|at| drop(list.add_partition(&self.topic, at.partition)));
        list
    }
}
