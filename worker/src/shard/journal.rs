//! What has changed in a shard and is not in its state topic yet, and what the topic holds that has to go.
//!
//! The fold notes here what it changes; `keep` writes it at the end of the tick. Nothing in here changes what the fold does.

use std::collections::{BTreeMap, HashMap, VecDeque};

use faultline_numerics::hash::Fingerprint;

use super::keys::{CLEAN, KeyState, Keys};
use crate::state::{ClockTick, LowWater, RecordKey, SeenId};

/// Changes since the last tick, and debts to the state topic.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Off: nothing is kept of this shard, and nothing is noted.
    on: bool,
    /// A replay: what it changes is in the topic already, but for images.
    replaying: bool,
    /// Keys with events that no image holds yet, the oldest first. An entry whose key was written or dropped since is stale.
    dirty: VecDeque<Dirty>,
    /// Keys whose incident has changed in this tick.
    pub(crate) decided: Vec<Box<str>>,
    /// Keys that were dropped in this tick.
    pub(crate) dropped: Vec<Dropped>,
    /// Ids taken in by this tick, by minute.
    pub(crate) ids: BTreeMap<i64, Vec<SeenId>>,
    /// Ends of the ticks whose ids of a minute lie in the topic.
    pub(crate) minutes: BTreeMap<i64, Vec<i64>>,
    /// Minutes that were forgotten in this tick, and the offset at which.
    pub(crate) forgotten: Vec<(i64, i64)>,
    /// Seconds of the clock, from the one that covers L on.
    pub(crate) clock: VecDeque<ClockTick>,
    /// Configurations, from the one that covers L on.
    pub(crate) configurations: Vec<(i64, Fingerprint)>,
    /// Records of the topic that are to be deleted once L has passed an offset, in the order of these offsets.
    pub(crate) tombstones: VecDeque<Tombstone>,
    /// Dropped keys whose empty image lies in the topic: where they end.
    gone: HashMap<Box<str>, i64>,
    /// Number of the last marker.
    pub(crate) sequence: u64,
    /// Since when the partition has been silent, as the last marker says.
    pub(crate) idle_since: Option<i64>,
    /// How far the source was read, as the last marker says.
    pub(crate) read_to: Option<i64>,
    /// Owner and configuration have to be written.
    pub(crate) introduces: bool,
    /// Images owed to the budget, fractions included.
    pub(crate) owed: f64,
}

#[derive(Debug, Clone, Copy)]
struct Dirty {
    since: LowWater,
    hash: u64,
}

/// A key that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) key: Box<str>,
    /// Everything of it that lies below this offset is gone.
    pub(crate) below: i64,
    /// Parts of its last image.
    pub(crate) parts: u32,
}

/// A record that is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tombstone {
    /// Once L has reached this offset.
    pub(crate) after: i64,
    /// The record's key.
    pub(crate) key: Vec<u8>,
}

impl Journal {
    /// A journal that notes what changes; the default notes nothing.
    pub(crate) fn keeping() -> Self {
        Self { on: true, introduces: true, ..Self::default() }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// Notes images only, until [`end_replay`](Self::end_replay).
    pub(crate) fn begin_replay(&mut self) {
        self.replaying = true;
    }

    pub(crate) fn end_replay(&mut self) {
        self.replaying = false;
    }

    fn notes(&self) -> bool {
        self.on && !self.replaying
    }

    /// An event is about to be folded into a key. `before` is how far the shard was before that event.
    pub(crate) fn touch(&mut self, key: &mut KeyState, before: LowWater) {
        if self.on && key.dirty_since == CLEAN {
            key.dirty_since = before.offset;
            self.dirty.push_back(Dirty { since: before, hash: key.hash() });
        }
    }

    /// The key that has been dirty for longest, and since when.
    pub(crate) fn oldest_dirty(&mut self, keys: &Keys) -> Option<(usize, LowWater)> {
        while let Some(oldest) = self.dirty.front() {
            if let Some(at) = keys.find_dirty(oldest.hash, oldest.since.offset) {
                return Some((at, oldest.since));
            }
            self.dirty.pop_front();
        }
        None
    }

    /// Keys that wait to be written, about: stale entries are counted too.
    pub(crate) fn dirty_keys(&self) -> usize {
        self.dirty.len()
    }

    /// The incident of a key has changed.
    pub(crate) fn decided(&mut self, key: &str) {
        if self.notes() && self.decided.last().is_none_or(|last| **last != *key) {
            self.decided.push(key.into());
        }
    }

    /// A key was dropped, with everything that lies below an offset.
    pub(crate) fn dropped(&mut self, key: &str, below: i64, parts: u32) {
        if self.notes() {
            self.dropped.push(Dropped { key: key.into(), below, parts });
        }
    }

    /// An id was taken in.
    pub(crate) fn took_in(&mut self, minute: i64, id: SeenId) {
        if self.notes() {
            self.ids.entry(minute).or_default().push(id);
        }
    }

    /// A minute of ids was forgotten by the event at an offset.
    pub(crate) fn forgot(&mut self, minute: i64, offset: i64) {
        if self.notes() {
            self.forgotten.push((minute, offset));
        }
    }

    /// A tick begins at an offset under a second of the clock.
    pub(crate) fn clock(&mut self, tick: ClockTick) {
        if !self.notes() || self.clock.back().is_some_and(|last| last.second == tick.second) {
            return;
        }
        // Nothing was folded under the last one.
        if self.clock.back().is_some_and(|last| last.offset == tick.offset) {
            self.clock.pop_back();
        }
        self.clock.push_back(tick);
    }

    /// L has moved on: what only lies before it is not told any more.
    pub(crate) fn forget_below(&mut self, low: i64) {
        while self.clock.len() > 1 && self.clock[1].offset <= low {
            self.clock.pop_front();
        }
        // Images that are not written anew since came through all that took force at L.
        while self.configurations.len() > 1 && self.configurations[1].0 <= low && self.configurations[0].0 < low {
            self.configurations.remove(0);
        }
    }

    /// A configuration that took force at an offset, and gave way at another, has to go when the marker does not tell it any
    /// more: see [`forget_below`](Self::forget_below).
    pub(crate) fn bury_configuration(&mut self, (since, of): (i64, Fingerprint), until: i64) {
        self.bury(until.max(since + 1), &RecordKey::Configuration { of });
    }

    /// A record of the topic has to go once L has reached an offset.
    pub(crate) fn bury(&mut self, after: i64, record: &RecordKey<'_>) {
        let mut key = Vec::new();
        record.write(&mut key);
        self.tombstones.push_back(Tombstone { after, key });
    }

    /// Puts what was buried in any order into that of the offsets.
    pub(crate) fn sort_tombstones(&mut self) {
        self.tombstones.make_contiguous().sort_by_key(|tombstone| tombstone.after);
    }

    /// Key of the next record that has to go.
    pub(crate) fn next_tombstone(&mut self, low: i64) -> Option<Tombstone> {
        self.tombstones.front().filter(|first| first.after <= low)?;
        self.tombstones.pop_front()
    }

    /// The empty image of a dropped key has to go once L has passed its end, unless the key is dropped again until then.
    pub(crate) fn bury_key(&mut self, key: &str, below: i64) {
        self.gone.insert(key.into(), below);
        self.bury(below, &RecordKey::Image { key, part: 0 });
    }

    /// Whether the last empty image of a key is the one that was buried with an offset.
    pub(crate) fn is_last_end(&mut self, key: &str, below: i64) -> bool {
        self.gone.get(key) == Some(&below) && self.gone.remove(key).is_some()
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.dirty.capacity() * size_of::<Dirty>()
            + self.tombstones.capacity() * size_of::<Tombstone>()
            + self.gone.capacity() * size_of::<(Box<str>, i64)>()
            + self.clock.capacity() * size_of::<ClockTick>()
            + self.minutes.values().map(|ends| ends.capacity() * size_of::<i64>()).sum::<usize>()
    }
}
