//! The place of an event time in the local day or week, as an angle.

use chrono::{DateTime, Datelike, TimeZone, Timelike};
use chrono_tz::Tz;
use faultline_numerics::math::{cos, sin};

use crate::spec::Cycle;

const DAY_MS: u32 = 86_400_000;

/// Sine and cosine of the place in the cycle, `None` beyond the calendar. The day begins at local midnight, the week on
/// Monday; both go by the clock on the wall, so a day on which the clock is put forward jumps over that hour.
pub(crate) fn sine_and_cosine(cycle: Cycle, time_zone: Tz, time_ms: i64) -> Option<(f64, f64)> {
    let instant = DateTime::from_timestamp_millis(time_ms)?.naive_utc();
    let local = time_zone.from_utc_datetime(&instant);
    // A leap second counts on to the next second.
    let day_ms = local.num_seconds_from_midnight() * 1_000 + local.nanosecond() / 1_000_000;
    let (at_ms, cycle_ms) = match cycle {
        Cycle::HourOfDay => (day_ms, DAY_MS),
        Cycle::DayOfWeek => (local.weekday().num_days_from_monday() * DAY_MS + day_ms, 7 * DAY_MS),
    };
    let angle = std::f64::consts::TAU * f64::from(at_ms) / f64::from(cycle_ms);
    Some((sin(angle), cos(angle)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cycle: Cycle, time_zone: Tz, time: &str, turn: f64) {
        let time_ms = DateTime::parse_from_rfc3339(time).unwrap().timestamp_millis();
        let (sine, cosine) = sine_and_cosine(cycle, time_zone, time_ms).unwrap();
        let (expected_sine, expected_cosine) = (sin(std::f64::consts::TAU * turn), cos(std::f64::consts::TAU * turn));
        assert!((sine - expected_sine).abs() < 1e-12 && (cosine - expected_cosine).abs() < 1e-12, "{time} {turn}");
    }

    #[test]
    fn the_clock_on_the_wall_counts() {
        check(Cycle::HourOfDay, Tz::UTC, "2026-03-02T06:00:00Z", 0.25);
        check(Cycle::HourOfDay, Tz::Europe__Berlin, "2026-01-15T11:30:00Z", 12.5 / 24.0);
        check(Cycle::HourOfDay, Tz::Europe__Berlin, "2026-07-15T11:30:00Z", 13.5 / 24.0);
        check(Cycle::HourOfDay, Tz::Asia__Kathmandu, "2026-07-15T00:00:00.900Z", (5.75 + 0.9 / 3_600.0) / 24.0);
        check(Cycle::DayOfWeek, Tz::UTC, "2026-03-02T00:00:00Z", 0.0);
        check(Cycle::DayOfWeek, Tz::America__New_York, "2026-03-02T00:00:00Z", (6.0 + 19.0 / 24.0) / 7.0);
        check(Cycle::DayOfWeek, Tz::UTC, "1969-12-31T12:00:00Z", 2.5 / 7.0);
    }

    #[test]
    fn beyond_the_calendar_there_is_no_season() {
        assert_eq!(sine_and_cosine(Cycle::HourOfDay, Tz::UTC, i64::MAX), None);
    }
}
