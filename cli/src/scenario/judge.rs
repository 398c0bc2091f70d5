//! Compares incidents with what was planted.
//!
//! *Found*: an incident of that key was opened in [start, end + 2 × longest window]. Every other incident is *false*.
//! What the end of the stream cuts (a level shift five minutes before it) is not asked for, and its incidents are not
//! called false.

use std::collections::BTreeMap;

use serde::Serialize;

use super::truth::{Kind, Planted};

/// An incident that a detector opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// The entity.
    pub key: String,
    /// Event time.
    pub opened_at_ms: i64,
}

/// How many were planted, and how many of them found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Planted, and over before the stream ended.
    pub planted: u64,
    /// Found among them.
    pub found: u64,
}

impl Tally {
    /// Found over planted; nothing planted counts as everything found.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.planted == 0 { 1.0 } else { self.found as f64 / self.planted as f64 }
    }
}

/// The judgement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// By type, in the order of [`Kind::ALL`]; only types that were planted.
    pub planted: Vec<(Kind, Tally)>,
    /// All incidents.
    pub incidents: u64,
    /// Those that belong to nothing planted.
    pub false_incidents: u64,
}

/// Judges incidents. `window_ms` is the longest window of the pipeline, `end_ms` the last event time of the stream.
#[must_use]
pub fn judge(incidents: &[Incident], truth: &[Planted], window_ms: i64, end_ms: i64) -> Verdict {
    let mut of_key: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, planted) in truth.iter().enumerate() {
        of_key.entry(&planted.key).or_default().push(index);
    }
    let mut found = vec![false; truth.len()];
    let mut false_incidents = 0;
    for incident in incidents {
        let candidates = of_key.get(incident.key.as_str()).map_or(&[][..], Vec::as_slice);
        let mut belongs = false;
        for &index in candidates {
            let planted = &truth[index];
            if (planted.start_ms..=planted.end_ms + 2 * window_ms).contains(&incident.opened_at_ms) {
                found[index] = true;
                belongs = true;
            }
        }
        false_incidents += u64::from(!belongs);
    }
    let mut tallies: BTreeMap<Kind, Tally> = BTreeMap::new();
    for (planted, found) in truth.iter().zip(found) {
        if planted.end_ms <= end_ms {
            let tally = tallies.entry(planted.kind).or_default();
            tally.planted += 1;
            tally.found += u64::from(found);
        }
    }
    Verdict { planted: tallies.into_iter().collect(), incidents: incidents.len() as u64, false_incidents }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn planted(kind: Kind, key: &str, start_ms: i64, end_ms: i64) -> Planted {
        Planted { kind, key: key.to_owned(), start_ms, end_ms, effect: 6.0 }
    }

    fn incident(key: &str, opened_at_ms: i64) -> Incident {
        Incident { key: key.to_owned(), opened_at_ms }
    }

    #[track_caller]
    fn check(incidents: &[Incident], truth: &[Planted], expected: &[(Kind, u64, u64)], false_incidents: u64) {
        let verdict = judge(incidents, truth, HOUR_MS, 100 * HOUR_MS);
        let tallies: Vec<_> = verdict.planted.iter().map(|(kind, tally)| (*kind, tally.planted, tally.found)).collect();
        assert_eq!(tallies, expected);
        assert_eq!(verdict.false_incidents, false_incidents);
        assert_eq!(verdict.incidents, incidents.len() as u64);
    }

    #[test]
    fn an_incident_finds_up_to_two_windows_after_the_end_and_never_before_the_begin() {
        let truth = [planted(Kind::Spike6, "a", 10 * HOUR_MS, 11 * HOUR_MS)];
        let found = [(Kind::Spike6, 1, 1)];
        let missed = [(Kind::Spike6, 1, 0)];
        check(&[incident("a", 10 * HOUR_MS)], &truth, &found, 0);
        check(&[incident("a", 13 * HOUR_MS)], &truth, &found, 0);
        check(&[incident("a", 13 * HOUR_MS + 1)], &truth, &missed, 1);
        check(&[incident("a", 10 * HOUR_MS - 1)], &truth, &missed, 1);
        check(&[incident("b", 10 * HOUR_MS)], &truth, &missed, 1);
        check(&[], &truth, &missed, 0);
    }

    #[test]
    fn each_planted_anomaly_counts_once_and_each_incident_for_all_that_it_finds() {
        let truth = [
            planted(Kind::Contextual, "a", HOUR_MS, HOUR_MS),
            planted(Kind::Spike3, "a", 2 * HOUR_MS, 2 * HOUR_MS),
            planted(Kind::Spike3, "b", 2 * HOUR_MS, 2 * HOUR_MS),
        ];
        let both = [incident("a", 2 * HOUR_MS), incident("a", 3 * HOUR_MS)];
        check(&both, &truth, &[(Kind::Spike3, 2, 1), (Kind::Contextual, 1, 1)], 0);
    }

    #[test]
    fn what_the_end_of_the_stream_cuts_is_neither_missed_nor_false() {
        let truth = [planted(Kind::LevelShift, "a", 99 * HOUR_MS, 111 * HOUR_MS)];
        check(&[incident("a", 99 * HOUR_MS)], &truth, &[], 0);
        check(&[], &truth, &[], 0);
    }
}
