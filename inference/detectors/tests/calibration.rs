//! Surprise keeps its promise on streams without anomalies: a fast version of the benchmark, on one seed.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

use faultline_detectors::{
    Combination, CombinationIncrements, Combine, DetectorSpec, KeyCombination, LogScale, version_due,
};
use faultline_numerics::math;
use faultline_numerics::random::Random;

use shard::{Shard, Zipf, spec};

#[path = "support/shard.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod shard;

const EVENTS: usize = 300_000;
const KEYS: usize = 3_000;
const SEED: u64 = 11;

/// Observed over nominal share of surprises ≥ 2 and ≥ 3.
#[derive(Default)]
struct Tally {
    events: f64,
    hundredth: f64,
    thousandth: f64,
}

impl Tally {
    fn count(&mut self, surprise: f64) {
        self.events += 1.0;
        self.hundredth += f64::from(u8::from(surprise >= 2.0));
        self.thousandth += f64::from(u8::from(surprise >= 3.0));
    }

    fn assert_honest(&self, name: &str) {
        let hundredth = self.hundredth / self.events * 1e2;
        let thousandth = self.thousandth / self.events * 1e3;
        assert!((1.0 / 1.5..1.5).contains(&hundredth), "{name}: {hundredth} of nominal at one in 100");
        assert!((0.5..2.0).contains(&thousandth), "{name}: {thousandth} of nominal at one in 1,000");
    }
}

/// Folds values that depend on key and previous standardised value through tail, ewma and all combinations of them.
fn assert_honest_on(name: &str, mut draw: impl FnMut(&mut Random, usize, &mut f64) -> f64) {
    let mut random = Random::seeded(SEED);
    let zipf = Zipf::new(KEYS);
    let mut memories = vec![0.0; KEYS];
    let tail = DetectorSpec::Tail { half_life: 100.0, log_scale: LogScale::Auto };
    let ewma = DetectorSpec::Ewma { half_life: 100.0 };
    let mut shards = [Shard::new(spec(tail, 1), KEYS), Shard::new(spec(ewma, 1), KEYS)];
    let models = [shards[0].model.clone(), shards[1].model.clone()];
    let mut combinations: Vec<_> = [Combine::Any, Combine::Consensus, Combine::Weighted(vec![1.0, 2.0])]
        .into_iter()
        .map(|combine| {
            let name = format!("{combine:?}");
            let combination = Combination::new(combine, &models);
            let (shared, increments) = (combination.new_shared(), CombinationIncrements::default());
            (name, combination, shared, increments, vec![KeyCombination::default(); KEYS])
        })
        .collect();
    let mut tallies: Vec<Tally> = (0..5).map(|_| Tally::default()).collect();
    for event in 0..EVENTS {
        let key = zipf.draw(&mut random);
        let value = draw(&mut random, key, &mut memories[key]);
        let scores = shards.each_mut().map(|shard| shard.fold(key, &[value], event as i64 * 1_000).unwrap());
        let surprises = scores.map(|score| Some(score.surprise));
        let maturity = scores[0].maturity.min(scores[1].maturity);
        let mut all = vec![scores[0].surprise, scores[1].surprise];
        for (_, combination, shared, increments, keys) in &mut combinations {
            if version_due(event as u64) {
                *shared = combination.next_shared(shared, increments);
                *increments = CombinationIncrements::default();
            }
            all.push(combination.fold(shared, increments, &surprises, maturity, &mut keys[key]).unwrap());
        }
        if event >= EVENTS / 2 {
            tallies.iter_mut().zip(all).for_each(|(tally, surprise)| tally.count(surprise));
        }
    }
    tallies[0].assert_honest(&format!("{name}, tail"));
    tallies[1].assert_honest(&format!("{name}, ewma"));
    for (tally, (combine, ..)) in tallies[2..].iter().zip(&combinations) {
        tally.assert_honest(&format!("{name}, {combine}"));
    }
}

/// A level of the key's own, the same on every call.
fn level(key: usize) -> f64 {
    Random::seeded(key as u64).normal()
}

#[test]
fn lognormal_amounts() {
    assert_honest_on("lognormal", |random, key, _| math::exp(3.0 + level(key) + 0.8 * random.normal()));
}

#[test]
fn pareto_amounts() {
    assert_honest_on("Pareto", |random, key, _| math::exp(3.0 + level(key) + random.exponential() / 2.5));
}

#[test]
fn poisson_counts() {
    assert_honest_on("Poisson", |random, key, _| random.poisson(math::exp(2.0 + level(key))) as f64);
}

#[test]
fn normal_readings() {
    assert_honest_on("normal", |random, key, _| 100.0 + 30.0 * level(key) + 5.0 * random.normal());
}

#[test]
fn readings_that_hang_together() {
    assert_honest_on("autoregressive", |random, key, last| {
        *last = 0.9 * *last + math::sqrt(0.19) * random.normal();
        100.0 + 30.0 * level(key) + 5.0 * *last
    });
}

#[test]
fn arrivals() {
    let mut random = Random::seeded(SEED);
    let zipf = Zipf::new(KEYS);
    let mut shard = Shard::new(spec(DetectorSpec::Count { every_ms: 300_000, half_life: 288.0 }, 0), KEYS);
    let mut tally = Tally::default();
    let mut time_ms = 0.0;
    for event in 0..EVENTS {
        time_ms += 400.0 * random.exponential();
        let score = shard.fold(zipf.draw(&mut random), &[], time_ms as i64).unwrap();
        if event >= EVENTS / 2 {
            tally.count(score.surprise);
        }
    }
    tally.assert_honest("arrivals, count");
}
