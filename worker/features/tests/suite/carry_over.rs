//! State survives a change of the plan by fingerprint.

use faultline_features::{Aggregate, FeatureSpec, FieldKind, KeyWindows, Paths, Plan, WhenMissing};
use faultline_numerics::image::{Reader, Writer};
use proptest::prelude::*;

use crate::common::{aggregate, compile, declined, events, field, fold, last_events, window};

fn moved(from: &Plan, to: &Plan, key: &KeyWindows) -> KeyWindows {
    let mut image = Writer::new();
    from.write(key, &mut image);
    to.restore(&mut Reader::new(&image.into_bytes())).unwrap()
}

fn mean() -> FeatureSpec {
    aggregate("mean", Some("value"), Aggregate::Mean, window(60_000))
}

fn stddev() -> FeatureSpec {
    aggregate("stddev", Some("value"), Aggregate::Stddev, window(60_000))
}

fn last_max() -> FeatureSpec {
    aggregate("last_max", Some("value"), Aggregate::Max, last_events(5))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_added_feature_starts_empty_and_the_others_stay(raws in events(60), later in events(30)) {
        let (before, after) = (compile(&[mean(), last_max()]), compile(&[stddev(), last_max(), mean()]));
        let mut old = before.new_key();
        for raw in &raws {
            fold(&before, &mut old, raw);
        }
        let mut new = moved(&before, &after, &old);
        let fresh = compile(&[stddev()]);
        let mut empty = fresh.new_key();
        // The clock of the key is older than the added feature.
        let time_ms = old.time_ms();
        prop_assert_eq!(new.time_ms(), time_ms);
        for raw in later.iter().filter(|raw| Some(raw.time_ms) >= time_ms) {
            let (was, is) = (fold(&before, &mut old, raw), fold(&after, &mut new, raw));
            prop_assert_eq!(&is[1..], &[was[1].clone(), was[0].clone()]);
            prop_assert_eq!(&is[..1], &fold(&fresh, &mut empty, raw));
        }
    }
}

#[test]
fn what_changes_values_starts_empty() {
    let raws: Vec<_> = (0..50)
        .map(|at| crate::common::Raw {
            time_ms: at * 500,
            value: Some(at as f64),
            level: None,
            merchant: None,
            status: Some("declined"),
        })
        .collect();
    let before = compile(&[mean(), last_max()]);
    let mut key = before.new_key();
    for raw in &raws {
        fold(&before, &mut key, raw);
    }
    let length = |plan: &Plan| {
        let mut image = Writer::new();
        plan.write(&moved(&before, plan, &key), &mut image);
        image.len()
    };
    let kept = length(&before);
    assert!(kept > 250, "{kept}");
    let filtered = FeatureSpec { filter: Some(declined()), ..mean() };
    for changed in [
        aggregate("mean", Some("level"), Aggregate::Mean, window(60_000)),
        aggregate("mean", Some("value"), Aggregate::Mean, window(120_000)),
        aggregate("mean", Some("value"), Aggregate::Max, window(60_000)),
        aggregate("mean", Some("value"), Aggregate::Max, last_events(6)),
        filtered,
    ] {
        assert!(length(&compile(std::slice::from_ref(&changed))) < 20, "{changed:?}");
    }
    // Another name, another reading of the same panes: warm.
    assert_eq!(
        length(&compile(&[aggregate("total", Some("value"), Aggregate::Sum, window(60_000)), last_max()])),
        kept
    );
    let mut paths = Paths::new();
    let fields = [field(&mut paths, "value", FieldKind::Number, WhenMissing::Skip)];
    let elsewhere = Plan::compile_for("filter: status == 1", &mut paths, &fields, &[mean()]).unwrap();
    assert!(length(&elsewhere) < 20);
}

#[test]
fn an_image_lists_what_it_holds_by_the_names_of_the_plan_that_asks() {
    let (before, after) = (compile(&[mean(), last_max()]), compile(&[last_max()]));
    let mut key = before.new_key();
    let raw = crate::common::Raw { time_ms: 500, value: Some(1.0), level: None, merchant: None, status: None };
    let listed = |plan: &Plan, key: &KeyWindows| {
        let mut image = Writer::new();
        before.write(key, &mut image);
        let bytes = image.into_bytes();
        let mut reader = Reader::new(&bytes);
        let held = plan.list_states(&mut reader).unwrap();
        assert!(reader.is_at_end() && held.iter().all(|state| (1..bytes.len()).contains(&state.bytes)), "{held:?}");
        let mut names: Vec<String> = held.into_iter().map(|state| state.features.join(" ")).collect();
        names.sort();
        names
    };
    assert!(listed(&before, &key).is_empty());
    fold(&before, &mut key, &raw);
    assert_eq!(listed(&before, &key), ["last_max", "mean"]);
    assert_eq!(listed(&after, &key), ["", "last_max"], "a window that no feature reads any more");
}
