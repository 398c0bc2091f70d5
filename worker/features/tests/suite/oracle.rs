//! Every aggregate against its definition, computed anew from all raw events after each of them.

use faultline_features::{
    Aggregate, Event, FeatureSource, FeatureSpec, FieldKind, FieldSpec, Paths, Plan, Value, WhenMissing,
};
use proptest::prelude::*;

use crate::common::{Raw, aggregate, compile, declined, events, feature, field, last_events, plain, window};

const HALF_LIFE_MS: i64 = 5_000;

const OVER_VALUES: [Aggregate; 8] = [
    Aggregate::Sum,
    Aggregate::Mean,
    Aggregate::Min,
    Aggregate::Max,
    Aggregate::Range,
    Aggregate::Stddev,
    Aggregate::ZScore,
    Aggregate::Slope,
];

/// Every aggregate over every kind of extent, with and without `where`. Windows of 1 s and 3 s share their panes.
fn features() -> Vec<FeatureSpec> {
    let mut features = Vec::new();
    for extent in [window(1_000), window(3_000), window(60_000), last_events(3), last_events(20)] {
        for kind in OVER_VALUES {
            features.push(aggregate("", Some("value"), kind, extent));
        }
        features.push(aggregate("", Some("level"), Aggregate::Mean, extent));
        features.push(aggregate("", None, Aggregate::Count, extent));
    }
    features.push(aggregate("", None, Aggregate::Rate, window(60_000)));
    features.push(aggregate("", Some("value"), Aggregate::Delta, None));
    features.push(aggregate("", None, Aggregate::SecondsSincePrevious, None));
    features.push(aggregate("", Some("value"), Aggregate::Ewma { half_life_ms: HALF_LIFE_MS }, None));
    let filtered = features.clone().into_iter().map(|spec| FeatureSpec { filter: Some(declined()), ..spec });
    features.extend(filtered.collect::<Vec<_>>());
    features.push(plain("", "value"));
    features.push(plain("", "level"));
    for (field, events) in [("value", 1), ("value", 20), ("level", 7)] {
        features.push(feature("", FeatureSource::ValuesAgo { field: field.into(), events }));
    }
    for (at, feature) in features.iter_mut().enumerate() {
        feature.name = format!("f{at}");
    }
    features
}

/// An event as a feature sees it: time, value, whether the `where` takes it in.
#[derive(Clone, Copy)]
struct Seen {
    time_ms: i64,
    value: Option<f64>,
    matches: bool,
}

/// Expected value and the scale that "relative" refers to.
type Expected = Option<(f64, f64)>;

fn exactly(value: Option<f64>) -> Expected {
    value.map(|value| (value, 0.0))
}

fn expected(spec: &FeatureSpec, seen: &[Seen]) -> Expected {
    match &spec.source {
        FeatureSource::Field { .. } => exactly(seen.last().unwrap().value),
        FeatureSource::ValuesAgo { events, .. } => {
            let at = seen.len().checked_sub(usize::from(*events) + 1);
            exactly(at.and_then(|at| seen[at].value))
        }
        FeatureSource::Aggregate { aggregate, extent, .. } => match extent {
            Some(faultline_features::Extent::Time { window_ms }) => over_time(*aggregate, *window_ms, seen),
            Some(faultline_features::Extent::Events { count }) => over_events(*aggregate, usize::from(*count), seen),
            None => remembered(*aggregate, seen),
        },
        FeatureSource::Seasonal { .. } | FeatureSource::Expression(_) => panic!("not here"),
    }
}

fn over_time(aggregate: Aggregate, window_ms: i64, seen: &[Seen]) -> Expected {
    let pane_ms = ((window_ms + 59) / 60).max(100);
    let panes = (window_ms + pane_ms - 1) / pane_ms;
    let last_pane = seen.iter().map(|event| event.time_ms).max().unwrap().div_euclid(pane_ms);
    let inside = |event: &&Seen| event.matches && event.time_ms.div_euclid(pane_ms) > last_pane - panes;
    let (current, before) = seen.split_last().unwrap();
    match aggregate {
        Aggregate::ZScore => z_score(current, before.iter().filter(inside)),
        Aggregate::Rate => exactly(Some(seen.iter().filter(inside).count() as f64 * 1_000.0 / window_ms as f64)),
        _ => statistic(aggregate, seen.iter().filter(inside)),
    }
}

fn over_events(aggregate: Aggregate, count: usize, seen: &[Seen]) -> Expected {
    let (current, before) = seen.split_last().unwrap();
    let last = |seen: &[Seen], count: usize| {
        let matching: Vec<Seen> = seen.iter().filter(|event| event.matches).copied().collect();
        matching[matching.len().saturating_sub(count)..].to_vec()
    };
    match aggregate {
        Aggregate::ZScore => z_score(current, last(before, count - usize::from(current.matches)).iter()),
        _ => statistic(aggregate, last(seen, count).iter()),
    }
}

/// Mean and sum of squares around it, relative to the first value: exact enough for any offset.
fn moments(values: &[f64]) -> (f64, f64, f64) {
    let origin = values[0];
    let n = values.len() as f64;
    let mean = values.iter().map(|x| x - origin).sum::<f64>() / n;
    let squares = values.iter().map(|x| (x - origin - mean) * (x - origin - mean)).sum();
    (origin, mean, squares)
}

fn z_score<'a>(current: &Seen, window: impl Iterator<Item = &'a Seen>) -> Expected {
    let values: Vec<f64> = window.filter_map(|event| event.value).collect();
    if values.len() < 2 {
        return None;
    }
    let (origin, mean, squares) = moments(&values);
    let stddev = (squares / (values.len() - 1) as f64).sqrt();
    let score = (current.value? - origin - mean) / stddev;
    score.is_finite().then_some((score, 1.0))
}

fn statistic<'a>(aggregate: Aggregate, window: impl Iterator<Item = &'a Seen>) -> Expected {
    let events: Vec<&Seen> = window.collect();
    if aggregate == Aggregate::Count {
        return exactly(Some(events.len() as f64));
    }
    let present: Vec<(i64, f64)> = events.iter().filter_map(|event| Some((event.time_ms, event.value?))).collect();
    let values: Vec<f64> = present.iter().map(|(_, value)| *value).collect();
    let sum: f64 = values.iter().sum();
    let magnitude: f64 = values.iter().map(|value| value.abs()).sum();
    let least = values.iter().copied().reduce(f64::min);
    let greatest = values.iter().copied().reduce(f64::max);
    match aggregate {
        Aggregate::Sum => Some((sum, magnitude)),
        _ if values.is_empty() => None,
        Aggregate::Mean => Some((sum / values.len() as f64, magnitude / values.len() as f64)),
        Aggregate::Min => exactly(least),
        Aggregate::Max => exactly(greatest),
        Aggregate::Range => exactly(greatest.zip(least).map(|(greatest, least)| greatest - least)),
        _ if values.len() < 2 => None,
        Aggregate::Stddev => Some(((moments(&values).2 / (values.len() - 1) as f64).sqrt(), 0.0)),
        Aggregate::Slope => {
            let seconds: Vec<f64> = present.iter().map(|(time_ms, _)| (time_ms - present[0].0) as f64 / 1e3).collect();
            let (_, mean_time, time_squares) = moments(&seconds);
            let (origin, mean, squares) = moments(&values);
            let products: f64 =
                seconds.iter().zip(&values).map(|(t, x)| (t - seconds[0] - mean_time) * (x - origin - mean)).sum();
            (time_squares > 0.0).then(|| (products / time_squares, (squares / time_squares).sqrt()))
        }
        other => panic!("{other:?} is no statistic"),
    }
}

fn remembered(aggregate: Aggregate, seen: &[Seen]) -> Expected {
    let (current, before) = seen.split_last().unwrap();
    let mut previous = before.iter().rev().filter(|event| event.matches);
    match aggregate {
        Aggregate::Delta => {
            exactly(current.value.zip(previous.find_map(|event| event.value)).map(|(new, old)| new - old))
        }
        Aggregate::SecondsSincePrevious => {
            exactly(previous.next().map(|event| (current.time_ms - event.time_ms).max(0) as f64 / 1e3))
        }
        Aggregate::Ewma { half_life_ms } => {
            let mut now_ms = i64::MIN;
            let mut weighed = Vec::new();
            for event in seen.iter().filter(|event| event.matches && event.value.is_some()) {
                now_ms = now_ms.max(event.time_ms);
                weighed.push((now_ms, event.value.unwrap()));
            }
            let weight = |at_ms: i64| faultline_numerics::math::exp2(-((now_ms - at_ms) as f64) / half_life_ms as f64);
            let weights: f64 = weighed.iter().map(|(at_ms, _)| weight(*at_ms)).sum();
            let magnitude = weighed.iter().map(|(_, value)| value.abs()).fold(0.0, f64::max);
            let mean = weighed.iter().map(|(at_ms, value)| weight(*at_ms) * value).sum::<f64>() / weights;
            (!weighed.is_empty()).then_some((mean, magnitude))
        }
        other => panic!("{other:?} has a window"),
    }
}

/// What the features of one field see; `whenMissing: previous` filled in for `level`.
fn seen(raws: &[Raw], field: Option<&str>, filtered: bool) -> Vec<Seen> {
    let mut level = None;
    let one = |raw: &Raw| {
        level = raw.level.or(level);
        let value = if field == Some("level") { level } else { raw.value };
        Seen { time_ms: raw.time_ms, value, matches: !filtered || raw.status == Some("declined") }
    };
    raws.iter().map(one).collect()
}

fn field_of(spec: &FeatureSpec) -> Option<&str> {
    match &spec.source {
        FeatureSource::Field { field } | FeatureSource::ValuesAgo { field, .. } => Some(field),
        FeatureSource::Aggregate { field, .. } => field.as_deref(),
        FeatureSource::Seasonal { .. } | FeatureSource::Expression(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn features_equal_their_definitions_after_every_event(raws in events(90)) {
        let features = features();
        let plan = compile(&features);
        let mut key = plan.new_key();
        let mut rows = Vec::new();
        for raw in &raws {
            let values = raw.values();
            let mut out = Vec::new();
            plan.fold(&mut key, &Event { time_ms: raw.time_ms, paths: &values, fields: &values[..3] }, &mut out);
            rows.push(out.iter().map(|value| value.as_number()).collect::<Vec<_>>());
        }
        for (column, spec) in features.iter().enumerate() {
            let seen = seen(&raws, field_of(spec), spec.filter.is_some());
            for at in 0..raws.len() {
                let found = rows[at][column];
                let close = match (expected(spec, &seen[..=at]), found) {
                    (None, None) => true,
                    (Some((expected, scale)), Some(found)) => {
                        (expected - found).abs() <= 1e-9 * expected.abs().max(scale)
                    }
                    _ => false,
                };
                prop_assert!(close, "{spec:?} after event {at}: {found:?}, expected {:?}", expected(spec, &seen[..=at]));
            }
        }
    }
}

#[test]
fn texts_are_remembered_in_order() {
    let features = [
        plain("merchant", "merchant"),
        feature("before", FeatureSource::ValuesAgo { field: "merchant".into(), events: 2 }),
    ];
    let plan = compile(&features);
    let mut key = plan.new_key();
    let texts = [None, Some("a"), None, Some(""), Some("b")];
    let expected = [(None, None), (Some("a"), None), (Some("a"), None), (Some(""), Some("a")), (Some("b"), Some("a"))];
    for (merchant, expected) in texts.into_iter().zip(expected) {
        let raw = Raw { time_ms: 0, value: None, level: None, merchant, status: None };
        let values = raw.values();
        let mut out = Vec::new();
        plan.fold(&mut key, &Event { time_ms: 0, paths: &values, fields: &values[..3] }, &mut out);
        assert_eq!(out, [expected.0, expected.1].map(|text| text.map_or(Value::Absent, Value::Text)));
    }
}

#[test]
fn a_field_declared_twice_keeps_its_previous_value_under_both_names() {
    let mut paths = Paths::new();
    let fields = ["first", "second"].map(|name| FieldSpec {
        name: name.into(),
        ..field(&mut paths, "level", FieldKind::Number, WhenMissing::Previous)
    });
    let plan = Plan::compile(&mut paths, &fields, &[plain("a", "first"), plain("b", "second")]).unwrap();
    let mut key = plan.new_key();
    for level in [Value::Number(2.5), Value::Absent] {
        let fields = [level; 2];
        let mut out = Vec::new();
        plan.fold(&mut key, &Event { time_ms: 0, paths: &[], fields: &fields }, &mut out);
        assert_eq!(out, [Value::Number(2.5); 2]);
    }
}
