//! How far a shard has come in event time.

/// Greatest timestamp, watermark and horizon of a shard.
///
/// The *watermark* is the greatest event time seen − the allowed lateness; only accepted events move it, and only it
/// makes an event late: silence does not. The *horizon* is what timers look at: the watermark, and while the
/// partition is idle the time that passes on the shard's clock on top of it, never the clock itself. The watermark never
/// moves back. What a silence adds to the horizon ends with it: the timers of events that come after it wait for event time
/// again, and nothing has to be remembered of how far a silence went.
#[derive(Debug, Clone)]
pub(crate) struct EventTime {
    lateness_ms: i64,
    greatest_ms: Option<i64>,
    /// The greatest event time before the last one accepted.
    before_ms: Option<i64>,
    horizon_ms: i64,
    /// The clock's second when the shard was first found idle after its last record.
    idle_since: Option<i64>,
}

impl EventTime {
    pub(crate) fn new(lateness_ms: i64) -> Self {
        Self { lateness_ms, greatest_ms: None, before_ms: None, horizon_ms: i64::MIN, idle_since: None }
    }

    /// As it was when a marker was written.
    pub(crate) fn restored(
        lateness_ms: i64,
        greatest_ms: Option<i64>,
        horizon_ms: i64,
        idle_since: Option<i64>,
    ) -> Self {
        Self { lateness_ms, greatest_ms, before_ms: greatest_ms, horizon_ms, idle_since }
    }

    /// The clock's second when the shard was found idle after its last record.
    pub(crate) fn idle_since(&self) -> Option<i64> {
        self.idle_since
    }

    /// The greatest event time before the last one accepted.
    pub(crate) fn before_ms(&self) -> Option<i64> {
        self.before_ms
    }

    pub(crate) fn greatest_ms(&self) -> Option<i64> {
        self.greatest_ms
    }

    /// Events before it are late.
    pub(crate) fn watermark_ms(&self) -> Option<i64> {
        self.greatest_ms.map(|greatest| greatest - self.lateness_ms)
    }

    /// Timers before it are due; `i64::MIN` before the first event.
    pub(crate) fn horizon_ms(&self) -> i64 {
        self.horizon_ms
    }

    pub(crate) fn is_late(&self, time_ms: i64) -> bool {
        self.watermark_ms().is_some_and(|watermark| time_ms < watermark)
    }

    /// A record was taken in: the partition is not idle.
    pub(crate) fn record(&mut self) {
        self.idle_since = None;
        self.horizon_ms = self.watermark_ms().unwrap_or(i64::MIN);
    }

    /// An event was accepted.
    pub(crate) fn accept(&mut self, time_ms: i64) {
        self.before_ms = self.greatest_ms;
        let greatest = self.greatest_ms.map_or(time_ms, |greatest| greatest.max(time_ms));
        self.greatest_ms = Some(greatest);
        self.horizon_ms = greatest - self.lateness_ms;
    }

    /// The source reported the end of the partition at the shard's position.
    pub(crate) fn idle(&mut self, clock_second: i64) {
        let since = *self.idle_since.get_or_insert(clock_second);
        if let Some(watermark) = self.watermark_ms() {
            let passed_ms = clock_second.saturating_sub(since).max(0).saturating_mul(1000);
            self.horizon_ms = self.horizon_ms.max(watermark.saturating_add(passed_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_moves_the_horizon_and_makes_nothing_late() {
        let mut time = EventTime::new(30_000);
        time.idle(5_000);
        assert_eq!(time.horizon_ms(), i64::MIN);
        time.record();
        time.accept(1_000_000);
        assert_eq!((time.watermark_ms(), time.horizon_ms()), (Some(970_000), 970_000));
        time.idle(9_000);
        time.idle(9_100);
        assert_eq!(time.horizon_ms(), 1_070_000);
        assert!(!time.is_late(970_000));
        assert!(time.is_late(969_999));
        time.idle(8_000);
        assert_eq!(time.horizon_ms(), 1_070_000, "a clock set back changes nothing");
        time.record();
        time.accept(1_010_000);
        assert_eq!((time.watermark_ms(), time.horizon_ms()), (Some(980_000), 980_000));
        time.idle(9_500);
        time.idle(9_510);
        time.record();
        assert_eq!(time.horizon_ms(), 980_000, "a record that is no event ends a silence, too");
    }
}
