//! The clock of a lane's shards: sampled once per tick, in whole seconds, and handed to the fold as a number.
//!
//! The fold never looks at a clock itself: future guard, `maxEventAge` and idle timers read the sampled second.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the seconds come from.
pub trait Clock: Send {
    /// The second since the epoch, given the greatest event time seen so far.
    fn second(&mut self, greatest_timestamp_ms: Option<i64>) -> i64;

    /// True if time is taken from the records themselves; then an event time is held against its record's
    /// timestamp, not against the clock: see [`Shard::trusting_record_times`](crate::shard::Shard::trusting_record_times).
    fn follows_records(&self) -> bool {
        false
    }
}

/// The time of day.
#[derive(Debug, Clone, Copy, Default)]
pub struct WallClock;

impl Clock for WallClock {
    fn second(&mut self, _: Option<i64>) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
    }
}

/// The time of the records: the greatest event time, and what has passed since it was seen, times a speed. For
/// replays and local runs, where events are older than now or come faster than life.
#[derive(Debug, Clone)]
pub struct RecordsClock {
    speed: f64,
    greatest_ms: Option<i64>,
    since: Instant,
}

impl RecordsClock {
    /// A clock that runs `speed` times as fast as the wall's between records.
    #[must_use]
    pub fn new(speed: f64) -> Self {
        Self { speed, greatest_ms: None, since: Instant::now() }
    }

    fn at(&self, elapsed: Duration) -> i64 {
        let passed_ms = (elapsed.as_secs_f64() * self.speed * 1000.0) as i64;
        self.greatest_ms.map_or(0, |greatest| greatest.saturating_add(passed_ms).div_euclid(1000))
    }
}

impl Clock for RecordsClock {
    fn second(&mut self, greatest_timestamp_ms: Option<i64>) -> i64 {
        if greatest_timestamp_ms > self.greatest_ms {
            self.greatest_ms = greatest_timestamp_ms;
            self.since = Instant::now();
        }
        self.at(self.since.elapsed())
    }

    fn follows_records(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_clock_adds_what_has_passed_times_its_speed() {
        let mut clock = RecordsClock::new(60.0);
        assert_eq!(clock.second(None), 0);
        assert!(clock.second(Some(1_000_000)) >= 1000);
        assert_eq!(clock.at(Duration::from_secs(2)), 1120);
        let later = clock.second(Some(500_000));
        assert!(later >= 1000, "an older record does not turn the clock back");
    }
}
