//! A full topic read to its end: events per CPU second of the whole process, beside raw consume and produce with the
//! same client, ticks, transactions, compression and bytes. The sides take turns in every run.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::events::Events;
use super::figure::Figure;
use super::kafka::{self, Progress, Topics};
use super::pipelines::{self, Names, Variant};
use super::side::{Kind, Side, Yardstick};
use crate::services;
use crate::services::kafka::{Access, Kafka, Setup};
use crate::tree;

const NAME: &str = "drain";
const PARTITIONS: i32 = 6;
const EVENTS: u64 = 2_000_000;
/// Event time between two events: the topic holds about eleven hours.
const STEP_MS: i64 = 20;
/// The share of the topic that counts as start-up: connections, group join, first allocations.
const WARM_UP: u64 = EVENTS / 20;

/// Measures and reports.
pub(crate) fn run(runs: usize, seed: u64, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let setup = Setup { folder: services::fresh_folder()?, port: None, access: Access::Open };
    let work = tree::target_folder().join("bench");
    std::fs::create_dir_all(&work).context("failed to create the benchmarks' folder")?;
    let kafka = Kafka::start(setup)?;
    let bench = Bench { brokers: kafka.addresses()[0].clone(), topics: Topics::of(&kafka.addresses()[0])?, work };
    bench.fill(seed)?;
    bench.compare(runs, report)?;
    kafka.discard()
}

struct Bench {
    brokers: String,
    topics: Topics,
    work: std::path::PathBuf,
}

/// What one side spent on the topic.
struct Spent {
    cpu: f64,
    wall: f64,
    events: f64,
}

impl Spent {
    fn events_per_cpu_second(&self) -> f64 {
        self.events / self.cpu
    }
}

const VARIANTS: [Variant; 2] = [Variant::Threshold, Variant::Quickstart];

impl Bench {
    fn fill(&self, seed: u64) -> Result<()> {
        self.topics.create("payments", PARTITIONS)?;
        let producer = kafka::event_producer(&self.brokers)?;
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let start_ms = now_ms - EVENTS as i64 * STEP_MS;
        let mut events = Events::new(seed);
        for number in 0..EVENTS {
            let user = events.next(number, start_ms + number as i64 * STEP_MS);
            kafka::send(&producer, "payments", user as i32 % PARTITIONS, &events.key, &events.value)?;
        }
        kafka::flush(&producer)
    }

    fn compare(&self, runs: usize, report: &mut dyn FnMut(Figure)) -> Result<()> {
        let mut measured: [Vec<[Spent; 2]>; 2] = [Vec::new(), Vec::new()];
        let mut value_bytes = [0.0; 2];
        for run in 0..runs {
            for (index, variant) in VARIANTS.into_iter().enumerate() {
                let (product, bytes) = self.product(variant, run)?;
                value_bytes[index] = bytes;
                let raw = self.raw(variant, run, bytes.round() as usize)?;
                measured[index].push([product, raw]);
            }
        }
        for (index, variant) in VARIANTS.into_iter().enumerate() {
            let pairs = &measured[index];
            let mut tell = |metric: &str, unit, of: &dyn Fn(&[Spent; 2]) -> f64| {
                report(Figure::of(NAME, format!("{}.{metric}", variant.name()), unit, pairs.iter().map(of).collect()));
            };
            tell("eventsPerCpuSecond", "events/s", &|[product, _]| product.events_per_cpu_second());
            tell("raw.eventsPerCpuSecond", "events/s", &|[_, raw]| raw.events_per_cpu_second());
            tell("ratioToRaw", "", &|[product, raw]| product.events_per_cpu_second() / raw.events_per_cpu_second());
            tell("cpuMicrosPerEvent", "µs", &|[product, _]| 1e6 / product.events_per_cpu_second());
            tell("eventsPerSecond", "events/s", &|[product, _]| product.events / product.wall);
            tell("raw.eventsPerSecond", "events/s", &|[_, raw]| raw.events / raw.wall);
            tell("resultBytes", "bytes", &|_| value_bytes[index]);
        }
        Ok(())
    }

    /// What the product spends, and the mean size of its results.
    fn product(&self, variant: Variant, run: usize) -> Result<(Spent, f64)> {
        let names = Names { input: "payments".into(), identity: format!("drain-{}-{run}", variant.name()) };
        let folder = pipelines::write(&tree::root(), &self.work, variant, &names)?;
        let side = Side::product(&folder, &self.brokers)?;
        let spent = self.watch(side, &names.identity)?;
        let (_, bytes) = kafka::mean_record_bytes(&self.brokers, &names.results())?;
        self.topics.delete(&names.outputs().each_ref().map(String::as_str))?;
        Ok((spent, bytes))
    }

    fn raw(&self, variant: Variant, run: usize, value_bytes: usize) -> Result<Spent> {
        let group = format!("drain-raw-{}-{run}", variant.name());
        let output = format!("{group}.results");
        self.topics.create(&output, PARTITIONS)?;
        let yardstick = Yardstick {
            kind: Kind::Raw { value_bytes },
            brokers: self.brokers.clone(),
            input: "payments".into(),
            output: output.clone(),
            group: group.clone(),
            partitions: PARTITIONS,
        };
        let spent = self.watch(Side::yardstick(&yardstick, &self.work)?, &group)?;
        self.topics.delete(&[&output])?;
        Ok(spent)
    }

    /// From the end of the warm-up to the end of the topic.
    fn watch(&self, mut side: Side, group: &str) -> Result<Spent> {
        let progress = Progress::of(&self.brokers, group, "payments", PARTITIONS)?;
        let first = progress.wait_for(WARM_UP, &mut || side.check())?;
        let (cpu, began) = (side.cpu()?, Instant::now());
        let last = progress.wait_for(EVENTS, &mut || side.check())?;
        let wall = began.elapsed();
        let cpu = side.cpu()?.saturating_sub(cpu).max(Duration::from_millis(10));
        side.stop()?;
        Ok(Spent { cpu: cpu.as_secs_f64(), wall: wall.as_secs_f64(), events: (last - first) as f64 })
    }
}
