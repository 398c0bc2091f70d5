//! A worker is killed, or restarted, under load: how long which partitions stand still, as a reader of committed results
//! sees it.

mod arrivals;
mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::figure::Figure;
use super::kafka::Topics;
use super::open_loop::Reader;
use super::pipelines::{self, Names, Variant};
use super::side::Side;
use crate::services::kafka::{Java, Kafka};
use crate::tree;
use arrivals::Arrivals;
use load::Load;

const NAME: &str = "failover";
const PARTITIONS: i32 = 6;
/// A partition whose last result is older than this is not under way.
const FRESH: f64 = 0.5;
/// After what happened, the partitions are watched for this long.
const AFTERWARDS: f64 = 2.0;
/// What takes longer than this does not happen.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often the workers are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How much to measure.
#[derive(Args)]
pub(crate) struct Sizes {
    /// Of `failover`: events a second
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    failover_rate: u64,
    /// Of `failover`: seconds under way before anything happens: what a replay will find
    #[arg(long, value_name = "S", default_value_t = 8)]
    failover_before: u64,
}

/// Measures and reports.
pub(crate) fn run(sizes: &Sizes, runs: usize, seed: u64, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let work = tree::target_folder().join("bench");
    std::fs::create_dir_all(&work).context("failed to create the benchmarks' folder")?;
    let kafka = Kafka::fresh(Java::Measured)?;
    let brokers = kafka.addresses()[0].clone();
    let topics = Topics::of(&brokers)?;
    let bench = Bench { brokers, topics, work, sizes, seed };
    let mut told: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for run in 0..runs {
        eprintln!("{NAME}: run {} of {runs}, killing one of two", run + 1);
        bench.kill(run)?.into_iter().for_each(|(name, value)| told.entry(name).or_default().push(value));
        eprintln!("{NAME}: run {} of {runs}, restarting one of three", run + 1);
        bench.restart(run)?.into_iter().for_each(|(name, value)| told.entry(name).or_default().push(value));
    }
    for (metric, values) in told {
        report(Figure::of(NAME, metric.to_owned(), "s", values));
    }
    kafka.discard()
}

struct Bench<'a> {
    brokers: String,
    topics: Topics,
    work: PathBuf,
    sizes: &'a Sizes,
    seed: u64,
}

type Told = Vec<(&'static str, f64)>;

impl Bench<'_> {
    fn kill(&self, run: usize) -> Result<Told> {
        let mut scene = self.begin(&format!("{NAME}-kill-{run}"), 2)?;
        let steady = scene.settle(self.sizes.failover_before)?;
        let moved = scene.owned_by(0);
        let untouched: BTreeSet<i32> = (0..PARTITIONS).filter(|partition| !moved.contains(partition)).collect();
        let at = scene.arrivals.now();
        // Dropping it kills it.
        drop(scene.workers[0].take());
        let ready =
            scene.wait("the other worker does not take over", |scene| scene.owned_by(1).len() as i32 == PARTITIONS)?;
        scene.wait("the partitions do not go on", |scene| scene.has_gone_on_since(ready))?;
        scene.watch(AFTERWARDS)?;

        let back = |partition| scene.arrivals.longest_gap(partition, at, f64::INFINITY).end - at;
        let backs: Vec<f64> = moved.iter().map(|partition| back(*partition)).collect();
        let told = vec![
            ("kill.steadyLongestGap", steady),
            ("kill.firstPartitionBack", backs.iter().copied().fold(f64::INFINITY, f64::min)),
            ("kill.allPartitionsBack", backs.iter().copied().fold(0.0, f64::max)),
            ("kill.untouchedLongestGap", scene.longest_gap(&untouched, at)),
        ];
        scene.end()?;
        Ok(told)
    }

    fn restart(&self, run: usize) -> Result<Told> {
        let mut scene = self.begin(&format!("{NAME}-restart-{run}"), 3)?;
        let steady = scene.settle(self.sizes.failover_before)?;
        let owned = scene.owned_by(0);
        let at = scene.arrivals.now();
        if let Some(worker) = &scene.workers[0] {
            worker.ask_to_end()?;
        }
        let ended =
            scene.wait("the worker does not end", |scene| scene.workers[0].as_mut().is_none_or(Side::has_ended))?;
        scene.workers[0] = None;
        let before = scene.ready_since_start();
        scene.start()?;
        let newest = scene.workers.len() - 1;
        let ready = scene.wait("the partitions are not shared again", |scene| {
            (0..=newest).all(|worker| worker == 0 || scene.owned_by(worker).len() as i32 == PARTITIONS / 3)
        })?;
        let on = scene.wait("the partitions do not go on", |scene| scene.has_gone_on_since(ready))?;
        scene.watch(AFTERWARDS)?;

        let all: BTreeSet<i32> = (0..PARTITIONS).collect();
        let still: BTreeSet<i32> = {
            let moved = scene.ready_since_start().difference(&before).map(|(_, partition)| *partition).collect();
            all.difference(&owned).copied().collect::<BTreeSet<i32>>().difference(&moved).copied().collect()
        };
        let first =
            all.iter().filter_map(|partition| scene.arrivals.first_after(*partition, ready)).fold(0.0, f64::max);
        ensure!(first <= on, "an arrival was forgotten");
        let mut told = vec![
            ("restart.steadyLongestGap", steady),
            ("restart.ended", ended - at),
            ("restart.allPartitionsScore", first - at),
            ("restart.longestGap", scene.longest_gap(&all, at)),
        ];
        if !still.is_empty() {
            told.push(("restart.untouchedLongestGap", scene.longest_gap(&still, at)));
        }
        scene.end()?;
        Ok(told)
    }

    fn begin(&self, identity: &str, workers: usize) -> Result<Scene<'_>> {
        let names = Names { input: format!("{identity}.in"), identity: identity.to_owned() };
        let folder = pipelines::write(&tree::root(), &self.work, Variant::Quickstart, &names)?;
        self.topics.create(&names.input, PARTITIONS)?;
        self.topics.create(&names.results(), PARTITIONS)?;
        let load = Load::start(&self.brokers, &names.input, PARTITIONS, self.sizes.failover_rate, self.seed);
        let reader = Reader::from_beginning(&self.brokers, &names.results(), PARTITIONS)?;
        let arrivals = Arrivals::new(PARTITIONS);
        let looked = Instant::now();
        let mut scene = Scene { bench: self, names, folder, load, reader, arrivals, workers: Vec::new(), looked };
        (0..workers).try_for_each(|_| scene.start())?;
        Ok(scene)
    }
}

/// Workers under load, and what is seen of them.
struct Scene<'a> {
    bench: &'a Bench<'a>,
    names: Names,
    folder: PathBuf,
    load: Load,
    reader: Reader,
    arrivals: Arrivals,
    /// By number; those that are gone are `None`.
    workers: Vec<Option<Side>>,
    looked: Instant,
}

impl Scene<'_> {
    fn start(&mut self) -> Result<()> {
        let log = format!("log-{}", self.workers.len());
        self.workers.push(Some(Side::worker(&self.folder, &self.bench.brokers, &log, &["--log-json"])?));
        Ok(())
    }

    /// Notes what has come.
    fn turn(&mut self) -> Result<()> {
        let Self { reader, arrivals, .. } = self;
        let mut came = BTreeSet::new();
        reader.take_records(&mut |record| {
            came.insert(record.partition);
        });
        let now = arrivals.now();
        came.into_iter().for_each(|partition| arrivals.note(partition, now));
        self.load.check()
    }

    /// Watches until something is so; returns when that was seen.
    fn wait(&mut self, otherwise: &str, mut is_so: impl FnMut(&mut Self) -> bool) -> Result<f64> {
        let began = Instant::now();
        loop {
            self.turn()?;
            if self.looked.elapsed() > LOOK {
                self.looked = Instant::now();
                let now = self.arrivals.now();
                if is_so(self) {
                    return Ok(now);
                }
            }
            ensure!(began.elapsed() < PATIENCE, "{otherwise} within {} s", PATIENCE.as_secs());
        }
    }

    fn watch(&mut self, seconds: f64) -> Result<()> {
        let until = self.arrivals.now() + seconds;
        self.wait("time does not pass", |scene| scene.arrivals.now() >= until).map(drop)
    }

    /// Waits until the partitions are shared fairly and under way, then for so long; returns the longest gap of the second
    /// half of that time.
    fn settle(&mut self, seconds: u64) -> Result<f64> {
        let share = PARTITIONS / self.workers.len() as i32;
        self.wait("the partitions are not shared", |scene| {
            let now = scene.arrivals.now();
            let flows = |partition| scene.arrivals.last(partition).is_some_and(|last| now - last < FRESH);
            (0..PARTITIONS).all(flows)
                && (0..scene.workers.len()).all(|worker| scene.owned_by(worker).len() as i32 == share)
        })?;
        self.watch(seconds as f64 / 2.0)?;
        let from = self.arrivals.now();
        self.watch(seconds as f64 / 2.0)?;
        let all = (0..PARTITIONS).collect();
        for worker in self.workers.iter_mut().flatten() {
            worker.check()?;
        }
        Ok(self.longest_gap(&all, from))
    }

    /// The partitions that this worker was the last to bring back.
    fn owned_by(&self, number: usize) -> BTreeSet<i32> {
        let mut last: BTreeMap<i32, (String, usize)> = BTreeMap::new();
        for (number, worker) in self.workers.iter().enumerate() {
            for shard in worker.iter().flat_map(Side::ready_shards) {
                let newest = last.entry(shard.partition).or_default();
                if shard.at >= newest.0 {
                    *newest = (shard.at, number);
                }
            }
        }
        last.into_iter().filter(|(_, (_, owner))| *owner == number).map(|(partition, _)| partition).collect()
    }

    /// Which shards became ready when, at any worker that is there.
    fn ready_since_start(&self) -> BTreeSet<(String, i32)> {
        let shards = self.workers.iter().flatten().flat_map(Side::ready_shards);
        shards.map(|shard| (shard.at, shard.partition)).collect()
    }

    fn has_gone_on_since(&self, moment: f64) -> bool {
        (0..PARTITIONS).all(|partition| self.arrivals.first_after(partition, moment).is_some())
    }

    fn longest_gap(&self, partitions: &BTreeSet<i32>, from: f64) -> f64 {
        let gaps = partitions.iter().map(|partition| self.arrivals.longest_gap(*partition, from, f64::INFINITY));
        gaps.map(arrivals::Gap::seconds).fold(0.0, f64::max)
    }

    /// Ends everything and deletes the topics.
    fn end(mut self) -> Result<()> {
        self.load.end()?;
        self.workers.into_iter().flatten().try_for_each(Side::stop)?;
        let [results, alerts, dead_letter, late] = self.names.outputs();
        let state = self.names.state();
        self.bench.topics.delete(&[&self.names.input, &results, &alerts, &dead_letter, &late, &state])
    }
}
