//! Images: bit for bit at any cut, never a panic on anything else.

use faultline_features::{KeyWindows, Plan};
use faultline_numerics::image::{Reader, Writer};
use proptest::prelude::*;

use crate::common::{compile, events, every_kind_of_state, fold};

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
        let plan = compile(&every_kind_of_state());
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
        let plan = compile(&every_kind_of_state());
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
        let plan = compile(&every_kind_of_state());
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
    let plan = compile(&every_kind_of_state());
    let error = plan.restore(&mut Reader::new(&[2, 0, 0])).unwrap_err();
    assert_eq!(error.to_string(), "the windows of a key has format 2, this build reads 1");
}

#[test]
fn a_key_costs_what_it_has_seen() {
    let plan = compile(&every_kind_of_state());
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
