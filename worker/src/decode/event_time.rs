//! Event times: numbers in a unit, and RFC 3339, without allocation.

use faultline_crds::worker_config::TimeUnit;

use crate::emit::days_from_civil;

/// 9999-12-31T23:59:59.999Z, the last time that RFC 3339 can write.
pub(crate) const MAX_TIME_MS: i64 = 253_402_300_799_999;

/// How the YAML names a unit.
pub(crate) fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Seconds => "seconds",
        TimeUnit::Milliseconds => "milliseconds",
        TimeUnit::Microseconds => "microseconds",
        TimeUnit::Nanoseconds => "nanoseconds",
        TimeUnit::Rfc3339 => "rfc3339",
    }
}

/// What stands at the timestamp's path, in words.
pub(super) fn expected(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Seconds => "seconds since the epoch",
        TimeUnit::Milliseconds => "milliseconds since the epoch",
        TimeUnit::Microseconds => "microseconds since the epoch",
        TimeUnit::Nanoseconds => "nanoseconds since the epoch",
        TimeUnit::Rfc3339 => "an RFC 3339 time",
    }
}

/// Milliseconds since the epoch of a JSON number, as written and as a double; `None` if they do not fit.
pub(super) fn number(text: &str, count: f64, unit: TimeUnit) -> Option<i64> {
    if let Ok(count) = text.parse::<i64>() {
        return match unit {
            TimeUnit::Seconds => count.checked_mul(1000),
            TimeUnit::Milliseconds => Some(count),
            TimeUnit::Microseconds => Some(count.div_euclid(1000)),
            TimeUnit::Nanoseconds => Some(count.div_euclid(1_000_000)),
            TimeUnit::Rfc3339 => None,
        };
    }
    let millis = match unit {
        // Seconds with a fraction: the nearest millisecond, because 0.123 has no exact double.
        TimeUnit::Seconds => (count * 1e3 + 0.5).floor(),
        TimeUnit::Milliseconds => count.floor(),
        TimeUnit::Microseconds => (count / 1e3).floor(),
        TimeUnit::Nanoseconds => (count / 1e6).floor(),
        TimeUnit::Rfc3339 => return None,
    };
    (millis.abs() <= 9e15).then_some(millis as i64)
}

/// The unit in which `text` would lie between 2000 and 2100, if there is one.
pub(crate) fn likely_unit(text: &str) -> Option<TimeUnit> {
    const FROM_MS: i64 = 946_684_800_000;
    const TO_MS: i64 = 4_102_444_800_000;
    let count = text.parse().ok()?;
    [TimeUnit::Seconds, TimeUnit::Milliseconds, TimeUnit::Microseconds, TimeUnit::Nanoseconds]
        .into_iter()
        .find(|unit| number(text, count, *unit).is_some_and(|at| (FROM_MS..TO_MS).contains(&at)))
}

/// Milliseconds since the epoch of an RFC 3339 time (RFC 3339, section 5.6): any offset, any number of digits after
/// the seconds, `T`, `t` or a space between date and time. Digits beyond milliseconds are cut off; a leap second is
/// the second that follows it.
pub(super) fn rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let digits = |from: usize, count: usize| -> Option<i64> {
        bytes
            .get(from..from + count)?
            .iter()
            .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let is = |at: usize, allowed: &[u8]| bytes.get(at).is_some_and(|byte| allowed.contains(byte));
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    let punctuated = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let in_range = (1..=12).contains(&month)
        && day >= 1
        && day <= days_in_month(year, month)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !punctuated || !in_range {
        return None;
    }

    let mut at = 19;
    let mut millis = 0;
    if is(at, b".") {
        let fraction = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if fraction == 0 {
            return None;
        }
        millis = (0..3).fold(0, |sum, place| {
            sum * 10 + if place < fraction { i64::from(bytes[at + 1 + place] - b'0') } else { 0 }
        });
        at += 1 + fraction;
    }
    let offset_minutes = match bytes.get(at)? {
        b'Z' | b'z' => {
            at += 1;
            0
        }
        sign @ (b'+' | b'-') => {
            let (hours, minutes) = (digits(at + 1, 2)?, digits(at + 4, 2)?);
            if !is(at + 3, b":") || hours > 23 || minutes > 59 {
                return None;
            }
            at += 6;
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset_minutes * 60;
    (at == bytes.len()).then_some(seconds * 1000 + millis)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_rfc3339() {
        for (text, expected) in [
            ("2026-11-01T02:14:00Z", Some(1_793_499_240_000)),
            ("2026-11-01T02:14:00.5Z", Some(1_793_499_240_500)),
            ("2026-11-01t02:14:00.123999999z", Some(1_793_499_240_123)),
            ("2026-11-01 03:14:00.001+01:00", Some(1_793_499_240_001)),
            ("2026-10-31T20:44:00-05:30", Some(1_793_499_240_000)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000)),
            ("2016-12-31T23:59:60Z", Some(1_483_228_800_000)),
            ("2023-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-01T24:00:00Z", None),
            ("2026-11-01T02:14:00", None),
            ("2026-11-01T02:14:00.Z", None),
            ("2026-11-01T02:14:00Zx", None),
            ("2026-11-01T02:14:00+1:00", None),
            ("2026-11-01T02:14", None),
            ("+026-11-01T02:14:00Z", None),
            ("", None),
            ("２０２６-11-01T02:14:00Z", None),
        ] {
            assert_eq!(rfc3339(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_in_units() {
        let number = |text: &str, unit| number(text, text.parse().unwrap(), unit);
        assert_eq!(number("1793499240", TimeUnit::Seconds), Some(1_793_499_240_000));
        assert_eq!(number("1793499240.123", TimeUnit::Seconds), Some(1_793_499_240_123));
        assert_eq!(number("1.79349924e9", TimeUnit::Seconds), Some(1_793_499_240_000));
        assert_eq!(number("1793499240123", TimeUnit::Milliseconds), Some(1_793_499_240_123));
        assert_eq!(number("1793499240123999", TimeUnit::Microseconds), Some(1_793_499_240_123));
        assert_eq!(number("1793499240123999999", TimeUnit::Nanoseconds), Some(1_793_499_240_123));
        assert_eq!(number("-1", TimeUnit::Nanoseconds), Some(-1));
        assert_eq!(number("9223372036854775807", TimeUnit::Seconds), None);
        assert_eq!(number("1e400", TimeUnit::Seconds), None);
        assert_eq!(likely_unit("1793499240"), Some(TimeUnit::Seconds));
        assert_eq!(likely_unit("1793499240123"), Some(TimeUnit::Milliseconds));
        assert_eq!(likely_unit("5"), None);
    }
}
