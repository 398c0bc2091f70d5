//! Mutes: anomalies that are recorded, not alerted.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, Offset, TimeZone};
use chrono_tz::Tz;
use faultline_crds::worker_config::{Mute, MuteCondition};
use faultline_features::Value;

use super::Severity;

/// What a mute looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MuteFacts<'a> {
    pub(crate) time_ms: i64,
    pub(crate) columns: &'a [Value<'a>],
    pub(crate) key: &'a str,
    pub(crate) surprise: f64,
    pub(crate) severity: Severity,
}

/// Whether any mute applies. Only anomalies are asked about, so this may allocate.
pub(crate) fn is_muted(mutes: &[Mute], facts: &MuteFacts<'_>) -> bool {
    mutes.iter().any(|mute| match &mute.condition {
        MuteCondition::When(program) => {
            let mut slots = facts.columns.to_vec();
            slots.extend([Value::Text(facts.key), Value::number(facts.surprise), Value::Text(facts.severity.name())]);
            program.is_true(&slots)
        }
        MuteCondition::Schedule { days_of_month, days_of_week, at_minutes, time_zone, duration_ms } => {
            let begins = |date: NaiveDate| {
                (days_of_month.is_empty() || days_of_month.iter().any(|day| is_day_of_month(date, *day)))
                    && (days_of_week.is_empty() || days_of_week.contains(&(date.weekday().number_from_monday() as u8)))
            };
            falls_within(facts.time_ms, begins, *at_minutes, *time_zone, *duration_ms)
        }
    })
}

/// Whether a range of `duration_ms` that begins on one of the days at `at_minutes` local time holds `time_ms`.
fn falls_within(time_ms: i64, begins: impl Fn(NaiveDate) -> bool, at_minutes: u16, zone: Tz, duration_ms: i64) -> bool {
    let Some(local) = DateTime::from_timestamp_millis(time_ms).map(|at| at.with_timezone(&zone)) else { return false };
    let Some(at) = NaiveTime::from_num_seconds_from_midnight_opt(u32::from(at_minutes) * 60, 0) else { return false };
    // One day more than the range is long: the local day may begin up to a day away from the UTC day.
    let days_back = duration_ms.div_euclid(86_400_000).clamp(0, MOST_DAYS) as u64 + 1;
    (0..=days_back)
        .filter_map(|days| local.date_naive().checked_sub_days(Days::new(days)))
        .filter(|date| begins(*date))
        .filter_map(|date| beginning_ms(date, at, zone))
        .any(|begin_ms| (begin_ms..begin_ms.saturating_add(duration_ms)).contains(&time_ms))
}

/// Longest range looked back for: a year and its leap day.
const MOST_DAYS: i64 = 366;

/// The instant of a local time. One that exists twice is the earlier; one that a change of clocks skips is taken with
/// the offset before the change.
fn beginning_ms(date: NaiveDate, at: NaiveTime, zone: Tz) -> Option<i64> {
    let local = date.and_time(at);
    if let Some(instant) = zone.from_local_datetime(&local).earliest() {
        return Some(instant.timestamp_millis());
    }
    let before = zone.offset_from_local_datetime(&(local - chrono::TimeDelta::hours(3))).earliest()?;
    Some((local - before.fix()).and_utc().timestamp_millis())
}

/// Whether a date is the day of the month; −1 is the last.
fn is_day_of_month(date: NaiveDate, day: i8) -> bool {
    match day {
        -1 => date.succ_opt().is_none_or(|next| next.month() != date.month()),
        day => i64::from(date.day()) == i64::from(day),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn muted(days_of_month: &[i8], days_of_week: &[u8], at_minutes: u16, hours: i64, zone: Tz, time: &str) -> bool {
        let condition = MuteCondition::Schedule {
            days_of_month: days_of_month.to_vec(),
            days_of_week: days_of_week.to_vec(),
            at_minutes,
            time_zone: zone,
            duration_ms: hours * 3_600_000,
        };
        let time_ms = DateTime::parse_from_rfc3339(time).unwrap().timestamp_millis();
        let facts = MuteFacts { time_ms, columns: &[], key: "k", surprise: 3.0, severity: Severity::Warning };
        is_muted(&[Mute { name: "m".to_owned(), condition }], &facts)
    }

    #[test]
    fn schedules_follow_the_calendar_of_their_zone() {
        let berlin = chrono_tz::Europe::Berlin;
        for (time, expected) in [
            ("2026-10-31T20:59:59Z", false),
            ("2026-10-31T21:00:00Z", true),
            ("2026-11-01T00:59:59Z", true),
            ("2026-11-01T01:00:00Z", false),
            ("2026-10-30T21:30:00Z", false),
            ("2028-02-29T21:30:00Z", true),
            ("2028-02-28T21:30:00Z", false),
        ] {
            assert_eq!(muted(&[-1], &[], 22 * 60, 4, berlin, time), expected, "{time}");
        }
    }

    #[test]
    fn weekdays_long_ranges_and_changes_of_clocks() {
        let berlin = chrono_tz::Europe::Berlin;
        assert!(muted(&[], &[6], 0, 48, berlin, "2026-11-22T22:30:00Z"), "Sunday 23:30 local lies in the weekend");
        assert!(!muted(&[], &[6], 0, 48, berlin, "2026-11-22T23:00:00Z"), "Monday 00:00 local does not");
        // 02:30 does not exist on 2026-03-29: the range begins where it would have without the change, at 01:30 UTC.
        assert!(!muted(&[29], &[], 150, 1, berlin, "2026-03-29T01:29:59Z"));
        assert!(muted(&[29], &[], 150, 1, berlin, "2026-03-29T01:30:00Z"));
        // 02:30 exists twice on 2026-10-25: the first, at 00:30 UTC.
        assert!(muted(&[25], &[], 150, 1, berlin, "2026-10-25T00:30:00Z"));
        assert!(!muted(&[25], &[], 150, 1, berlin, "2026-10-25T01:30:00Z"));
    }
}
