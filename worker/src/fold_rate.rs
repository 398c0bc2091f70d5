//! How fast a lane folds: what a replay takes is told from it.

use std::time::Duration;

/// Before anything was measured: what a core does with a few features and detectors.
const ASSUMED: f64 = 300_000.0;
/// What is assumed counts like so many measures …
const DOUBTED: f64 = 5.0;
/// … and the mean is that of about so many, 4 s of folding: the pace of images follows the machine, not each time that
/// something else had the core, or they would come in bursts.
const MEASURES: f64 = 200.0;
/// Shorter times are not measured alone.
const LEAST: Duration = Duration::from_millis(20);

/// Records per second of folding, over many ticks.
#[derive(Debug, Clone)]
pub(crate) struct FoldRate {
    per_second: f64,
    measures: f64,
    records: u64,
    took: Duration,
}

impl Default for FoldRate {
    fn default() -> Self {
        Self { per_second: ASSUMED, measures: DOUBTED, records: 0, took: Duration::ZERO }
    }
}

impl FoldRate {
    /// So many records took so long.
    pub(crate) fn note(&mut self, records: u64, took: Duration) {
        self.records += records;
        self.took += took;
        if self.took >= LEAST && self.records > 0 {
            let measured = self.records as f64 / self.took.as_secs_f64();
            self.measures = (self.measures + 1.0).min(MEASURES);
            self.per_second += (measured - self.per_second) / self.measures;
            (self.records, self.took) = (0, Duration::ZERO);
        }
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.per_second
    }

    /// How long folding so many records takes.
    pub(crate) fn seconds(&self, records: u64) -> f64 {
        records as f64 / self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_what_is_measured() {
        let mut rate = FoldRate::default();
        rate.note(5, Duration::from_micros(10));
        assert!((rate.per_second() - ASSUMED).abs() < 1.0, "too short to tell");
        for _ in 0..1000 {
            rate.note(10_000, Duration::from_millis(50));
        }
        assert!((rate.per_second() - 200_000.0).abs() < 1000.0);
        assert!((rate.seconds(1_000_000) - 5.0).abs() < 0.1);
    }

    #[test]
    fn what_is_assumed_is_soon_forgotten_and_a_hiccup_hardly_shows() {
        let mut rate = FoldRate::default();
        (0..50).for_each(|_| rate.note(2000, Duration::from_millis(20)));
        assert!((rate.per_second() - 100_000.0).abs() < 20_000.0, "{}", rate.per_second());
        (0..1000).for_each(|_| rate.note(2000, Duration::from_millis(20)));
        let before = rate.per_second();
        rate.note(2000, Duration::from_millis(200));
        assert!(rate.per_second() > 0.99 * before);
    }
}
