//! The keys of a shard: from an entity key to everything known of it.

use faultline_detectors::{KeyCombination, KeyModel};
use faultline_features::KeyWindows;
use faultline_numerics::hash::hash64;
use hashbrown::HashTable;

use crate::decide::Incident;

/// Everything known of one key.
#[derive(Debug)]
pub(crate) struct KeyState {
    key: InlineKey,
    /// Windows, rings and memories of the features.
    pub(crate) windows: KeyWindows,
    /// One state per model.
    pub(crate) models: Box<[KeyModel]>,
    /// State of the combination.
    pub(crate) combination: KeyCombination,
    /// The open incident.
    pub(crate) incident: Option<Box<Incident>>,
    /// Greatest event time of the key.
    pub(crate) last_ms: i64,
    /// When its expiry is looked at; other expiry timers of this key are stale.
    pub(crate) expiry_timer_ms: i64,
    /// Source offset of its first event that no image holds yet; [`CLEAN`] if there is none.
    pub(crate) dirty_since: i64,
    /// Records below this source offset are in it already: a replay skips them.
    pub(crate) covered: i64,
    /// Parts of its last image.
    pub(crate) parts: u32,
    hash: u64,
    events: u64,
    /// Bytes counted for it in [`Keys::bytes`].
    bytes: usize,
}

/// [`KeyState::dirty_since`] of a key whose image holds everything.
pub(crate) const CLEAN: i64 = i64::MAX;

impl KeyState {
    /// A key that was never seen.
    pub(crate) fn new(key: &str, windows: KeyWindows, models: Box<[KeyModel]>, combination: KeyCombination) -> Self {
        Self {
            key: InlineKey::new(key),
            windows,
            models,
            combination,
            incident: None,
            last_ms: i64::MIN,
            expiry_timer_ms: i64::MIN,
            dirty_since: CLEAN,
            covered: i64::MIN,
            parts: 0,
            hash: hash64(key.as_bytes()),
            events: 0,
            bytes: 0,
        }
    }

    /// The key itself.
    pub(crate) fn key(&self) -> &str {
        std::str::from_utf8(self.key.bytes()).unwrap_or_default()
    }

    /// Hash of the key.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    fn measure(&self) -> usize {
        let models: usize = self.models.iter().map(KeyModel::bytes).sum();
        let incident = if self.incident.is_some() { size_of::<Incident>() } else { 0 };
        size_of::<Self>() - size_of::<KeyWindows>()
            + self.windows.bytes()
            + models
            + self.key.spilled_bytes()
            + incident
    }
}

/// A key whose bytes lie beside its state if they are few: looking a key up costs one access to memory less.
#[derive(Debug)]
struct InlineKey {
    len: u8,
    inline: [u8; INLINE_BYTES],
    spilled: Box<str>,
}

/// Enough for a UUID's 36 characters, which leaves no gap beside the length.
const INLINE_BYTES: usize = 39;

/// The length that says that the bytes lie elsewhere.
const SPILLED: u8 = u8::MAX;

impl InlineKey {
    fn new(key: &str) -> Self {
        let mut inline = [0; INLINE_BYTES];
        match inline.get_mut(..key.len()) {
            Some(place) => {
                place.copy_from_slice(key.as_bytes());
                Self { len: key.len() as u8, inline, spilled: "".into() }
            }
            None => Self { len: SPILLED, inline, spilled: key.into() },
        }
    }

    fn bytes(&self) -> &[u8] {
        if self.len == SPILLED { self.spilled.as_bytes() } else { &self.inline[..usize::from(self.len)] }
    }

    fn spilled_bytes(&self) -> usize {
        self.spilled.len()
    }
}

/// A table from key to state. Its order is never looked at: what walks over all keys sorts them first.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    index: HashTable<u32>,
    states: Vec<KeyState>,
    bytes: usize,
}

impl Keys {
    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    /// Bytes held, about: each key is measured again when its events have doubled, and every 64.
    pub(crate) fn bytes(&self) -> usize {
        let spare = (self.states.capacity() - self.states.len()) * size_of::<KeyState>();
        self.bytes + spare + self.index.capacity() * size_of::<u32>()
    }

    /// Where the key is, until one is removed.
    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        let is_it = |&at: &u32| self.states[at as usize].key.bytes() == key.as_bytes();
        self.index.find(hash64(key.as_bytes()), is_it).map(|&at| at as usize)
    }

    /// Where the key with this hash is that has been dirty since an offset: no two keys share that.
    pub(crate) fn find_dirty(&self, hash: u64, since: i64) -> Option<usize> {
        let is_it = |&at: &u32| self.states[at as usize].dirty_since == since;
        self.index.find(hash, is_it).map(|&at| at as usize)
    }

    /// Takes all keys out.
    pub(crate) fn take_all(&mut self) -> Vec<KeyState> {
        std::mem::take(self).states
    }

    /// All keys, in no order that means anything.
    pub(crate) fn all(&mut self) -> &mut [KeyState] {
        &mut self.states
    }

    /// The state at a place that [`find`](Self::find) or [`insert`](Self::insert) gave.
    pub(crate) fn at(&mut self, at: usize) -> &mut KeyState {
        &mut self.states[at]
    }

    /// Adds a key that is not there.
    pub(crate) fn insert(&mut self, state: KeyState) -> usize {
        let at = self.states.len();
        let hash = state.hash;
        self.states.push(state);
        let states = &self.states;
        self.index.insert_unique(hash, at as u32, |&other| states[other as usize].hash);
        at
    }

    /// Takes a key out.
    pub(crate) fn remove(&mut self, key: &str) -> Option<KeyState> {
        let Self { index, states, bytes } = self;
        let found =
            index.find_entry(hash64(key.as_bytes()), |&at| states[at as usize].key.bytes() == key.as_bytes()).ok()?;
        let (at, _) = found.remove();
        let last = states.len() as u32 - 1;
        if at != last
            && let Some(moved) = index.find_mut(states[last as usize].hash, |&other| other == last)
        {
            *moved = at;
        }
        let state = states.swap_remove(at as usize);
        *bytes -= state.bytes;
        Some(state)
    }

    /// Counts an event of the key and measures the key now and then.
    pub(crate) fn count_event(&mut self, at: usize) {
        let state = &mut self.states[at];
        state.events += 1;
        if state.events.is_power_of_two() || state.events.is_multiple_of(MEASURE_EVERY) {
            let measured = state.measure();
            self.bytes = self.bytes + measured - state.bytes;
            state.bytes = measured;
        }
    }

    /// The `count` keys that have been silent for longest, by (last event, key).
    pub(crate) fn idlest(&self, count: usize) -> Vec<String> {
        let mut keys: Vec<(i64, &[u8])> = self.states.iter().map(|state| (state.last_ms, state.key.bytes())).collect();
        let last = count.min(keys.len());
        if (1..keys.len()).contains(&last) {
            keys.select_nth_unstable(last - 1);
        }
        keys.truncate(last);
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| String::from_utf8_lossy(key).into_owned()).collect()
    }
}

/// Events of a key between two measurements of its size.
const MEASURE_EVERY: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_length_keep_their_bytes() {
        for length in [1, INLINE_BYTES - 1, INLINE_BYTES, INLINE_BYTES + 1, 255, 256, 1024] {
            let key = "é".repeat(length / 2) + if length % 2 == 1 { "x" } else { "" };
            assert_eq!(InlineKey::new(&key).bytes(), key.as_bytes(), "{length}");
        }
    }
}
