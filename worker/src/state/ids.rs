//! Ids that one tick took in, of one minute of event time.

use faultline_numerics::image::{ImageError, Reader, Writer};

const FORMAT: u64 = 1;

/// An id and the offset that it was seen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenId {
    /// xxh3-128 of the id.
    pub id: u128,
    /// Source offset of its event.
    pub offset: i64,
}

/// Appends ids, in the order of their offsets.
pub fn write_ids(ids: &[SeenId], w: &mut Writer) {
    w.varint(FORMAT);
    w.varint(ids.len() as u64);
    let mut last = 0;
    for seen in ids {
        w.u128(seen.id);
        w.signed(seen.offset - last);
        last = seen.offset;
    }
}

/// Reads ids.
///
/// # Errors
/// The value is cut short, or of another format.
pub fn read_ids(value: &[u8]) -> Result<Vec<SeenId>, ImageError> {
    let mut r = Reader::new(value);
    r.format("a record of ids", FORMAT)?;
    let count = r.count(17)?;
    let mut last = 0_i64;
    (0..count)
        .map(|_| {
            let id = r.u128()?;
            last = last.wrapping_add(r.signed()?);
            Ok(SeenId { id, offset: last })
        })
        .collect()
}
