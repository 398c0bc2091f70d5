//! Statistics of a set of events that can be added to and joined, never subtracted from.
//!
//! One file per kind. Sums that lose digits when values are far from zero are kept relative to an *origin* that is a
//! value of the set itself; then the cancellation in `Σd² − (Σd)²/n` costs at most a factor `n` of the last bit,
//! whatever the offset of the data.

mod count;
mod extrema;
mod slope;
mod spread;
mod sums;

use faultline_numerics::image::{ImageError, Reader, Writer};

pub(crate) use count::Count;
pub(crate) use extrema::Extrema;
pub(crate) use slope::Slope;
pub(crate) use spread::Spread;
pub(crate) use sums::Sums;

/// What is read from a statistic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reading {
    Count,
    /// Events per second of a window of so many seconds.
    Rate(f64),
    Sum,
    Mean,
    Min,
    Max,
    Range,
    Stddev,
    ZScore,
    Slope,
}

/// Statistics of a set of events.
pub(crate) trait Pane: Copy + Default {
    /// Name of the kind, part of the fingerprint of the state.
    const KIND: &'static str;

    /// Words that it takes beside its count.
    const NUMBERS: usize;

    /// Whether it counts its events.
    const IS_COUNTED: bool;

    /// The statistic of a count (0 where there is none) and the words of [`Pane::put_numbers`].
    fn of(count: u64, numbers: &[u64]) -> Self;

    fn put_numbers(&self, numbers: &mut [u64]);

    /// How many events, 0 where they are not counted.
    fn count(&self) -> u64;

    fn is_empty(&self) -> bool;

    /// Adds one event; `value` is finite, and 0 where the kind takes none.
    fn add(&mut self, time_ms: i64, value: f64);

    /// An empty set with the origins to which a total that ends with `self` is relative.
    fn anchor(&self) -> Self {
        Self::default()
    }

    /// Adds the events of `other`. The origins stay those of `self`.
    fn absorb(&mut self, other: &Self);

    /// The value of a reading, not finite if it is absent; `value` is that of the current event.
    fn read(&self, reading: Reading, value: f64) -> f64;

    fn write(&self, image: &mut Writer);

    fn restore(image: &mut Reader<'_>) -> Result<Self, ImageError>;

    /// The set of both.
    #[inline]
    fn joined(mut self, newer: &Self) -> Self {
        if self.is_empty() {
            return *newer;
        }
        self.absorb(newer);
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Values around an offset a billion times their spread, in panes of any size.
    fn panes() -> impl Strategy<Value = Vec<Vec<(i64, f64)>>> {
        let event = (1_600_000_000_000i64..1_600_000_060_000, -1.0..1.0f64).prop_map(|(time, x)| (time, 1e9 + x));
        proptest::collection::vec(proptest::collection::vec(event, 1..20), 1..10)
    }

    fn collect<P: Pane>(events: &[(i64, f64)]) -> P {
        let mut pane = P::default();
        for &(time, value) in events {
            pane.add(time, value);
        }
        pane
    }

    fn total<P: Pane>(panes: &[Vec<(i64, f64)>]) -> P {
        let panes: Vec<P> = panes.iter().map(|events| collect(events)).collect();
        let (running, closed) = panes.split_last().unwrap();
        let mut total = closed.last().map_or(P::default(), P::anchor);
        closed.iter().for_each(|pane| total.absorb(pane));
        total.joined(running)
    }

    proptest! {
        #[test]
        fn totals_of_panes_equal_statistics_of_their_events(panes in panes()) {
            let events: Vec<(i64, f64)> = panes.concat();
            let n = events.len() as f64;
            // Exact in units of 2^-20, far below the precision of values around 1e9.
            let mean_offset = events.iter().map(|(_, x)| x - 1e9).sum::<f64>() / n;
            let m2: f64 = events.iter().map(|(_, x)| (x - 1e9 - mean_offset) * (x - 1e9 - mean_offset)).sum();
            let spread: Spread = total(&panes);
            if events.len() > 1 {
                let expected = (m2 / (n - 1.0)).sqrt();
                prop_assert!((spread.read(Reading::Stddev, 0.0) - expected).abs() <= 1e-9 * expected.max(1e-6));
            }
            let mean_time = events.iter().map(|(t, _)| (t - 1_600_000_000_000) as f64).sum::<f64>() / n;
            let centred = |t: i64| (t - 1_600_000_000_000) as f64 - mean_time;
            let times: f64 = events.iter().map(|(t, _)| centred(*t) * centred(*t)).sum();
            let products: f64 = events.iter().map(|(t, x)| centred(*t) * (x - 1e9 - mean_offset)).sum();
            let slope: Slope = total(&panes);
            if times > 0.0 {
                let scale = 1e3 * (m2 / times).sqrt();
                prop_assert!((slope.read(Reading::Slope, 0.0) - 1e3 * products / times).abs() <= 1e-9 * scale.max(1e-9));
            }
            prop_assert_eq!(total::<Count>(&panes).read(Reading::Count, 0.0), n);
            let sums: Sums = total(&panes);
            prop_assert!((sums.read(Reading::Mean, 0.0) - 1e9 - mean_offset).abs() <= 1e-9 * 1e9);
            let greatest = events.iter().map(|(_, x)| *x).fold(f64::NEG_INFINITY, f64::max);
            prop_assert_eq!(total::<Extrema>(&panes).read(Reading::Max, 0.0), greatest);
        }
    }
}
