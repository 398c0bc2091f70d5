//! Tells silence from lag: what the client fetched last may be old, so the leaders are asked where partitions end.
//!
//! An answer counts once, and only when it comes soon. Whoever has read to that end, and read nothing since, has been told that there
//! was nothing more a moment ago.

use std::time::{Duration, Instant};

use rdkafka::{Offset, TopicPartitionList};

use super::{LaneQueue, Question};
use crate::ports::{Position, Source};

/// The leaders are asked so often …
const ASK: Duration = Duration::from_millis(500);
/// … an answer that took longer says nothing about now: the shards' clocks count whole seconds …
const FRESH: Duration = Duration::from_secs(1);
/// … and after this long none is expected any more.
const UNANSWERED: Duration = Duration::from_secs(5);

impl LaneQueue {
    /// See [`Source::silent`].
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
            let mut list = self.list(read.iter().map(|at| at.partition));
            if list.set_all_offsets(Offset::End).is_ok() {
                self.asked = Some(Question::ask(self.inner.queue.1, &list));
                self.ask_at = now + ASK;
            }
        }
        Vec::new()
    }

    /// Those that were read to their end, by the client's position where it knows one.
    fn at_their_end(&mut self, read: &[Position], ends: &[Position]) -> Vec<Position> {
        let mut reached = |at: &Position| {
            let next_offset = self.handed_over(at.partition).unwrap_or(at.next_offset).max(at.next_offset);
            Position { next_offset, ..*at }
        };
        read.iter().map(&mut reached).filter(|reached| ends.contains(reached)).collect()
    }

    pub(super) fn list(&self, partitions: impl IntoIterator<Item = i32>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        list
    }
}
