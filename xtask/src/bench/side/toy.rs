//! The least that a worker of keyed windows does with an event.

use std::collections::HashMap;
use std::io::Write as _;

use faultline_worker::ports::RawEvent;

const RING: usize = 64;

/// The rings of one lane's keys.
#[derive(Default)]
pub(super) struct Toy {
    rings: HashMap<Vec<u8>, Box<Ring>>,
}

struct Ring {
    values: [f64; RING],
    next: usize,
    count: usize,
    sum: f64,
    squares: f64,
}

impl Toy {
    /// Takes an event in and writes its result; an event that is not understood gets an empty one.
    pub(super) fn result<'a>(&mut self, event: &RawEvent<'_>, out: &'a mut Vec<u8>) -> &'a [u8] {
        out.clear();
        let text = event.value.unwrap_or_default();
        let id = between(text, b"\"eventId\":\"", b'"');
        let key = between(text, b"\"userId\":\"", b'"');
        let value = std::str::from_utf8(between(text, b"\"amount\":", b',')).ok().and_then(|text| text.parse().ok());
        let Some(value) = value else { return out };
        if !self.rings.contains_key(key) {
            self.rings.insert(key.to_vec(), Box::default());
        }
        let Some(ring) = self.rings.get_mut(key) else { return out };
        let (mean, deviation) = ring.push(value);
        let score = if deviation > 0.0 { (value - mean) / deviation } else { 0.0 };
        out.extend_from_slice(b"{\"eventId\":\"");
        out.extend_from_slice(id);
        // Writing to a Vec cannot fail.
        let _ = write!(out, "\",\"score\":{score:.4},\"mean\":{mean:.3},\"deviation\":{deviation:.3}}}");
        out
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self { values: [0.0; RING], next: 0, count: 0, sum: 0.0, squares: 0.0 }
    }
}

impl Ring {
    /// Mean and standard deviation with the new value.
    fn push(&mut self, value: f64) -> (f64, f64) {
        let old = std::mem::replace(&mut self.values[self.next], value);
        self.next = (self.next + 1) % RING;
        self.count = (self.count + 1).min(RING);
        self.sum += value - old;
        self.squares += value * value - old * old;
        let count = self.count as f64;
        let mean = self.sum / count;
        (mean, (self.squares / count - mean * mean).max(0.0).sqrt())
    }
}

fn between<'a>(text: &'a [u8], before: &[u8], after: u8) -> &'a [u8] {
    let Some(start) = text.windows(before.len()).position(|window| window == before) else { return b"" };
    let rest = &text[start + before.len()..];
    let end = rest.iter().position(|byte| *byte == after).unwrap_or(rest.len());
    &rest[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultline_worker::ports::RecordTime;

    fn event(value: &str) -> RawEvent<'_> {
        let timestamp = RecordTime::Missing;
        RawEvent { partition: 0, offset: 0, timestamp, key: None, value: Some(value.as_bytes()), traceparent: None }
    }

    #[test]
    fn the_result_names_the_event_and_its_score() {
        let (mut toy, mut out) = (Toy::default(), Vec::new());
        for n in 0..3 {
            let value = format!("{{\"eventId\":\"e-{n}\",\"userId\":\"u\",\"amount\":{n}.5,\"x\":1}}");
            toy.result(&event(&value), &mut out);
        }
        let result = String::from_utf8(out).unwrap();
        assert_eq!(result, "{\"eventId\":\"e-2\",\"score\":1.2247,\"mean\":1.500,\"deviation\":0.816}");
        assert_eq!(toy.rings.len(), 1);
    }

    #[test]
    fn a_ring_forgets_what_is_older_than_its_length() {
        let mut ring = Ring::default();
        let values = [[1_000.0; RING], [2.0; RING]].concat();
        let last = values.into_iter().map(|value| ring.push(value)).last();
        assert_eq!(last, Some((2.0, 0.0)));
    }
}
