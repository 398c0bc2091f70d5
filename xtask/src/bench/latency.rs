//! From event to visible result, in an open loop: the product with `examples/quickstart` unchanged against the bare toy,
//! taking turns, and taking turns in who goes first.
//!
//! Pairs at the highest rate go before those that count, until the broker's code is compiled.

use anyhow::{Context, Result, ensure};

use super::figure::Figure;
use super::kafka::Topics;
use super::measure::in_turns;
use super::open_loop::{OpenLoop, PATIENCE, Stream};
use super::pipelines::{self, Names, Variant};
use super::side::{Kind, Side, Yardstick};
use super::warm_up::until_compiled;
use crate::services::kafka::{Java, Kafka};
use crate::tree;

const NAME: &str = "latency";
const PARTITIONS: i32 = 2;
const RATES: [u64; 2] = [20_000, 100_000];
const SECONDS: u64 = 15;
/// The first fifth of a stream: new keys, new connections.
const WARM_UP: u64 = 5;

/// Measures and reports.
pub(crate) fn run(runs: usize, seed: u64, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let work = tree::target_folder().join("bench");
    std::fs::create_dir_all(&work).context("failed to create the benchmarks' folder")?;
    let kafka = Kafka::fresh(Java::Measured)?;
    let brokers = kafka.addresses()[0].clone();
    let bench = Bench { topics: Topics::of(&brokers)?, brokers, work, seed };
    until_compiled(NAME, &kafka, |round| bench.pair(RATES[1], runs + 1 + round).map(drop))?;
    for rate in RATES {
        let pairs: Vec<_> = (1..=runs).map(|run| bench.pair(rate, run)).collect::<Result<_>>()?;
        tell(rate, &pairs, report);
    }
    kafka.discard()
}

/// Quantiles of one stream in milliseconds, and what the side spent per event.
struct Measured {
    p50: f64,
    p95: f64,
    p99: f64,
    micros: f64,
}

fn tell(rate: u64, pairs: &[[Measured; 2]], report: &mut dyn FnMut(Figure)) {
    let mut figure = |metric: String, unit, of: &dyn Fn(&[Measured; 2]) -> f64| {
        report(Figure::of(NAME, format!("{rate}.{metric}"), unit, pairs.iter().map(of).collect()));
    };
    for (index, side) in ["quickstart", "toy"].into_iter().enumerate() {
        figure(format!("{side}.p50"), "ms", &|pair| pair[index].p50);
        figure(format!("{side}.p95"), "ms", &|pair| pair[index].p95);
        figure(format!("{side}.p99"), "ms", &|pair| pair[index].p99);
        figure(format!("{side}.cpuMicrosPerEvent"), "µs", &|pair| pair[index].micros);
    }
    figure("ratioToToy.p95".to_owned(), "", &|[product, toy]| product.p95 / toy.p95);
}

struct Bench {
    brokers: String,
    topics: Topics,
    work: std::path::PathBuf,
    seed: u64,
}

impl Bench {
    fn pair(&self, rate: u64, run: usize) -> Result<[Measured; 2]> {
        in_turns(run, || self.product(rate, run), || self.toy(rate, run))
    }

    fn product(&self, rate: u64, run: usize) -> Result<Measured> {
        let identity = format!("latency-{rate}-{run}");
        let names = Names { input: format!("{identity}.in"), identity };
        let folder = pipelines::write(&tree::root(), &self.work, Variant::Quickstart, &names)?;
        self.topics.create(&names.input, PARTITIONS)?;
        self.topics.create(&names.results(), PARTITIONS)?;
        let side = Side::product(&folder, &self.brokers)?;
        let measured = self.stream(side, &names.input, &names.results(), rate)?;
        let outputs = names.outputs();
        self.topics.delete(&[names.input.as_str(), &outputs[0], &outputs[1], &outputs[2], &outputs[3]])?;
        Ok(measured)
    }

    fn toy(&self, rate: u64, run: usize) -> Result<Measured> {
        let group = format!("latency-toy-{rate}-{run}");
        let (input, output) = (format!("{group}.in"), format!("{group}.results"));
        self.topics.create(&input, PARTITIONS)?;
        self.topics.create(&output, PARTITIONS)?;
        let yardstick = Yardstick {
            kind: Kind::Toy,
            brokers: self.brokers.clone(),
            input: input.clone(),
            output: output.clone(),
            group,
            partitions: PARTITIONS,
        };
        let side = Side::yardstick(&yardstick, &self.work)?;
        let measured = self.stream(side, &input, &output, rate)?;
        self.topics.delete(&[&input, &output])?;
        Ok(measured)
    }

    /// One open-loop stream through a side.
    fn stream(&self, mut side: Side, input: &str, output: &str, rate: u64) -> Result<Measured> {
        let total = rate * SECONDS;
        let mut way = OpenLoop::new(&self.brokers, input, output, PARTITIONS)?;
        way.prime(&mut side, self.seed)?;
        let stream = Stream { rate, numbers: 0..total, warm_up: total / WARM_UP, seed: self.seed };
        let passed = way.pass(&mut side, &stream, PATIENCE)?;
        side.stop()?;
        ensure!(passed.missing == 0, "{} of {total} results did not come", passed.missing);
        let micros = passed.cpu.as_secs_f64() * 1e6 / total as f64;
        Ok(Measured { p50: passed.ms(0.5), p95: passed.ms(0.95), p99: passed.ms(0.99), micros })
    }
}
