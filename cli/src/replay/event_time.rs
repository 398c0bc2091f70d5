//! Event times as files hold them, and as the pipeline reads them.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike};
use faultline_crds::worker_config::TimeUnit;
use serde_json::Value;

/// Ways to write a time without a zone; it is UTC then.
const WITHOUT_ZONE: [&str; 4] = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];

/// Reads a time: milliseconds since the epoch, and how it is to be written for the pipeline if it has to change.
///
/// A number counts the pipeline's unit; milliseconds where it has none.
pub(super) fn read(value: &Value, unit: Option<TimeUnit>) -> Result<(i64, Option<Value>), String> {
    let unit = unit.unwrap_or(TimeUnit::Milliseconds);
    let (time_ms, as_is) = match value {
        Value::Number(number) if unit != TimeUnit::Rfc3339 => (of_number(number.as_f64(), unit), true),
        Value::String(text) => match (text.parse::<f64>(), unit) {
            (
                Ok(number),
                TimeUnit::Seconds | TimeUnit::Milliseconds | TimeUnit::Microseconds | TimeUnit::Nanoseconds,
            ) => (of_number(Some(number), unit), false),
            _ => (of_text(text), unit == TimeUnit::Rfc3339 && DateTime::parse_from_rfc3339(text).is_ok()),
        },
        _ => (None, false),
    };
    let expected = || format!("expected a time such as 2026-11-01 02:14:00 or {}, found {value}", example(unit));
    let time_ms = time_ms.ok_or_else(expected)?;
    Ok((time_ms, (!as_is).then(|| written(time_ms, unit))))
}

fn example(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Seconds => "1793499240 (seconds)",
        TimeUnit::Milliseconds => "1793499240000 (milliseconds)",
        TimeUnit::Microseconds => "1793499240000000 (microseconds)",
        TimeUnit::Nanoseconds => "1793499240000000000 (nanoseconds)",
        TimeUnit::Rfc3339 => "2026-11-01T02:14:00Z",
    }
}

fn of_number(number: Option<f64>, unit: TimeUnit) -> Option<i64> {
    let per_ms = match unit {
        TimeUnit::Seconds => 1e-3,
        TimeUnit::Milliseconds | TimeUnit::Rfc3339 => 1.0,
        TimeUnit::Microseconds => 1e3,
        TimeUnit::Nanoseconds => 1e6,
    };
    // Nearest millisecond: 0.123 s has no exact double. 9e15 ms is beyond any date.
    number.map(|number| (number / per_ms).round()).filter(|ms| ms.abs() <= 9e15).map(|ms| ms as i64)
}

fn of_text(text: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|date| date.and_hms_opt(0, 0, 0));
    let time = WITHOUT_ZONE.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()).or_else(date);
    time.map(|time| time.and_utc().timestamp_millis())
}

fn written(time_ms: i64, unit: TimeUnit) -> Value {
    match unit {
        TimeUnit::Seconds if time_ms % 1000 == 0 => Value::from(time_ms / 1000),
        TimeUnit::Seconds => Value::from(time_ms as f64 / 1000.0),
        TimeUnit::Milliseconds => Value::from(time_ms),
        TimeUnit::Microseconds => Value::from(time_ms.saturating_mul(1000)),
        TimeUnit::Nanoseconds => Value::from(time_ms.saturating_mul(1_000_000)),
        TimeUnit::Rfc3339 => Value::from(rfc3339(time_ms)),
    }
}

/// RFC 3339, UTC, with milliseconds.
pub(crate) fn rfc3339(time_ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(time_ms).unwrap_or_default();
    let (date, clock) = (time.date_naive(), time.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        date.month(),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        time_ms.rem_euclid(1000)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(value: Value, unit: Option<TimeUnit>, time_ms: i64, written: Option<Value>) {
        assert_eq!(read(&value, unit), Ok((time_ms, written)), "{value}");
    }

    #[test]
    fn times_without_a_zone_are_utc_and_are_written_in_the_pipelines_unit() {
        let at = 1_793_499_240_000;
        check(json!("2026-11-01 02:14:00"), Some(TimeUnit::Seconds), at, Some(json!(1_793_499_240)));
        check(json!("2026-11-01T02:14:00"), Some(TimeUnit::Milliseconds), at, Some(json!(at)));
        check(json!("2026-11-01 02:14"), None, at, Some(json!(at)));
        check(json!("2026-11-01 03:14:00+01:00"), Some(TimeUnit::Rfc3339), at, None);
        check(
            json!("2026-11-01 02:14:00.5"),
            Some(TimeUnit::Rfc3339),
            at + 500,
            Some(json!("2026-11-01T02:14:00.500Z")),
        );
        check(json!("2026-11-01"), Some(TimeUnit::Seconds), at - 8_040_000, Some(json!(1_793_491_200)));
    }

    #[test]
    fn numbers_count_the_pipelines_unit() {
        check(json!(1_793_499_240), Some(TimeUnit::Seconds), 1_793_499_240_000, None);
        check(json!(1_793_499_240.123), Some(TimeUnit::Seconds), 1_793_499_240_123, None);
        check(
            json!("1793499240123"),
            Some(TimeUnit::Milliseconds),
            1_793_499_240_123,
            Some(json!(1_793_499_240_123i64)),
        );
        check(json!(1_793_499_240_123_000i64), Some(TimeUnit::Microseconds), 1_793_499_240_123, None);
    }

    #[test]
    fn what_is_no_time_says_what_was_expected() {
        for (value, unit) in
            [(json!("yesterday"), TimeUnit::Seconds), (json!(5), TimeUnit::Rfc3339), (json!(null), TimeUnit::Seconds)]
        {
            let reason = read(&value, Some(unit)).unwrap_err();
            assert!(reason.contains("expected a time") && reason.contains(&value.to_string()), "{reason}");
        }
    }
}
