//! Windows alone, on one thread: 8 windows (mean, min, max, stddev, count) over 2 fields, on 64 hot keys and on
//! 100,000 keys by Zipf's law; the features of the quickstart on 10,000 keys; and what a key is remembered by.

use std::hint::black_box;

use anyhow::Result;
use faultline_features::{
    Aggregate, Ast, BinaryOperator, Cycle, Event, Extent, FeatureSource, FeatureSpec, FieldKind, FieldSpec, KeyWindows,
    Paths, Plan, Value, WhenMissing, recycle,
};
use faultline_numerics::random::Random;

use super::events::{KEYS, Zipf};
use super::figure::Figure;
use super::measure::thread_cpu;

const NAME: &str = "features";
const HOT_KEYS: usize = 64;
const EVENTS: usize = 1_000_000;
/// Event time between two events, over all keys.
const STEP_MS: i64 = 1;
/// The quickstart's keys, and its hundred events a second.
const QUICKSTART_KEYS: usize = 10_000;
const QUICKSTART_STEP_MS: i64 = 10;
const START_MS: i64 = 1_780_000_000_000;

/// Measures and reports.
pub(crate) fn run(runs: usize, seed: u64, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let zipf = Zipf::new(KEYS);
    let mut random = Random::seeded(seed);
    let hot = inputs(&mut random, |random| random.below(HOT_KEYS as u64) as usize);
    let many = inputs(&mut random, |random| zipf.draw(random));
    let quickstart_zipf = Zipf::new(QUICKSTART_KEYS);
    let few = inputs(&mut random, |random| quickstart_zipf.draw(random));
    let (plan, quickstart) = (compile(&eight_windows()), compile(&quickstart_features()));
    let (mut hot_rates, mut many_rates, mut bytes) = (Vec::new(), Vec::new(), 0.0);
    let (mut quickstart_rates, mut quickstart_bytes) = (Vec::new(), 0.0);
    for _ in 0..runs {
        hot_rates.push(fold_all(&plan, HOT_KEYS, STEP_MS, &hot)?.0);
        let (rate, keys) = fold_all(&plan, KEYS, STEP_MS, &many)?;
        many_rates.push(rate);
        bytes = mean_bytes(&keys);
        let (rate, keys) = fold_all(&quickstart, QUICKSTART_KEYS, QUICKSTART_STEP_MS, &few)?;
        quickstart_rates.push(rate);
        quickstart_bytes = mean_bytes(&keys);
    }
    report(Figure::of(NAME, "hotKeys.eventsPerCpuSecond".into(), "events/s", hot_rates));
    report(Figure::of(NAME, "zipf100k.eventsPerCpuSecond".into(), "events/s", many_rates));
    report(Figure::of(NAME, "zipf100k.meanBytesPerKey".into(), "bytes", vec![bytes]));
    report(Figure::of(NAME, "quickstart.eventsPerCpuSecond".into(), "events/s", quickstart_rates));
    report(Figure::of(NAME, "quickstart.meanBytesPerKey".into(), "bytes", vec![quickstart_bytes]));
    for (name, features) in [("eightWindows", &eight_windows()[..]), ("quickstart", &quickstart_features())] {
        let bytes = bytes_of_mature_key(features) as f64;
        report(Figure::of(NAME, format!("matureKey.bytes.{name}"), "bytes", vec![bytes]));
    }
    for (name, feature) in kinds() {
        let bytes = bytes_of_mature_key(std::slice::from_ref(&feature)) as f64;
        report(Figure::of(NAME, format!("matureKey.bytes.{name}"), "bytes", vec![bytes]));
    }
    Ok(())
}

/// An event as the plan takes it, without what a key of a map costs.
struct Input {
    key: u32,
    fields: [Value<'static>; 2],
    /// What is at the paths: those of the fields, which nothing reads there, and `status`.
    paths: [Value<'static>; 3],
}

fn inputs(random: &mut Random, mut key: impl FnMut(&mut Random) -> usize) -> Vec<Input> {
    (0..EVENTS)
        .map(|_| {
            let fields = [Value::Number((0.5 * random.normal()).exp()), Value::Number(20.0 + random.normal())];
            let status = if random.below(20) == 0 { "declined" } else { "approved" };
            let paths = [Value::Absent, Value::Absent, Value::Text(status)];
            Input { key: key(random) as u32, fields, paths }
        })
        .collect()
}

/// Events per CPU second of this thread, and the keys' states at the end.
fn fold_all(plan: &Plan, keys: usize, step_ms: i64, inputs: &[Input]) -> Result<(f64, Vec<KeyWindows>)> {
    let mut states: Vec<KeyWindows> = (0..keys).map(|_| plan.new_key()).collect();
    let mut spare: Vec<Value<'static>> = Vec::with_capacity(16);
    let began = thread_cpu()?;
    for (index, input) in inputs.iter().enumerate() {
        let time_ms = START_MS + index as i64 * step_ms;
        let event = Event { time_ms, paths: &input.paths, fields: &input.fields };
        let mut out = recycle(spare);
        plan.fold(&mut states[input.key as usize], &event, &mut out);
        black_box(&out);
        spare = recycle(out);
    }
    let spent = thread_cpu()?.saturating_sub(began);
    Ok((inputs.len() as f64 / spent.as_secs_f64().max(1e-6), states))
}

fn mean_bytes(keys: &[KeyWindows]) -> f64 {
    let seen: Vec<usize> = keys.iter().filter(|key| key.time_ms().is_some()).map(KeyWindows::bytes).collect();
    seen.iter().sum::<usize>() as f64 / seen.len().max(1) as f64
}

/// Features fed with an event a second for two hours, less what a key without features takes.
fn bytes_of_mature_key(features: &[FeatureSpec]) -> usize {
    let plan = compile(features);
    let mut key = plan.new_key();
    for second in 0..7_200 {
        let fields = [Value::Number(f64::from(second % 17)), Value::Number(1.0)];
        let paths = [Value::Absent, Value::Absent, Value::Text("declined")];
        let event = Event { time_ms: START_MS + i64::from(second) * 1_000, paths: &paths, fields: &fields };
        plan.fold(&mut key, &event, &mut Vec::new());
    }
    key.bytes() - compile(&[]).new_key().bytes()
}

fn compile(features: &[FeatureSpec]) -> Plan {
    let mut paths = Paths::new();
    let fields = ["amount", "duration"].map(|name| FieldSpec {
        name: name.to_owned(),
        path: paths.intern(name),
        kind: FieldKind::Number,
        when_missing: WhenMissing::Reject,
        path_name: name.to_owned(),
    });
    Plan::compile(&mut paths, &fields, features).unwrap_or_else(|problems| unreachable!("{problems:?}"))
}

fn aggregate(field: Option<&str>, aggregate: Aggregate, extent: Option<Extent>) -> FeatureSpec {
    let name = format!("{}_{aggregate:?}_{extent:?}", field.unwrap_or("event"));
    let source = FeatureSource::Aggregate { field: field.map(str::to_owned), aggregate, extent };
    FeatureSpec { name, source, filter: None }
}

fn minutes(minutes: i64) -> Option<Extent> {
    Some(Extent::Time { window_ms: minutes * 60_000 })
}

fn eight_windows() -> [FeatureSpec; 8] {
    [
        aggregate(Some("amount"), Aggregate::Mean, minutes(5)),
        aggregate(Some("amount"), Aggregate::Min, minutes(5)),
        aggregate(Some("amount"), Aggregate::Max, minutes(5)),
        aggregate(Some("amount"), Aggregate::Stddev, minutes(5)),
        aggregate(Some("duration"), Aggregate::Mean, minutes(60)),
        aggregate(Some("duration"), Aggregate::Max, minutes(60)),
        aggregate(Some("duration"), Aggregate::Stddev, minutes(60)),
        aggregate(None, Aggregate::Count, minutes(60)),
    ]
}

/// What `examples/quickstart` computes of a payment.
fn quickstart_features() -> [FeatureSpec; 6] {
    let name = |name: &str| Box::new(Ast::Name(name.to_owned()));
    let of = |name: &str, source| FeatureSpec { name: name.to_owned(), source, filter: None };
    let amount_field = FeatureSource::Field { field: "amount".to_owned() };
    let hour = FeatureSource::Seasonal { cycle: Cycle::HourOfDay, time_zone: chrono_tz::Tz::UTC };
    let mean_20 = aggregate(Some("amount"), Aggregate::Mean, Some(Extent::Events { count: 20 }));
    let ratio = Ast::Binary { operator: BinaryOperator::Divide, left: name("amount"), right: name("mean_20") };
    let declined = Ast::Binary {
        operator: BinaryOperator::Equal,
        left: name("status"),
        right: Box::new(Ast::Text("declined".into())),
    };
    [
        of("amount", amount_field),
        of("hour", hour),
        FeatureSpec { name: "mean_20".to_owned(), ..mean_20 },
        of("ratio", FeatureSource::Expression(ratio)),
        aggregate(None, Aggregate::Count, minutes(5)),
        FeatureSpec { filter: Some(declined), ..aggregate(None, Aggregate::Count, minutes(60)) },
    ]
}

/// Every kind of feature that remembers something.
fn kinds() -> Vec<(&'static str, FeatureSpec)> {
    let amount = Some("amount");
    let twenty = Some(Extent::Events { count: 20 });
    let of = |source| FeatureSpec { name: "f".to_owned(), source, filter: None };
    vec![
        ("field", of(FeatureSource::Field { field: "amount".to_owned() })),
        ("valuesAgo3", of(FeatureSource::ValuesAgo { field: "amount".to_owned(), events: 3 })),
        ("delta", aggregate(amount, Aggregate::Delta, None)),
        ("secondsSincePrevious", aggregate(None, Aggregate::SecondsSincePrevious, None)),
        ("ewma", aggregate(amount, Aggregate::Ewma { half_life_ms: 600_000 }, None)),
        ("hourOfDay", of(FeatureSource::Seasonal { cycle: Cycle::HourOfDay, time_zone: chrono_tz::Tz::UTC })),
        ("count1h", aggregate(None, Aggregate::Count, minutes(60))),
        ("rate1h", aggregate(None, Aggregate::Rate, minutes(60))),
        ("sum1h", aggregate(amount, Aggregate::Sum, minutes(60))),
        ("mean1h", aggregate(amount, Aggregate::Mean, minutes(60))),
        ("min1h", aggregate(amount, Aggregate::Min, minutes(60))),
        ("range1h", aggregate(amount, Aggregate::Range, minutes(60))),
        ("stddev1h", aggregate(amount, Aggregate::Stddev, minutes(60))),
        ("zScore1h", aggregate(amount, Aggregate::ZScore, minutes(60))),
        ("slope1h", aggregate(amount, Aggregate::Slope, minutes(60))),
        ("meanOf20", aggregate(amount, Aggregate::Mean, twenty)),
        ("slopeOf20", aggregate(amount, Aggregate::Slope, twenty)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_compiles_and_has_a_size() {
        for (name, feature) in kinds() {
            assert!(bytes_of_mature_key(&[feature]) < 8 * 1024, "{name}");
        }
        assert_eq!(compile(&eight_windows()).columns().len(), 8);
        assert_eq!(compile(&quickstart_features()).columns().len(), 7);
    }

    #[test]
    fn a_mature_key_keeps_its_budget() {
        // 8 KiB, of which 512 bytes are for what stands beside the windows: detectors, the key itself.
        assert!(bytes_of_mature_key(&eight_windows()) <= 8 * 1024 - 512);
        assert!(bytes_of_mature_key(&quickstart_features()) <= 1_024);
    }

    #[test]
    fn folding_reads_every_window() {
        let plan = compile(&eight_windows());
        let inputs: Vec<Input> = inputs(&mut Random::seeded(1), |_| 0).into_iter().take(10).collect();
        let (rate, keys) = fold_all(&plan, 1, STEP_MS, &inputs).unwrap();
        assert!(rate > 0.0 && keys[0].time_ms() == Some(START_MS + 9 * STEP_MS));
    }
}
