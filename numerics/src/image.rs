//! The byte codec of state images: little-endian, floats as raw bits, lengths as variable-size integers.
//!
//! The codec knows nothing of what it carries; every image starts with a format version that its owner writes
//! and checks. Reading never trusts a length: it is bounded by the bytes that are there.

use crate::hash::Fingerprint;

/// Why an image could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The image ended early.
    #[error("the image ends at byte {at}, {wanted} more bytes expected")]
    Truncated {
        /// Position of the failed read.
        at: usize,
        /// Bytes that the read wanted.
        wanted: usize,
    },
    /// The format version is not one that this build reads.
    #[error("{what} has format {found}, this build reads {expected}")]
    Format {
        /// What was read.
        what: &'static str,
        /// The version found.
        found: u64,
        /// The version expected.
        expected: u64,
    },
    /// A value is outside its range.
    #[error("{what} holds {found}, which is not valid there")]
    Invalid {
        /// What was read.
        what: &'static str,
        /// The value found.
        found: u64,
    },
}

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty image.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What has been written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What has been written so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what was written and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Number of bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// A boolean as one byte.
    pub fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// An unsigned integer in 1 to 10 bytes (LEB128).
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// A signed integer in 1 to 10 bytes (zigzag, then LEB128).
    pub fn signed(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Eight raw bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Sixteen raw bytes.
    pub fn u128(&mut self, value: u128) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// The bits of a double, NaN payloads and signed zeros included.
    pub fn f64(&mut self, value: f64) {
        self.u64(value.to_bits());
    }

    /// A fingerprint.
    pub fn fingerprint(&mut self, value: Fingerprint) {
        self.bytes.extend_from_slice(&value.0);
    }

    /// Bytes as they are; what reads them has to know their number.
    pub fn raw(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// Bytes behind their length.
    pub fn bytes(&mut self, value: &[u8]) {
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }
}

/// Reads values in the order in which they were written.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of an image.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// True if every byte has been read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Bytes not yet read: an upper bound for any count that follows.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    fn take(&mut self, wanted: usize) -> Result<&'a [u8], ImageError> {
        if wanted > self.remaining() {
            return Err(ImageError::Truncated { at: self.at, wanted });
        }
        let taken = &self.bytes[self.at..self.at + wanted];
        self.at += wanted;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImageError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// One byte.
    ///
    /// # Errors
    /// Truncated, as all reads here.
    pub fn u8(&mut self) -> Result<u8, ImageError> {
        Ok(self.array::<1>()?[0])
    }

    /// A boolean.
    ///
    /// # Errors
    /// Truncated; invalid when the byte is neither 0 nor 1.
    pub fn bool(&mut self) -> Result<bool, ImageError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(ImageError::Invalid { what: "a boolean", found: u64::from(other) }),
        }
    }

    /// An unsigned integer written by [`Writer::varint`].
    ///
    /// # Errors
    /// Truncated; invalid when longer than 64 bits.
    pub fn varint(&mut self) -> Result<u64, ImageError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(ImageError::Invalid { what: "an integer", found: part });
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ImageError::Invalid { what: "an integer", found: value })
    }

    /// A count of items that take at least `item_bytes` each: refused when they cannot fit what is left.
    ///
    /// # Errors
    /// Truncated.
    pub fn count(&mut self, item_bytes: usize) -> Result<usize, ImageError> {
        let count = self.varint()?;
        let most = (self.remaining() / item_bytes.max(1)) as u64;
        if count > most {
            return Err(ImageError::Truncated { at: self.at, wanted: usize::try_from(count).unwrap_or(usize::MAX) });
        }
        Ok(count as usize)
    }

    /// A signed integer written by [`Writer::signed`].
    ///
    /// # Errors
    /// As [`Reader::varint`].
    pub fn signed(&mut self) -> Result<i64, ImageError> {
        let zigzag = self.varint()?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// Eight raw bytes.
    ///
    /// # Errors
    /// Truncated.
    pub fn u64(&mut self) -> Result<u64, ImageError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Sixteen raw bytes.
    ///
    /// # Errors
    /// Truncated.
    pub fn u128(&mut self) -> Result<u128, ImageError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// A double, bit for bit.
    ///
    /// # Errors
    /// Truncated.
    pub fn f64(&mut self) -> Result<f64, ImageError> {
        Ok(f64::from_bits(self.u64()?))
    }

    /// A fingerprint.
    ///
    /// # Errors
    /// Truncated.
    pub fn fingerprint(&mut self) -> Result<Fingerprint, ImageError> {
        Ok(Fingerprint(self.array()?))
    }

    /// Bytes behind their length.
    ///
    /// # Errors
    /// Truncated.
    pub fn bytes(&mut self) -> Result<&'a [u8], ImageError> {
        let length = self.count(1)?;
        self.take(length)
    }

    /// Checks a format version.
    ///
    /// # Errors
    /// Truncated; [`ImageError::Format`] when it differs.
    pub fn format(&mut self, what: &'static str, expected: u64) -> Result<(), ImageError> {
        match self.varint()? {
            found if found == expected => Ok(()),
            found => Err(ImageError::Format { what, found, expected }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_bit_for_bit(a: u64, b: i64, bits: u64, bytes: Vec<u8>, flag: bool, wide: u128) {
            let mut writer = Writer::new();
            writer.varint(a);
            writer.signed(b);
            writer.f64(f64::from_bits(bits));
            writer.bytes(&bytes);
            writer.bool(flag);
            writer.u128(wide);
            let image = writer.into_bytes();
            let mut reader = Reader::new(&image);
            prop_assert_eq!(reader.varint()?, a);
            prop_assert_eq!(reader.signed()?, b);
            prop_assert_eq!(reader.f64()?.to_bits(), bits);
            prop_assert_eq!(reader.bytes()?, &bytes[..]);
            prop_assert_eq!(reader.bool()?, flag);
            prop_assert_eq!(reader.u128()?, wide);
            prop_assert!(reader.is_at_end());
        }

        #[test]
        fn reading_garbage_is_an_error_and_never_a_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while let (Ok(_), Ok(_), Ok(_)) = (reader.bytes(), reader.varint(), reader.u8()) {}
        }
    }

    #[test]
    fn a_count_that_cannot_fit_is_refused() {
        let mut writer = Writer::new();
        writer.varint(1_000_000);
        let image = writer.into_bytes();
        assert!(matches!(Reader::new(&image).count(8), Err(ImageError::Truncated { .. })));
    }
}
