//! Everything that is known of one source partition: keys, timers, shared state, event time.
//!
//! A shard is a function of its records in offset order, of its clock history and of its configuration. One lane
//! owns it; nothing in here locks, waits, or looks at a clock.

mod expire;
mod image;
mod journal;
mod keys;
mod open;
mod restored;
mod timers;
mod trips;

use std::sync::Arc;

use faultline_crds::worker_config::WorkerConfig;
use faultline_detectors::version_due;

use crate::decode::{Guard, Layout};
use crate::emit::Encoder;
use crate::score::{Calibration, Scoring};
use crate::state::{ClockTick, LowWater};
use crate::window::{Duplicates, EventTime};

pub(crate) use expire::{forget_key, set_off_timers};
pub(crate) use image::{read_image, split_image, write_image};
pub(crate) use journal::{Dropped, Journal};
pub(crate) use keys::{CLEAN, KeyState, Keys};
pub(crate) use open::{Opened, open, reopen};
pub(crate) use restored::Restored;
pub(crate) use timers::{Purpose, Timers};
pub use trips::Trip;
pub(crate) use trips::{Sighting, Trips};

/// One source partition.
#[derive(Debug)]
pub struct Shard {
    pub(crate) config: Arc<WorkerConfig>,
    pub(crate) layout: Layout,
    pub(crate) encoder: Encoder,
    pub(crate) trips: Trips,
    pub(crate) time: EventTime,
    pub(crate) duplicates: Option<Duplicates>,
    pub(crate) keys: Keys,
    pub(crate) timers: Timers,
    pub(crate) scoring: Scoring,
    pub(crate) evicted: u64,
    /// What is not in the state topic yet.
    pub(crate) journal: Journal,
    /// While it is restored: what the state topic says of keys that are gone.
    restored: Option<Box<Restored>>,
    partition: i32,
    start_offset: i64,
    /// Partitions of the source when the shard began, once that is known.
    pub(crate) start_partitions: Option<u32>,
    next_offset: i64,
    /// The source holds no record from the next offset up to here, as far as known.
    pub(crate) read_to: Option<i64>,
    records: u64,
    clock_second: i64,
    trusts_record_times: bool,
}

impl Shard {
    /// A shard that has seen nothing and goes on at `start_offset`.
    #[must_use]
    pub fn new(config: Arc<WorkerConfig>, partition: i32, start_offset: i64) -> Self {
        Self {
            layout: Layout::new(&config),
            encoder: Encoder::new(&config, partition),
            trips: Trips::new(&config),
            time: EventTime::new(config.source.allowed_lateness_ms),
            // Without a path every id is topic, partition and offset, which no two records share.
            duplicates: config.source.event_id.and(config.source.deduplicate_ms).map(Duplicates::new),
            keys: Keys::default(),
            timers: Timers::default(),
            scoring: Scoring::new(&config),
            evicted: 0,
            journal: Journal::default(),
            restored: None,
            partition,
            start_offset,
            start_partitions: None,
            next_offset: start_offset,
            read_to: None,
            records: 0,
            clock_second: 0,
            trusts_record_times: false,
            config,
        }
    }

    /// The same shard, whose future guard measures from each record's timestamp. For clocks that follow the records:
    /// such a clock cannot say that a record lies ahead of it.
    #[must_use]
    pub fn trusting_record_times(mut self) -> Self {
        self.trusts_record_times = true;
        self
    }

    /// The same shard, whose changes are noted for the state topic.
    #[must_use]
    pub fn keeping_state(mut self) -> Self {
        self.journal = Journal::keeping();
        self
    }

    /// The source partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The offset that the shard began at.
    pub(crate) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// Records consumed since the shard began.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Every record below it has ended in exactly one outcome.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Begins a tick at a second of the shard's clock.
    pub fn begin_tick(&mut self, clock_second: i64) {
        self.clock_second = clock_second;
        self.journal.clock(ClockTick { offset: self.next_offset, second: clock_second });
    }

    /// The source reported the end of the partition at the shard's position: until the next record the horizon of the
    /// timers goes on with the clock. [`turn`](crate::pipeline::turn) then sets off what is due.
    pub fn at_end(&mut self, clock_second: i64) {
        self.begin_tick(clock_second);
        self.time.idle(clock_second);
    }

    /// The source holds no record between the shard's position and an offset: only markers of transactions, and what was
    /// aborted.
    pub(crate) fn has_read_to(&mut self, offset: i64) {
        self.read_to = Some(offset.max(self.next_offset));
    }

    /// The source begins at an offset, and holds no record between the shard's position and there that could still be read.
    pub(crate) fn go_on_at(&mut self, offset: i64) {
        self.next_offset = self.next_offset.max(offset);
    }

    /// Greatest event time accepted.
    #[must_use]
    pub fn greatest_timestamp_ms(&self) -> Option<i64> {
        self.time.greatest_ms()
    }

    /// Events before it are late.
    #[must_use]
    pub fn watermark_ms(&self) -> Option<i64> {
        self.time.watermark_ms()
    }

    /// Keys held.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Keys that were forgotten early to make room for others.
    #[must_use]
    pub fn evicted_keys(&self) -> u64 {
        self.evicted
    }

    /// Bytes of state held, about.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        let duplicates = self.duplicates.as_ref().map_or(0, Duplicates::bytes);
        self.keys.bytes() + self.timers.bytes() + self.scoring.bytes() + self.journal.bytes() + duplicates
    }

    /// Observed over nominal rates, one per model.
    pub fn calibration(&self) -> impl Iterator<Item = &Calibration> {
        self.scoring.calibration()
    }

    pub(crate) fn clock_ms(&self) -> i64 {
        self.clock_second.saturating_mul(1000)
    }

    pub(crate) fn guard(&self) -> Guard {
        if self.trusts_record_times { Guard::RecordTime } else { Guard::ShardClock(self.clock_ms()) }
    }

    /// How far the shard was before the event at an offset, which was the last to be admitted.
    pub(crate) fn before(&self, offset: i64) -> LowWater {
        LowWater { offset, greatest_ms: self.time.before_ms(), records: self.records }
    }

    /// Whether owner and configuration have to be written before anything else happens.
    pub(crate) fn introduces(&self) -> bool {
        self.journal.introduces
    }

    /// Whether the state topic has to be told something though no record came: owner and configuration before anything
    /// else, keys that were dropped, since when the partition has been silent, where it ends.
    #[must_use]
    pub fn has_to_tell(&self) -> bool {
        let told = (self.journal.idle_since, self.journal.read_to);
        let is_silence_told = told == (self.time.idle_since(), self.read_to);
        self.introduces() || !self.journal.dropped.is_empty() || (self.journal.is_on() && !is_silence_told)
    }

    /// Whether a restart would have to replay something.
    pub(crate) fn is_dirty(&mut self) -> bool {
        self.journal.oldest_dirty(&self.keys).is_some()
    }

    /// L: how far images hold everything.
    pub(crate) fn low_water(&mut self) -> LowWater {
        let now = LowWater { offset: self.next_offset, greatest_ms: self.time.greatest_ms(), records: self.records };
        self.journal.oldest_dirty(&self.keys).map_or(now, |(_, since)| since)
    }

    /// A record has ended in its outcome. New versions of shared state take force here, between two records.
    pub(crate) fn consumed(&mut self, offset: i64) {
        self.next_offset = offset + 1;
        self.read_to = None;
        self.records += 1;
        self.time.record();
        if version_due(self.records) {
            self.scoring.take_force(&self.config, self.next_offset, self.journal.is_on());
        }
    }
}
