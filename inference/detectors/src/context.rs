//! What a value should be, given its context: decayed ridge regression per key, drawn to the shard's slopes.
//!
//! The level of the key is not part of it (that is the key's own decayed location): a context only moves the
//! expectation up or down from there. So the slopes may remember longer than the level, which they must: the hour
//! of the day is learned over days, a level over a hundred events.

#![expect(clippy::needless_range_loop, reason = "rows and columns of matrices read best by their indices")]

use faultline_numerics::image::{ImageError, Reader, Writer};

use crate::spec::MOST_CONTEXTS;

/// Slopes remember this many times as long as the level.
pub(crate) const LONGER_MEMORY: f64 = 8.0;
/// Events that weigh as much as the belief in the shard's slopes.
const PRIOR_EVENTS: f64 = 10.0;

/// Decayed moments of context and value of one key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Context {
    /// Rows learned, saturating.
    rows: u32,
    /// Mean of the value on the working scale.
    value: f64,
    /// Mean per context input.
    means: Vec<f64>,
    /// Covariances of the inputs with one another, lower triangle by rows, then those with the value.
    moments: Vec<f64>,
}

/// Slope per context input; unused ones are 0.
pub(crate) type Slopes = [f64; MOST_CONTEXTS];

impl Context {
    pub(crate) fn new(contexts: usize) -> Self {
        let moments = vec![0.0; contexts * (contexts + 1) / 2 + contexts];
        Self { rows: 0, value: 0.0, means: vec![0.0; contexts], moments }
    }

    /// Number of context inputs.
    pub(crate) fn inputs(&self) -> usize {
        self.means.len()
    }

    /// Rows learned.
    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    /// Slopes, given the peers' in units of the key's `scale`.
    pub(crate) fn slopes(&self, peers: &[f64], scale: f64) -> Slopes {
        let size = self.means.len();
        let mut matrix = [[0.0; MOST_CONTEXTS]; MOST_CONTEXTS];
        let mut right = [0.0; MOST_CONTEXTS];
        let belief = PRIOR_EVENTS / f64::from(self.rows.max(1));
        for row in 0..size {
            for column in 0..=row {
                matrix[row][column] = self.moments[triangle(row, column)];
            }
            // The mean counts too: a context that has hardly moved yet says little about its slope.
            let mean = self.means[row];
            let ridge = belief * (matrix[row][row] + mean * mean) + 1e-12;
            matrix[row][row] += ridge;
            let peer = peers.get(row).copied().unwrap_or(0.0) * scale;
            right[row] = self.moments[triangle(size, row)] + ridge * peer;
        }
        solve(&mut matrix, &mut right, size);
        right
    }

    /// How far the context moves the expectation away from the key's level.
    pub(crate) fn shift(&self, slopes: &Slopes, contexts: &[f64]) -> f64 {
        if self.rows == 0 {
            return 0.0;
        }
        let terms = slopes.iter().zip(contexts).zip(&self.means);
        terms.map(|((slope, context), mean)| slope * (context - mean)).sum()
    }

    /// Follows the key to a new level.
    pub(crate) fn move_to(&mut self, value: f64) {
        self.value = value;
    }

    /// Learns a row with weight `rate`, more while there are few.
    pub(crate) fn learn(&mut self, rate: f64, value: f64, contexts: &[f64]) {
        self.rows = self.rows.saturating_add(1);
        if self.rows == 1 {
            self.value = value;
            self.means.copy_from_slice(contexts);
            return;
        }
        let rate = rate.max(1.0 / f64::from(self.rows));
        let size = self.means.len();
        let keep = 1.0 - rate;
        let value_moved = value - self.value;
        for row in 0..size {
            let moved = contexts[row] - self.means[row];
            for column in 0..=row {
                let other = contexts[column] - self.means[column];
                let moment = &mut self.moments[triangle(row, column)];
                *moment = keep * (*moment + rate * moved * other);
            }
            let moment = &mut self.moments[triangle(size, row)];
            *moment = keep * (*moment + rate * moved * value_moved);
        }
        self.value += rate * value_moved;
        for (mean, context) in self.means.iter_mut().zip(contexts) {
            *mean += rate * (context - *mean);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + (self.means.capacity() + self.moments.capacity()) * size_of::<f64>()
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.varint(u64::from(self.rows));
        w.f64(self.value);
        self.means.iter().chain(&self.moments).for_each(|&number| w.f64(number));
    }

    pub(crate) fn restore(r: &mut Reader<'_>, contexts: usize) -> Result<Self, ImageError> {
        let mut restored = Self::new(contexts);
        let found = r.varint()?;
        restored.rows = u32::try_from(found).map_err(|_| ImageError::Invalid { what: "rows of a context", found })?;
        restored.value = r.f64()?;
        for number in restored.means.iter_mut().chain(&mut restored.moments) {
            *number = r.f64()?;
        }
        Ok(restored)
    }
}

/// Position in a lower triangle by rows; the row behind the last one holds what belongs to the value.
fn triangle(row: usize, column: usize) -> usize {
    row * (row + 1) / 2 + column
}

/// Solves a symmetric positive definite system in place, given its lower triangle (Cholesky without roots).
fn solve(matrix: &mut [[f64; MOST_CONTEXTS]; MOST_CONTEXTS], right: &mut Slopes, size: usize) {
    for row in 0..size {
        for column in 0..row {
            let mut sum = matrix[row][column];
            for inner in 0..column {
                sum -= matrix[row][inner] * matrix[column][inner] * matrix[inner][inner];
            }
            matrix[row][column] = sum / matrix[column][column];
        }
        for inner in 0..row {
            let factor = matrix[row][inner];
            matrix[row][row] -= factor * factor * matrix[inner][inner];
            right[row] -= factor * right[inner];
        }
        // Rounding must not turn a nearly dependent context around.
        matrix[row][row] = matrix[row][row].max(1e-300);
    }
    for row in (0..size).rev() {
        right[row] /= matrix[row][row];
        for below in row + 1..size {
            right[row] -= matrix[below][row] * right[below];
        }
    }
}

#[cfg(test)]
mod tests {
    use faultline_numerics::random::Random;

    use super::*;

    #[test]
    fn slopes_of_a_plane_are_found_and_young_keys_follow_their_peers() {
        let mut random = Random::seeded(3);
        let mut context = Context::new(2);
        for _ in 0..2_000 {
            let contexts = [random.normal(), 5.0 + random.normal()];
            let value = 7.0 + 2.0 * contexts[0] - 3.0 * contexts[1] + 0.1 * random.normal();
            context.learn(0.002, value, &contexts);
        }
        let slopes = context.slopes(&[0.0, 0.0], 1.0);
        assert!((slopes[0] - 2.0).abs() < 0.05 && (slopes[1] + 3.0).abs() < 0.4, "slopes {slopes:?}");

        let mut young = Context::new(2);
        young.learn(0.002, 7.0, &[0.5, 0.5]);
        let slopes = young.slopes(&[2.0, -3.0], 10.0);
        assert!((slopes[0] - 20.0).abs() < 1e-6 && (slopes[1] + 30.0).abs() < 1e-6, "slopes {slopes:?}");
    }
}
