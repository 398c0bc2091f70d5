//! One shard that folds events through one model, taking a new frozen version where one is due.

use faultline_detectors::{
    DetectorSpec, Direction, Increments, KeyModel, Model, ModelSpec, Score, Shared, version_due,
};
use faultline_numerics::hash::Fingerprint;
use faultline_numerics::image::Writer;
use faultline_numerics::random::Random;

/// An hour of event time.
pub const HOUR_MS: i64 = 3_600_000;

/// A spec with the defaults of everything but the detector.
pub fn spec(detector: DetectorSpec, inputs: usize) -> ModelSpec {
    ModelSpec {
        detector,
        inputs,
        direction: Direction::Both,
        ignore_below_absolute: 0.0,
        ignore_below_relative: 0.0,
        lowest_severity: 3.0,
        quarantine_ms: HOUR_MS,
        input_fingerprints: (0..inputs).map(|input| Fingerprint::of(&format!("input {input}"))).collect(),
    }
}

/// A model, its shared state and the keys of a shard.
#[derive(Clone)]
pub struct Shard {
    pub model: Model,
    pub shared: Shared,
    pub increments: Increments,
    pub keys: Vec<KeyModel>,
    pub records: u64,
}

impl Shard {
    pub fn new(spec: ModelSpec, keys: usize) -> Self {
        assert_eq!(spec.check(), Ok(()));
        let model = Model::new(spec);
        let shared = model.new_shared();
        let keys = (0..keys).map(|_| model.new_key()).collect();
        Self { model, shared, increments: Increments::default(), keys, records: 0 }
    }

    pub fn fold(&mut self, key: usize, inputs: &[f64], time_ms: i64) -> Option<Score> {
        if version_due(self.records) {
            self.shared = self.model.next_shared(&self.shared, &self.increments);
            self.increments = Increments::default();
        }
        self.records += 1;
        self.model.fold(&mut self.keys[key], &self.shared, &mut self.increments, inputs, time_ms)
    }

    /// What the model would say, without learning from it.
    pub fn peek(&self, key: usize, inputs: &[f64], time_ms: i64) -> Score {
        let mut key = self.keys[key].clone();
        let mut increments = self.increments.clone();
        self.model.fold(&mut key, &self.shared, &mut increments, inputs, time_ms).unwrap()
    }

    pub fn key_image(&self, key: usize) -> Vec<u8> {
        let mut writer = Writer::new();
        self.model.write_key(&self.keys[key], &mut writer);
        writer.into_bytes()
    }

    pub fn image(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.model.write_shared(&self.shared, &mut writer);
        self.model.write_increments(&self.increments, &mut writer);
        for key in &self.keys {
            self.model.write_key(key, &mut writer);
        }
        writer.into_bytes()
    }
}

/// Draws keys: activity of the n-th ∝ 1/n.
pub struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    pub fn new(keys: usize) -> Self {
        let mut total = 0.0;
        let cumulative = (1..=keys)
            .map(|rank| {
                total += 1.0 / rank as f64;
                total
            })
            .collect();
        Self { cumulative }
    }

    pub fn draw(&self, random: &mut Random) -> usize {
        let point = random.uniform() * self.cumulative[self.cumulative.len() - 1];
        self.cumulative.partition_point(|&sum| sum <= point).min(self.cumulative.len() - 1)
    }
}
