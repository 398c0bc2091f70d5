//! Images: bit for bit at any cut, never a panic on anything else.

use faultline_features::{Aggregate, Cycle, FeatureSource, FeatureSpec, KeyWindows, Plan};
use faultline_numerics::image::{Reader, Writer};
use proptest::prelude::*;

use crate::common::{
    aggregate, binary, compile, declined, events, expression, feature, fold, last_events, named, plain, window,
};

/// Every kind of state.
fn features() -> Vec<FeatureSpec> {
    let mut features = vec![
        plain("value", "value"),
        plain("level", "level"),
        plain("merchant", "merchant"),
        feature("before", FeatureSource::ValuesAgo { field: "value".into(), events: 4 }),
        feature("merchant_before", FeatureSource::ValuesAgo { field: "merchant".into(), events: 2 }),
        aggregate("count", None, Aggregate::Count, window(60_000)),
        aggregate("count_1s", None, Aggregate::Count, window(1_000)),
        aggregate("count_3s", None, Aggregate::Count, window(3_000)),
        aggregate("mean", Some("value"), Aggregate::Mean, window(60_000)),
        aggregate("range", Some("level"), Aggregate::Range, window(5_000)),
        aggregate("stddev", Some("value"), Aggregate::Stddev, window(60_000)),
        aggregate("score", Some("value"), Aggregate::ZScore, window(5_000)),
        aggregate("slope", Some("level"), Aggregate::Slope, window(60_000)),
        aggregate("last_count", None, Aggregate::Count, last_events(9)),
        aggregate("last_stddev", Some("value"), Aggregate::Stddev, last_events(9)),
        aggregate("last_slope", Some("value"), Aggregate::Slope, last_events(9)),
        aggregate("delta", Some("value"), Aggregate::Delta, None),
        aggregate("since", None, Aggregate::SecondsSincePrevious, None),
        aggregate("ewma", Some("value"), Aggregate::Ewma { half_life_ms: 700 }, None),
        feature("hour", FeatureSource::Seasonal { cycle: Cycle::HourOfDay, time_zone: chrono_tz::Tz::Europe__Berlin }),
        expression("ratio", binary(named("value"), faultline_features::BinaryOperator::Divide, named("mean"))),
    ];
    let filtered = features[5..19].iter().cloned().map(|mut spec| {
        spec.name.push_str("_declined");
        FeatureSpec { filter: Some(declined()), ..spec }
    });
    let filtered: Vec<FeatureSpec> = filtered.collect();
    features.extend(filtered);
    features
}

fn image(plan: &Plan, key: &KeyWindows) -> Vec<u8> {
    let mut image = Writer::new();
    plan.write(key, &mut image);
    image.into_bytes()
}

fn restore(plan: &Plan, image: &[u8]) -> KeyWindows {
    let mut reader = Reader::new(image);
    let key = plan.restore(&mut reader).unwrap();
    assert!(reader.is_at_end());
    key
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_run_equals_a_run_cut_by_an_image(raws in events(120), cut in 0.0..1.0f64) {
        let plan = compile(&features());
        let cut = (raws.len() as f64 * cut) as usize;
        let (mut whole, mut first) = (plan.new_key(), plan.new_key());
        for raw in &raws[..cut] {
            fold(&plan, &mut whole, raw);
            fold(&plan, &mut first, raw);
        }
        let written = image(&plan, &first);
        let mut second = restore(&plan, &written);
        prop_assert_eq!(image(&plan, &second), written);
        for raw in &raws[cut..] {
            prop_assert_eq!(fold(&plan, &mut second, raw), fold(&plan, &mut whole, raw));
        }
        prop_assert_eq!(image(&plan, &second), image(&plan, &whole));
        prop_assert_eq!(second.time_ms(), raws.iter().map(|raw| raw.time_ms).max());
    }

    #[test]
    fn a_damaged_image_is_an_error_or_a_key_and_never_a_panic(
        raws in events(40),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        length in any::<proptest::sample::Index>(),
    ) {
        let plan = compile(&features());
        let mut key = plan.new_key();
        for raw in &raws {
            fold(&plan, &mut key, raw);
        }
        let mut damaged = image(&plan, &key);
        for (at, byte) in damage {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        damaged.truncate(length.index(damaged.len() * 2).min(damaged.len()));
        if let Ok(mut key) = plan.restore(&mut Reader::new(&damaged)) {
            for raw in &raws {
                fold(&plan, &mut key, raw);
            }
            image(&plan, &key);
        }
    }

    #[test]
    fn garbage_is_an_error_or_a_key_and_never_a_panic(states in proptest::collection::vec((any::<proptest::sample::Index>(), any::<Vec<u8>>()), 0..4), raws in events(10)) {
        let plan = compile(&features());
        let described = plan.describe_state();
        let mut garbage = Writer::new();
        garbage.varint(1);
        garbage.bool(false);
        garbage.varint(states.len() as u64);
        for (state, content) in &states {
            garbage.fingerprint(state.get(&described).fingerprint);
            garbage.bytes(content);
        }
        if let Ok(mut key) = plan.restore(&mut Reader::new(&garbage.into_bytes())) {
            for raw in &raws {
                fold(&plan, &mut key, raw);
            }
            image(&plan, &key);
        }
    }
}

#[test]
fn an_unknown_format_is_refused() {
    let plan = compile(&features());
    let error = plan.restore(&mut Reader::new(&[2, 0, 0])).unwrap_err();
    assert_eq!(error.to_string(), "the windows of a key has format 2, this build reads 1");
}

#[test]
fn a_key_costs_what_it_has_seen() {
    let plan = compile(&features());
    let mut key = plan.new_key();
    let empty = key.bytes();
    assert_eq!(image(&plan, &key), [1, 0, 0]);
    let raw = crate::common::Raw { time_ms: 5, value: Some(1.0), level: None, merchant: None, status: None };
    fold(&plan, &mut key, &raw);
    assert!(key.bytes() < empty + 200, "{empty} {}", key.bytes());
    for second in 0..600 {
        fold(&plan, &mut key, &crate::common::Raw { time_ms: second * 1_000, ..raw.clone() });
    }
    let grown = key.bytes();
    for second in 600..1_200 {
        fold(&plan, &mut key, &crate::common::Raw { time_ms: second * 1_000, ..raw.clone() });
    }
    assert_eq!(key.bytes(), grown);
    let most: usize = plan.describe_state().iter().map(|state| state.most_bytes).sum();
    assert!(grown <= size_of::<KeyWindows>() + most + 100, "{grown} {most}");
}
