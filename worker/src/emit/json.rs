//! The few JSON forms that payloads need, appended to a buffer.

use crate::decode::special_bytes;

/// A text in quotes.
#[inline]
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let (eights, rest) = bytes.as_chunks::<8>();
    let is_plain = eights.iter().all(|eight| special_bytes(u64::from_le_bytes(*eight)) == 0)
        && rest.iter().all(|&byte| is_plain(byte));
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    if is_plain {
        out.extend_from_slice(bytes);
    } else {
        escaped(out, bytes);
    }
    out.push(b'"');
}

fn is_plain(byte: u8) -> bool {
    byte >= b' ' && byte != b'"' && byte != b'\\'
}

fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            plain if is_plain(plain) => out.push(plain),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                out.extend_from_slice(b"\\u00");
                out.extend([HEX[usize::from(control >> 4)], HEX[usize::from(control & 15)]]);
            }
        }
    }
}

/// The shortest number that reads back as the same double; `null` if it is not finite.
pub(super) fn number(out: &mut Vec<u8>, number: f64) {
    if number.abs() < LARGEST_INTEGER && number.trunc() == number {
        if number.is_sign_negative() && number != 0.0 {
            out.push(b'-');
        }
        unsigned(out, number.abs() as u64);
    } else if number.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Integers below it are written as such: 2^53.
const LARGEST_INTEGER: f64 = 9_007_199_254_740_992.0;

/// A number or `null`.
pub(super) fn number_or_null(out: &mut Vec<u8>, value: Option<f64>) {
    number(out, value.unwrap_or(f64::NAN));
}

/// `[low, high]` or `null`; an end without limit is `null`.
pub(super) fn range_or_null(out: &mut Vec<u8>, range: Option<[f64; 2]>) {
    let Some([low, high]) = range else {
        out.extend_from_slice(b"null");
        return;
    };
    out.push(b'[');
    number(out, low);
    out.push(b',');
    number(out, high);
    out.push(b']');
}

/// An integer.
pub(super) fn integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    unsigned(out, value.unsigned_abs());
}

/// An integer without a sign.
pub(super) fn unsigned(out: &mut Vec<u8>, mut value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
        return;
    }
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// `true` or `false`.
pub(super) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// 32 hexadecimal digits.
pub(super) fn hex128(out: &mut Vec<u8>, value: u128) {
    out.extend(value.to_be_bytes().iter().flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]));
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_read_back_as_the_same_double() {
        for value in [0.0, -0.0, 1.0, -17.0, 4310.0, 0.1, 1e300, 5e-324, 9_007_199_254_740_993.0, -1.5e-7, 123_456.789]
        {
            let text = written(|out| number(out, value));
            assert_eq!(serde_json::from_str::<f64>(&text).unwrap(), value, "{text}");
        }
        assert_eq!(written(|out| number(out, 4310.0)), "4310");
        assert_eq!(written(|out| number(out, f64::NAN)), "null");
        assert_eq!(written(|out| range_or_null(out, Some([f64::NEG_INFINITY, 2.5]))), "[null,2.5]");
        assert_eq!(written(|out| integer(out, i64::MIN)), i64::MIN.to_string());
    }

    #[test]
    fn texts_read_back_as_the_same_text() {
        for value in [
            "",
            "plain",
            "12345678",
            "1234567\n12345678",
            "12345678\"",
            "\"quoted\\\"",
            "line\nfeed\r\t\u{1}\u{1f}",
            "日本 😀",
            "\u{7f}",
        ] {
            let json = written(|out| text(out, value));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), value, "{json}");
        }
    }
}
