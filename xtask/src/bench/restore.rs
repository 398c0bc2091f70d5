//! A fresh worker whose partitions have a large state: from its start until every shard is ready, and to its first results.
//!
//! The state is written in bulk, as an hour's load leaves it: several generations of images, none of them compacted; of
//! large images there is one, so that they fit a machine. The images are real: users with a long past are folded by the
//! worker's own code, and all keys share the images of those.

mod fill;
mod past;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::events::Events;
use super::figure::Figure;
use super::kafka::{self, Topics};
use super::open_loop::{Reader, now_ms};
use super::pipelines::{self, Names, Variant};
use super::side::Side;
use crate::services::kafka::{Java, Kafka};
use crate::tree;
use fill::Filled;

const NAME: &str = "restore";
/// One shard alone, and as many as share the lanes of a worker.
const SPREADS: [i32; 2] = [1, 6];
/// A worker that says nothing for this long will not say anything.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(20);

/// How much to measure; 0 leaves a part out.
#[derive(Args)]
pub(crate) struct Sizes {
    /// Of `restore`: keys whose images have about 1 KiB
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    restore_keys: u64,
    /// Of `restore`: keys whose images have about 8 KiB
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    restore_large_keys: u64,
    /// Of `restore`: images of 1 KiB of each key that lie in the state topic; of those of 8 KiB there is one
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    restore_generations: u64,
}

/// A kind of state.
#[derive(Debug, Clone, Copy)]
struct Load {
    keys: u64,
    /// Its images have about so many KiB …
    kib: u64,
    /// … because one feature holds so many values of each key.
    values: u64,
    generations: u64,
}

/// Measures and reports.
pub(crate) fn run(sizes: &Sizes, runs: usize, seed: u64, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let work = tree::target_folder().join("bench");
    std::fs::create_dir_all(&work).context("failed to create the benchmarks' folder")?;
    let kafka = Kafka::fresh(Java::Measured)?;
    let brokers = kafka.addresses()[0].clone();
    let bench = Bench { topics: Topics::of(&brokers)?, brokers, work, runs, seed };
    let loads = [
        Load { keys: sizes.restore_keys, kib: 1, values: 90, generations: sizes.restore_generations },
        Load { keys: sizes.restore_large_keys, kib: 8, values: 990, generations: 1 },
    ];
    for load in loads.into_iter().filter(|load| load.keys > 0) {
        for partitions in SPREADS {
            bench.measure(load, partitions, report)?;
        }
    }
    kafka.discard()
}

struct Bench {
    brokers: String,
    topics: Topics,
    work: std::path::PathBuf,
    runs: usize,
    seed: u64,
}

/// One start, in seconds.
struct Started {
    ready: f64,
    first: f64,
    all: f64,
}

impl Bench {
    fn measure(&self, load: Load, partitions: i32, report: &mut dyn FnMut(Figure)) -> Result<()> {
        let Load { keys, kib, generations, .. } = load;
        let title = format!("{keys}keys.{kib}KiB.{partitions}partitions");
        eprintln!("{NAME}: writing the state of {title}, {generations} generations");
        let identity = format!("{NAME}-{kib}-{partitions}");
        let names = Names { input: format!("{identity}.in"), identity };
        let folder = pipelines::write(&tree::root(), &self.work, Variant::Quickstart, &names)?;
        let config = pipelines::remember(&folder, load.values)?;
        for topic in [names.input.as_str(), &names.results()] {
            self.topics.create(topic, partitions)?;
        }
        self.topics.create_state(&names.state(), partitions)?;
        let fill = fill::Fill { brokers: &self.brokers, names: &names, config, partitions, load, seed: self.seed };
        let filled = fill.run()?;

        let mut started = Vec::new();
        for run in 0..self.runs {
            eprintln!("{NAME}: {title}, run {} of {}", run + 1, self.runs);
            started.push(self.start(&folder, &names, partitions, keys, run as u64)?);
        }
        let [results, alerts, dead_letter, late] = names.outputs();
        self.topics.delete(&[&names.input, &results, &alerts, &dead_letter, &late, &names.state()])?;
        tell(&title, load, &filled, &started, report);
        Ok(())
    }

    /// Starts a worker for which an event of a known user waits in every partition.
    fn start(&self, folder: &std::path::Path, names: &Names, partitions: i32, keys: u64, run: u64) -> Result<Started> {
        let mut reader = Reader::from_end(&self.brokers, &names.results(), partitions)?;
        let producer = kafka::event_producer(&self.brokers)?;
        let mut events = Events::new(self.seed);
        // Far from the numbers of the past.
        let first_number = u64::MAX / 2 + run * partitions as u64;
        for partition in 0..partitions {
            events.of_user(partition as usize, first_number + partition as u64, now_ms());
            kafka::send(&producer, &names.input, partition, &events.key, &events.value)?;
        }
        kafka::flush(&producer)?;

        let began = Instant::now();
        let mut side = Side::worker(folder, &self.brokers, "log", &["--log-json"])?;
        let (mut ready, mut first, mut results, mut looked) = (None, None, 0, Instant::now());
        let numbers = first_number..first_number + partitions as u64;
        while results < partitions || ready.is_none() {
            reader.take(&mut |_, number| {
                if numbers.contains(&number) {
                    first.get_or_insert_with(|| began.elapsed());
                    results += 1;
                }
            });
            if ready.is_none() && looked.elapsed() > LOOK {
                looked = Instant::now();
                let shards = side.ready_shards();
                if shards.len() as i32 == partitions {
                    ready = Some(began.elapsed());
                    let known: u64 = shards.iter().map(|shard| shard.keys).sum();
                    ensure!(known == keys, "{known} of {keys} keys were restored");
                }
            }
            side.check()?;
            ensure!(began.elapsed() < PATIENCE, "no result within {} s", PATIENCE.as_secs());
        }
        let all = began.elapsed().as_secs_f64();
        side.stop()?;
        let seconds = |at: Option<Duration>| at.map_or(f64::NAN, |at| at.as_secs_f64());
        Ok(Started { ready: seconds(ready), first: seconds(first), all })
    }
}

fn tell(title: &str, load: Load, filled: &Filled, started: &[Started], report: &mut dyn FnMut(Figure)) {
    let mut figure = |metric: &str, unit, of: &dyn Fn(&Started) -> f64| {
        report(Figure::of(NAME, format!("{title}.{metric}"), unit, started.iter().map(of).collect()));
    };
    figure("ready", "s", &|start| start.ready);
    figure("firstResult", "s", &|start| start.first);
    figure("allPartitions", "s", &|start| start.all);
    figure("megabytesPerSecond", "MB/s", &|start| filled.bytes as f64 / 1e6 / start.ready);
    figure("keysPerSecond", "keys/s", &|start| load.keys as f64 / start.ready);
    figure("stateBytes", "MB", &|_| filled.bytes as f64 / 1e6);
    figure("meanImage", "bytes", &|_| filled.image_bytes as f64 / filled.images as f64);
}
