//! Several models, one surprise.
//!
//! Each way of combining is wrong by itself (models are neither independent nor equal), so its outcome goes through
//! a calibrator of its own. Rules bypass it: their surprise is a statement, not an estimate.

use faultline_numerics::image::{ImageError, Reader, Writer};
use faultline_numerics::math;

use crate::calibrator::{Calibrator, CalibratorIncrements};
use crate::model::Model;
use crate::quarantine::Quarantine;
use crate::score::Maturity;

const SHARED_FORMAT: u64 = 1;
const INCREMENTS_FORMAT: u64 = 1;
const KEY_FORMAT: u64 = 1;
/// Events behind a calibrator that may raise a surprise above what the formula gives.
const SETTLED: f64 = 65_536.0;

/// How surprises of several models become one.
#[derive(Debug, Clone, PartialEq)]
pub enum Combine {
    /// The highest, corrected for the number of models (Bonferroni).
    Any,
    /// The harmonic mean of the probabilities (Wilson, PNAS 116, 2019).
    Consensus,
    /// The weighted mean of the surprises; a weight per model, in their order.
    Weighted(Vec<f64>),
}

/// The models of a pipeline as one.
#[derive(Debug, Clone)]
pub struct Combination {
    combine: Combine,
    /// Per model, in order.
    is_rule: Vec<bool>,
    /// Surprise from which on an event is no longer normal: the lowest of the models'.
    lowest_severity: f64,
}

/// A frozen version of a combination's calibrator.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CombinationShared {
    calibrator: Calibrator,
}

/// What a combination has counted since the version in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CombinationIncrements {
    calibrator: CalibratorIncrements,
}

/// What a combination keeps of one key: whether an episode is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyCombination {
    episode: Quarantine,
}

impl Combination {
    /// The combination of models, in the order in which surprises will be given.
    #[must_use]
    pub fn new(combine: Combine, models: &[Model]) -> Self {
        let is_rule = models.iter().map(Model::is_rule).collect();
        let lowest_severity = models.iter().map(|model| model.spec().lowest_severity).fold(f64::INFINITY, f64::min);
        Self { combine, is_rule, lowest_severity: lowest_severity.max(1.0) }
    }

    /// State of a key that was never seen.
    #[must_use]
    pub fn new_key(&self) -> KeyCombination {
        KeyCombination::default()
    }

    /// Shared state of a shard that has seen nothing.
    #[must_use]
    pub fn new_shared(&self) -> CombinationShared {
        CombinationShared::default()
    }

    /// Whether anything is learned: not for a single model, or for rules alone.
    #[must_use]
    pub fn learns(&self) -> bool {
        self.is_rule.iter().filter(|is_rule| !**is_rule).count() > 1
    }

    /// Combines the surprises of the models (`None`: that model had nothing to say), at the least maturity of them.
    ///
    /// `None` when no model had anything to say. A single model's surprise is passed on as it is.
    pub fn fold(
        &self,
        shared: &CombinationShared,
        increments: &mut CombinationIncrements,
        surprises: &[Option<f64>],
        maturity: Maturity,
        key: &mut KeyCombination,
    ) -> Option<f64> {
        let by_rule = self.given(surprises, true).map(|(_, surprise)| surprise).reduce(f64::max);
        let estimated = self.fold_estimates(shared, increments, surprises, maturity, key);
        match (by_rule, estimated) {
            (Some(rule), Some(estimate)) => Some(rule.max(estimate)),
            (rule, estimate) => rule.or(estimate),
        }
    }

    fn fold_estimates(
        &self,
        shared: &CombinationShared,
        increments: &mut CombinationIncrements,
        surprises: &[Option<f64>],
        maturity: Maturity,
        key: &mut KeyCombination,
    ) -> Option<f64> {
        let raw = self.combined(surprises)?;
        if !self.learns() {
            return Some(raw);
        }
        // Cold, warming and mature take the classes of 3–9, 30–99 and 100 rows.
        let class = match maturity {
            Maturity::Cold => 1,
            Maturity::Warming => 3,
            Maturity::Mature => 4,
        };
        let judged = shared.calibrator.judge(class, raw);
        // Without event time an episode ends by calm points only.
        let strange = (judged.surprise >= self.lowest_severity).then(|| judged.bin());
        let verdict = key.episode.observe(strange, 0, i64::MAX);
        increments.calibrator.record(judged, verdict.into());
        // While few events stand behind it, the models' own calibration still moves from version to version, and
        // their surprises grow with it: what has been seen of them says little about what will be.
        let is_settled = shared.calibrator.observations() >= SETTLED;
        Some(if is_settled { judged.surprise } else { judged.surprise.min(raw) })
    }

    /// The combined surprise before calibration.
    fn combined(&self, surprises: &[Option<f64>]) -> Option<f64> {
        let count = self.given(surprises, false).count() as f64;
        if count == 0.0 {
            return None;
        }
        let surprise = |(_, surprise): (usize, f64)| surprise;
        let highest = self.given(surprises, false).map(surprise).fold(0.0, f64::max);
        if count < 2.0 && !self.learns() {
            return Some(highest);
        }
        Some(match &self.combine {
            Combine::Any => (highest - math::log10(count)).max(0.0),
            Combine::Consensus => {
                // log10 of the mean of 10^surprise, from the highest, so that nothing overflows.
                let sum: f64 = self
                    .given(surprises, false)
                    .map(|given| math::exp((surprise(given) - highest) * std::f64::consts::LN_10))
                    .sum();
                highest + math::log10(sum / count)
            }
            Combine::Weighted(weights) => {
                let (mut sum, mut total) = (0.0, 0.0);
                for (model, surprise) in self.given(surprises, false) {
                    let weight = weights.get(model).copied().unwrap_or(1.0).max(0.0);
                    sum += weight * surprise;
                    total += weight;
                }
                if total > 0.0 { sum / total } else { 0.0 }
            }
        })
    }

    fn given<'a>(&'a self, surprises: &'a [Option<f64>], rules: bool) -> impl Iterator<Item = (usize, f64)> + 'a {
        surprises
            .iter()
            .enumerate()
            .filter(move |(model, _)| self.is_rule.get(*model).copied().unwrap_or(false) == rules)
            .filter_map(|(model, surprise)| surprise.map(|surprise| (model, surprise)))
    }

    /// The next frozen version.
    #[must_use]
    pub fn next_shared(&self, current: &CombinationShared, increments: &CombinationIncrements) -> CombinationShared {
        CombinationShared { calibrator: current.calibrator.next(&increments.calibrator) }
    }

    /// Appends the image of a key.
    pub fn write_key(&self, key: &KeyCombination, w: &mut Writer) {
        w.varint(KEY_FORMAT);
        key.episode.write(w);
    }

    /// Reads the image of a key.
    ///
    /// # Errors
    /// The image is cut short, of another format, or not a key's.
    pub fn restore_key(&self, r: &mut Reader<'_>) -> Result<KeyCombination, ImageError> {
        r.format("state of a key under a combination", KEY_FORMAT)?;
        Ok(KeyCombination { episode: Quarantine::restore(r)? })
    }

    /// Appends the image of a frozen version.
    pub fn write_shared(&self, shared: &CombinationShared, w: &mut Writer) {
        w.varint(SHARED_FORMAT);
        shared.calibrator.write(w);
    }

    /// Reads the image of a frozen version.
    ///
    /// # Errors
    /// The image is cut short, of another format, or not a frozen version's.
    pub fn restore_shared(&self, r: &mut Reader<'_>) -> Result<CombinationShared, ImageError> {
        r.format("shared state of a combination", SHARED_FORMAT)?;
        Ok(CombinationShared { calibrator: Calibrator::restore(r)? })
    }

    /// Appends the image of increments.
    pub fn write_increments(&self, increments: &CombinationIncrements, w: &mut Writer) {
        w.varint(INCREMENTS_FORMAT);
        increments.calibrator.write(w);
    }

    /// Reads the image of increments.
    ///
    /// # Errors
    /// The image is cut short, of another format, or not that of increments.
    pub fn restore_increments(&self, r: &mut Reader<'_>) -> Result<CombinationIncrements, ImageError> {
        r.format("increments of a combination", INCREMENTS_FORMAT)?;
        Ok(CombinationIncrements { calibrator: CalibratorIncrements::restore(r)? })
    }
}

impl CombinationIncrements {
    /// Adds what was counted elsewhere since the same version.
    pub fn merge(&mut self, other: &Self) {
        self.calibrator.merge(&other.calibrator);
    }
}
