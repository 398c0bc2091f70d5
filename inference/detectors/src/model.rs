//! A model: scores an event against key and frozen shared state, calibrates, decides quarantine, learns.

use faultline_numerics::hash::Fingerprint;
use faultline_numerics::image::{ImageError, Reader, Writer};

use crate::calibrator::{Calibrated, class_of};
use crate::count::{CountKey, CountPlan};
use crate::quarantine::{Quarantine, Verdict};
use crate::score::{Contribution, Maturity, Score};
use crate::shared::{Increments, Shared};
use crate::spec::{DetectorSpec, Direction, ModelSpec};
use crate::value::{Outlook, Row, ValueKey, ValuePlan};

const KEY_FORMAT: u64 = 1;
/// Quarantine begins no lower than one in ten, or a model would hardly learn.
const LEAST_QUARANTINE: f64 = 1.0;
/// Values are held to ±this, so that their squares are finite.
const LARGEST: f64 = 1e150;

/// A model, ready to fold events.
#[derive(Debug, Clone)]
pub struct Model {
    spec: ModelSpec,
    fingerprint: Fingerprint,
    plan: Plan,
}

#[derive(Debug, Clone, Copy)]
enum Plan {
    Value(ValuePlan),
    Count(CountPlan),
    Threshold { above: f64, below: f64, surprise: f64 },
}

/// What a model keeps of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyModel {
    /// Rows learned, saturating.
    learned: u32,
    quarantine: Quarantine,
    state: KeyState,
}

#[derive(Debug, Clone, PartialEq)]
enum KeyState {
    Value(ValueKey),
    Count(CountKey),
    Threshold,
}

impl Model {
    /// The model of a spec that [`ModelSpec::check`] accepts.
    #[must_use]
    pub fn new(spec: ModelSpec) -> Self {
        let plan = match spec.detector {
            DetectorSpec::Tail { half_life, .. } => {
                Plan::Value(ValuePlan::new(true, half_life, spec.inputs.saturating_sub(1)))
            }
            DetectorSpec::Ewma { half_life } => Plan::Value(ValuePlan::new(false, half_life, 0)),
            DetectorSpec::Count { every_ms, half_life } => Plan::Count(CountPlan::new(every_ms, half_life)),
            DetectorSpec::Threshold { above, below, surprise } => Plan::Threshold {
                above: above.unwrap_or(f64::INFINITY),
                below: below.unwrap_or(f64::NEG_INFINITY),
                surprise,
            },
        };
        let fingerprint = spec.fingerprint();
        Self { spec, fingerprint, plan }
    }

    /// The spec.
    #[must_use]
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Identity of the learned state: equal fingerprints read each other's images.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether the model's surprise is a fixed rule's, which no calibrator touches.
    #[must_use]
    pub fn is_rule(&self) -> bool {
        matches!(self.plan, Plan::Threshold { .. })
    }

    /// State of a key that was never seen.
    #[must_use]
    pub fn new_key(&self) -> KeyModel {
        let state = match &self.plan {
            Plan::Value(plan) => KeyState::Value(ValueKey::new(plan)),
            Plan::Count(_) => KeyState::Count(CountKey::new()),
            Plan::Threshold { .. } => KeyState::Threshold,
        };
        KeyModel { learned: 0, quarantine: Quarantine::default(), state }
    }

    /// Shared state of a shard that has seen nothing.
    #[must_use]
    pub fn new_shared(&self) -> Shared {
        Shared::new(&self.spec)
    }

    /// Scores an event, decides quarantine, and learns.
    ///
    /// `None` when an input is not a number: such an event is neither scored nor learned. `time_ms` never moves
    /// back for a key.
    pub fn fold(
        &self,
        key: &mut KeyModel,
        shared: &Shared,
        increments: &mut Increments,
        inputs: &[f64],
        time_ms: i64,
    ) -> Option<Score> {
        if inputs.len() != self.spec.inputs || inputs.iter().any(|input| !input.is_finite()) {
            return None;
        }
        match (&self.plan, &mut key.state) {
            (Plan::Value(_), KeyState::Value(_)) => self.fold_value(key, shared, increments, inputs, time_ms),
            (Plan::Count(_), KeyState::Count(_)) => self.fold_count(key, shared, increments, inputs, time_ms),
            (&Plan::Threshold { above, below, surprise }, KeyState::Threshold) => {
                let value = *inputs.first()?;
                let is_strange = value > above || value < below;
                key.learned = key.learned.saturating_add(1);
                Some(Score {
                    surprise: if is_strange { surprise } else { 0.0 },
                    maturity: Maturity::Mature,
                    expected: Some([below, above]),
                    learned: key.learned - 1,
                    above: value > above,
                    value,
                    strangeness: if is_strange { surprise } else { 0.0 },
                })
            }
            // A key of another model: the caller mixed up fingerprints.
            _ => None,
        }
    }

    fn fold_value(
        &self,
        key: &mut KeyModel,
        shared: &Shared,
        increments: &mut Increments,
        inputs: &[f64],
        time_ms: i64,
    ) -> Option<Score> {
        let (Plan::Value(plan), KeyState::Value(state)) = (&self.plan, &mut key.state) else {
            return None;
        };
        let (&value, contexts) = inputs.split_first()?;
        let raw = value.clamp(-LARGEST, LARGEST);
        let scale = shared.scale;
        if state.is_on_other_scale(scale) {
            state.restart(plan, scale);
            key.learned = 0;
            key.quarantine = Quarantine::default();
        }
        let learned = key.learned;
        let working = scale.apply(raw);
        let outlook = state.outlook(learned, &shared.value_peers, contexts);
        let signed = outlook.as_ref().map_or(0.0, |outlook| (working - outlook.center) / outlook.sigma);
        let directed = match &outlook {
            Some(outlook) if !self.is_ignored(raw, || scale.invert(outlook.center)) => self.directed(signed),
            _ => 0.0,
        };
        let strangeness = state.relieve(plan, directed);
        let class = class_of(learned);
        let judged = shared.calibrator.judge(class, strangeness);
        let usual = state.burden(plan, shared.calibrator.usual(class));
        let expected = outlook.as_ref().filter(|_| usual > 0.0).map(|&Outlook { center, sigma, .. }| {
            [scale.invert(center - usual * sigma), scale.invert(center + usual * sigma)]
        });
        let verdict = key.quarantine.observe(self.strange(&judged), time_ms, self.spec.quarantine_ms);
        if outlook.is_some() {
            increments.calibrator.record(judged, verdict.into());
        }
        let row = Row { raw, working, contexts };
        match verdict {
            Verdict::Learn => {
                state.learn(plan, learned, row, outlook.as_ref(), &mut increments.peers);
                state.learn_tail(plan, directed);
                key.learned = learned.saturating_add(1);
            }
            Verdict::Accepted => {
                state.accept_shift(working, outlook.as_ref());
                key.learned = 1;
            }
            Verdict::Began | Verdict::Calm | Verdict::Strange { .. } => {}
        }
        Some(Score {
            surprise: judged.surprise,
            maturity: Maturity::of(learned),
            expected,
            learned,
            above: signed > 0.0,
            value,
            strangeness,
        })
    }

    fn fold_count(
        &self,
        key: &mut KeyModel,
        shared: &Shared,
        increments: &mut Increments,
        inputs: &[f64],
        time_ms: i64,
    ) -> Option<Score> {
        let (Plan::Count(plan), KeyState::Count(state)) = (&self.plan, &mut key.state) else {
            return None;
        };
        let amount = inputs.first().copied().unwrap_or(1.0);
        key.learned = state.count(plan, key.learned, amount, time_ms, &mut increments.peers);
        let learned = key.learned;
        let outlook = state.outlook(&shared.count_peers);
        let count = state.running();
        let strangeness = if self.is_ignored(count, || outlook.mean) { 0.0 } else { outlook.strangeness(count) };
        let judged = shared.calibrator.judge(class_of(learned), strangeness);
        let verdict = key.quarantine.observe(self.strange(&judged), time_ms, self.spec.quarantine_ms);
        increments.calibrator.record(judged, verdict.into());
        match verdict {
            Verdict::Learn => {}
            Verdict::Began | Verdict::Calm | Verdict::Strange { .. } => state.taint(),
            Verdict::Accepted => {
                state.accept_shift();
                key.learned = 1;
            }
        }
        Some(Score {
            surprise: judged.surprise,
            maturity: Maturity::of(learned),
            expected: Some([0.0, outlook.high()]),
            learned,
            above: count > outlook.mean,
            value: count,
            strangeness,
        })
    }

    #[inline]
    fn strange(&self, judged: &Calibrated) -> Option<u16> {
        (judged.surprise >= self.spec.lowest_severity.max(LEAST_QUARANTINE)).then(|| judged.bin())
    }

    /// Whether a change is too small to be worth noticing.
    #[inline]
    fn is_ignored(&self, value: f64, expected: impl FnOnce() -> f64) -> bool {
        let ModelSpec { ignore_below_absolute, ignore_below_relative, .. } = self.spec;
        if ignore_below_absolute <= 0.0 && ignore_below_relative <= 0.0 {
            return false;
        }
        let expected = expected();
        (value - expected).abs() < ignore_below_absolute.max(ignore_below_relative * expected.abs())
    }

    #[inline]
    fn directed(&self, signed: f64) -> f64 {
        match self.spec.direction {
            Direction::High => signed.max(0.0),
            Direction::Low => (-signed).max(0.0),
            Direction::Both => signed.abs(),
        }
    }

    /// The next frozen version: the current one, decayed, and what was counted since.
    #[must_use]
    pub fn next_shared(&self, current: &Shared, increments: &Increments) -> Shared {
        current.next(&self.spec, increments)
    }

    /// Where the surprise comes from; meant for anomalies.
    #[must_use]
    pub fn explain(&self, score: &Score, inputs: &[f64]) -> Vec<Contribution> {
        // Context inputs say where the value should be; the surprise is the value's.
        let input = (!inputs.is_empty()).then_some(0);
        vec![Contribution { input, value: score.value, expected: score.expected, contribution: 1.0 }]
    }

    /// Appends the image of a key.
    pub fn write_key(&self, key: &KeyModel, w: &mut Writer) {
        w.varint(KEY_FORMAT);
        w.varint(u64::from(key.learned));
        key.quarantine.write(w);
        match &key.state {
            KeyState::Value(state) => state.write(w),
            KeyState::Count(state) => state.write(w),
            KeyState::Threshold => {}
        }
    }

    /// Reads the image of a key of a model with the same fingerprint.
    ///
    /// # Errors
    /// The image is cut short, of another format, or not a key's.
    pub fn restore_key(&self, r: &mut Reader<'_>) -> Result<KeyModel, ImageError> {
        r.format("state of a key under a model", KEY_FORMAT)?;
        let found = r.varint()?;
        let learned = u32::try_from(found).map_err(|_| ImageError::Invalid { what: "rows learned", found })?;
        let quarantine = Quarantine::restore(r)?;
        let state = match &self.plan {
            Plan::Value(plan) => KeyState::Value(ValueKey::restore(plan, r)?),
            Plan::Count(_) => KeyState::Count(CountKey::restore(r)?),
            Plan::Threshold { .. } => KeyState::Threshold,
        };
        Ok(KeyModel { learned, quarantine, state })
    }

    /// Appends the image of a frozen version.
    pub fn write_shared(&self, shared: &Shared, w: &mut Writer) {
        shared.write(w);
    }

    /// Reads the image of a frozen version.
    ///
    /// # Errors
    /// The image is cut short, of another format, or not a frozen version's.
    pub fn restore_shared(&self, r: &mut Reader<'_>) -> Result<Shared, ImageError> {
        Shared::restore(&self.spec, r)
    }

    /// Appends the image of increments.
    pub fn write_increments(&self, increments: &Increments, w: &mut Writer) {
        increments.write(w);
    }

    /// Reads the image of increments.
    ///
    /// # Errors
    /// The image is cut short, of another format, or not that of increments.
    pub fn restore_increments(&self, r: &mut Reader<'_>) -> Result<Increments, ImageError> {
        Increments::restore(r)
    }
}

impl KeyModel {
    /// Rows learned: events, or buckets for a count.
    #[must_use]
    pub fn learned(&self) -> u32 {
        self.learned
    }

    /// How much the model has seen of the key; a fixed rule has nothing to learn.
    #[must_use]
    pub fn maturity(&self) -> Maturity {
        match self.state {
            KeyState::Threshold => Maturity::Mature,
            KeyState::Value(_) | KeyState::Count(_) => Maturity::of(self.learned),
        }
    }

    /// Memory held, in bytes, the value itself included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let further = match &self.state {
            KeyState::Value(state) => state.bytes(),
            KeyState::Count(_) | KeyState::Threshold => 0,
        };
        size_of::<Self>() + further
    }
}
