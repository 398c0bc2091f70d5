//! Draws an index with given weights in constant time (Vose 1991).

use faultline_numerics::random::Random;

/// A table of weights.
#[derive(Debug, Clone)]
pub(super) struct Alias {
    /// Up to which fraction (of 2^64) a cell stands for itself, and for whom it stands beyond.
    cells: Vec<(u64, u32)>,
}

impl Alias {
    /// The table of these weights, which are positive; at least one.
    pub(super) fn new(weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        let count = weights.len();
        let mut scaled: Vec<f64> = weights.iter().map(|weight| weight / total * count as f64).collect();
        let mut cells: Vec<(u64, u32)> = (0..count as u32).map(|index| (u64::MAX, index)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..count).partition(|&index| scaled[index] < 1.0);
        while let (Some(below), Some(&above)) = (small.pop(), large.last()) {
            cells[below] = ((scaled[below] * 2f64.powi(64)) as u64, above as u32);
            scaled[above] -= 1.0 - scaled[below];
            if scaled[above] < 1.0 {
                large.pop();
                small.push(above);
            }
        }
        Self { cells }
    }

    /// An index. One draw serves both: its high part chooses the cell, the rest decides inside.
    #[inline]
    pub(super) fn draw(&self, random: &mut Random) -> usize {
        let product = u128::from(random.next_u64()) * self.cells.len() as u128;
        let cell = (product >> 64) as usize;
        let (limit, other) = self.cells[cell];
        if (product as u64) < limit { cell } else { other as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_follow_the_weights() {
        let weights = [5.0, 1.0, 0.5, 3.0, 0.5];
        let table = Alias::new(&weights);
        let mut random = Random::seeded(3);
        let mut counts = [0.0; 5];
        for _ in 0..200_000 {
            counts[table.draw(&mut random)] += 1.0 / 200_000.0;
        }
        for (share, weight) in counts.iter().zip(weights) {
            assert!((share - weight / 10.0).abs() < 0.005, "{share} for {weight}");
        }
    }
}
