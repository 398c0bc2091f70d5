//! A topic that is full before its reader starts, and what a side spends on reading it to its end.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use super::events::Events;
use super::kafka::{self, Progress, Topics};
use super::side::Side;

/// Event time between two events: two million of them are about eleven hours.
const STEP_MS: i64 = 20;

/// The topic.
pub(crate) struct FullTopic {
    pub(crate) brokers: String,
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) events: u64,
    /// Events that count as start-up: connections, group join, first allocations, compilation.
    pub(crate) warm_up: u64,
}

/// What one side spent on the topic, from the end of the warm-up to the end of the topic.
pub(crate) struct Spent {
    /// CPU seconds of all threads.
    cpu: f64,
    wall: f64,
    events: f64,
}

impl Spent {
    pub(crate) fn events_per_cpu_second(&self) -> f64 {
        self.events / self.cpu
    }

    pub(crate) fn cpu_micros_per_event(&self) -> f64 {
        1e6 * self.cpu / self.events
    }

    pub(crate) fn events_per_second(&self) -> f64 {
        self.events / self.wall
    }
}

impl FullTopic {
    /// Creates it, with events whose times end now.
    pub(crate) fn fill(&self, topics: &Topics, seed: u64) -> Result<()> {
        topics.create(&self.name, self.partitions)?;
        let producer = kafka::event_producer(&self.brokers)?;
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let start_ms = now_ms - self.events as i64 * STEP_MS;
        let mut events = Events::new(seed);
        for number in 0..self.events {
            let user = events.next(number, start_ms + number as i64 * STEP_MS);
            kafka::send(&producer, &self.name, user as i32 % self.partitions, &events.key, &events.value)?;
        }
        kafka::flush(&producer)
    }

    /// Watches a side until it has read all, then lets it end.
    pub(crate) fn watch(&self, mut side: Side, group: &str) -> Result<Spent> {
        let spent = self.follow(&mut side, group)?;
        side.stop()?;
        Ok(spent)
    }

    /// Watches a side until it has read all.
    pub(crate) fn follow(&self, side: &mut Side, group: &str) -> Result<Spent> {
        let progress = Progress::of(&self.brokers, group, &self.name, self.partitions)?;
        let first = progress.wait_for(self.warm_up, &mut || side.check())?;
        let (cpu, began) = (side.cpu()?, Instant::now());
        let last = progress.wait_for(self.events, &mut || side.check())?;
        let wall = began.elapsed();
        let cpu = side.cpu()?.saturating_sub(cpu).max(Duration::from_millis(10));
        Ok(Spent { cpu: cpu.as_secs_f64(), wall: wall.as_secs_f64(), events: (last - first) as f64 })
    }
}
