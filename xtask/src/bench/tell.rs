//! A figure as a line: for people, and for programs.

use serde_json::json;

use super::figure::Figure;

/// `drain  raw.eventsPerCpuSecond  412,345 events/s  (5 runs, spread 4 %)`.
pub(crate) fn text(figure: &Figure) -> String {
    let Figure { benchmark, metric, unit, .. } = figure;
    let value = number(figure.value);
    format!("{benchmark:<12} {metric:<48} {value:>14} {unit:<10} {}", reliability(figure))
}

/// How much the value can be trusted.
pub(crate) fn reliability(figure: &Figure) -> String {
    match figure.runs {
        0 | 1 => "(exact or one run)".to_owned(),
        // A share of nothing is no number.
        runs if !figure.spread.is_finite() => format!("({runs} runs)"),
        runs => format!("({runs} runs, spread {:.0} %)", figure.spread * 100.0),
    }
}

/// The line of `--output json`.
pub(crate) fn json(figure: &Figure) -> String {
    json!({
        "benchmark": figure.benchmark,
        "metric": figure.metric,
        "value": figure.value,
        "unit": figure.unit,
        "runs": figure.runs,
        "spread": figure.spread,
    })
    .to_string()
}

/// Thousands are grouped; small numbers keep three significant digits.
pub(crate) fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        let digits = if value.abs() >= 10.0 { 1 } else { 2 };
        return if value.abs() > 0.0 && value.abs() < 0.1 {
            format!("{value:.2e}")
        } else {
            format!("{value:.digits$}")
        };
    }
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 { format!("-{grouped}") } else { grouped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (value, expected) in [
            (1_234_567.8, "1,234,568"),
            (-1234.0, "-1,234"),
            (100.0, "100"),
            (12.34, "12.3"),
            (0.456, "0.46"),
            (0.0, "0.00"),
            (0.0123, "1.23e-2"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_line_for_programs_is_one_json_object() {
        let line = json(&Figure::of("drain", "raw.wallSeconds".into(), "s", vec![1.0, 2.0, 3.0]));
        let figure: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (figure["value"].as_f64(), figure["runs"].as_u64(), figure["spread"].as_f64()),
            (Some(2.0), Some(3), Some(1.0))
        );
    }

    #[test]
    fn a_line_for_people_says_how_often_it_was_measured() {
        let line = text(&Figure::of("drain", "raw.wallSeconds".into(), "s", vec![1.0, 2.0, 3.0]));
        assert!(line.starts_with("drain ") && line.ends_with("(3 runs, spread 100 %)"), "{line}");
    }
}
