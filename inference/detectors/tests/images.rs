//! State is a function of what was folded: images bring it back bit for bit, and never trust what they read.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

use faultline_detectors::{
    Combination, CombinationIncrements, Combine, DetectorSpec, Increments, LogScale, Maturity, Model, Score,
};
use faultline_numerics::hash::hash64;
use faultline_numerics::image::{Reader, Writer};
use faultline_numerics::math;
use faultline_numerics::random::Random;
use proptest::prelude::*;

use shard::{Shard, Zipf, spec};

#[path = "support/shard.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod shard;

const KEYS: usize = 200;

fn detectors() -> Vec<(DetectorSpec, usize)> {
    let tail = |log_scale| DetectorSpec::Tail { half_life: 50.0, log_scale };
    vec![
        (tail(LogScale::Auto), 1),
        (tail(LogScale::No), 1),
        (tail(LogScale::Yes), 3),
        (DetectorSpec::Ewma { half_life: 50.0 }, 1),
        (DetectorSpec::Count { every_ms: 10_000, half_life: 20.0 }, 0),
        (DetectorSpec::Count { every_ms: 10_000, half_life: 20.0 }, 1),
        (DetectorSpec::Threshold { above: Some(90.0), below: Some(0.5), surprise: 6.0 }, 1),
    ]
}

/// The n-th event: key, inputs, time. Some values are far off, one in a thousand is missing.
fn event(number: u64, zipf: &Zipf) -> (usize, [f64; 3], i64) {
    let mut random = Random::seeded(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let key = zipf.draw(&mut random);
    let mut value = math::exp(2.0 + (key % 7) as f64 * 0.3 + 0.7 * random.normal());
    if random.below(300) == 0 {
        value *= 50.0;
    }
    if random.below(1_000) == 0 {
        value = f64::NAN;
    }
    let angle = number as f64 * 0.001;
    (key, [value, math::sin(angle), math::cos(angle)], number as i64 * 400 + random.below(300) as i64)
}

fn fold(shard: &mut Shard, inputs: usize, numbers: std::ops::Range<u64>) -> Vec<Option<Score>> {
    let zipf = Zipf::new(KEYS);
    numbers
        .map(|number| {
            let (key, row, time_ms) = event(number, &zipf);
            shard.fold(key, &row[..inputs], time_ms)
        })
        .collect()
}

fn restored(shard: &Shard) -> Shard {
    let image = shard.image();
    let mut reader = Reader::new(&image);
    let shared = shard.model.restore_shared(&mut reader).unwrap();
    let increments = shard.model.restore_increments(&mut reader).unwrap();
    let keys = shard.keys.iter().map(|_| shard.model.restore_key(&mut reader).unwrap()).collect();
    assert!(reader.is_at_end());
    Shard { model: shard.model.clone(), shared, increments, keys, records: shard.records }
}

#[test]
fn a_run_equals_its_prefix_an_image_and_the_rest() {
    for (detector, inputs) in detectors() {
        for cut in [100, 700, 5_000, 9_999] {
            let mut whole = Shard::new(spec(detector.clone(), inputs), KEYS);
            let scores = fold(&mut whole, inputs, 0..12_000);
            let mut first = Shard::new(spec(detector.clone(), inputs), KEYS);
            let mut parts = fold(&mut first, inputs, 0..cut);
            let mut second = restored(&first);
            assert_eq!(second.shared, first.shared);
            parts.extend(fold(&mut second, inputs, cut..12_000));
            assert!(scores == parts, "{detector:?}: scores differ after a restore at {cut}");
            assert!(whole.image() == second.image(), "{detector:?}: state differs after a restore at {cut}");
        }
    }
}

#[test]
fn increments_of_batches_add_up_to_those_of_the_run() {
    for (detector, inputs) in detectors() {
        let mut whole = Shard::new(spec(detector, inputs), KEYS);
        fold(&mut whole, inputs, 0..8_200);
        let mut batched = whole.clone();
        fold(&mut whole, inputs, 8_200..9_000);
        let mut sum = batched.increments.clone();
        for batch in 0..8 {
            batched.increments = Increments::default();
            fold(&mut batched, inputs, 8_200 + batch * 100..8_300 + batch * 100);
            sum.merge(&batched.increments);
        }
        assert_eq!(sum, whole.increments);
    }
}

#[test]
fn scores_and_state_do_not_move() {
    let golden: Vec<(String, u64)> = detectors()
        .into_iter()
        .map(|(detector, inputs)| {
            let mut shard = Shard::new(spec(detector.clone(), inputs), KEYS);
            let mut writer = Writer::new();
            for score in fold(&mut shard, inputs, 0..20_000).into_iter().flatten() {
                writer.f64(score.surprise);
                writer.f64(score.strangeness);
            }
            writer.bytes(&shard.image());
            (format!("{detector:?} of {inputs}"), hash64(&writer.into_bytes()))
        })
        .collect();
    let found: Vec<u64> = golden.iter().map(|(_, hash)| *hash).collect();
    assert_eq!(found, GOLDEN, "{golden:#x?}");
}

/// Hashes of all scores and of the state after 20,000 events, per detector. A change here changes what users see
/// and needs a new version in the fingerprint of the detector.
const GOLDEN: [u64; 7] = [
    0xe40b_e06d_1ad2_60cd,
    0x18ec_c76c_5d2d_1cd7,
    0xe2ee_4e80_7705_c7a1,
    0xfcbd_905e_bd70_a816,
    0xab48_35df_7cfa_7cf7,
    0xddec_58df_5efe_3d8c,
    0x2bd2_f44f_6807_4984,
];

#[test]
fn an_anomaly_of_a_contextual_model_is_explained_by_its_value() {
    let mut shard = Shard::new(spec(DetectorSpec::Tail { half_life: 50.0, log_scale: LogScale::Auto }, 3), KEYS);
    fold(&mut shard, 3, 0..20_000);
    let inputs = [1e5, 0.0, 1.0];
    let score = shard.peek(0, &inputs, 1 << 40);
    let contributions = shard.model.explain(&score, &inputs);
    assert_eq!(contributions.iter().map(|part| part.contribution).sum::<f64>(), 1.0);
    let [part] = contributions[..] else { unreachable!("one contribution") };
    assert_eq!((part.input, part.value, part.expected), (Some(0), 1e5, score.expected));
}

#[test]
fn a_single_model_and_rules_pass_through_a_combination() {
    let tail = Model::new(spec(DetectorSpec::Tail { half_life: 50.0, log_scale: LogScale::Auto }, 1));
    let rule = Model::new(spec(DetectorSpec::Threshold { above: Some(1.0), below: None, surprise: 6.0 }, 1));
    let ewma = Model::new(spec(DetectorSpec::Ewma { half_life: 50.0 }, 1));
    let fold = |models: &[Model], surprises: &[Option<f64>]| {
        let combination = Combination::new(Combine::Weighted(vec![1.0, 1.0, 1.0]), models);
        let (shared, mut key) = (combination.new_shared(), combination.new_key());
        let mut increments = CombinationIncrements::default();
        let surprise = combination.fold(&shared, &mut increments, surprises, Maturity::Mature, &mut key);
        (surprise, increments == CombinationIncrements::default())
    };
    assert_eq!(fold(std::slice::from_ref(&tail), &[Some(3.25)]), (Some(3.25), true));
    assert_eq!(fold(std::slice::from_ref(&tail), &[None]), (None, true));
    assert_eq!(fold(&[tail.clone(), rule.clone()], &[Some(3.25), Some(6.0)]), (Some(6.0), true));
    assert_eq!(fold(&[tail.clone(), rule.clone()], &[Some(3.25), Some(0.0)]), (Some(3.25), true));
    let (surprise, learned_nothing) = fold(&[tail, ewma, rule], &[Some(3.0), Some(2.0), Some(6.0)]);
    assert_eq!((surprise, learned_nothing), (Some(6.0), false));
}

#[test]
fn a_spec_names_every_problem() {
    let mut wrong = spec(DetectorSpec::Count { every_ms: 10, half_life: 0.0 }, 2);
    wrong.direction = faultline_detectors::Direction::Low;
    wrong.ignore_below_relative = f64::NAN;
    let problems = wrong.check().unwrap_err();
    for member in ["every", "halfLife", "ignoreChangesBelow.relative", "direction", "inputs"] {
        assert!(problems.iter().any(|problem| problem.starts_with(member)), "{member} in {problems:?}");
    }
    assert_eq!(problems.len(), 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_is_refused_or_folded_and_never_panics(bytes: Vec<u8>, at in 0usize..4_000, flip in 1u8..) {
        for (detector, inputs) in detectors() {
            let mut shard = Shard::new(spec(detector, inputs), 1);
            for number in 0..600u64 {
                let value = 1.0 + (number % 17) as f64;
                shard.fold(0, &[value, 0.5, 0.1][..inputs], number as i64 * 900);
            }
            let mut damaged = shard.image();
            let at = at % damaged.len();
            damaged[at] ^= flip;
            let mut damaged_key = shard.key_image(0);
            let length = damaged_key.len();
            damaged_key[at % length] ^= flip;
            for image in [&bytes, &damaged, &damaged_key] {
                let mut reader = Reader::new(image);
                let shared = shard.model.restore_shared(&mut reader).unwrap_or_else(|_| shard.model.new_shared());
                let increments = shard.model.restore_increments(&mut reader).unwrap_or_default();
                let mut reader = Reader::new(image);
                let key = shard.model.restore_key(&mut reader).unwrap_or_else(|_| shard.model.new_key());
                let model = shard.model.clone();
                let mut wild = Shard { model, shared, increments, keys: vec![key], records: 511 };
                for number in 0..20u64 {
                    wild.fold(0, &[number as f64, 0.5, 0.1][..inputs], i64::MAX - 20 + number as i64);
                }
                wild.image();
            }
        }
    }

    #[test]
    fn a_combination_never_panics_on_garbage_or_a_cut_image(bytes: Vec<u8>, at in 0usize..4_000, flip in 0u8.., length in 0usize..4_000) {
        let models: Vec<Model> = detectors().into_iter().map(|(detector, inputs)| Model::new(spec(detector, inputs))).collect();
        let combination = Combination::new(Combine::Any, &models);
        let (mut shared, mut key) = (combination.new_shared(), combination.new_key());
        let mut increments = CombinationIncrements::default();
        for number in 0..400u64 {
            let surprises = [Some((number % 13) as f64 * 0.5), Some(0.1)];
            combination.fold(&shared, &mut increments, &surprises, Maturity::Mature, &mut key);
            if number == 300 {
                shared = combination.next_shared(&shared, &increments);
            }
        }
        let mut writer = Writer::new();
        combination.write_shared(&shared, &mut writer);
        combination.write_increments(&increments, &mut writer);
        combination.write_key(&key, &mut writer);
        let mut damaged = writer.into_bytes();
        let at = at % damaged.len();
        damaged[at] ^= flip;
        damaged.truncate(length);
        for image in [&bytes, &damaged] {
            let mut reader = Reader::new(image);
            let shared = combination.restore_shared(&mut reader).unwrap_or_default();
            let mut increments = combination.restore_increments(&mut reader).unwrap_or_default();
            let mut key = combination.restore_key(&mut reader).unwrap_or_default();
            for number in 0..20u64 {
                let surprises = [Some(number as f64), Some(0.1)];
                combination.fold(&shared, &mut increments, &surprises, Maturity::Mature, &mut key);
            }
            combination.write_shared(&combination.next_shared(&shared, &increments), &mut Writer::new());
        }
    }
}
