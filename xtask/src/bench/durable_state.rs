//! What durable state costs: the same worker with and without its state topic, taking turns. Each reads a full topic and
//! then, going on, an open loop at each rate, so that images are written at their steady pace when latency is measured.

use anyhow::{Context, Result, ensure};
use clap::Args;
use faultline_worker::state::{RecordKey, read_head};
use rdkafka::{Message, Offset};

use super::figure::Figure;
use super::full_topic::{FullTopic, Spent};
use super::kafka::{self, Topics};
use super::measure::in_turns;
use super::open_loop::{OpenLoop, PATIENCE, Passed, Stream};
use super::pipelines::{self, Names, Variant};
use super::side::Side;
use super::warm_up::until_compiled;
use crate::services::kafka::{Java, Kafka};
use crate::tree;

const NAME: &str = "durable-state";
const PARTITIONS: i32 = 2;
/// What takes turns, in the order of a pair.
const SIDES: [&str; 2] = ["with", "without"];
/// The share of the full topic that counts as start-up.
const START_UP: u64 = 20;
/// The first fifth of a stream: from large ticks back to small ones.
const SETTLING: u64 = 5;

/// How much to measure.
#[derive(Args)]
pub(crate) struct Sizes {
    /// Of `durable-state`: events of the full topic
    #[arg(long, value_name = "N", default_value_t = 1_500_000)]
    durable_events: u64,
    /// Of `durable-state`: events a second of the open loops
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [50_000, 100_000])]
    durable_rates: Vec<u64>,
    /// Of `durable-state`: seconds of each open loop
    #[arg(long, value_name = "S", default_value_t = 15)]
    durable_seconds: u64,
}

/// Measures and reports.
pub(crate) fn run(sizes: &Sizes, runs: usize, seed: u64, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let flows = sizes.durable_rates.iter().all(|rate| *rate > 0) && sizes.durable_seconds > 1;
    ensure!(flows, "an open loop needs a rate and at least 2 s");
    let work = tree::target_folder().join("bench");
    std::fs::create_dir_all(&work).context("failed to create the benchmarks' folder")?;
    let kafka = Kafka::fresh(Java::Measured)?;
    let brokers = kafka.addresses()[0].clone();
    let bench = Bench { topics: Topics::of(&brokers)?, brokers, work, sizes, seed };
    until_compiled(NAME, &kafka, |round| bench.side(round % 2 == 0, &format!("warm-up-{round}")).map(drop))?;
    let mut pairs = Vec::new();
    for run in 1..=runs {
        let side = |keeps: bool| {
            eprintln!("{NAME}: run {run} of {runs}, {} state", if keeps { "with" } else { "without" });
            bench.side(keeps, &run.to_string())
        };
        pairs.push(in_turns(run, || side(true), || side(false))?);
    }
    tell(sizes, &pairs, report);
    kafka.discard()
}

/// One worker's life.
struct Measured {
    drained: Spent,
    /// By rate, in the order of the rates.
    streamed: Vec<Streamed>,
}

/// One stream.
struct Streamed {
    passed: Passed,
    /// CPU time of an event.
    micros: f64,
    state: State,
}

/// What was written to the state topic while the stream passed.
#[derive(Debug, Default)]
struct State {
    bytes: u64,
    images: u64,
    image_bytes: u64,
}

struct Bench<'a> {
    brokers: String,
    topics: Topics,
    work: std::path::PathBuf,
    sizes: &'a Sizes,
    seed: u64,
}

impl Bench<'_> {
    fn side(&self, keeps: bool, run: &str) -> Result<Measured> {
        let Sizes { durable_events, durable_rates, durable_seconds } = self.sizes;
        let identity = format!("{NAME}-{}-{run}", if keeps { "with" } else { "without" });
        let names = Names { input: format!("{identity}.in"), identity };
        let folder = pipelines::write(&tree::root(), &self.work, Variant::Quickstart, &names)?;
        let full = FullTopic {
            brokers: self.brokers.clone(),
            name: names.input.clone(),
            partitions: PARTITIONS,
            events: *durable_events,
            warm_up: durable_events / START_UP,
        };
        full.fill(&self.topics, self.seed)?;
        self.topics.create(&names.results(), PARTITIONS)?;
        if keeps {
            self.topics.create_state(&names.state(), PARTITIONS)?;
        }
        let more: &[&str] = if keeps { &[] } else { &["--no-durable-state"] };
        let mut side = Side::worker(&folder, &self.brokers, "log", more)?;
        let drained = full.follow(&mut side, &names.identity)?;

        let mut way = OpenLoop::going_on(&self.brokers, &names.input, &names.results(), PARTITIONS)?;
        let mut first = *durable_events;
        let mut streamed = Vec::new();
        for rate in durable_rates {
            let begins = if keeps { kafka::ends(&self.brokers, &names.state(), PARTITIONS)? } else { Vec::new() };
            let total = rate * durable_seconds;
            let numbers = first..first + total;
            first = numbers.end;
            let stream = Stream { rate: *rate, numbers, warm_up: total / SETTLING, seed: self.seed + rate };
            let passed = way.pass(&mut side, &stream, PATIENCE)?;
            ensure!(passed.missing == 0, "{} of {total} results did not come", passed.missing);
            let micros = passed.cpu.as_secs_f64() * 1e6 / total as f64;
            streamed.push(Streamed { passed, micros, state: self.state(&names.state(), &begins)? });
        }
        side.stop()?;
        let [results, alerts, dead_letter, late] = names.outputs();
        self.topics.delete(&[&names.input, &results, &alerts, &dead_letter, &late, &names.state()])?;
        Ok(Measured { drained, streamed })
    }

    /// Counts what lies in each partition from an offset on.
    fn state(&self, topic: &str, begins: &[i64]) -> Result<State> {
        let mut state = State::default();
        for (partition, begin) in (0..).zip(begins) {
            let from = Offset::Offset(*begin);
            kafka::read_to_end(&self.brokers, topic, partition..partition + 1, from, &mut |message| {
                state.count(message.key().unwrap_or_default(), message.payload().unwrap_or_default());
                true
            })?;
        }
        Ok(state)
    }
}

impl State {
    fn count(&mut self, key: &[u8], value: &[u8]) {
        self.bytes += (key.len() + value.len()) as u64;
        if let Some(RecordKey::Image { part, .. }) = RecordKey::parse(key)
            && let Ok((head, _)) = read_head(value)
            && head.parts > 0
        {
            self.images += u64::from(part == 0);
            self.image_bytes += value.len() as u64;
        }
    }
}

fn tell(sizes: &Sizes, pairs: &[[Measured; 2]], report: &mut dyn FnMut(Figure)) {
    let mut figure = |metric: String, unit, of: &dyn Fn(&[Measured; 2]) -> f64| {
        report(Figure::of(NAME, metric, unit, pairs.iter().map(of).collect()));
    };
    for (index, side) in SIDES.into_iter().enumerate() {
        figure(format!("drain.{side}.eventsPerCpuSecond"), "events/s", &|pair| {
            pair[index].drained.events_per_cpu_second()
        });
        figure(format!("drain.{side}.eventsPerSecond"), "events/s", &|pair| pair[index].drained.events_per_second());
    }
    figure("drain.ratioToWithout.eventsPerCpuSecond".to_owned(), "", &|[with, without]| {
        with.drained.events_per_cpu_second() / without.drained.events_per_cpu_second()
    });
    for (place, rate) in sizes.durable_rates.iter().enumerate() {
        let streams: Vec<[&Streamed; 2]> =
            pairs.iter().map(|pair| [&pair[0].streamed[place], &pair[1].streamed[place]]).collect();
        tell_stream(*rate, sizes.durable_seconds, &streams, report);
    }
}

fn tell_stream(rate: u64, seconds: u64, pairs: &[[&Streamed; 2]], report: &mut dyn FnMut(Figure)) {
    let events = (rate * seconds) as f64;
    let mut figure = |metric: &str, unit, of: &dyn Fn(&[&Streamed; 2]) -> f64| {
        report(Figure::of(NAME, format!("{rate}.{metric}"), unit, pairs.iter().map(of).collect()));
    };
    for (index, side) in SIDES.into_iter().enumerate() {
        for (quantile, name) in [(0.5, "p50"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9")] {
            figure(&format!("{side}.{name}"), "ms", &|pair| pair[index].passed.ms(quantile));
        }
        figure(&format!("{side}.max"), "ms", &|pair| pair[index].passed.max_ms());
        figure(&format!("{side}.worstSecond"), "", &|pair| pair[index].passed.worst_second());
        figure(&format!("{side}.backlog"), "events", &|pair| pair[index].passed.backlog as f64);
        figure(&format!("{side}.cpuMicrosPerEvent"), "µs", &|pair| pair[index].micros);
    }
    figure("ratioToWithout.cpuMicrosPerEvent", "", &|[with, without]| with.micros / without.micros);
    figure("stateBytesPerEvent", "bytes", &|[with, _]| with.state.bytes as f64 / events);
    figure("imageBytesPerEvent", "bytes", &|[with, _]| with.state.image_bytes as f64 / events);
    figure("imagesPerSecond", "images/s", &|[with, _]| with.state.images as f64 / seconds as f64);
    figure("meanImage", "bytes", &|[with, _]| with.state.image_bytes as f64 / with.state.images as f64);
    // Of who falls behind, the latency says only for how long it was measured.
    let kept_up = pairs.iter().filter(|pair| pair.iter().all(|side| side.passed.backlog < rate));
    let ratios: Vec<f64> = kept_up.map(|[with, without]| with.passed.ms(0.99) / without.passed.ms(0.99)).collect();
    if !ratios.is_empty() {
        report(Figure::of(NAME, format!("{rate}.ratioToWithout.p99"), "", ratios));
    }
}

#[cfg(test)]
mod tests {
    use faultline_numerics::image::Writer;
    use faultline_worker::state::{Head, write_head};

    use super::*;

    #[test]
    fn only_images_with_something_in_them_are_counted_as_images() {
        let mut state = State::default();
        let value = |parts| {
            let mut w = Writer::new();
            write_head(Head { applied_upto: 9, parts }, &mut w);
            w.raw(b"rings");
            w.into_bytes()
        };
        let (image, gone) = (value(1), value(0));
        state.count(b"k/a", &image);
        state.count(b"k/b", &gone);
        state.count(b"k/c", b"");
        state.count(b"m", b"marker");
        assert_eq!((state.images, state.image_bytes), (1, image.len() as u64));
        assert_eq!(state.bytes, (4 * 3 - 2 + image.len() + gone.len() + 6) as u64);
    }
}
