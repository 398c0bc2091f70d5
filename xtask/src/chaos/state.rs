//! The final state of a disturbed run against that of its undisturbed twin: what every key is known to be in the end.
//!
//! [`comparable`] is the one place that knows what a state record means; everything else here only folds and compares.

use std::collections::BTreeMap;

use anyhow::Result;
use rdkafka::message::Message;

use super::topics;
use super::verify::Report;

/// Differences that are shown.
const SHOWN: usize = 5;

/// The latest value of each key.
type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// What of a state record has to be equal, `None`: nothing. What differs by right between two runs over one input is
/// left out: the owner, the marker and increments, which follow the ticks, and the ids taken in, which lie in records
/// of one tick each.
fn comparable(key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let kept = [b"k/".as_slice(), b"d/", b"s/", b"c/"].iter().any(|prefix| key.starts_with(prefix));
    kept.then(|| value.to_vec())
}

/// Compares two state topics, both of workers that have been stopped cleanly.
pub(crate) fn compare(brokers: &str, disturbed: &str, twin: &str, partitions: i32, report: &mut Report) -> Result<()> {
    for partition in 0..partitions {
        let (disturbed, twin) = (folded(brokers, disturbed, partition)?, folded(brokers, twin, partition)?);
        let differences = differences(&disturbed, &twin);
        if !differences.is_empty() {
            let (count, shown) = (differences.len(), differences[..differences.len().min(SHOWN)].join(", "));
            report.tell(format!("state of partition {partition}: {count} records are not the twin's: {shown}"));
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
        Some(value) => drop(state.insert(key.to_vec(), value)),
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
    use super::*;

    fn state(records: &[(&str, Option<&str>)]) -> State {
        let mut state = State::new();
        records.iter().for_each(|(key, value)| take(&mut state, key.as_bytes(), value.map(str::as_bytes)));
        state
    }

    #[test]
    fn the_last_value_counts_and_a_tombstone_ends_a_key() {
        let rewritten = state(&[("k/a", Some("1")), ("k/b", Some("1")), ("k/a", Some("2")), ("k/b", None)]);
        assert!(differences(&rewritten, &state(&[("k/a", Some("2"))])).is_empty());
    }

    #[test]
    fn every_way_to_differ_is_told() {
        let (here, twin) =
            (state(&[("k/a", Some("1")), ("d/b", Some("1"))]), state(&[("k/a", Some("2")), ("k/c", Some("1"))]));
        assert_eq!(differences(&here, &twin), ["`d/b` only here", "`k/a` differs", "`k/c` only in the twin"]);
    }

    #[test]
    fn what_follows_the_ticks_is_left_out() {
        assert!(state(&[("m", Some("1")), ("o", Some("1")), ("i/f/7", Some("1")), ("e/1/2", Some("1"))]).is_empty());
    }
}
