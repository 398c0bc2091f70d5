//! What must be found is found, and what was found does not teach.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

use std::f64::consts::TAU;

use faultline_detectors::{DetectorSpec, Direction, LogScale, Maturity, ModelSpec};
use faultline_numerics::math;
use faultline_numerics::random::Random;

use shard::{HOUR_MS, Shard, Zipf, spec};

#[path = "support/shard.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod shard;

const KEYS: usize = 1_000;
const EVENTS: usize = 200_000;

fn tail() -> DetectorSpec {
    DetectorSpec::Tail { half_life: 100.0, log_scale: LogScale::Auto }
}

/// Logarithm of an amount: normal noise; for one key in `heavy_one_in` the upper tenth of it is exponential.
fn noise(random: &mut Random, key: usize, heavy_one_in: usize) -> f64 {
    let normal = random.normal();
    if is_heavy(key, heavy_one_in) && normal > UPPER_TENTH { UPPER_TENTH + random.exponential() } else { normal }
}

const UPPER_TENTH: f64 = 1.2816;

fn is_heavy(key: usize, one_in: usize) -> bool {
    key % one_in == one_in / 2
}

/// A third of the distance from the median to the 99.865 % point of [`noise`].
fn robust_sigma(key: usize, heavy_one_in: usize) -> f64 {
    if is_heavy(key, heavy_one_in) { (UPPER_TENTH + math::ln(0.1 / 0.00135)) / 3.0 } else { 1.0 }
}

/// Share of mature keys whose spike of so many robust σ has at least `surprise`.
fn found(model: ModelSpec, heavy_one_in: usize, sigmas: f64, surprise: f64) -> f64 {
    let mut random = Random::seeded(5);
    let zipf = Zipf::new(KEYS);
    let mut shard = Shard::new(model, KEYS);
    let level = |key: usize| 3.0 + Random::seeded(key as u64).normal();
    let spread = |key: usize| 0.3 + 0.4 * Random::seeded(!(key as u64)).uniform();
    for event in 0..EVENTS {
        let key = zipf.draw(&mut random);
        let amount = math::exp(level(key) + spread(key) * noise(&mut random, key, heavy_one_in));
        shard.fold(key, &[amount], event as i64 * 1_000);
    }
    let (mut mature, mut hit) = (0.0, 0.0);
    for key in 0..KEYS {
        let spike = math::exp(level(key) + spread(key) * sigmas * robust_sigma(key, heavy_one_in));
        let score = shard.peek(key, &[spike], EVENTS as i64 * 1_000);
        if score.maturity == Maturity::Mature {
            mature += 1.0;
            hit += f64::from(u8::from(score.surprise >= surprise));
            assert!(score.above && score.expected.is_some_and(|[low, high]| low < high && high < spike));
        }
    }
    assert!(mature > 100.0, "{mature} mature keys");
    hit / mature
}

#[test]
fn spikes_stand_out_on_lognormal_amounts() {
    for sigmas in [6.0, 10.0] {
        let share = found(spec(tail(), 1), 2 * KEYS, sigmas, 4.0);
        assert!(share >= 0.95, "{share} of the spikes of {sigmas} sigma");
    }
}

#[test]
fn spikes_stand_out_where_every_twentieth_key_is_heavy_tailed() {
    let high = ModelSpec { direction: Direction::High, ..spec(tail(), 1) };
    for (sigmas, surprise) in [(6.0, 4.0), (10.0, 4.0)] {
        let share = found(high.clone(), 20, sigmas, surprise);
        assert!(share >= 0.95, "{share} of the spikes of {sigmas} sigma");
    }
}

#[test]
fn a_normal_value_at_the_wrong_hour_is_found_with_the_hour_as_context() {
    let mut random = Random::seeded(6);
    let zipf = Zipf::new(300);
    let mut with_hour = Shard::new(spec(tail(), 3), 300);
    let mut without = Shard::new(spec(tail(), 1), 300);
    let row = |random: &mut Random, key: usize, time_ms: i64, sigmas: f64| {
        let angle = (time_ms % (24 * HOUR_MS)) as f64 / (24 * HOUR_MS) as f64 * TAU;
        let level = 100.0 + 10.0 * Random::seeded(key as u64).normal();
        let value = level + 2.0 * (4.0 * math::sin(angle) + sigmas * random.normal());
        [value, math::sin(angle), math::cos(angle)]
    };
    let step_ms = 14 * 24 * HOUR_MS / EVENTS as i64;
    for event in 0..EVENTS as i64 {
        let key = zipf.draw(&mut random);
        let row = row(&mut random, key, event * step_ms, 1.0);
        with_hour.fold(key, &row, event * step_ms);
        without.fold(key, &row[..1], event * step_ms);
    }
    // The usual value of six in the morning (sine 1) at six in the evening (sine −1).
    let evening_ms = 14 * 24 * HOUR_MS + 18 * HOUR_MS;
    let (mut mature, mut found, mut found_without) = (0.0, 0.0, 0.0);
    for key in 0..300 {
        let usual = row(&mut random, key, evening_ms - 12 * HOUR_MS, 0.0)[0];
        let [_, sine, cosine] = row(&mut random, key, evening_ms, 0.0);
        let score = with_hour.peek(key, &[usual, sine, cosine], evening_ms);
        if score.maturity == Maturity::Mature {
            mature += 1.0;
            found += f64::from(u8::from(score.surprise >= 3.0));
            found_without += f64::from(u8::from(without.peek(key, &[usual], evening_ms).surprise >= 3.0));
        }
    }
    assert!(mature > 100.0 && found / mature >= 0.95, "{found} of {mature}");
    assert!(found_without / mature < 0.2, "{found_without} of {mature} even without the hour");
}

fn arrivals(seed: u64) -> (Shard, f64) {
    let mut random = Random::seeded(seed);
    let zipf = Zipf::new(KEYS);
    let mut shard = Shard::new(spec(DetectorSpec::Count { every_ms: 300_000, half_life: 288.0 }, 0), KEYS);
    let mut time_ms = 0.0;
    for _ in 0..EVENTS {
        time_ms += 3_000.0 * random.exponential();
        shard.fold(zipf.draw(&mut random), &[], time_ms as i64);
    }
    (shard, time_ms)
}

#[test]
fn bursts_are_found() {
    let (mut shard, time_ms) = arrivals(7);
    let next_bucket_ms = (time_ms as i64 / 300_000 + 1) * 300_000;
    let total: f64 = (1..=KEYS).map(|rank| 1.0 / rank as f64).sum();
    for key in [0, 3, 30, 300, 900] {
        let usual = 100.0 / (key + 1) as f64 / total;
        let burst = (8.0 * usual).max(15.0) as i64;
        let last = (0..burst).filter_map(|event| shard.fold(key, &[], next_bucket_ms + event)).last().unwrap();
        assert_eq!(last.value, burst as f64);
        assert!(last.surprise >= 4.0 && last.above, "key {key}: {last:?}");
        let calm = shard.fold(key, &[], next_bucket_ms + 300_000).unwrap();
        assert!(calm.surprise < 2.0, "key {key} after its burst: {calm:?}");
    }
}

/// A shard whose keys have all learned normal readings around 50, σ = 2.
fn learned(detector: DetectorSpec) -> (Shard, Random) {
    let mut random = Random::seeded(8);
    let mut shard = Shard::new(spec(detector, 1), 50);
    for event in 0..60_000 {
        let value = 50.0 + 2.0 * random.normal();
        shard.fold(event % 50, &[value], event as i64 * 1_000);
    }
    (shard, random)
}

const LEARNED_MS: i64 = 60_000_000;

#[test]
fn a_run_of_anomalies_teaches_neither_the_key_nor_its_peers() {
    for detector in [tail(), DetectorSpec::Ewma { half_life: 100.0 }] {
        let (mut shard, _) = learned(detector);
        let before = shard.peek(7, &[80.0], LEARNED_MS);
        assert!(before.surprise >= 4.0);
        for second in 0..3_000 {
            // Short of the hour after which a shift would be accepted.
            let score = shard.fold(7, &[80.0], LEARNED_MS + second * 1_000).unwrap();
            assert_eq!((score.learned, score.expected), (before.learned, before.expected));
            assert_eq!(score.surprise, before.surprise);
        }
        // Another version takes the few points that the run may count for: it is judged as before.
        let shared = shard.model.next_shared(&shard.shared, &shard.increments);
        let after = Shard { shared, ..shard }.peek(8, &[80.0], LEARNED_MS);
        assert!(after.surprise >= 3.0, "{after:?}");
    }
}

#[test]
fn a_level_shift_is_accepted_after_the_quarantine() {
    for detector in [tail(), DetectorSpec::Ewma { half_life: 100.0 }] {
        let (mut shard, mut random) = learned(detector);
        let mut surprises = Vec::new();
        for minute in 0..600 {
            let value = 80.0 + 2.0 * random.normal();
            surprises.push(shard.fold(7, &[value], LEARNED_MS + minute * 60_000).unwrap().surprise);
        }
        assert!(surprises[..60].iter().all(|&surprise| surprise >= 3.0), "held for an hour");
        let later = surprises[120..].iter().filter(|&&surprise| surprise >= 3.0).count();
        assert!(later <= 5, "{later} of {} points at the new level are still strange", surprises.len() - 120);
        let back = shard.peek(7, &[50.0], LEARNED_MS + 36_000_000);
        assert!(back.surprise >= 3.0, "the old level is strange now: {back:?}");
    }
}

#[test]
fn what_is_too_small_to_matter_is_never_strange() {
    let (shard, _) = learned(tail());
    let ignoring = |absolute: f64, relative: f64| {
        let model = ModelSpec { ignore_below_absolute: absolute, ignore_below_relative: relative, ..spec(tail(), 1) };
        Shard { model: faultline_detectors::Model::new(model), ..shard.clone() }.peek(7, &[80.0], LEARNED_MS).surprise
    };
    assert!(ignoring(0.0, 0.0) >= 4.0);
    assert!(ignoring(20.0, 0.5) >= 4.0, "30 away from 50 is more than 20, and more than half");
    assert!(ignoring(31.0, 0.0) < 1.0);
    assert!(ignoring(0.0, 0.7) < 1.0);
}

#[test]
fn only_the_wanted_direction_is_strange() {
    for (direction, high, low) in
        [(Direction::High, true, false), (Direction::Low, false, true), (Direction::Both, true, true)]
    {
        let mut random = Random::seeded(9);
        let mut shard = Shard::new(ModelSpec { direction, ..spec(tail(), 1) }, 50);
        for event in 0..30_000 {
            let value = 50.0 + 2.0 * random.normal();
            shard.fold(event % 50, &[value], event as i64 * 1_000);
        }
        assert_eq!(shard.peek(7, &[80.0], LEARNED_MS).surprise >= 3.0, high, "{direction:?}");
        assert_eq!(shard.peek(7, &[20.0], LEARNED_MS).surprise >= 3.0, low, "{direction:?}");
    }
}
