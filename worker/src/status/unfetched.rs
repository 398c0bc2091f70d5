//! Notices a partition that is assigned and has records to read, and is not fetched, without an error from anybody.
//!
//! Each answer to a fetch says where the partition ends, also an answer without records. So a fetch that goes on knows of
//! every end that somebody was told a while ago; records that are left out, such as aborted ones, make no difference.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Longer than a broker takes to fail over, and than a lane may be busy with one tick.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// The ends that fetches have still to hear of.
#[derive(Debug, Default)]
pub(super) struct Unfetched {
    // By partition: an end that the broker named, and when.
    unheard: BTreeMap<i32, (i64, Instant)>,
}

impl Unfetched {
    /// A broker was asked where a partition ends; `fetched` is the end that the last fetch was told. Returns for how long
    /// fetches have not heard of an end, once that is too long.
    pub(super) fn look(&mut self, partition: i32, end: i64, fetched: Option<i64>, now: Instant) -> Option<Duration> {
        let has_heard_of = |end| fetched.is_some_and(|fetched| fetched >= end);
        if self.unheard.get(&partition).is_some_and(|(end, _)| has_heard_of(*end)) {
            self.unheard.remove(&partition);
        }
        if has_heard_of(end) {
            return None;
        }
        let (_, since) = self.unheard.entry(partition).or_insert((end, now));
        Some(now.saturating_duration_since(*since)).filter(|silence| *silence >= LIMIT)
    }

    /// Nobody expects fetches of a partition now.
    pub(super) fn forget(&mut self, partition: i32) {
        self.unheard.remove(&partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at `(seconds, end, fetched end)` one after the other; seconds of silence told at the last.
    fn check(looks: &[(u64, i64, Option<i64>)], expected: Option<u64>) {
        let (start, mut unfetched) = (Instant::now(), Unfetched::default());
        let told = looks.iter().map(|(seconds, end, fetched)| {
            unfetched.look(0, *end, *fetched, start + Duration::from_secs(*seconds)).map(|silence| silence.as_secs())
        });
        assert_eq!(told.last().flatten(), expected, "{looks:?}");
    }

    #[test]
    fn only_an_end_that_no_fetch_hears_of_for_long_is_told() {
        check(&[(0, 10, Some(10)), (60, 10, Some(10))], None);
        // Never fetched, and nothing to fetch.
        check(&[(0, 0, Some(0)), (60, 0, Some(0))], None);
        check(&[(0, 10, Some(5)), (29, 10, Some(5))], None);
        check(&[(0, 10, Some(5)), (30, 10, Some(5))], Some(30));
        check(&[(0, 10, None), (40, 900, None)], Some(40));
        // A stream that goes on: each fetch hears of an end that is old by now.
        check(&[(0, 10, Some(5)), (20, 30, Some(15)), (40, 50, Some(35)), (60, 70, Some(55))], None);
        // It went on, and stopped again.
        check(&[(0, 10, Some(5)), (29, 20, Some(10)), (58, 20, Some(10))], None);
        check(&[(0, 10, Some(5)), (29, 20, Some(10)), (59, 20, Some(10))], Some(30));
    }

    #[test]
    fn a_partition_that_was_stopped_on_purpose_begins_anew() {
        let (start, mut unfetched) = (Instant::now(), Unfetched::default());
        let look =
            |unfetched: &mut Unfetched, seconds| unfetched.look(0, 9, None, start + Duration::from_secs(seconds));
        assert_eq!(look(&mut unfetched, 0), None);
        unfetched.forget(0);
        assert_eq!(look(&mut unfetched, 40), None);
        assert_eq!(look(&mut unfetched, 70), Some(LIMIT));
    }
}
