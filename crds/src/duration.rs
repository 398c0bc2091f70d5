//! Durations as the YAML spells them: `500ms`, `30s`, `5m`, `2h`, `7d`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The pattern of a duration in the schema. Nine digits of days still fit 64 bits of milliseconds.
pub const PATTERN: &str = "^[0-9]{1,9}(ms|s|m|h|d)$";

const UNITS: [(&str, i64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A span of time in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(i64);

impl Duration {
    /// A duration of that many milliseconds; negative ones become zero.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(if ms < 0 { 0 } else { ms })
    }

    /// Its length in milliseconds.
    #[must_use]
    pub const fn ms(self) -> i64 {
        self.0
    }
}

/// A text that is no duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected a duration such as 500ms, 30s, 5m, 2h or 7d, found `{0}`")]
pub struct NotADuration(String);

impl FromStr for Duration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let refused = || NotADuration(text.to_owned());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = text.split_at(digits);
        if !(1..=9).contains(&digits) {
            return Err(refused());
        }
        let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
        let count: i64 = count.parse().map_err(|_| refused())?;
        Ok(Self(count * unit_ms))
    }
}

impl fmt::Display for Duration {
    /// The greatest unit that divides it: `90m`, not `1.5h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.iter().find(|(_, unit_ms)| self.0 != 0 && self.0 % unit_ms == 0);
        let (unit, unit_ms) = exact.copied().unwrap_or(("s", 1_000));
        write!(f, "{}{unit}", self.0 / unit_ms)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN, "maxLength": 11})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        let check =
            |text: &str, expected_ms: i64| assert_eq!(text.parse().map(Duration::ms), Ok(expected_ms), "{text}");
        check("500ms", 500);
        check("30s", 30_000);
        check("5m", 300_000);
        check("2h", 7_200_000);
        check("7d", 604_800_000);
        check("0s", 0);
        check("999999999d", 86_399_999_913_600_000);
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "m", "5 m", "1.5h", "-5m", "5M", "5min", "1h30m", "9999999999s", "٣s"] {
            let refused: Result<Duration, _> = text.parse();
            assert_eq!(refused, Err(NotADuration(text.to_owned())));
        }
    }

    #[test]
    fn text_and_value_agree_with_the_schema_pattern() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        for text in ["500ms", "90m", "36h", "7d", "0s", "1ms", "61s"] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.to_string(), text);
            assert!(pattern.is_match(text));
        }
        assert_eq!("3600s".parse::<Duration>().unwrap().to_string(), "1h");
    }
}
