//! The head of a key's image: what it covers, and in how many parts it comes.

use faultline_numerics::image::{ImageError, Reader, Writer};

const FORMAT: u64 = 1;

/// Longest part of an image, so that no record comes near a broker's limit of 1 MiB.
pub const MOST_PART_BYTES: usize = 512 << 10;

/// What stands before the bytes of each part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// All effects of records and timers below this source offset are in the image.
    pub applied_upto: i64,
    /// Parts of the whole image; 0: nothing is left of the key.
    pub parts: u32,
}

/// Appends a head.
pub fn write_head(head: Head, w: &mut Writer) {
    w.varint(FORMAT);
    w.signed(head.applied_upto);
    w.varint(u64::from(head.parts));
}

/// Reads a head; what follows it are the part's bytes.
///
/// # Errors
/// The value is cut short, or of another format.
pub fn read_head(value: &[u8]) -> Result<(Head, &[u8]), ImageError> {
    let mut r = Reader::new(value);
    r.format("the image of a key", FORMAT)?;
    let applied_upto = r.signed()?;
    let parts = r.varint()?;
    let parts = u32::try_from(parts).map_err(|_| ImageError::Invalid { what: "a number of parts", found: parts })?;
    Ok((Head { applied_upto, parts }, r.rest()))
}
