//! Keys that were forgotten early to make room for others: counted, and said now and then.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// After the first warning the next one comes at the earliest after this long …
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// … and later ones at the latest after this long, while keys go on being forgotten.
const LAST_PAUSE: Duration = Duration::from_secs(3600);

/// Evictions of this worker, over all partitions it has owned.
#[derive(Debug)]
pub(super) struct Evictions {
    total: u64,
    next_warning: Option<Instant>,
    pauses: Backoff,
}

impl Evictions {
    pub(super) fn new() -> Self {
        Self { total: 0, next_warning: None, pauses: Backoff::new(FIRST_PAUSE, LAST_PAUSE) }
    }

    /// Keys forgotten early since the start of this worker.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Counts what happened since the last report; the sentence to log when one is due.
    pub(super) fn count(&mut self, evicted: u64, now: Instant) -> Option<String> {
        self.total += evicted;
        if evicted == 0 || self.next_warning.is_some_and(|next| now < next) {
            return None;
        }
        self.next_warning = Some(now + self.pauses.next_pause());
        Some(format!(
            "{} keys were forgotten early to make room for others, and start to learn again when they come back; raise \
             source.maxKeysPerPartition or shorten source.keyExpiry",
            self.total
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_eviction_counts_and_few_are_said() {
        let (mut evictions, start) = (Evictions::new(), Instant::now());
        assert_eq!(evictions.count(0, start), None, "nothing happened");
        let first = evictions.count(2, start).expect("at once");
        for part in ["2 keys", "source.maxKeysPerPartition", "source.keyExpiry"] {
            assert!(first.contains(part), "{part} in {first}");
        }
        let hours = |hours: u64| start + Duration::from_secs(3600 * hours);
        let said = (1..=4 * 3600).filter(|second| evictions.count(1, start + Duration::from_secs(*second)).is_some());
        // After 1, 3, 7, 15, 31, 63, 123, 183 minutes: the pauses double up to an hour.
        assert_eq!(said.count(), 8);
        assert_eq!(evictions.count(0, hours(9)), None, "nothing more happened");
        assert_eq!(evictions.total(), 2 + 4 * 3600);
    }
}
