//! Writes a payment as JSON into a buffer that is used again. Nothing here needs escaping.

use std::ops::Range;

use super::event::{Event, Flaw};
use super::profile::{CATEGORIES, COUNTRIES, Profile};
use super::season::DAY_MS;

/// How far ahead the time of a bad record is: beyond any clock.
const CENTURY_MS: i64 = 36_525 * DAY_MS;

/// `user-00042`.
pub(super) fn write_user(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(b"user-");
    write_padded(out, u64::from(number), 5);
}

/// The whole payment.
pub(super) fn write_event(out: &mut Vec<u8>, event: &Event, profile: &Profile, seed: u64) {
    let far = if event.flaw == Some(Flaw::FarFuture) { CENTURY_MS } else { 0 };
    out.extend_from_slice(b"{\"eventId\":\"");
    write_hex(out, event_id(seed, event.order));
    out.extend_from_slice(b"\",\"timestamp\":");
    write_number(out, (event.time_ms + far) as u64);
    out.extend_from_slice(b",\"userId\":\"");
    write_user(out, profile.number);
    match event.flaw {
        Some(Flaw::NoAmount) => out.push(b'"'),
        Some(Flaw::AmountIsText) => out.extend_from_slice(b"\",\"amount\":\"n/a\""),
        _ => {
            out.extend_from_slice(b"\",\"amount\":");
            write_cents(out, event.cents());
        }
    }
    out.extend_from_slice(b",\"merchant\":{\"id\":\"m-");
    write_padded(out, u64::from(event.merchant), 4);
    out.extend_from_slice(b"\",\"category\":\"");
    out.extend_from_slice(CATEGORIES[usize::from(event.category)].as_bytes());
    out.extend_from_slice(b"\"},\"status\":\"");
    out.extend_from_slice(if event.declined { b"declined" } else { b"approved" });
    out.extend_from_slice(b"\",\"country\":\"");
    out.extend_from_slice(COUNTRIES[usize::from(event.country)].as_bytes());
    out.extend_from_slice(b"\"}");
    if event.flaw == Some(Flaw::Cut) {
        let keep = CUT.start + (event.order % (CUT.end - CUT.start) as u64) as usize;
        out.truncate(keep);
    }
}

/// Where a cut record may end: all of these lie inside.
const CUT: Range<usize> = 1..90;

/// Ids look random and are unique: the finaliser of SplitMix64 is a bijection.
fn event_id(seed: u64, order: u64) -> u64 {
    let mut z = order.wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn write_hex(out: &mut Vec<u8>, number: u64) {
    for shift in (0..16).rev() {
        out.push(b"0123456789abcdef"[(number >> (shift * 4) & 0xf) as usize]);
    }
}

/// `1234` as `12.34`.
fn write_cents(out: &mut Vec<u8>, cents: u64) {
    write_number(out, cents / 100);
    out.push(b'.');
    write_padded(out, cents % 100, 2);
}

fn write_padded(out: &mut Vec<u8>, mut number: u64, digits: usize) {
    let begin = out.len();
    out.resize(begin + digits, b'0');
    for place in out[begin..].iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
    write_padded(out, number, digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for number in [0, 9, 10, 99, 100, 12_345, 1_780_272_000_123, u64::MAX] {
            assert_eq!(text(|out| write_number(out, number)), number.to_string());
        }
        for cents in [1, 9, 10, 99, 100, 4_310, 123_456_789] {
            assert_eq!(text(|out| write_cents(out, cents)), format!("{:.2}", cents as f64 / 100.0));
        }
        assert_eq!(text(|out| write_hex(out, 0xab)), "00000000000000ab");
        assert_eq!(text(|out| write_user(out, 42)), "user-00042");
    }
}
