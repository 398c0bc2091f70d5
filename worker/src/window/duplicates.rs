//! Ids seen within the deduplication window.

use std::collections::BTreeMap;

use faultline_numerics::hash::hash128;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::state::SeenId;

/// Minutes are forgotten as a whole.
const MINUTE_MS: i64 = 60_000;

/// 128-bit hashes of ids, by the minute of their event time. An event is a duplicate iff its id is held with a
/// smaller offset.
#[derive(Debug)]
pub(crate) struct Duplicates {
    window_ms: i64,
    ids: HashTable<Id>,
    minutes: BTreeMap<i64, Vec<u128>>,
}

/// What became of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakenIn {
    /// It was not held.
    New {
        /// The minute it is held under.
        minute: i64,
        /// Its hash and offset.
        id: SeenId,
    },
    /// It is held from the same record.
    Again,
    /// It is held from an earlier record.
    Duplicate,
}

#[derive(Debug, Clone, Copy)]
struct Id {
    id: u128,
    minute: i64,
    offset: i64,
}

impl Duplicates {
    pub(crate) fn new(window_ms: i64) -> Self {
        Self { window_ms, ids: HashTable::new(), minutes: BTreeMap::new() }
    }

    /// Takes an id in and says under which minute, or that it is held already.
    pub(crate) fn take_in(&mut self, id: &str, offset: i64, time_ms: i64) -> TakenIn {
        let id = hash128(id.as_bytes());
        match self.ids.entry(id as u64, |entry| entry.id == id, |entry| entry.id as u64) {
            Entry::Occupied(held) if held.get().offset < offset => TakenIn::Duplicate,
            Entry::Occupied(_) => TakenIn::Again,
            Entry::Vacant(place) => {
                let minute = time_ms.div_euclid(MINUTE_MS);
                place.insert(Id { id, minute, offset });
                self.minutes.entry(minute).or_default().push(id);
                TakenIn::New { minute, id: SeenId { id, offset } }
            }
        }
    }

    /// Takes in an id that was seen before a restart. Called in the order of offsets: of an id that was forgotten and
    /// came again the later sighting counts.
    pub(crate) fn recall(&mut self, minute: i64, seen: SeenId) {
        let SeenId { id, offset } = seen;
        match self.ids.entry(id as u64, |entry| entry.id == id, |entry| entry.id as u64) {
            Entry::Occupied(mut held) => *held.get_mut() = Id { id, minute, offset },
            Entry::Vacant(place) => {
                place.insert(Id { id, minute, offset });
            }
        }
        self.minutes.entry(minute).or_default().push(id);
    }

    /// Takes over what another window held; what this one no longer needs is forgotten in time.
    pub(crate) fn take_over(&mut self, other: Self) {
        let window_ms = self.window_ms;
        *self = Self { window_ms, ..other };
    }

    /// Whether ids of a minute are held.
    pub(crate) fn holds(&self, minute: i64) -> bool {
        self.minutes.contains_key(&minute)
    }

    /// Forgets the minutes that have left the window behind the watermark, and tells which; to be called before each
    /// [`take_in`](Self::take_in).
    pub(crate) fn forget(&mut self, watermark_ms: i64, mut tell: impl FnMut(i64)) {
        let oldest = watermark_ms.saturating_sub(self.window_ms).div_euclid(MINUTE_MS);
        while let Some(first) = self.minutes.first_entry().filter(|first| *first.key() < oldest) {
            let (minute, ids) = first.remove_entry();
            tell(minute);
            for id in ids {
                if let Ok(held) = self.ids.find_entry(id as u64, |entry| entry.id == id && entry.minute == minute) {
                    held.remove();
                }
            }
        }
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.ids.capacity() * size_of::<Id>() + self.ids.len() * size_of::<u128>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_new(taken: TakenIn) -> bool {
        matches!(taken, TakenIn::New { .. })
    }

    #[test]
    fn ids_are_held_for_the_window_and_then_forgotten() {
        let mut forgotten = Vec::new();
        let mut seen = Duplicates::new(600_000);
        assert!(is_new(seen.take_in("a", 5, 1_000_000)));
        assert_eq!(seen.take_in("a", 6, 1_000_000), TakenIn::Duplicate);
        assert_eq!(seen.take_in("a", 5, 1_000_000), TakenIn::Again, "a record read again is no duplicate of itself");
        seen.forget(1_600_000, |minute| forgotten.push(minute));
        assert_eq!(seen.take_in("a", 7, 1_600_000), TakenIn::Duplicate);
        assert!(is_new(seen.take_in("b", 8, 1_600_000)));
        seen.forget(1_680_000, |minute| forgotten.push(minute));
        assert!(is_new(seen.take_in("a", 9, 1_680_000)));
        assert_eq!((seen.ids.len(), seen.minutes.len()), (2, 2));
        assert_eq!(forgotten, [16]);
    }

    #[test]
    fn an_id_that_came_again_after_its_minute_is_recalled_with_the_later_offset() {
        let id = SeenId { id: hash128(b"a"), offset: 5 };
        let mut seen = Duplicates::new(600_000);
        seen.recall(1, id);
        seen.recall(20, SeenId { offset: 90, ..id });
        seen.forget(20 * MINUTE_MS, |_| {});
        assert!(!seen.holds(1) && seen.holds(20));
        assert_eq!(seen.take_in("a", 91, 20 * MINUTE_MS), TakenIn::Duplicate);
        assert_eq!(seen.take_in("a", 90, 20 * MINUTE_MS), TakenIn::Again);
    }
}
