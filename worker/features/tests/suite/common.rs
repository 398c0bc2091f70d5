//! Short names for specs, and streams of random events.

use faultline_features::{
    Aggregate, Ast, BinaryOperator, Cycle, Event, Extent, FeatureSource, FeatureSpec, FieldKind, FieldSpec, KeyWindows,
    Paths, Plan, Value, WhenMissing,
};
use proptest::prelude::*;

pub(crate) fn field(paths: &mut Paths, name: &str, kind: FieldKind, when_missing: WhenMissing) -> FieldSpec {
    FieldSpec { name: name.into(), path: paths.intern(name), kind, when_missing, path_name: name.into() }
}

/// `value` (number), `level` (number, previous), `merchant` (text, previous).
pub(crate) fn fields(paths: &mut Paths) -> Vec<FieldSpec> {
    vec![
        field(paths, "value", FieldKind::Number, WhenMissing::Skip),
        field(paths, "level", FieldKind::Number, WhenMissing::Previous),
        field(paths, "merchant", FieldKind::Text, WhenMissing::Previous),
    ]
}

pub(crate) fn feature(name: &str, source: FeatureSource) -> FeatureSpec {
    FeatureSpec { name: name.into(), source, filter: None }
}

pub(crate) fn plain(name: &str, field: &str) -> FeatureSpec {
    feature(name, FeatureSource::Field { field: field.into() })
}

pub(crate) fn aggregate(name: &str, field: Option<&str>, aggregate: Aggregate, extent: Option<Extent>) -> FeatureSpec {
    feature(name, FeatureSource::Aggregate { field: field.map(Into::into), aggregate, extent })
}

pub(crate) fn expression(name: &str, ast: Ast) -> FeatureSpec {
    feature(name, FeatureSource::Expression(ast))
}

pub(crate) fn window(window_ms: i64) -> Option<Extent> {
    Some(Extent::Time { window_ms })
}

pub(crate) fn last_events(count: u16) -> Option<Extent> {
    Some(Extent::Events { count })
}

pub(crate) fn named(name: &str) -> Ast {
    Ast::Name(name.into())
}

pub(crate) fn text(text: &str) -> Ast {
    Ast::Text(text.into())
}

pub(crate) fn binary(left: Ast, operator: BinaryOperator, right: Ast) -> Ast {
    Ast::Binary { operator, left: Box::new(left), right: Box::new(right) }
}

/// `status == 'declined'`
pub(crate) fn declined() -> Ast {
    binary(named("status"), BinaryOperator::Equal, text("declined"))
}

/// An event with the fields of [`fields`] and the path `status`.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) time_ms: i64,
    pub(crate) value: Option<f64>,
    pub(crate) level: Option<f64>,
    pub(crate) merchant: Option<&'static str>,
    pub(crate) status: Option<&'static str>,
}

fn number(number: Option<f64>) -> Value<'static> {
    number.map_or(Value::Absent, Value::Number)
}

fn spelled(text: Option<&'static str>) -> Value<'static> {
    text.map_or(Value::Absent, Value::Text)
}

impl Raw {
    pub(crate) fn values(&self) -> [Value<'static>; 4] {
        [number(self.value), number(self.level), spelled(self.merchant), spelled(self.status)]
    }
}

/// Folds one event; what comes out, numbers as bits.
pub(crate) fn fold(plan: &Plan, key: &mut KeyWindows, raw: &Raw) -> Vec<Option<String>> {
    let values = raw.values();
    let mut out = Vec::new();
    plan.fold(key, &Event { time_ms: raw.time_ms, paths: &values, fields: &values[..3] }, &mut out);
    out.into_iter().map(printed).collect()
}

fn printed(value: Value<'_>) -> Option<String> {
    match value {
        Value::Absent => None,
        Value::Number(number) => Some(format!("{:016x}", number.to_bits())),
        Value::Text(text) => Some(text.into()),
        Value::Bool(truth) => Some(truth.to_string()),
    }
}

/// Paths in the order of [`Raw::values`].
pub(crate) fn paths() -> Paths {
    let mut paths = Paths::new();
    for name in ["value", "level", "merchant", "status"] {
        paths.intern(name);
    }
    paths
}

pub(crate) fn compile(features: &[FeatureSpec]) -> Plan {
    let mut paths = paths();
    let fields = fields(&mut paths);
    Plan::compile(&mut paths, &fields, features).unwrap()
}

/// A plan with every kind of state, plain and under a `where`. Golden files hold it: add to it, change nothing.
pub(crate) fn every_kind_of_state() -> Vec<FeatureSpec> {
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
        expression("ratio", binary(named("value"), BinaryOperator::Divide, named("mean"))),
    ];
    let filtered = features[5..19].iter().cloned().map(|mut spec| {
        spec.name.push_str("_declined");
        FeatureSpec { filter: Some(declined()), ..spec }
    });
    let filtered: Vec<FeatureSpec> = filtered.collect();
    features.extend(filtered);
    features
}

/// Random events: bursts and pauses, ties and late events, far offsets, repeated values, absent fields.
pub(crate) fn events(most: usize) -> impl Strategy<Value = Vec<Raw>> {
    let step = prop_oneof![4 => 0..400i64, 2 => 0..3_000i64, 1 => 0..70_000i64, 2 => -2_500..0i64, 1 => -65_000..0i64];
    let value = prop_oneof![4 => (-1_000..1_000i32).prop_map(|x| f64::from(x) / 16.0), 2 => Just(3.0), 1 => Just(-0.0)];
    let status = prop_oneof![Just(None), Just(Some("declined")), Just(Some("approved"))];
    let merchant = prop_oneof![2 => Just(None), 1 => Just(Some("")), 1 => Just(Some("a shop")), 1 => Just(Some("ü"))];
    let event =
        (step, proptest::option::weighted(0.9, value), proptest::option::weighted(0.6, -5.0..5.0f64), merchant, status);
    let offset = prop_oneof![Just(0.0), Just(1e9), Just(-3e6)];
    let start = prop_oneof![Just(1_600_000_000_000i64), Just(0), Just(-30_000)];
    (start, offset, proptest::collection::vec(event, 1..most)).prop_map(|(start, offset, events)| {
        let mut now_ms = start;
        let event = |(step, value, level, merchant, status): (i64, Option<f64>, _, _, _)| {
            let time_ms = now_ms + step;
            now_ms = now_ms.max(time_ms);
            Raw { time_ms, value: value.map(|value| offset + value), level, merchant, status }
        };
        events.into_iter().map(event).collect()
    })
}
