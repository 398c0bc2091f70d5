//! Histograms: integer counts that are added between versions, decayed weights that a frozen version keeps.

use faultline_numerics::image::{ImageError, Reader, Writer};

/// Counts per bin since the version in force. Adding is exact, in any order and any grouping.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Empty until something is counted.
    bins: Vec<u32>,
}

impl Counts {
    /// Adds to a bin of a histogram of `size` bins.
    #[inline]
    pub(crate) fn add(&mut self, bin: usize, amount: u32, size: usize) {
        if self.bins.is_empty() {
            self.bins.resize(size, 0);
        }
        if let Some(count) = self.bins.get_mut(bin) {
            *count = count.saturating_add(amount);
        }
    }

    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (bin, &count) in other.bins.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.add(bin, count, other.bins.len());
        }
    }

    /// The total.
    pub(crate) fn total(&self) -> u64 {
        self.bins.iter().map(|&count| u64::from(count)).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bins.capacity() * size_of::<u32>()
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        write_sparse(w, self.bins.iter().map(|&count| u64::from(count)), |count| *count > 0, Writer::varint);
    }

    pub(crate) fn restore(r: &mut Reader<'_>, size: usize) -> Result<Self, ImageError> {
        let mut counts = Self::default();
        read_sparse(r, size, |r, bin| {
            let found = r.varint()?;
            let count = u32::try_from(found).map_err(|_| ImageError::Invalid { what: "a count", found })?;
            counts.add(bin, count, size);
            Ok(())
        })?;
        Ok(counts)
    }
}

/// Decayed counts per bin.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Weights {
    /// Empty, or one weight per bin.
    bins: Vec<f64>,
}

impl Weights {
    /// Forgets so that about `memory` observations stay in mind, and adds new counts.
    ///
    /// The memory is in the histogram's own observations: what is seldom seen is not forgotten for that.
    pub(crate) fn next(&self, new: &Counts, memory: f64) -> Self {
        let keep = memory / (memory + new.total() as f64);
        let size = self.bins.len().max(new.bins.len());
        let bins = (0..size)
            .map(|bin| {
                let old = self.bins.get(bin).copied().unwrap_or(0.0);
                let added = new.bins.get(bin).copied().unwrap_or(0);
                old * keep + f64::from(added)
            })
            .collect();
        Self { bins }
    }

    /// Adds another, scaled.
    pub(crate) fn add(&mut self, other: &Self, factor: f64) {
        if self.bins.len() < other.bins.len() {
            self.bins.resize(other.bins.len(), 0.0);
        }
        for (own, added) in self.bins.iter_mut().zip(&other.bins) {
            *own += added * factor;
        }
    }

    /// One weight per bin; empty when nothing was ever counted.
    pub(crate) fn bins(&self) -> &[f64] {
        &self.bins
    }

    /// The total.
    pub(crate) fn total(&self) -> f64 {
        self.bins.iter().sum()
    }

    /// The bin in which a share of the weight is reached.
    pub(crate) fn quantile(&self, share: f64) -> Option<usize> {
        let total = self.total();
        if total <= 0.0 {
            return None;
        }
        let mut seen = 0.0;
        self.bins.iter().position(|weight| {
            seen += weight;
            seen >= share * total && *weight > 0.0
        })
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        write_sparse(w, self.bins.iter().copied(), |weight| *weight > 0.0, Writer::f64);
    }

    pub(crate) fn restore(r: &mut Reader<'_>, size: usize) -> Result<Self, ImageError> {
        let mut bins = Vec::new();
        read_sparse(r, size, |r, bin| {
            let weight = r.f64()?;
            if !(weight > 0.0 && weight <= 1e18) {
                return Err(ImageError::Invalid { what: "a weight", found: weight.to_bits() });
            }
            if bins.is_empty() {
                bins.resize(size, 0.0);
            }
            bins[bin] = weight;
            Ok(())
        })?;
        Ok(Self { bins })
    }
}

fn write_sparse<T>(
    w: &mut Writer,
    bins: impl Iterator<Item = T> + Clone,
    is_held: impl Fn(&T) -> bool,
    write: impl Fn(&mut Writer, T),
) {
    w.varint(bins.clone().filter(|value| is_held(value)).count() as u64);
    let mut next = 0;
    for (bin, value) in bins.enumerate().filter(|(_, value)| is_held(value)) {
        w.varint((bin - next) as u64);
        write(w, value);
        next = bin + 1;
    }
}

fn read_sparse(
    r: &mut Reader<'_>,
    size: usize,
    mut read: impl FnMut(&mut Reader<'_>, usize) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let held = r.count(2)?;
    let mut next = 0u64;
    for _ in 0..held {
        let bin = next.saturating_add(r.varint()?);
        if bin >= size as u64 {
            return Err(ImageError::Invalid { what: "a bin", found: bin });
        }
        read(r, bin as usize)?;
        next = bin + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_weights_come_back_bit_for_bit() {
        let mut counts = Counts::default();
        for bin in [0, 3, 4, 99] {
            counts.add(bin, bin as u32 + 1, 100);
        }
        let weights = Weights::default().next(&counts, 3.0).next(&counts, 3.0);
        let mut w = Writer::new();
        counts.write(&mut w);
        weights.write(&mut w);
        let image = w.into_bytes();
        let mut r = Reader::new(&image);
        assert_eq!(Counts::restore(&mut r, 100).unwrap(), counts);
        assert_eq!(Weights::restore(&mut r, 100).unwrap(), weights);
        assert!(r.is_at_end());
    }

    #[test]
    fn what_is_not_seen_is_not_forgotten() {
        let mut counts = Counts::default();
        counts.add(7, 50, 10);
        let weights = Weights::default().next(&counts, 100.0);
        assert_eq!(weights.next(&Counts::default(), 100.0), weights);
        let expected = 50.0 * 100.0 / 150.0 + 50.0;
        assert!((weights.next(&counts, 100.0).total() - expected).abs() < 1e-9);
    }
}
