//! Ids seen within the deduplication window.

use std::collections::BTreeMap;

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

/// An id that was not held before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct New {
    /// The minute it is held under.
    pub(crate) minute: i64,
    /// Its hash and offset.
    pub(crate) id: SeenId,
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

    /// Whether an id is held from an earlier record, in a minute that is still in the window behind a watermark.
    pub(crate) fn is_duplicate(&self, id: u128, offset: i64, watermark_ms: i64) -> bool {
        let held = self.ids.find(id as u64, |entry| entry.id == id);
        held.is_some_and(|held| held.offset < offset && held.minute >= self.oldest_minute(watermark_ms))
    }

    /// Takes an id in; `None` if it is held already.
    pub(crate) fn take_in(&mut self, id: u128, offset: i64, time_ms: i64) -> Option<New> {
        match self.ids.entry(id as u64, |entry| entry.id == id, |entry| entry.id as u64) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                let minute = time_ms.div_euclid(MINUTE_MS);
                place.insert(Id { id, minute, offset });
                self.minutes.entry(minute).or_default().push(id);
                Some(New { minute, id: SeenId { id, offset } })
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
        let oldest = self.oldest_minute(watermark_ms);
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

    fn oldest_minute(&self, watermark_ms: i64) -> i64 {
        watermark_ms.saturating_sub(self.window_ms).div_euclid(MINUTE_MS)
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.ids.capacity() * size_of::<Id>() + self.ids.len() * size_of::<u128>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u128 = 7;
    const B: u128 = 8;

    #[test]
    fn ids_are_held_for_the_window_and_then_forgotten() {
        let mut forgotten = Vec::new();
        let mut seen = Duplicates::new(600_000);
        assert!(seen.take_in(A, 5, 1_000_000).is_some());
        assert!(seen.is_duplicate(A, 6, 1_000_000));
        assert!(!seen.is_duplicate(A, 5, 1_000_000), "a record read again is no duplicate of itself");
        assert_eq!(seen.take_in(A, 5, 1_000_000), None);
        seen.forget(1_600_000, |minute| forgotten.push(minute));
        assert!(seen.is_duplicate(A, 7, 1_600_000));
        assert!(seen.take_in(B, 8, 1_600_000).is_some());
        assert!(!seen.is_duplicate(A, 9, 1_680_000), "it moves the watermark past its minute");
        seen.forget(1_680_000, |minute| forgotten.push(minute));
        assert!(seen.take_in(A, 9, 1_680_000).is_some());
        assert_eq!((seen.ids.len(), seen.minutes.len()), (2, 2));
        assert_eq!(forgotten, [16]);
    }

    #[test]
    fn an_id_that_came_again_after_its_minute_is_recalled_with_the_later_offset() {
        let id = SeenId { id: A, offset: 5 };
        let mut seen = Duplicates::new(600_000);
        seen.recall(1, id);
        seen.recall(20, SeenId { offset: 90, ..id });
        seen.forget(20 * MINUTE_MS, |_| {});
        assert!(!seen.holds(1) && seen.holds(20));
        assert!(seen.is_duplicate(A, 91, 20 * MINUTE_MS));
        assert!(!seen.is_duplicate(A, 90, 20 * MINUTE_MS));
    }
}
