//! From features to surprises: every model in order, then their combination.
//!
//! What keys share is read from a frozen version only and learned through increments; a version takes force at fixed
//! numbers of records, see `Scoring::take_force`.

mod calibration;
mod shared;

use faultline_crds::worker_config::{BoundModel, WorkerConfig};
use faultline_detectors::{Maturity, Score};
use faultline_features::Value;

use crate::shard::Opened;

pub use calibration::Calibration;
pub(crate) use shared::{Learner, Pool, Scoring, Versions};

/// What all models together say of one event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scored {
    /// The combined surprise; `None`: no model scored.
    pub(crate) surprise: Option<f64>,
    /// The least of the models that scored.
    pub(crate) maturity: Maturity,
}

/// Buffers for the scores of one event.
#[derive(Debug, Default)]
pub(crate) struct Scores {
    inputs: Vec<f64>,
    surprises: Vec<Option<f64>>,
    /// One per model; `None`: an input is absent.
    pub(crate) models: Vec<Option<Score>>,
}

/// One thing that an anomaly's surprise comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Explained {
    /// The model that says so.
    pub(crate) model: usize,
    /// The plan's column; `None`: the count of events itself.
    pub(crate) column: Option<usize>,
    /// Its value.
    pub(crate) value: f64,
    /// Where it usually lies.
    pub(crate) expected: Option<[f64; 2]>,
    /// Share of the surprise.
    pub(crate) contribution: f64,
    /// Rows behind the expectation.
    pub(crate) learned: u32,
}

/// Scores an event with every model, learns from it, and combines.
pub(crate) fn score(key: &mut Opened<'_>, columns: &[Value<'_>], scores: &mut Scores) -> Scored {
    scores.models.clear();
    scores.surprises.clear();
    let mut maturity = None;
    for ((bound, own), key_model) in key.config.models.iter().zip(&mut key.scoring.models).zip(&mut *key.models) {
        gather(bound, columns, &mut scores.inputs);
        let score = bound.model.fold(key_model, &own.pool.shared, &mut own.pool.fresh, &scores.inputs, key.time_ms);
        if let Some(score) = &score {
            own.calibration.count(score.surprise);
            maturity = Some(maturity.map_or(score.maturity, |least: Maturity| least.min(score.maturity)));
        }
        scores.surprises.push(score.map(|score| score.surprise));
        scores.models.push(score);
    }
    let maturity = maturity.unwrap_or(Maturity::Cold);
    let Scoring { combination, combined, .. } = &mut *key.scoring;
    let surprise =
        combination.fold(&combined.shared, &mut combined.fresh, &scores.surprises, maturity, key.combination);
    Scored { surprise, maturity }
}

/// The detector's inputs; what is not a number is NaN, and the model leaves the event out.
fn gather(bound: &BoundModel, columns: &[Value<'_>], inputs: &mut Vec<f64>) {
    inputs.clear();
    inputs.extend(
        bound.columns.iter().map(|&column| columns.get(column).map_or(f64::NAN, |value| value.number_or_nan())),
    );
}

/// What an anomaly's surprise is made of, the greatest share first. Each model counts by its surprise; one that sees
/// nothing strange (less than 1 in 10) is left out.
pub(crate) fn explain(
    config: &WorkerConfig,
    columns: &[Value<'_>],
    scores: &mut Scores,
    explanation: &mut Vec<Explained>,
) {
    explanation.clear();
    let highest = scores.surprises.iter().flatten().copied().fold(0.0, f64::max);
    let counts = |surprise: f64| surprise >= 1.0 || surprise == highest;
    let total: f64 = scores.surprises.iter().flatten().copied().filter(|surprise| counts(*surprise)).sum();
    let mut strange: Vec<(usize, Score)> = scores
        .models
        .iter()
        .enumerate()
        .filter_map(|(model, score)| Some((model, score.filter(|score| counts(score.surprise))?)))
        .collect();
    strange.sort_by(|a, b| b.1.surprise.total_cmp(&a.1.surprise));
    for (model, score) in strange {
        let bound = &config.models[model];
        let share = if total > 0.0 { score.surprise / total } else { 1.0 };
        gather(bound, columns, &mut scores.inputs);
        for part in bound.model.explain(&score, &scores.inputs) {
            let column = part.input.and_then(|input| bound.columns.get(input).copied());
            let contribution = part.contribution * share;
            // Models that point at the same value say one thing, in the words of the most surprised; a count of it is another.
            match explanation.iter_mut().find(|known| known.column == column && known.value == part.value) {
                Some(known) => known.contribution += contribution,
                None => explanation.push(Explained {
                    model,
                    column,
                    value: part.value,
                    expected: part.expected,
                    contribution,
                    learned: score.learned,
                }),
            }
        }
    }
    explanation.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
}
