//! The shard's timers: one queue ordered by time, then key.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// The key's incident may have ended.
    IncidentEnd,
    /// The key may have expired.
    Expiry,
}

/// A point in event time at which something is looked at again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    /// Due once the horizon lies beyond it.
    pub(crate) at_ms: i64,
    /// The key; ordered by its bytes.
    pub(crate) key: Box<str>,
    /// What for.
    pub(crate) purpose: Purpose,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<Timer>>);

impl Timers {
    pub(crate) fn arm(&mut self, at_ms: i64, key: &str, purpose: Purpose) {
        self.0.push(Reverse(Timer { at_ms, key: key.into(), purpose }));
    }

    /// Time of the first timer.
    pub(crate) fn next_ms(&self) -> Option<i64> {
        self.0.peek().map(|first| first.0.at_ms)
    }

    /// Takes the first timer if it lies before the horizon.
    pub(crate) fn take_due(&mut self, horizon_ms: i64) -> Option<Timer> {
        if self.next_ms()? >= horizon_ms {
            return None;
        }
        self.0.pop().map(|first| first.0)
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Timer>()
    }
}
