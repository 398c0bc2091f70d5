//! One sentence for a person woken at night.

use std::fmt::{self, Display, Write as _};

use super::{Encoder, Judged, rfc3339};
use crate::decide::{Incident, Severity};
use crate::score::Explained;

/// What happened, what is usual, what else is odd, and who says so:
/// `critical: user-456: amount 4310 at 02:14 UTC; usually 8 to 120 (312 events). Also 14 events in 5 min, usually at
/// most 2. Model amount 2026-11-01.`
pub(super) fn of_event(encoder: &Encoder, judged: &Judged<'_>) -> String {
    let mut text = String::new();
    let key = judged.key;
    let severity = judged.verdict.severity.map_or("normal", Severity::name);
    let (hour, minute) = rfc3339::hour_and_minute(judged.time_ms);
    let mut items = judged.explanation.iter().filter(|item| item.contribution >= WORTH_NAMING);
    let Some(first) = items.next() else {
        _ = write!(text, "{severity}: {key} at {hour:02}:{minute:02} UTC.");
        return text;
    };
    _ = write!(text, "{severity}: {key}: {} at {hour:02}:{minute:02} UTC", What(encoder, first));
    if let Some(usual) = Usual::of(encoder, first) {
        _ = write!(text, "; {usual}");
    }
    if first.learned > 0 && !encoder.models[first.model].is_rule {
        let rows = if encoder.models[first.model].every_ms.is_some() { "interval" } else { "event" };
        _ = write!(text, " ({} {rows}{})", first.learned, if first.learned == 1 { "" } else { "s" });
    }
    text.push('.');
    for item in items.take(MOST_OTHERS) {
        _ = write!(text, " Also {}", What(encoder, item));
        if let Some(usual) = Usual::of(encoder, item) {
            _ = write!(text, ", {usual}");
        }
        text.push('.');
    }
    _ = write!(text, " Model {}.", encoder.models[first.model].label);
    text
}

/// What an incident was: `over: user-456: 3 anomalies from 02:14 to 02:31 UTC, at most critical.`
pub(super) fn of_closing(incident: &Incident, shown_key: &str) -> String {
    let (from, to) = (rfc3339::hour_and_minute(incident.opened_ms), rfc3339::hour_and_minute(incident.last_ms));
    let anomalies = if incident.events == 1 { "anomaly" } else { "anomalies" };
    format!(
        "over: {shown_key}: {} {anomalies} from {:02}:{:02} to {:02}:{:02} UTC, at most {}.",
        incident.events,
        from.0,
        from.1,
        to.0,
        to.1,
        incident.severity.name()
    )
}

/// Smaller shares of a surprise are not worth a person's time.
const WORTH_NAMING: f64 = 0.1;
/// Sentences that begin with "Also".
const MOST_OTHERS: usize = 2;

/// `amount 4310`, or `14 events in 5 min`.
struct What<'a>(&'a Encoder, &'a Explained);

impl Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(encoder, item) = self;
        let every = encoder.models[item.model].every_ms.map(Span);
        match (item.column.and_then(|column| encoder.columns.get(column)), every) {
            (Some(column), _) if column.is_hidden => write!(f, "{} (hidden)", column.name),
            (Some(column), Some(every)) => write!(f, "{} {} in {every}", column.name, Readable(item.value)),
            (Some(column), None) => write!(f, "{} {}", column.name, Readable(item.value)),
            (None, Some(every)) => write!(f, "{} events in {every}", Readable(item.value)),
            (None, None) => write!(f, "{} events", Readable(item.value)),
        }
    }
}

/// `usually 8 to 120`, `usually at least 3`; for a count of events `usually at most 2`; for a rule `allowed at most 2`.
struct Usual {
    expected: [f64; 2],
    counts_events: bool,
    is_rule: bool,
}

impl Usual {
    fn of(encoder: &Encoder, item: &Explained) -> Option<Self> {
        let column = item.column.and_then(|column| encoder.columns.get(column));
        let expected = item.expected.filter(|_| !column.is_some_and(|column| column.is_hidden))?;
        let known = expected[0].is_finite() || expected[1].is_finite();
        known.then_some(Self {
            expected,
            counts_events: item.column.is_none(),
            is_rule: encoder.models[item.model].is_rule,
        })
    }
}

impl Display for Usual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.expected;
        f.write_str(if self.is_rule { "allowed " } else { "usually " })?;
        match (low.is_finite(), high.is_finite()) {
            (true, true) if self.counts_events && low <= 0.0 => write!(f, "at most {}", Rounded(high.floor())),
            (true, true) => write!(f, "{} to {}", Rounded(low), Rounded(high)),
            (true, false) => write!(f, "at least {}", Rounded(low)),
            _ => write!(f, "at most {}", Rounded(high)),
        }
    }
}

/// A value as people write it: whole, or with two decimals, or with three significant digits when small.
struct Readable(f64);

impl Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        let size = value.abs();
        if size >= 1e15 || (size > 0.0 && size < 1e-4) {
            write!(f, "{value:.2e}")
        } else if value.trunc() == value {
            write!(f, "{}", value as i64)
        } else if size >= 1.0 {
            write!(f, "{value:.2}")
        } else {
            f.write_str(trimmed(&format!("{value:.*}", significant_decimals(size))))
        }
    }
}

/// A bound: three significant digits are enough.
struct Rounded(f64);

impl Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        let size = value.abs();
        if size >= 1e15 || (size > 0.0 && size < 1e-4) {
            write!(f, "{value:.2e}")
        } else {
            f.write_str(trimmed(&format!("{value:.*}", significant_decimals(size))))
        }
    }
}

/// Decimals that show three significant digits.
fn significant_decimals(size: f64) -> usize {
    let whole_digits = [1.0, 10.0, 100.0].iter().filter(|limit| size >= **limit).count();
    let leading_zeros = [0.1, 0.01, 0.001].iter().filter(|limit| size > 0.0 && size < **limit).count();
    (3 - whole_digits) + leading_zeros
}

fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// A length of time in its largest whole unit.
struct Span(i64);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        match [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")]
            .into_iter()
            .find(|(unit, _)| ms >= *unit && ms % unit == 0)
        {
            Some((unit, name)) => write!(f, "{} {name}", ms / unit),
            None => write!(f, "{ms} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (value, expected) in [
            (4310.0, "4310"),
            (4310.555, "4310.56"),
            (-2.5, "-2.50"),
            (0.0, "0"),
            (0.123_456, "0.123"),
            (0.001_234, "0.00123"),
            (1e-9, "1.00e-9"),
            (1.5e18, "1.50e18"),
        ] {
            assert_eq!(Readable(value).to_string(), expected);
        }
        for (value, expected) in
            [(8.0, "8"), (120.4, "120"), (8.126, "8.13"), (0.0, "0"), (0.51, "0.51"), (1234.5, "1234")]
        {
            assert_eq!(Rounded(value).to_string(), expected);
        }
        assert_eq!(Span(300_000).to_string(), "5 min");
        assert_eq!(Span(86_400_000).to_string(), "1 d");
        assert_eq!(Span(90_000).to_string(), "90 s");
    }
}
