//! Records that hold a text: the owner, a configuration.

use faultline_numerics::image::{ImageError, Reader, Writer};

const FORMAT: u64 = 1;

/// Appends a text.
pub(crate) fn write_text(text: &str, w: &mut Writer) {
    w.varint(FORMAT);
    w.bytes(text.as_bytes());
}

/// Reads a text.
///
/// # Errors
/// The value is cut short, or of another format.
pub(crate) fn read_text(value: &[u8]) -> Result<String, ImageError> {
    let mut r = Reader::new(value);
    r.format("a text record", FORMAT)?;
    Ok(String::from_utf8_lossy(r.bytes()?).into_owned())
}
