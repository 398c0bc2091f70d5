//! A full topic read to its end: events per CPU second of the whole process, beside raw consume and produce with the
//! same client, ticks, transactions, compression and bytes. The sides take turns in every run.

use anyhow::{Context, Result};
use rdkafka::Offset;

use super::figure::Figure;
use super::full_topic::{FullTopic, Spent};
use super::kafka::{self, Topics};
use super::pipelines::{self, Names, Variant};
use super::side::{Kind, Side, Yardstick};
use crate::services::kafka::{Java, Kafka};
use crate::tree;

const NAME: &str = "drain";
const PARTITIONS: i32 = 6;
const EVENTS: u64 = 2_000_000;
/// The share of the topic that counts as start-up: connections, group join, first allocations.
const WARM_UP: u64 = EVENTS / 20;

/// Measures and reports.
pub(crate) fn run(runs: usize, seed: u64, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let work = tree::target_folder().join("bench");
    std::fs::create_dir_all(&work).context("failed to create the benchmarks' folder")?;
    let kafka = Kafka::fresh(Java::Measured)?;
    let brokers = kafka.addresses()[0].clone();
    let topics = Topics::of(&brokers)?;
    let payments =
        FullTopic { brokers, name: "payments".into(), partitions: PARTITIONS, events: EVENTS, warm_up: WARM_UP };
    payments.fill(&topics, seed)?;
    let bench = Bench { payments, topics, work };
    bench.compare(runs, report)?;
    kafka.discard()
}

struct Bench {
    payments: FullTopic,
    topics: Topics,
    work: std::path::PathBuf,
}

const VARIANTS: [Variant; 2] = [Variant::Threshold, Variant::Quickstart];

impl Bench {
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
            tell("cpuMicrosPerEvent", "µs", &|[product, _]| product.cpu_micros_per_event());
            tell("eventsPerSecond", "events/s", &|[product, _]| product.events_per_second());
            tell("raw.eventsPerSecond", "events/s", &|[_, raw]| raw.events_per_second());
            tell("resultBytes", "bytes", &|_| value_bytes[index]);
        }
        Ok(())
    }

    /// What the product spends, and the mean size of its results.
    fn product(&self, variant: Variant, run: usize) -> Result<(Spent, f64)> {
        let names = Names { input: self.payments.name.clone(), identity: format!("drain-{}-{run}", variant.name()) };
        let folder = pipelines::write(&tree::root(), &self.work, variant, &names)?;
        let side = Side::product(&folder, &self.payments.brokers)?;
        let spent = self.payments.watch(side, &names.identity)?;
        let (_, bytes) = kafka::mean_record_bytes(&self.payments.brokers, &names.results(), Offset::Beginning)?;
        self.topics.delete(&names.outputs().each_ref().map(String::as_str))?;
        Ok((spent, bytes))
    }

    fn raw(&self, variant: Variant, run: usize, value_bytes: usize) -> Result<Spent> {
        let group = format!("drain-raw-{}-{run}", variant.name());
        let output = format!("{group}.results");
        self.topics.create(&output, PARTITIONS)?;
        let yardstick = Yardstick {
            kind: Kind::Raw { value_bytes },
            brokers: self.payments.brokers.clone(),
            input: self.payments.name.clone(),
            output: output.clone(),
            group: group.clone(),
            partitions: PARTITIONS,
        };
        let spent = self.payments.watch(Side::yardstick(&yardstick, &self.work)?, &group)?;
        self.topics.delete(&[&output])?;
        Ok(spent)
    }
}
