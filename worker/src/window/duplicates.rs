//! Ids seen within the deduplication window.

use std::collections::BTreeMap;

use faultline_numerics::hash::hash128;
use hashbrown::HashTable;

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

    /// Takes an id in; false if it is held with a smaller offset.
    pub(crate) fn take_in(&mut self, id: &str, offset: i64, time_ms: i64) -> bool {
        let id = hash128(id.as_bytes());
        match self.ids.entry(id as u64, |entry| entry.id == id, |entry| entry.id as u64) {
            hashbrown::hash_table::Entry::Occupied(held) => held.get().offset >= offset,
            hashbrown::hash_table::Entry::Vacant(place) => {
                let minute = time_ms.div_euclid(MINUTE_MS);
                place.insert(Id { id, minute, offset });
                self.minutes.entry(minute).or_default().push(id);
                true
            }
        }
    }

    /// Forgets the minutes that have left the window behind the watermark; to be called before each [`take_in`](Self::take_in).
    pub(crate) fn forget(&mut self, watermark_ms: i64) {
        let oldest = watermark_ms.saturating_sub(self.window_ms).div_euclid(MINUTE_MS);
        while let Some(first) = self.minutes.first_entry().filter(|first| *first.key() < oldest) {
            let (minute, ids) = first.remove_entry();
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

    #[test]
    fn ids_are_held_for_the_window_and_then_forgotten() {
        let mut seen = Duplicates::new(600_000);
        assert!(seen.take_in("a", 5, 1_000_000));
        assert!(!seen.take_in("a", 6, 1_000_000));
        assert!(seen.take_in("a", 5, 1_000_000), "the same record read again is no duplicate of itself");
        seen.forget(1_600_000);
        assert!(!seen.take_in("a", 7, 1_600_000));
        assert!(seen.take_in("b", 8, 1_600_000));
        seen.forget(1_680_000);
        assert!(seen.take_in("a", 9, 1_680_000));
        assert_eq!((seen.ids.len(), seen.minutes.len()), (2, 2));
    }
}
