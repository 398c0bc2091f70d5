//! From what the state topic holds to the shard as it was at C.
//!
//! ```text
//! images, ids, versions at L ─► each record of L..C, silently ─► counts, incidents, trips, timers at C
//!                                   under the clock and the configuration of its offset;
//!                                   a key skips what its image covers
//! ```

mod switch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use faultline_crds::WorkerConfig;
use faultline_numerics::hash::Fingerprint;
use faultline_numerics::image::{ImageError, Writer};

use super::found::{Found, Image};
use crate::outputs::Outputs;
use crate::pipeline::{Scratch, replay};
use crate::ports::RawEvent;
use crate::shard::{KeyState, Shard, Trip, read_image, write_image};
use crate::state::{ClockTick, FOLD_VERSION, Marker, RecordKey, read_decision, read_ids};
use switch::{carry_over, now, touch};

/// Why a shard cannot be rebuilt from its state topic.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// A record cannot be read.
    #[error("failed to read {what} in the state topic")]
    Image {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: ImageError,
    },
    /// A part of an image is not there.
    #[error("a part of the image of a key is missing in the state topic")]
    Part,
    /// A configuration that has to be replayed is not there.
    #[error("the configuration {0} under which records have to be replayed is not in the state topic")]
    NoConfiguration(Fingerprint),
    /// A configuration that has to be replayed is not accepted any more.
    #[error("the configuration {0} under which records have to be replayed is not accepted by this version any more")]
    Configuration(Fingerprint),
    /// A version of shared state is not there.
    #[error("version {offset} of the shared state {of} is not in the state topic, or cannot be read")]
    Version {
        /// Whose.
        of: Fingerprint,
        /// From where on it was in force.
        offset: i64,
    },
    /// The replay stopped where the shard had not stopped.
    #[error("the replay stopped at offset {}: {}", .0.offset, .0.message)]
    Trip(Trip),
    /// The replay came out differently.
    #[error(
        "the replay of offsets {} to {} came out differently: expected watermark {expected:?} after {records} records, found {found:?} after {found_records}; has the source been changed?",
        .range.start, .range.end
    )]
    Differs {
        /// What was replayed.
        range: Range<i64>,
        /// Greatest event time by the marker.
        expected: Option<i64>,
        /// Greatest event time of the replay.
        found: Option<i64>,
        /// Records by the marker.
        records: u64,
        /// Records of the replay.
        found_records: u64,
    },
}

/// A shard on its way from L to C.
#[derive(Debug)]
pub struct Rebuild {
    shard: Shard,
    found: Found,
    marker: Marker,
    current: Arc<WorkerConfig>,
    clock: VecDeque<ClockTick>,
    switches: VecDeque<(i64, Fingerprint)>,
    later: Vec<(Box<str>, Image)>,
    skips: bool,
    nowhere: Outputs,
}

impl Rebuild {
    /// The shard at L. `trusts_record_times` as the shard's clock says.
    ///
    /// # Errors
    /// Something that the replay needs is not there, or cannot be read.
    pub fn begin(
        mut found: Found,
        marker: Marker,
        current: &Arc<WorkerConfig>,
        partition: i32,
        trusts_record_times: bool,
    ) -> Result<Self, RebuildError> {
        // Another fold would not come out at C as this one did.
        let skips = marker.fold_version != FOLD_VERSION && marker.low_water.offset < marker.next_offset;
        let replays = marker.low_water.offset < marker.next_offset && !skips;
        let mut switches: VecDeque<(i64, Fingerprint)> = VecDeque::new();
        let mut config = Arc::clone(current);
        if !skips && let Some(((_, first), rest)) = marker.configurations.split_first() {
            match configuration(&found, *first, current) {
                Ok(first) => config = first,
                Err(error) if replays => return Err(error),
                // Nothing was folded since under it: what this configuration finds in the images is all that goes on.
                Err(_) => {}
            }
            switches.extend(rest);
        }
        let mut shard = Shard::at_low_water(config, partition, &marker);
        if trusts_record_times {
            shard = shard.trusting_record_times();
        }
        let images = std::mem::take(&mut found.images);
        let versions = std::mem::take(&mut found.versions);
        shard.scoring.begin_replay(&shard.config, versions, marker.low_water.offset).map_err(image("shared state"))?;
        let mut rebuild = Self {
            clock: marker.clock.iter().copied().collect(),
            current: Arc::clone(current),
            switches,
            later: Vec::new(),
            skips,
            nowhere: Outputs::new(),
            shard,
            found,
            marker,
        };
        rebuild.load_images(images)?;
        rebuild.load_ids()?;
        Ok(rebuild)
    }

    /// The source offsets that have to be replayed.
    #[must_use]
    pub fn range(&self) -> Range<i64> {
        let Marker { next_offset, low_water, .. } = &self.marker;
        if self.skips { *next_offset..*next_offset } else { low_water.offset..*next_offset }
    }

    /// Whether records between L and C are left out because another version of the fold folded them: windows of keys that
    /// had events there have to warm up again.
    #[must_use]
    pub fn leaves_out(&self) -> bool {
        self.skips
    }

    /// Keys so far.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shard.keys() + self.later.len()
    }

    fn load_images(&mut self, images: impl IntoIterator<Item = (Box<str>, Image)>) -> Result<(), RebuildError> {
        let next_switch = self.switches.front().map_or(i64::MAX, |(offset, _)| *offset);
        let low = self.marker.low_water;
        let is_first = |(since, _): &(i64, Fingerprint)| *since == low.offset && low.offset > self.marker.start_offset;
        let switches_at_low = !self.skips && self.marker.configurations.first().is_some_and(is_first);
        let (mut again, mut part) = (Writer::new(), Writer::new());
        for (key, found) in images {
            let (covered, parts) = (found.head.applied_upto, found.head.parts);
            for part in found.lying.range(parts.max(1)..) {
                self.shard.journal.bury(i64::MIN, &RecordKey::Image { key: &key, part: *part });
            }
            if parts == 0 {
                self.shard.note_gone(&key, covered);
                self.shard.journal.bury_key(&key, covered);
            } else if covered > next_switch {
                // Written under a later configuration: until then the key skips everything.
                self.shard.note_gone(&key, covered);
                self.later.push((key, found));
            } else {
                let bytes = found.bytes().ok_or(RebuildError::Part)?;
                let state = read_image(&self.shard.config, &self.shard.scoring, &key, &bytes);
                let state = state.map_err(image("the image of a key"))?;
                again.clear();
                if switches_at_low {
                    write_image(&self.shard.config, &self.shard.scoring, &state, &mut again, &mut part);
                }
                self.shard.take_in(state, covered, parts);
                if switches_at_low && covered <= low.offset && again.as_bytes() != bytes {
                    // It may hold what only the configuration before knew.
                    touch(&mut self.shard, &key, low);
                }
            }
        }
        Ok(())
    }

    /// Ids of records below L; the replay takes in the others by itself.
    fn load_ids(&mut self) -> Result<(), RebuildError> {
        let low = self.marker.low_water.offset.max(if self.skips { self.marker.next_offset } else { i64::MIN });
        let Some(duplicates) = &mut self.shard.duplicates else { return Ok(()) };
        let mut seen = Vec::new();
        for ((minute, _), value) in &self.found.ids {
            let ids = read_ids(value).map_err(image("ids"))?;
            seen.extend(ids.into_iter().filter(|id| id.offset < low).map(|id| (id.offset, *minute, id)));
        }
        seen.sort_unstable_by_key(|(offset, ..)| *offset);
        seen.into_iter().for_each(|(_, minute, id)| duplicates.recall(minute, id));
        Ok(())
    }

    /// Folds the next record of the range again, silently.
    ///
    /// # Errors
    /// The record ends otherwise than it did.
    pub fn replay(&mut self, raw: &RawEvent<'_>, scratch: &mut Scratch) -> Result<(), RebuildError> {
        self.switch_before(raw.offset)?;
        while let Some(tick) = self.clock.front().filter(|tick| tick.offset <= raw.offset) {
            self.shard.set_clock(tick.second);
            self.clock.pop_front();
        }
        replay(&mut self.shard, raw, scratch, &mut self.nowhere).map_err(RebuildError::Trip)?;
        match self.shard.scoring.missing() {
            Some(missing) => Err(RebuildError::Version { of: missing.of, offset: missing.offset }),
            None => Ok(()),
        }
    }

    /// Changes to the configurations that took force at or before an offset.
    fn switch_before(&mut self, offset: i64) -> Result<(), RebuildError> {
        while let Some((at, of)) = self.switches.front().copied().filter(|(at, _)| *at <= offset) {
            self.switches.pop_front();
            let config = configuration(&self.found, of, &self.current)?;
            let shard = std::mem::replace(&mut self.shard, Shard::new(Arc::clone(&config), 0, 0));
            self.shard = carry_over(shard, &config).map_err(image("carried state"))?;
            if self.shard.duplicates.is_none() {
                let ids = std::mem::take(&mut self.found.ids);
                let (gone, kept) = ids.into_iter().partition(|((_, tick_end), _)| *tick_end <= at);
                self.found.ids = kept;
                let gone: BTreeMap<(i64, i64), Vec<u8>> = gone;
                for (minute, tick_end) in gone.into_keys() {
                    self.shard.journal.bury(at, &RecordKey::Ids { minute, tick_end });
                }
            }
            let later = std::mem::take(&mut self.later);
            for (key, _) in &later {
                self.shard.note_back(key);
            }
            self.load_images(later)?;
        }
        Ok(())
    }

    /// The shard at C, under the current configuration.
    ///
    /// # Errors
    /// The replay did not come out at C as the marker says.
    pub fn finish(mut self) -> Result<Shard, RebuildError> {
        let end = self.marker.next_offset;
        self.switch_before(end)?;
        let (found, records) = (self.shard.greatest_timestamp_ms(), self.shard.records());
        if !self.skips && (found != self.marker.greatest_ms || records != self.marker.records) {
            return Err(RebuildError::Differs {
                range: self.range(),
                expected: self.marker.greatest_ms,
                found,
                records: self.marker.records,
                found_records: records,
            });
        }
        let Self { mut shard, mut found, marker, current, skips, .. } = self;
        if marker.fold_version != FOLD_VERSION {
            shard.scoring.catch_up(&shard.config, end).map_err(image("shared state"))?;
        }
        let config = Arc::clone(&shard.config);
        let mut versions = shard.scoring.end_replay(&config, &found.increments).map_err(image("counts"))?;
        shard.arrive(&marker).map_err(image("the marker"))?;
        for (key, value) in &found.decisions {
            let incident = read_decision(value).map_err(image("an incident"))?;
            if skips && shard.keys.find(key).is_none() {
                add_cold(&mut shard, key, incident.last_ms);
            }
            if !shard.reopen_incident(key, incident) {
                shard.journal.bury(end, &RecordKey::Decision { key });
            }
        }
        let in_history = |of: Fingerprint| marker.configurations.iter().any(|(_, used)| *used == of);
        for of in found.configurations.keys().filter(|of| !in_history(**of)) {
            shard.journal.bury(end, &RecordKey::Configuration { of: *of });
        }
        for (earlier, next) in marker.configurations.iter().zip(marker.configurations.iter().skip(1)) {
            shard.journal.bury_configuration(*earlier, next.0);
        }
        shard.settle_shared(&versions, &found.increments, end);
        if marker.configurations.last().is_none_or(|(_, of)| *of != current.fingerprint) {
            if let Some(earlier) = marker.configurations.last() {
                shard.journal.bury_configuration(*earlier, end);
            }
            if shard.config.fingerprint != current.fingerprint {
                let learners = |shard: &Shard| shard.scoring.in_force().map(|(of, _)| of).collect::<BTreeSet<_>>();
                let before = learners(&shard);
                shard = carry_over(shard, &current).map_err(image("carried state"))?;
                let after = learners(&shard);
                versions.retain(|of, _| before.contains(of) && !after.contains(of));
                found.increments.retain(|of, _| before.contains(of) && !after.contains(of));
                shard.settle_shared(&versions, &found.increments, end);
            }
            shard.journal.configurations.push((end, current.fingerprint));
            shard.journal.introduces = true;
        }
        shard.settle_ids(found.ids.keys().copied(), end);
        shard.journal.sort_tombstones();
        shard.set_timers();
        Ok(shard)
    }
}

/// A key of which only its incident is known.
fn add_cold(shard: &mut Shard, key: &str, last_ms: i64) {
    let (models, combination) = shard.scoring.new_key(&shard.config);
    let mut state = KeyState::new(key, shard.config.plan.new_key(), models, combination);
    state.last_ms = last_ms;
    let before = now(shard);
    shard.take_in(state, before.offset, 0);
    touch(shard, key, before);
}

fn configuration(
    found: &Found,
    of: Fingerprint,
    current: &Arc<WorkerConfig>,
) -> Result<Arc<WorkerConfig>, RebuildError> {
    if current.fingerprint == of {
        return Ok(Arc::clone(current));
    }
    let content = found.configurations.get(&of).ok_or(RebuildError::NoConfiguration(of))?;
    faultline_crds::resolve_content(content).map(Arc::new).map_err(|_| RebuildError::Configuration(of))
}

fn image(what: &str) -> impl Fn(ImageError) -> RebuildError + use<> {
    let what = what.to_owned();
    move |source| RebuildError::Image { what: what.clone(), source }
}
