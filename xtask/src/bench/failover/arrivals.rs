//! When results of which partition could be read.

use std::time::Instant;

/// Arrivals closer together than this count as one.
const TOGETHER: f64 = 0.001;

/// Moments in seconds since the beginning, by partition.
pub(super) struct Arrivals {
    began: Instant,
    moments: Vec<Vec<f64>>,
}

/// A time without results.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gap {
    pub(super) begin: f64,
    pub(super) end: f64,
}

impl Gap {
    pub(super) fn seconds(self) -> f64 {
        self.end - self.begin
    }
}

impl Arrivals {
    /// Nothing yet.
    pub(super) fn new(partitions: i32) -> Self {
        Self { began: Instant::now(), moments: vec![Vec::new(); partitions as usize] }
    }

    /// This moment.
    pub(super) fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// A result of a partition has come.
    pub(super) fn note(&mut self, partition: i32, now: f64) {
        let moments = &mut self.moments[partition as usize];
        if moments.last().is_none_or(|last| now - last > TOGETHER) {
            moments.push(now);
        }
    }

    /// The last arrival of a partition.
    pub(super) fn last(&self, partition: i32) -> Option<f64> {
        self.moments[partition as usize].last().copied()
    }

    /// The first arrival of a partition after a moment.
    pub(super) fn first_after(&self, partition: i32, moment: f64) -> Option<f64> {
        self.moments[partition as usize].iter().copied().find(|at| *at > moment)
    }

    /// The longest gap of a partition that ends after a moment and begins before another; one that lasts still ends now.
    pub(super) fn longest_gap(&self, partition: i32, from: f64, until: f64) -> Gap {
        let moments = &self.moments[partition as usize];
        let now = self.now();
        let ends = moments.iter().copied().skip(1).chain([now]);
        let gaps = moments.iter().zip(ends).map(|(begin, end)| Gap { begin: *begin, end });
        gaps.filter(|gap| gap.end > from && gap.begin < until)
            .max_by(|one, other| one.seconds().total_cmp(&other.seconds()))
            .unwrap_or(Gap { begin: from, end: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_may_begin_before_the_moment() {
        let mut arrivals = Arrivals::new(2);
        // The clock stands near 0: arrivals of the future leave the last gap negative.
        for at in [1.0, 4.0, 4.1, 6.0, 6.0001, 6.5] {
            arrivals.note(1, at);
        }
        assert_eq!(arrivals.longest_gap(1, 3.0, 9.0), Gap { begin: 1.0, end: 4.0 });
        assert_eq!(arrivals.longest_gap(1, 4.05, 9.0), Gap { begin: 4.1, end: 6.0 });
        assert_eq!(arrivals.longest_gap(1, 4.05, 4.1), Gap { begin: 4.0, end: 4.1 });
        assert_eq!((arrivals.first_after(1, 4.1), arrivals.last(1)), (Some(6.0), Some(6.5)));
        assert_eq!(arrivals.last(0), None);
    }
}
