//! Compares what was written with what the oracle says, record by record and in order, and keeps the first differences.
//!
//! Pure: it knows neither Kafka nor the fold. What is compared is the sequence of one (topic, source partition).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Differences that are kept to be shown, for each kind.
const SHOWN: usize = 3;
/// Characters of a value around the first byte that differs.
const AROUND: usize = 400;

/// A record that was or should have been written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Offset of the source record behind it.
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// What its headers say of it: stage, class and message of a rejected record.
    pub(crate) note: String,
}

/// What can be wrong with a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Not written.
    Missing,
    /// Written again, or later than what follows it.
    Again,
    /// Written, and nobody expected it.
    Unexpected,
    /// Written with another key, value or headers.
    Differs,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) kind: Kind,
    pub(crate) expected: Option<Entry>,
    pub(crate) found: Option<Entry>,
}

/// Differences of one kind in one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    count: u64,
    /// Source offsets of the first and the last.
    from: i64,
    to: i64,
}

/// What all comparisons of a run have shown.
#[derive(Debug, Default)]
pub(crate) struct Report {
    compared: u64,
    /// By topic, source partition and kind.
    stretches: BTreeMap<(String, i32, Kind), Stretch>,
    shown: Vec<Difference>,
    /// What is wrong beside the records.
    others: Vec<String>,
    /// The workers did not reach the end: what they did not come to is missing.
    stands_still: bool,
    /// A worker found its state in disorder, or it is not the twin's.
    state_is_wrong: bool,
}

impl Report {
    /// Nothing was wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.stretches.is_empty() && self.others.is_empty()
    }

    /// Records that were compared.
    pub(crate) fn compared(&self) -> u64 {
        self.compared
    }

    /// Something is wrong that no record shows.
    pub(crate) fn tell(&mut self, what: String) {
        self.others.push(what);
    }

    /// The workers do not reach the end.
    pub(crate) fn stand_still(&mut self, where_and_why: String) {
        self.stands_still = true;
        self.tell(where_and_why);
    }

    /// Whether they do not.
    pub(crate) fn stands_still(&self) -> bool {
        self.stands_still
    }

    /// The state is wrong.
    pub(crate) fn tell_of_state(&mut self, what: String) {
        self.state_is_wrong = true;
        self.tell(what);
    }

    /// Whether something was lost, written twice or made wrongly: more than workers that stand still, leave late or leave
    /// something open.
    pub(crate) fn shows_a_broken_promise(&self) -> bool {
        let is_one = |kind: &Kind| *kind != Kind::Missing || !self.stands_still;
        self.state_is_wrong || self.stretches.keys().any(|(_, _, kind)| is_one(kind))
    }

    fn add(&mut self, topic: &str, partition: i32, difference: Difference) {
        let offset = difference.offset();
        let kind = difference.kind;
        if self.shown.iter().filter(|shown| shown.kind == kind && shown.topic == topic).count() < SHOWN {
            self.shown.push(difference);
        }
        let first = Stretch { count: 0, from: offset, to: offset };
        let stretch = self.stretches.entry((topic.to_owned(), partition, kind)).or_insert(first);
        let Stretch { count, from, to } = *stretch;
        *stretch = Stretch { count: count + 1, from: from.min(offset), to: to.max(offset) };
    }
}

impl Difference {
    fn offset(&self) -> i64 {
        self.found.as_ref().or(self.expected.as_ref()).map_or(-1, |entry| entry.offset)
    }
}

/// Compares one sequence as it is read.
pub(crate) struct Comparison<'a> {
    report: &'a mut Report,
    /// `results`, `alerts` …
    topic: &'a str,
    partition: i32,
    expected: Vec<Entry>,
    at: usize,
    missing: BTreeSet<i64>,
}

impl<'a> Comparison<'a> {
    /// Against what was expected, in its order.
    pub(crate) fn new(report: &'a mut Report, topic: &'a str, partition: i32, expected: Vec<Entry>) -> Self {
        Self { report, topic, partition, expected, at: 0, missing: BTreeSet::new() }
    }

    /// Takes the next record that was written.
    pub(crate) fn found(&mut self, entry: Entry) {
        self.report.compared += 1;
        while self.expected.get(self.at).is_some_and(|expected| expected.offset < entry.offset) {
            self.missing();
        }
        match self.expected.get(self.at) {
            Some(expected) if *expected == entry => self.at += 1,
            Some(expected) if expected.offset == entry.offset => {
                let expected = expected.clone();
                self.at += 1;
                self.differ(Kind::Differs, Some(expected), Some(entry));
            }
            _ => {
                let passed = &self.expected[..self.at];
                let before = passed.binary_search_by_key(&entry.offset, |expected| expected.offset).ok();
                let kind = if before.is_some() { Kind::Again } else { Kind::Unexpected };
                let expected = before.map(|at| passed[at].clone());
                self.differ(kind, expected, Some(entry));
            }
        }
    }

    /// Everything that was written has been taken. Returns the source offsets of what is missing.
    pub(crate) fn finish(mut self) -> BTreeSet<i64> {
        while self.at < self.expected.len() {
            self.missing();
        }
        self.missing
    }

    fn missing(&mut self) {
        let expected = self.expected[self.at].clone();
        self.at += 1;
        self.missing.insert(expected.offset);
        self.differ(Kind::Missing, Some(expected), None);
    }

    fn differ(&mut self, kind: Kind, expected: Option<Entry>, found: Option<Entry>) {
        let (topic, partition) = (self.topic.to_owned(), self.partition);
        self.report.add(self.topic, partition, Difference { topic, partition, kind, expected, found });
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Again => "written again or out of order",
            Self::Unexpected => "unexpected",
            Self::Differs => "different",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for what in &self.others {
            writeln!(f, "  {what}")?;
        }
        for ((topic, partition, kind), Stretch { count, from, to }) in &self.stretches {
            writeln!(f, "  {topic}, source partition {partition}: {count} {kind}, source offsets {from} to {to}")?;
        }
        if !self.shown.is_empty() {
            writeln!(f, "the first {SHOWN} of each:")?;
        }
        self.shown.iter().try_for_each(|difference| writeln!(f, "{difference}"))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, kind, .. } = self;
        write!(f, "  {topic}, source partition {partition} at source offset {}: {kind}", self.offset())?;
        let from = match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => first_difference(expected, found),
            _ => 0,
        };
        for (word, entry) in [("expected", &self.expected), ("found", &self.found)] {
            match entry {
                Some(entry) => write!(f, "\n    {word:8} {}", shown(entry, from))?,
                None => write!(f, "\n    {word:8} nothing")?,
            }
        }
        Ok(())
    }
}

fn first_difference(a: &Entry, b: &Entry) -> usize {
    let bytes = |entry: &Entry| entry.value.clone().unwrap_or_default();
    let (a, b) = (bytes(a), bytes(b));
    a.iter().zip(&b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()))
}

/// Key, headers, and the value around a byte.
fn shown(entry: &Entry, from: usize) -> String {
    let key = entry.key.as_deref().map_or("-".into(), String::from_utf8_lossy);
    let value = match &entry.value {
        None => "null".to_owned(),
        Some(value) => {
            let start = from.saturating_sub(AROUND).min(value.len());
            let end = (from + AROUND).max(start + 2 * AROUND).min(value.len());
            let cut = |cut: bool| if cut { "…" } else { "" };
            let text = String::from_utf8_lossy(&value[start..end]).into_owned();
            format!("{}{text}{}", cut(start > 0), cut(end < value.len()))
        }
    };
    let note = if entry.note.is_empty() { String::new() } else { format!(" ({})", entry.note) };
    format!("{key} {value}{note}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(offset: i64, value: &str) -> Entry {
        Entry { offset, key: Some(b"k".to_vec()), value: Some(value.as_bytes().to_vec()), note: String::new() }
    }

    /// What is found in place of 1:a 2:b 2:c 5:d, as `kind offset`.
    #[track_caller]
    fn check(found: &[(i64, &str)], expected: &[(Kind, i64)]) {
        let mut report = Report::default();
        let sequence = [(1, "a"), (2, "b"), (2, "c"), (5, "d")].map(|(offset, value)| entry(offset, value));
        let mut comparison = Comparison::new(&mut report, "results", 0, sequence.into());
        found.iter().for_each(|(offset, value)| comparison.found(entry(*offset, value)));
        comparison.finish();
        let differences: Vec<(Kind, i64)> = report.shown.iter().map(|shown| (shown.kind, shown.offset())).collect();
        assert_eq!(differences, expected);
        assert_eq!(report.is_clean(), expected.is_empty());
    }

    #[test]
    fn equal_sequences_are_clean() {
        check(&[(1, "a"), (2, "b"), (2, "c"), (5, "d")], &[]);
    }

    #[test]
    fn a_gap_is_found_at_the_beginning_in_the_middle_and_at_the_end() {
        check(&[(2, "b"), (2, "c"), (5, "d")], &[(Kind::Missing, 1)]);
        check(&[(1, "a"), (5, "d")], &[(Kind::Missing, 2), (Kind::Missing, 2)]);
        check(&[(1, "a"), (2, "b"), (2, "c")], &[(Kind::Missing, 5)]);
    }

    #[test]
    fn of_many_differences_the_first_are_shown_and_all_are_counted() {
        let mut report = Report::default();
        let sequence = (1..=50).map(|offset| entry(offset, "a")).collect();
        let missing = Comparison::new(&mut report, "results", 4, sequence).finish();
        assert_eq!(missing, (1..=50).collect());
        assert_eq!(report.shown.len(), SHOWN);
        assert!(report.to_string().contains("partition 4: 50 missing, source offsets 1 to 50"), "{report}");
    }

    #[test]
    fn a_duplicate_is_found_also_when_a_stretch_comes_again() {
        check(&[(1, "a"), (1, "a"), (2, "b"), (2, "c"), (5, "d")], &[(Kind::Again, 1)]);
        check(&[(1, "a"), (2, "b"), (2, "c"), (5, "d"), (2, "b"), (2, "c")], &[(Kind::Again, 2), (Kind::Again, 2)]);
        check(&[(1, "a"), (2, "b"), (2, "c"), (2, "c"), (5, "d")], &[(Kind::Again, 2)]);
    }

    #[test]
    fn a_changed_payload_is_found() {
        check(&[(1, "a"), (2, "b"), (2, "X"), (5, "d")], &[(Kind::Differs, 2)]);
    }

    #[test]
    fn another_key_or_another_header_is_a_difference() {
        for changed in [Entry { key: None, ..entry(1, "a") }, Entry { note: "late".to_owned(), ..entry(1, "a") }] {
            let mut report = Report::default();
            let mut comparison = Comparison::new(&mut report, "late", 3, vec![entry(1, "a")]);
            comparison.found(changed);
            comparison.finish();
            let only = (("late".to_owned(), 3, Kind::Differs), Stretch { count: 1, from: 1, to: 1 });
            assert_eq!(report.stretches.into_iter().collect::<Vec<_>>(), [only]);
        }
    }

    #[test]
    fn what_nobody_expected_is_found() {
        check(
            &[(1, "a"), (2, "b"), (2, "c"), (3, "x"), (5, "d"), (9, "y")],
            &[(Kind::Unexpected, 3), (Kind::Unexpected, 9)],
        );
    }

    #[test]
    fn an_order_that_is_turned_round_is_found() {
        check(&[(2, "b"), (2, "c"), (1, "a"), (5, "d")], &[(Kind::Missing, 1), (Kind::Again, 1)]);
    }

    #[test]
    fn a_difference_reads_well_and_shows_the_place() {
        let long = |end: &str| entry(7, &format!("{}{end}", "x".repeat(500)));
        let mut report = Report::default();
        let mut comparison = Comparison::new(&mut report, "alerts", 2, vec![long("A")]);
        comparison.found(long("B"));
        comparison.finish();
        let text = report.to_string();
        assert!(
            text.contains("partition 2: 1 different, source offsets 7 to 7")
                && text.contains("alerts, source partition 2 at source offset 7"),
            "{text}"
        );
        assert!(text.contains("xA\n") && text.contains("xB\n") && text.contains('…'), "{text}");
    }

    #[test]
    fn what_workers_did_not_come_to_breaks_no_promise() {
        let missing = |stands_still, others: &[Entry]| {
            let mut report = Report::default();
            if stands_still {
                report.stand_still("at 1".to_owned());
            }
            let mut comparison = Comparison::new(&mut report, "results", 0, vec![entry(1, "a"), entry(2, "b")]);
            comparison.found(entry(1, "a"));
            others.iter().for_each(|other| comparison.found(other.clone()));
            comparison.finish();
            assert!(!report.is_clean());
            report.shows_a_broken_promise()
        };
        assert!(missing(false, &[]));
        assert!(!missing(true, &[]));
        assert!(missing(true, &[entry(1, "a")]), "written twice");
        let mut report = Report::default();
        report.stand_still("at 1".to_owned());
        report.tell_of_state("StateUnreadable".to_owned());
        assert!(report.shows_a_broken_promise());
    }

    #[test]
    fn what_no_record_shows_is_no_clean_report_either() {
        let mut report = Report::default();
        report.tell("a transaction is left open".to_owned());
        assert!(!report.is_clean() && report.to_string().contains("left open"));
    }
}
