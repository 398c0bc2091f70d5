//! How fast one core (in CPU time, so that others on the machine do not count) folds events through each detector, calibration included, and what a key costs in memory.

use std::hint::black_box;
use std::time::Duration;

use faultline_detectors::{
    Combination, CombinationIncrements, Combine, DetectorSpec, Increments, KeyCombination, KeyModel, LogScale,
    Maturity, Model, version_due,
};
use faultline_numerics::image::Writer;

use super::calibration::model;
use super::calibration::streams::{Generator, Observation, Stream};
use super::figure::Figure;
use super::measure::thread_cpu;

const BENCHMARK: &str = "detectors";
/// Events per run: every key of the larger set is seen, and five versions take force.
const EVENTS: usize = 2_000_000;

/// Measures every detector over `runs` runs: with 100,000 keys of Zipf activity, whose states do not fit the cache,
/// and with 100 keys, whose states do.
pub(crate) fn run(runs: usize, seed: u64, report: &mut dyn FnMut(Figure)) {
    for (keys, name) in [(100_000, "100,000 Zipf keys"), (100, "100 hot keys")] {
        let events = draw(Stream::Lognormal, keys, seed);
        for case in cases() {
            let outcomes: Vec<Outcome> = (0..runs.max(1)).map(|_| fold(&case, keys, &events)).collect();
            let mut figure = |metric: &str, unit: &'static str, value: &dyn Fn(&Outcome) -> f64| {
                let metric = format!("{}, {name}: {metric}", case.name);
                report(Figure::of(BENCHMARK, metric, unit, outcomes.iter().map(value).collect()));
            };
            figure("throughput", "events/s", &|outcome| outcome.events_per_second);
            figure("memory per key", "bytes", &|outcome| outcome.bytes_per_key);
            figure("image per key", "bytes", &|outcome| outcome.image_per_key);
        }
        let events_per_second = (0..runs.max(1)).map(|_| combine(keys, &events)).collect();
        let metric = format!("combination of two, {name}: throughput");
        report(Figure::of(BENCHMARK, metric, "events/s", events_per_second));
    }
}

struct Case {
    name: &'static str,
    model: Model,
    row: fn(&Observation) -> [f64; 3],
}

fn cases() -> Vec<Case> {
    let tail = || DetectorSpec::Tail { half_life: 100.0, log_scale: LogScale::Auto };
    let value = |event: &Observation| [event.value, event.hour[0], event.hour[1]];
    let case = |name, detector, inputs| Case { name, model: model(detector, inputs), row: value };
    vec![
        case("tail", tail(), 1),
        case("tail with hour", tail(), 3),
        case("ewma", DetectorSpec::Ewma { half_life: 100.0 }, 1),
        case("count", DetectorSpec::Count { every_ms: 300_000, half_life: 288.0 }, 0),
        case("count of an amount", DetectorSpec::Count { every_ms: 300_000, half_life: 288.0 }, 1),
        case("threshold", DetectorSpec::Threshold { above: Some(1e4), below: None, surprise: 6.0 }, 1),
    ]
}

fn draw(stream: Stream, keys: usize, seed: u64) -> Vec<Observation> {
    let mut generator = Generator::new(stream, keys, EVENTS, seed);
    (0..EVENTS).map(|_| generator.draw()).collect()
}

struct Outcome {
    events_per_second: f64,
    bytes_per_key: f64,
    image_per_key: f64,
}

fn fold(case: &Case, keys: usize, events: &[Observation]) -> Outcome {
    let Case { model, row, .. } = case;
    let mut states: Vec<KeyModel> = (0..keys).map(|_| model.new_key()).collect();
    let mut shared = model.new_shared();
    let mut increments = Increments::default();
    let began = thread_cpu();
    for (records, event) in events.iter().enumerate() {
        if version_due(records as u64) {
            shared = model.next_shared(&shared, &increments);
            increments = Increments::default();
        }
        let row = row(event);
        let inputs = &row[..model.spec().inputs];
        black_box(model.fold(&mut states[event.key], &shared, &mut increments, inputs, event.time_ms));
    }
    let events_per_second = per_second(events.len(), began.ok(), thread_cpu().ok());
    let bytes: usize = states.iter().map(KeyModel::bytes).sum();
    let image: usize = states
        .iter()
        .map(|state| {
            let mut writer = Writer::new();
            model.write_key(state, &mut writer);
            writer.len()
        })
        .sum();
    Outcome { events_per_second, bytes_per_key: bytes as f64 / keys as f64, image_per_key: image as f64 / keys as f64 }
}

/// Events per second through a combination alone, given the surprises of two models.
fn combine(keys: usize, events: &[Observation]) -> f64 {
    let tail = DetectorSpec::Tail { half_life: 100.0, log_scale: LogScale::Auto };
    let models = [model(tail, 1), model(DetectorSpec::Ewma { half_life: 100.0 }, 1)];
    let combination = Combination::new(Combine::Any, &models);
    let mut states = vec![KeyCombination::default(); keys];
    let mut shared = combination.new_shared();
    let mut increments = CombinationIncrements::default();
    let began = thread_cpu();
    for (records, event) in events.iter().enumerate() {
        if version_due(records as u64) {
            shared = combination.next_shared(&shared, &increments);
            increments = CombinationIncrements::default();
        }
        let surprises = [Some(event.hour[0].abs()), Some(event.hour[1].abs())];
        let state = &mut states[event.key];
        black_box(combination.fold(&shared, &mut increments, &surprises, Maturity::Mature, state));
    }
    per_second(events.len(), began.ok(), thread_cpu().ok())
}

/// Events per CPU second of this thread; NaN where the system does not tell its time.
fn per_second(events: usize, began: Option<Duration>, ended: Option<Duration>) -> f64 {
    began.zip(ended).map_or(f64::NAN, |(began, ended)| events as f64 / (ended - began).as_secs_f64())
}
