//! How many images a tick writes.
//!
//! Each dirty key waits in a queue, the oldest first. Writing always the same share of the queue per record folded gives a
//! stream of images without a checkpoint's bursts; two limits say when more has to be written at once.

use crate::shard::Journal;

/// A key waits for about this share of the records that a replay may take: so far can the measure of folding fall before
/// images have to be written at once, whose burst the events after it would wait for.
const AIM: f64 = 0.55;
/// A marker tells at most so many seconds of the clock's history …
const MOST_SECONDS: usize = 512;
/// … and images of keys that have waited for half of them are written.
const SECONDS: usize = MOST_SECONDS / 2;

/// The pace of images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Records that a replay may take.
    pub replay: f64,
    /// Records folded by this tick.
    pub folded: u64,
    /// Most bytes of images in one tick.
    pub most_bytes: usize,
    /// Everything that fits, at once: a clean stop, or the source is about to lose L.
    pub hurry: bool,
}

impl Pace {
    /// Whether a key that has been dirty since an offset has to be written in this tick, whatever is owed.
    pub(crate) fn is_due(&self, journal: &Journal, since: i64, end: i64) -> bool {
        if self.hurry || (end - since) as f64 > self.replay {
            return true;
        }
        let history = &journal.clock;
        history.len() > MOST_SECONDS && since < history[history.len() - SECONDS].offset
    }

    /// Images owed for the records of this tick.
    pub(crate) fn owed(&self, journal: &Journal) -> f64 {
        let mut wait = (self.replay * AIM).max(1.0);
        let history = &journal.clock;
        if history.len() > SECONDS
            && let (Some(first), Some(last)) = (history.front(), history.back())
        {
            // Slow streams: seconds are what is scarce.
            let per_second = (last.offset - first.offset) as f64 / history.len() as f64;
            wait = wait.min((per_second * SECONDS as f64 * AIM).max(1.0));
        }
        journal.dirty_keys() as f64 * self.folded as f64 / wait
    }
}
