//! A shard on its way back from what was kept of it: as it was at L, then replayed, then as it was at C.

use std::collections::HashMap;
use std::sync::Arc;

use faultline_crds::WorkerConfig;
use faultline_numerics::hash::Fingerprint;
use faultline_numerics::image::{ImageError, Writer};

use super::{Journal, KeyState, Purpose, Shard, Trips, read_image, write_image};
use crate::decide::Incident;
use crate::score::Versions;
use crate::state::{Marker, RecordKey};
use crate::window::EventTime;

/// What holds only while a shard is restored.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// Keys that were dropped, and the offset below which their records are nothing to them any more.
    pub(crate) gone: HashMap<Box<str>, i64>,
}

impl Shard {
    /// The shard as it was at L, without keys.
    pub(crate) fn at_low_water(config: Arc<WorkerConfig>, partition: i32, marker: &Marker) -> Self {
        let mut shard = Self::new(config, partition, marker.start_offset);
        shard.journal = Journal::keeping();
        shard.journal.begin_replay();
        shard.next_offset = marker.low_water.offset;
        shard.records = marker.low_water.records;
        let lateness_ms = shard.config.source.allowed_lateness_ms;
        shard.time = EventTime::restored(lateness_ms, marker.low_water.greatest_ms, i64::MIN, None);
        shard.restored = Some(Box::default());
        shard
    }

    /// Whether a record is nothing to its key any more, because the key was dropped after it.
    pub(crate) fn is_gone(&self, key: &str, offset: i64) -> bool {
        let gone = self.restored.as_ref().and_then(|restored| restored.gone.get(key));
        gone.is_some_and(|below| offset < *below)
    }

    /// A key was dropped.
    pub(crate) fn note_gone(&mut self, key: &str, below: i64) {
        self.restored.get_or_insert_default().gone.insert(key.into(), below);
    }

    /// A key that skipped everything until now goes on.
    pub(crate) fn note_back(&mut self, key: &str) {
        if let Some(restored) = &mut self.restored {
            restored.gone.remove(key);
        }
    }

    /// Sorts the records of ids: those of minutes that are held belong to their minutes, others have to go.
    pub(crate) fn settle_ids(&mut self, found: impl Iterator<Item = (i64, i64)>, end: i64) {
        for (minute, tick_end) in found {
            if self.duplicates.as_ref().is_some_and(|duplicates| duplicates.holds(minute)) {
                self.journal.minutes.entry(minute).or_default().push(tick_end);
            } else {
                self.journal.bury(end, &RecordKey::Ids { minute, tick_end });
            }
        }
    }

    /// Versions that are not in force any more have to go once no replay begins under them, spent counts at once, and
    /// what belongs to no model any more.
    pub(crate) fn settle_shared(&mut self, versions: &Versions, increments: &Versions, end: i64) {
        let in_force: HashMap<Fingerprint, i64> = self.scoring.in_force().collect();
        for (of, versions) in versions {
            let since = in_force.get(of).copied().unwrap_or(i64::MAX);
            let next = versions.keys().skip(1).copied().chain([end]);
            for (offset, next) in versions.keys().zip(next).filter(|(offset, _)| **offset < since) {
                self.journal.bury(next, &RecordKey::Version { of: *of, offset: *offset });
            }
        }
        for (of, increments) in increments {
            let since = in_force.get(of).copied().unwrap_or(i64::MAX);
            for tick_end in increments.range(..=since).map(|(tick_end, _)| *tick_end) {
                self.journal.bury(i64::MIN, &RecordKey::Increments { of: *of, tick_end });
            }
        }
    }

    /// The clock's second under which the following records were folded.
    pub(crate) fn set_clock(&mut self, second: i64) {
        self.clock_second = second;
    }

    /// Takes in a key as its image has it.
    pub(crate) fn take_in(&mut self, mut state: KeyState, covered: i64, parts: u32) {
        state.covered = covered;
        state.parts = parts;
        let at = self.keys.insert(state);
        self.keys.count_event(at);
    }

    /// The replay has come to C: what is no function of the records since L is taken from the marker.
    ///
    /// # Errors
    /// The marker's window of trips cannot be read.
    pub(crate) fn arrive(&mut self, marker: &Marker) -> Result<(), ImageError> {
        self.next_offset = marker.next_offset;
        self.records = marker.records;
        self.start_partitions = Some(marker.start_partitions);
        let lateness_ms = self.config.source.allowed_lateness_ms;
        self.time = EventTime::restored(lateness_ms, marker.greatest_ms, marker.horizon_ms, marker.idle_since);
        self.trips = Trips::new(&self.config);
        self.trips.restore(&marker.trips)?;
        self.restored = None;
        self.journal.end_replay();
        self.journal.sequence = marker.sequence;
        self.journal.idle_since = marker.idle_since;
        self.read_to = marker.read_to;
        self.journal.read_to = marker.read_to;
        self.journal.clock = marker.clock.iter().copied().collect();
        self.journal.configurations.clone_from(&marker.configurations);
        self.journal.introduces = false;
        Ok(())
    }

    /// Gives a key its open incident; false if the key is not there.
    pub(crate) fn reopen_incident(&mut self, key: &str, incident: Incident) -> bool {
        let Some(at) = self.keys.find(key) else { return false };
        self.keys.at(at).incident = Some(Box::new(incident));
        true
    }

    /// Sets all timers as they follow from the keys.
    pub(crate) fn set_timers(&mut self) {
        let Self { keys, timers, config, .. } = self;
        for state in keys.all() {
            state.expiry_timer_ms = state.last_ms.saturating_add(config.source.key_expiry_ms);
            timers.arm(state.expiry_timer_ms, state.key(), Purpose::Expiry);
            if let Some(incident) = &mut state.incident {
                incident.end_timer_ms = incident.last_ms.saturating_add(config.decision.quiet_period_ms);
                timers.arm(incident.end_timer_ms, state.key(), Purpose::IncidentEnd);
            }
        }
    }

    /// The same shard under another configuration: windows and detectors that both have, by fingerprint, go on, new ones
    /// start empty. Everything else is as it was.
    ///
    /// # Errors
    /// An image that was just written cannot be read: a fault of this program.
    pub(crate) fn carry_over(mut self, config: &Arc<WorkerConfig>) -> Result<Self, ImageError> {
        let mut next = Self::new(Arc::clone(config), self.partition, self.start_offset);
        let shared = self.scoring.images(&self.config);
        next.scoring.adopt(config, &shared)?;
        let (mut w, mut part) = (Writer::new(), Writer::new());
        for mut state in self.keys.take_all() {
            w.clear();
            write_image(&self.config, &self.scoring, &state, &mut w, &mut part);
            let mut carried = read_image(config, &next.scoring, state.key(), w.as_bytes())?;
            carried.incident = state.incident.take();
            carried.dirty_since = state.dirty_since;
            next.take_in(carried, state.covered, state.parts);
        }
        next.next_offset = self.next_offset;
        next.records = self.records;
        next.read_to = self.read_to;
        next.start_partitions = self.start_partitions;
        next.clock_second = self.clock_second;
        next.trusts_record_times = self.trusts_record_times;
        next.evicted = self.evicted;
        let (time, lateness_ms) = (&self.time, config.source.allowed_lateness_ms);
        next.time = EventTime::restored(lateness_ms, time.greatest_ms(), time.horizon_ms(), time.idle_since());
        if let (Some(old), Some(new)) = (self.duplicates.take(), &mut next.duplicates) {
            new.take_over(old);
        }
        next.trips.restore(&self.trips.image())?;
        next.journal = self.journal;
        next.restored = self.restored;
        Ok(next)
    }
}
