//! What the keys of a shard have in common: where a young key is expected to be.
//!
//! Keys report a few integers per row (every row while young, every 16th later, so that busy keys do not drown
//! the others); a frozen version holds decayed histograms of them, and medians taken from these.

use faultline_numerics::image::{ImageError, Reader, Writer};

use crate::bins::{VALUE_BINS, value_bin, value_of};
use crate::counts::{Counts, Weights};
use crate::scale::Scale;

/// Reports that a histogram stays aware of.
const MEMORY: f64 = 100_000.0;
/// Reports wanted before peers are believed.
const ENOUGH: f64 = 16.0;
/// Standard deviation over median of the absolute deviation, of a normal distribution.
const MAD_TO_SIGMA: f64 = 1.4826;

/// Decayed histograms of what keys report.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Peers {
    /// Values as they are; for a count, the counts of young keys' buckets.
    pub(crate) levels: Weights,
    /// Deviations inside keys, on the working scale; for a count, dispersions of keys.
    pub(crate) spreads: Weights,
    /// Slopes per context input, in units of the key's scale.
    pub(crate) slopes: Vec<Weights>,
}

/// Reports since the version in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PeersIncrements {
    levels: Counts,
    spreads: Counts,
    slopes: Vec<Counts>,
}

impl Peers {
    /// The next version. `same_scale` is false when spreads and slopes were measured on a scale left behind.
    pub(crate) fn next(&self, increments: &PeersIncrements, same_scale: bool) -> Self {
        let levels = self.levels.next(&increments.levels, MEMORY);
        if !same_scale {
            return Self { levels, ..Self::default() };
        }
        let contexts = self.slopes.len().max(increments.slopes.len());
        let slopes = (0..contexts)
            .map(|context| {
                let old = self.slopes.get(context).cloned().unwrap_or_default();
                increments.slopes.get(context).map_or_else(|| old.clone(), |new| old.next(new, MEMORY))
            })
            .collect();
        Self { levels, spreads: self.spreads.next(&increments.spreads, MEMORY), slopes }
    }

    pub(crate) fn bytes(&self) -> usize {
        let histograms = [&self.levels, &self.spreads].into_iter().chain(&self.slopes);
        histograms.map(|weights| size_of_val(weights.bins())).sum()
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        self.levels.write(w);
        self.spreads.write(w);
        w.varint(self.slopes.len() as u64);
        self.slopes.iter().for_each(|slopes| slopes.write(w));
    }

    pub(crate) fn restore(r: &mut Reader<'_>) -> Result<Self, ImageError> {
        let levels = Weights::restore(r, VALUE_BINS)?;
        let spreads = Weights::restore(r, VALUE_BINS)?;
        let contexts = r.count(1)?;
        let slopes = (0..contexts).map(|_| Weights::restore(r, VALUE_BINS)).collect::<Result<_, _>>()?;
        Ok(Self { levels, spreads, slopes })
    }
}

impl PeersIncrements {
    /// Whether a key with so many rows reports this one.
    #[inline]
    pub(crate) fn is_due(learned: u32) -> bool {
        learned < 16 || learned.is_multiple_of(16)
    }

    pub(crate) fn level(&mut self, value: f64, times: u32) {
        self.levels.add(value_bin(value), times, VALUE_BINS);
    }

    pub(crate) fn spread(&mut self, value: f64) {
        self.spreads.add(value_bin(value), 1, VALUE_BINS);
    }

    pub(crate) fn slope(&mut self, context: usize, value: f64) {
        if self.slopes.len() <= context {
            self.slopes.resize(context + 1, Counts::default());
        }
        self.slopes[context].add(value_bin(value), 1, VALUE_BINS);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.levels.merge(&other.levels);
        self.spreads.merge(&other.spreads);
        if self.slopes.len() < other.slopes.len() {
            self.slopes.resize(other.slopes.len(), Counts::default());
        }
        for (own, added) in self.slopes.iter_mut().zip(&other.slopes) {
            own.merge(added);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        [&self.levels, &self.spreads].into_iter().chain(&self.slopes).map(Counts::bytes).sum()
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        self.levels.write(w);
        self.spreads.write(w);
        w.varint(self.slopes.len() as u64);
        self.slopes.iter().for_each(|slopes| slopes.write(w));
    }

    pub(crate) fn restore(r: &mut Reader<'_>) -> Result<Self, ImageError> {
        let levels = Counts::restore(r, VALUE_BINS)?;
        let spreads = Counts::restore(r, VALUE_BINS)?;
        let contexts = r.count(1)?;
        let slopes = (0..contexts).map(|_| Counts::restore(r, VALUE_BINS)).collect::<Result<_, _>>()?;
        Ok(Self { levels, spreads, slopes })
    }
}

/// What a young key of a value detector is expected to look like, on the working scale.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ValuePeers {
    /// Median of all values.
    pub(crate) location: f64,
    /// Standard deviation inside a key; 0 while nothing is known.
    pub(crate) within: f64,
    /// Events of a key that weigh as much as the peers' location: variance within over variance between keys.
    pub(crate) location_weight: f64,
    /// Slope per context input, in units of `within`.
    pub(crate) slopes: Vec<f64>,
}

impl ValuePeers {
    pub(crate) fn of(peers: &Peers, scale: Scale, contexts: usize) -> Self {
        let at = |share: f64| peers.levels.quantile(share).map(|bin| scale.apply(value_of(bin)));
        let (Some(low), Some(location), Some(high)) = (at(0.16), at(0.5), at(0.84)) else {
            return Self::default();
        };
        let total = (high - low) / 2.0;
        let inside = if peers.spreads.total() >= ENOUGH { median(&peers.spreads) * MAD_TO_SIGMA } else { 0.0 };
        let within = if inside > 0.0 { inside } else { total };
        // Keys differ at least a tenth as much as their events do: the peers never weigh more than 100 events.
        let between = (total * total - within * within).max(0.01 * within * within);
        let location_weight = if between > 0.0 { within * within / between } else { 0.0 };
        let slopes = (0..contexts)
            .map(|context| peers.slopes.get(context).filter(|held| held.total() >= ENOUGH).map_or(0.0, median))
            .collect();
        Self { location, within, location_weight, slopes }
    }
}

/// What a young key of a count is expected to look like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CountPeers {
    /// Mean count of a bucket of a young key.
    pub(crate) mean: f64,
    /// Usual dispersion: variance beyond Poisson, as a share of the squared mean.
    pub(crate) dispersion: f64,
}

impl CountPeers {
    pub(crate) fn of(peers: &Peers) -> Self {
        let total = peers.levels.total();
        let sum: f64 = peers.levels.bins().iter().enumerate().map(|(bin, weight)| weight * value_of(bin)).sum();
        let mean = if total > 0.0 && sum > 0.0 { sum / total } else { 1.0 };
        let dispersion = if peers.spreads.total() >= ENOUGH { median(&peers.spreads).max(0.0) } else { 0.1 };
        Self { mean, dispersion }
    }
}

impl Default for CountPeers {
    fn default() -> Self {
        Self::of(&Peers::default())
    }
}

fn median(weights: &Weights) -> f64 {
    weights.quantile(0.5).map_or(0.0, value_of)
}
