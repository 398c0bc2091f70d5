//! Keys of the state topic's records.

use std::io::Write as _;

use faultline_numerics::hash::Fingerprint;

/// What a record of the state topic is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKey<'a> {
    /// A part of a key's image; most images have only part 0.
    Image {
        /// The entity key.
        key: &'a str,
        /// Number of the part.
        part: u32,
    },
    /// A key's open incident.
    Decision {
        /// The entity key.
        key: &'a str,
    },
    /// Ids that one tick took in.
    Ids {
        /// Their minute of event time, counted from the epoch.
        minute: i64,
        /// End offset of the tick.
        tick_end: i64,
    },
    /// A frozen version of state that keys share.
    Version {
        /// Of which model or combination.
        of: Fingerprint,
        /// The source offset from which it is in force.
        offset: i64,
    },
    /// What one tick adds to the next version.
    Increments {
        /// Of which model or combination.
        of: Fingerprint,
        /// End offset of the tick.
        tick_end: i64,
    },
    /// The content of a configuration.
    Configuration {
        /// Its fingerprint.
        of: Fingerprint,
    },
    /// Whose state this is.
    Owner,
    /// How far everything goes.
    Marker,
}

/// Stands between key and part: no byte of UTF-8 text.
const PART: u8 = 0xFF;

impl<'a> RecordKey<'a> {
    /// Appends the key's bytes.
    pub fn write(&self, to: &mut Vec<u8>) {
        // Writing to memory does not fail.
        let _ = match self {
            Self::Image { key, part: 0 } => write!(to, "k/{key}"),
            Self::Image { key, part } => {
                let _ = write!(to, "k/{key}");
                to.push(PART);
                write!(to, "{part}")
            }
            Self::Decision { key } => write!(to, "d/{key}"),
            Self::Ids { minute, tick_end } => write!(to, "e/{minute}/{tick_end}"),
            Self::Version { of, offset } => write!(to, "s/{of}/{offset}"),
            Self::Increments { of, tick_end } => write!(to, "i/{of}/{tick_end}"),
            Self::Configuration { of } => write!(to, "c/{of}"),
            Self::Owner => write!(to, "o"),
            Self::Marker => write!(to, "m"),
        };
    }

    /// The key that bytes stand for; `None` for a record that this build does not know.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        match bytes {
            b"o" => return Some(Self::Owner),
            b"m" => return Some(Self::Marker),
            _ => {}
        }
        let (kind, rest) = bytes.split_at_checked(2)?;
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok();
        match kind {
            b"k/" => match rest.iter().position(|byte| *byte == PART) {
                None => Some(Self::Image { key: text(rest)?, part: 0 }),
                Some(at) => Some(Self::Image { key: text(&rest[..at])?, part: text(&rest[at + 1..])?.parse().ok()? }),
            },
            b"d/" => Some(Self::Decision { key: text(rest)? }),
            b"e/" => {
                let (minute, tick_end) = text(rest)?.split_once('/')?;
                Some(Self::Ids { minute: minute.parse().ok()?, tick_end: tick_end.parse().ok()? })
            }
            b"s/" | b"i/" => {
                let (of, at) = text(rest)?.split_once('/')?;
                let (of, at) = (Fingerprint::parse(of)?, at.parse().ok()?);
                Some(match kind {
                    b"s/" => Self::Version { of, offset: at },
                    _ => Self::Increments { of, tick_end: at },
                })
            }
            b"c/" => Some(Self::Configuration { of: Fingerprint::parse(text(rest)?)? }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_as_it_was_written() {
        let of = Fingerprint::of("a model");
        let keys = [
            RecordKey::Image { key: "alice", part: 0 },
            RecordKey::Image { key: "a/b\u{ff}/1", part: 17 },
            RecordKey::Decision { key: "/" },
            RecordKey::Ids { minute: -3, tick_end: 12 },
            RecordKey::Version { of, offset: 65_536 },
            RecordKey::Increments { of, tick_end: i64::MAX },
            RecordKey::Configuration { of },
            RecordKey::Owner,
            RecordKey::Marker,
        ];
        for key in keys {
            let mut bytes = Vec::new();
            key.write(&mut bytes);
            assert_eq!(RecordKey::parse(&bytes), Some(key), "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn foreign_keys_are_not_read() {
        for bytes in [&b""[..], b"x", b"z/1", b"k", b"e/1", b"e/1/x", b"s/00/1", b"c/zz", b"d/\xff", b"k/a\xffx"] {
            assert_eq!(RecordKey::parse(bytes), None, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
