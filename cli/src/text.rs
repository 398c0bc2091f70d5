//! Numbers and times as people read them.

use chrono::{DateTime, SecondsFormat};

/// `3000000` as `3,000,000`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate with at most three significant digits: `142,000`.
pub(crate) fn rounded(number: f64) -> String {
    let number = number.max(0.0) as u64;
    let scale = 10u64.pow(number.checked_ilog10().unwrap_or(0).saturating_sub(2));
    grouped((number + scale / 2) / scale * scale)
}

/// Seconds as `48 s` or `3 min 20 s`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let seconds = seconds as u64;
    if seconds < 60 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}

/// Milliseconds since the epoch as `2026-11-01T02:14:00.000Z`.
pub(crate) fn time(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms)
        .map_or_else(|| format!("{at_ms} ms"), |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (3_000_000, "3,000,000"), (12_345, "12,345")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn rates_keep_three_digits() {
        for (number, text) in
            [(0.0, "0"), (7.9, "7"), (142_499.0, "142,000"), (999_600.0, "1,000,000"), (1_234.0, "1,230")]
        {
            assert_eq!(rounded(number), text);
        }
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(4.26), "4.3 s");
        assert_eq!(duration(48.9), "48 s");
        assert_eq!(duration(200.0), "3 min 20 s");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(1_793_499_240_000), "2026-11-01T02:14:00.000Z");
        assert_eq!(time(i64::MIN), "-9223372036854775808 ms");
    }
}
