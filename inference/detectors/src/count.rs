//! Events per bucket of time against a decayed negative binomial, judged while the bucket runs.
//!
//! A key's rate is known as a gamma distribution (prior of its peers, decayed counts of its own closed buckets),
//! so the count to expect is negative binomial; what the key scatters beyond that widens it.
//!
//! The strangeness of a running count c is −log10 of the share of the key's events that find at least c in their
//! bucket: E[(N − c + 1)⁺] / E[N]. In that measure busy and idle keys are alike, which the tail of N itself is not:
//! every event of an idle key finds a count of 1, however rare it is.

use faultline_numerics::image::{ImageError, Reader, Writer};
use faultline_numerics::math;

use crate::peers::{CountPeers, PeersIncrements};

/// Shape of the prior of a key's rate: Jeffreys' for a Poisson mean.
const PRIOR_SHAPE: f64 = 0.5;
/// Informative buckets that weigh as much as the peers' dispersion.
const DISPERSION_BUCKETS: f64 = 20.0;
/// Largest dispersion: a bucket's standard deviation of 4 means.
const MOST_DISPERSION: f64 = 16.0;
/// Smallest: beyond a negative binomial of this shape nothing differs from Poisson.
const LEAST_DISPERSION: f64 = 1e-6;
/// Keys with fewer closed buckets than this report them as a young key's.
const YOUNG: u32 = 10;

/// How a count detector estimates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CountPlan {
    /// Length of a bucket.
    pub(crate) every_ms: i64,
    /// What a closed bucket keeps of its weight with each bucket that follows.
    pub(crate) keep: f64,
    /// In buckets.
    pub(crate) half_life: f64,
}

impl CountPlan {
    pub(crate) fn new(every_ms: i64, half_life: f64) -> Self {
        Self { every_ms: every_ms.max(1), keep: math::exp2(-1.0 / half_life), half_life }
    }
}

/// State of a key under a count detector.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CountKey {
    /// The running bucket, counted from the epoch.
    bucket: i64,
    /// What it holds so far.
    running: f64,
    /// Decayed number of closed buckets.
    weight: f64,
    /// Decayed sum of their counts.
    sum: f64,
    /// Decayed sum of the squares.
    squares: f64,
    /// A point of the running bucket was held back: the bucket will not be learned.
    is_tainted: bool,
    /// Nothing was counted yet.
    is_new: bool,
}

/// What a key's bucket is expected to hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CountOutlook {
    /// Expected count of a full bucket.
    pub(crate) mean: f64,
    /// Shape of the negative binomial: 1 over its dispersion.
    shape: f64,
}

impl CountKey {
    pub(crate) fn new() -> Self {
        Self { bucket: 0, running: 0.0, weight: 0.0, sum: 0.0, squares: 0.0, is_tainted: false, is_new: true }
    }

    /// Closes buckets that have ended, learns them, and adds to the running one. Returns rows learned so far.
    pub(crate) fn count(
        &mut self,
        plan: &CountPlan,
        mut learned: u32,
        amount: f64,
        time_ms: i64,
        peers: &mut PeersIncrements,
    ) -> u32 {
        let bucket = time_ms.div_euclid(plan.every_ms);
        if self.is_new {
            self.is_new = false;
            self.bucket = bucket;
        } else if bucket > self.bucket {
            let empty = bucket.saturating_sub(self.bucket).saturating_sub(1).min(i64::from(u32::MAX)) as u32;
            if !self.is_tainted {
                self.close(plan, learned, peers);
                learned = learned.saturating_add(1);
            }
            self.close_empty(plan, learned, empty, peers);
            learned = learned.saturating_add(empty);
            self.bucket = bucket;
            self.running = 0.0;
            self.is_tainted = false;
        }
        self.running = (self.running + amount.max(0.0)).min(1e100);
        learned
    }

    fn close(&mut self, plan: &CountPlan, learned: u32, peers: &mut PeersIncrements) {
        if PeersIncrements::is_due(learned) {
            if learned < YOUNG {
                peers.level(self.running, 1);
            } else {
                peers.spread(self.own_dispersion());
            }
        }
        self.weight = self.weight * plan.keep + 1.0;
        self.sum = self.sum * plan.keep + self.running;
        self.squares = self.squares * plan.keep + self.running * self.running;
    }

    fn close_empty(&mut self, plan: &CountPlan, learned: u32, empty: u32, peers: &mut PeersIncrements) {
        if empty == 0 {
            return;
        }
        let keep = math::exp2(-f64::from(empty) / plan.half_life);
        self.weight = self.weight * keep + (1.0 - keep) / (1.0 - plan.keep);
        self.sum *= keep;
        self.squares *= keep;
        if learned < YOUNG {
            peers.level(0.0, empty.min(YOUNG - learned));
        }
    }

    /// What the running bucket is expected to hold in the end.
    pub(crate) fn outlook(&self, peers: &CountPeers) -> CountOutlook {
        let gamma_shape = PRIOR_SHAPE + self.sum;
        let mean = gamma_shape / (PRIOR_SHAPE / peers.mean + self.weight);
        // A bucket tells of dispersion only as far as its mean is above 1.
        let telling = mean / (1.0 + mean);
        let trust = self.weight * telling * telling;
        let dispersion = if trust > 0.0 {
            (trust * self.own_dispersion() + DISPERSION_BUCKETS * peers.dispersion) / (trust + DISPERSION_BUCKETS)
        } else {
            peers.dispersion
        };
        let shape = 1.0 / (1.0 / gamma_shape + dispersion).clamp(LEAST_DISPERSION, MOST_DISPERSION);
        CountOutlook { mean, shape }
    }

    /// Variance beyond Poisson as a share of the squared mean, as the key alone shows it.
    fn own_dispersion(&self) -> f64 {
        let mean = self.sum / self.weight;
        if self.weight < 2.0 || mean <= 0.0 {
            return 0.0;
        }
        let variance = (self.squares / self.weight - mean * mean) * self.weight / (self.weight - 1.0);
        ((variance - mean) / (mean * mean)).clamp(0.0, MOST_DISPERSION)
    }

    /// What the running bucket holds.
    pub(crate) fn running(&self) -> f64 {
        self.running
    }

    /// Leaves the running bucket out of what is learned.
    pub(crate) fn taint(&mut self) {
        self.is_tainted = true;
    }

    /// Accepts a new level: the running count is what a bucket holds from now on.
    pub(crate) fn accept_shift(&mut self) {
        self.weight = 1.0;
        self.sum = self.running;
        self.squares = self.running * self.running;
        self.is_tainted = false;
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.u8(u8::from(self.is_tainted) | u8::from(self.is_new) << 1);
        if !self.is_new {
            w.signed(self.bucket);
            [self.running, self.weight, self.sum, self.squares].into_iter().for_each(|number| w.f64(number));
        }
    }

    pub(crate) fn restore(r: &mut Reader<'_>) -> Result<Self, ImageError> {
        let flags = r.u8()?;
        if flags > 3 {
            return Err(ImageError::Invalid { what: "flags of a count", found: u64::from(flags) });
        }
        let mut restored = Self { is_tainted: flags & 1 != 0, is_new: flags & 2 != 0, ..Self::new() };
        if !restored.is_new {
            restored.bucket = r.signed()?;
            let numbers = [&mut restored.running, &mut restored.weight, &mut restored.sum, &mut restored.squares];
            for number in numbers {
                *number = r.f64()?;
                if !(*number >= 0.0 && number.is_finite()) {
                    return Err(ImageError::Invalid { what: "a number of a count", found: number.to_bits() });
                }
            }
        }
        Ok(restored)
    }
}

impl CountOutlook {
    /// −log10 of the share of events that find at least `count` in their bucket.
    #[inline]
    pub(crate) fn strangeness(&self, count: f64) -> f64 {
        if count <= 1.0 || count <= self.mean {
            return 0.0;
        }
        self.strangeness_above(count)
    }

    /// Above the mean the probabilities fall at least geometrically, with the ratio ρ found at `count`: their sum
    /// is p/(1−ρ), and the sum of these sums p/(1−ρ)².
    fn strangeness_above(&self, count: f64) -> f64 {
        let Self { mean, shape } = *self;
        let success = shape / (mean + shape);
        let ln_probability = math::ln_gamma(count + shape) - math::ln_gamma(shape) - math::ln_gamma(count + 1.0)
            + shape * math::ln(success)
            + count * math::ln(mean / (mean + shape));
        let fall = ((count - mean) * success + 1.0) / (count + 1.0);
        let ln_share = ln_probability - math::ln(fall * fall * mean);
        (-ln_share * std::f64::consts::LOG10_E).max(0.0)
    }

    /// Upper end of the range of 99 in 100 buckets (Cornish and Fisher 1938, to the skewness).
    pub(crate) fn high(&self) -> f64 {
        let variance = self.mean * (1.0 + self.mean / self.shape);
        let skew = 1.0 + 2.0 * self.mean / self.shape;
        self.mean + 2.326 * math::sqrt(variance) + 0.735 * skew
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangeness_is_that_of_the_share_of_events() {
        // Poisson by a negative binomial of large shape, against sums of the exact probabilities.
        for mean in [0.01, 0.5, 5.0, 50.0] {
            let outlook = CountOutlook { mean, shape: 1e6 };
            let probability = |n: f64| math::exp(n * math::ln(mean) - mean - math::ln_gamma(n + 1.0));
            for above in [2.0, 3.0, 4.0] {
                let count = (mean + above * math::sqrt(mean)).max(2.0) as i32;
                let share: f64 =
                    (count..count + 400).map(|n| probability(f64::from(n)) * f64::from(n - count + 1) / mean).sum();
                let found = outlook.strangeness(f64::from(count));
                let exact = -math::log10(share);
                assert!((found - exact).abs() < 0.35, "mean {mean} count {count}: {found}, exactly {exact}");
            }
        }
    }

    #[test]
    fn empty_buckets_decay_as_if_they_had_been_closed_one_by_one() {
        let plan = CountPlan::new(1_000, 50.0);
        let mut peers = PeersIncrements::default();
        let (mut jumping, mut stepping) = (CountKey::new(), CountKey::new());
        jumping.count(&plan, 0, 1.0, 0, &mut peers);
        stepping.count(&plan, 0, 1.0, 0, &mut peers);
        let learned = jumping.count(&plan, 0, 1.0, 30_000, &mut peers);
        assert_eq!(learned, 30);
        let mut learned = 0;
        for second in 1..=30 {
            learned = stepping.count(&plan, learned, 0.0, second * 1_000, &mut peers);
        }
        assert!((jumping.weight - stepping.weight).abs() < 1e-9 && (jumping.sum - stepping.sum).abs() < 1e-9);
    }
}
