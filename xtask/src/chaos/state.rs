//! The final state of a disturbed run against that of its undisturbed twin: what every key is known to be in the end.
//!
//! [`comparable`] is the one place that knows what a state record means; everything else here only folds and compares.

use std::collections::BTreeMap;

use anyhow::Result;
use faultline_worker::state::{RecordKey, read_head};
use rdkafka::message::Message;

use super::topics;
use super::verify::Report;

/// Differences that are shown.
const SHOWN: usize = 5;

/// The latest value of each key.
type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// What of a state record has to be equal, and under which name; `None`: nothing. What differs by right between two runs
/// over one input is left out: owner, marker and configuration, counts and ids, which lie in records of one tick each, and
/// of an image the offset up to which it holds. Of frozen versions the last counts: older ones go when nobody needs them.
fn comparable(key: &[u8], value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    match RecordKey::parse(key)? {
        RecordKey::Image { .. } => {
            let (head, image) = read_head(value).ok()?;
            (head.parts > 0).then(|| (key.to_vec(), image.to_vec()))
        }
        RecordKey::Decision { .. } => Some((key.to_vec(), value.to_vec())),
        RecordKey::Version { of, offset } => {
            let image = [&offset.to_be_bytes(), value].concat();
            Some((format!("s/{of}").into_bytes(), image))
        }
        _ => None,
    }
}

/// Compares two state topics, both of workers that have been stopped cleanly.
pub(crate) fn compare(brokers: &str, disturbed: &str, twin: &str, partitions: i32, report: &mut Report) -> Result<()> {
    for partition in 0..partitions {
        let (disturbed, twin) = (folded(brokers, disturbed, partition)?, folded(brokers, twin, partition)?);
        let differences = differences(&disturbed, &twin);
        if !differences.is_empty() {
            let (count, shown) = (differences.len(), differences[..differences.len().min(SHOWN)].join(", "));
            report
                .tell_of_state(format!("state of partition {partition}: {count} records are not the twin's: {shown}"));
        }
    }
    Ok(())
}

fn folded(brokers: &str, topic: &str, partition: i32) -> Result<State> {
    let mut state = State::new();
    topics::read(brokers, topic, partition, |message| {
        take(&mut state, message.key().unwrap_or_default(), message.payload());
        Ok(())
    })?;
    Ok(state)
}

fn take(state: &mut State, key: &[u8], value: Option<&[u8]>) {
    match value.and_then(|value| comparable(key, value)) {
        Some((name, value)) => {
            let newer = !name.starts_with(b"s/") || state.get(&name).is_none_or(|old| old[..8] <= value[..8]);
            if newer {
                state.insert(name, value);
            }
        }
        None => drop(state.remove(key)),
    }
}

fn differences(disturbed: &State, twin: &State) -> Vec<String> {
    let mut keys: Vec<&Vec<u8>> = disturbed.keys().chain(twin.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .filter_map(|key| {
            let what = match (disturbed.get(key), twin.get(key)) {
                (Some(a), Some(b)) if a == b => return None,
                (Some(_), Some(_)) => "differs",
                (Some(_), None) => "only here",
                (None, _) => "only in the twin",
            };
            Some(format!("`{}` {what}", String::from_utf8_lossy(key)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use faultline_numerics::image::Writer;
    use faultline_worker::state::{Head, write_head};

    use super::*;

    fn state(records: &[(&str, Option<&str>)]) -> State {
        let mut state = State::new();
        records.iter().for_each(|(key, value)| take(&mut state, key.as_bytes(), value.map(str::as_bytes)));
        state
    }

    fn image(applied_upto: i64, parts: u32, bytes: &str) -> String {
        let mut w = Writer::new();
        write_head(Head { applied_upto, parts }, &mut w);
        w.raw(bytes.as_bytes());
        String::from_utf8(w.into_bytes()).expect("small numbers are ASCII")
    }

    #[test]
    fn the_last_value_counts_and_keys_that_are_gone_do_not() {
        let (old, new, same, gone) = (image(1, 1, "1"), image(2, 1, "2"), image(9, 1, "2"), image(3, 0, ""));
        let rewritten = state(&[
            ("k/a", Some(&old)),
            ("k/b", Some(&old)),
            ("k/a", Some(&new)),
            ("k/b", None),
            ("k/c", Some(&gone)),
        ]);
        assert!(differences(&rewritten, &state(&[("k/a", Some(&same))])).is_empty());
    }

    #[test]
    fn every_way_to_differ_is_told() {
        let (one, two) = (image(1, 1, "1"), image(1, 1, "2"));
        let here = state(&[("k/a", Some(&one)), ("d/b", Some("1"))]);
        let twin = state(&[("k/a", Some(&two)), ("k/c", Some(&one))]);
        assert_eq!(differences(&here, &twin), ["`d/b` only here", "`k/a` differs", "`k/c` only in the twin"]);
    }

    #[test]
    fn what_follows_the_ticks_is_left_out() {
        assert!(state(&[("m", Some("1")), ("o", Some("1")), ("e/1/2", Some("1"))]).is_empty());
        let of = "0123456789abcdef0123456789abcdef";
        let versions = state(&[
            (&format!("s/{of}/5"), Some("old")),
            (&format!("s/{of}/9"), Some("new")),
            (&format!("s/{of}/5"), None),
        ]);
        assert_eq!(versions.len(), 1);
    }
}
