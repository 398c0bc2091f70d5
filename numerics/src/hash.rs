//! Hashes with values that never change: xxh3 for keys and ids, SHA-256 for fingerprints.

use std::fmt;

use sha2::{Digest, Sha256};
use twox_hash::{XxHash3_64, XxHash3_128};

/// xxh3-64 of `bytes`, seed 0.
#[inline]
#[must_use]
pub fn hash64(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// xxh3-128 of `bytes`, seed 0.
#[inline]
#[must_use]
pub fn hash128(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

/// Identity of everything that changes a value: the first 128 bits of SHA-256 over a canonical text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// Fingerprint of a canonical text (sorted members, defaults left out; the caller's duty).
    #[must_use]
    pub fn of(canonical: &str) -> Self {
        let digest = Sha256::digest(canonical.as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        Self(first)
    }

    /// Reads what `Display` writes: 32 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_values_do_not_move() {
        // xxh3 reference vectors of the empty input; SHA-256 of "" begins with e3b0c442.
        assert_eq!(hash64(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(hash128(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
        assert_eq!(Fingerprint::of("").to_string(), "e3b0c44298fc1c149afbf4c8996fb924");
    }

    #[test]
    fn fingerprints_are_read_as_they_are_shown() {
        let fingerprint = Fingerprint::of("a");
        assert_eq!(Fingerprint::parse(&fingerprint.to_string()), Some(fingerprint));
        for text in ["", "e3b0", "+3b0c44298fc1c149afbf4c8996fb924", "g3b0c44298fc1c149afbf4c8996fb9240"] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }
}
