//! Windows alone, on one thread: 8 windows (mean, min, max, stddev, count) over 2 fields, on 64 hot keys and on
//! 100,000 keys by Zipf's law; and what each kind of feature remembers of a key.

use std::hint::black_box;

use anyhow::Result;
use faultline_features::{
    Aggregate, Cycle, Event, Extent, FeatureSource, FeatureSpec, FieldKind, FieldSpec, KeyWindows, Paths, Plan, Value,
    WhenMissing, recycle,
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
const START_MS: i64 = 1_780_000_000_000;

/// Measures and reports.
pub(crate) fn run(runs: usize, seed: u64, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let zipf = Zipf::new(KEYS);
    let mut random = Random::seeded(seed);
    let hot = inputs(&mut random, |random| random.below(HOT_KEYS as u64) as usize);
    let many = inputs(&mut random, |random| zipf.draw(random));
    let plan = compile(&eight_windows());
    let (mut hot_rates, mut many_rates, mut bytes) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..runs {
        hot_rates.push(fold_all(&plan, HOT_KEYS, &hot)?.0);
        let (rate, keys) = fold_all(&plan, KEYS, &many)?;
        many_rates.push(rate);
        bytes = mean_bytes(&keys);
    }
    report(Figure::of(NAME, "hotKeys.eventsPerCpuSecond".into(), "events/s", hot_rates));
    report(Figure::of(NAME, "zipf100k.eventsPerCpuSecond".into(), "events/s", many_rates));
    report(Figure::of(NAME, "zipf100k.meanBytesPerKey".into(), "bytes", vec![bytes]));
    for (name, feature) in kinds() {
        let bytes = bytes_of_mature_key(&feature) as f64;
        report(Figure::of(NAME, format!("matureKey.bytes.{name}"), "bytes", vec![bytes]));
    }
    Ok(())
}

/// An event as the plan takes it, without what a key of a map costs.
struct Input {
    key: u32,
    fields: [Value<'static>; 2],
}

fn inputs(random: &mut Random, mut key: impl FnMut(&mut Random) -> usize) -> Vec<Input> {
    (0..EVENTS)
        .map(|_| {
            let fields = [Value::Number((0.5 * random.normal()).exp()), Value::Number(20.0 + random.normal())];
            Input { key: key(random) as u32, fields }
        })
        .collect()
}

/// Events per CPU second of this thread, and the keys' states at the end.
fn fold_all(plan: &Plan, keys: usize, inputs: &[Input]) -> Result<(f64, Vec<KeyWindows>)> {
    let mut states: Vec<KeyWindows> = (0..keys).map(|_| plan.new_key()).collect();
    let mut spare: Vec<Value<'static>> = Vec::with_capacity(16);
    let began = thread_cpu()?;
    for (index, input) in inputs.iter().enumerate() {
        let event = Event { time_ms: START_MS + index as i64 * STEP_MS, paths: &[], fields: &input.fields };
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

/// One feature alone, fed with an event a second for two hours, less what a key without features takes.
fn bytes_of_mature_key(feature: &FeatureSpec) -> usize {
    let plan = compile(std::slice::from_ref(feature));
    let mut key = plan.new_key();
    for second in 0..7_200 {
        let fields = [Value::Number(f64::from(second % 17)), Value::Number(1.0)];
        let event = Event { time_ms: START_MS + i64::from(second) * 1_000, paths: &[], fields: &fields };
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
            assert!(bytes_of_mature_key(&feature) < 8 * 1024, "{name}");
        }
        assert_eq!(compile(&eight_windows()).columns().len(), 8);
    }

    #[test]
    fn folding_reads_every_window() {
        let plan = compile(&eight_windows());
        let inputs: Vec<Input> =
            (0..10).map(|_| Input { key: 0, fields: [Value::Number(2.0), Value::Number(3.0)] }).collect();
        let (rate, keys) = fold_all(&plan, 1, &inputs).unwrap();
        assert!(rate > 0.0 && keys[0].time_ms() == Some(START_MS + 9 * STEP_MS));
    }
}
