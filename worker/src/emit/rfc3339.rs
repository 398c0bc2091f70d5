//! Times in payloads: RFC 3339 UTC with milliseconds, by integers alone.

/// Days since 1970-01-01 of a date of the Gregorian calendar.
///
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day since 1970-01-01: the inverse, `civil_from_days` of the same source.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Appends `"2026-11-01T02:14:00.000Z"`, with its quotes. Times are those that decoding accepts: 1970 to 9999.
pub(crate) fn time(out: &mut Vec<u8>, at_ms: i64) {
    let (year, month, day) = civil_from_days(at_ms.div_euclid(86_400_000));
    let of_day = at_ms.rem_euclid(86_400_000);
    let second = of_day / 1000;
    let mut text = *b"\"0000-00-00T00:00:00.000Z\"";
    let mut put = |at: usize, two_digits: i64| {
        text[at] = b'0' + (two_digits / 10) as u8;
        text[at + 1] = b'0' + (two_digits % 10) as u8;
    };
    put(1, year / 100);
    put(3, year % 100);
    put(6, month);
    put(9, day);
    put(12, second / 3600);
    put(15, second / 60 % 60);
    put(18, second % 60);
    put(21, of_day % 1000 / 10);
    text[23] = b'0' + (of_day % 10) as u8;
    out.extend_from_slice(&text);
}

/// Hour and minute of the day, UTC.
pub(crate) fn hour_and_minute(at_ms: i64) -> (i64, i64) {
    let of_day = at_ms.rem_euclid(86_400_000);
    (of_day / 3_600_000, of_day / 60_000 % 60)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn times_agree_with_the_calendar() {
        // Steps of a prime number of milliseconds from 1970 to 9999: every month, leap days, ends of centuries.
        let mut at_ms = 0;
        while at_ms < 253_402_300_799_999 {
            let mut out = Vec::new();
            time(&mut out, at_ms);
            let expected =
                DateTime::from_timestamp_millis(at_ms).unwrap().format("\"%Y-%m-%dT%H:%M:%S%.3fZ\"").to_string();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            at_ms += 7_919_000_077;
        }
    }

    #[test]
    fn days_and_dates_are_inverse() {
        for days in (-800_000..3_000_000).step_by(97) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}
