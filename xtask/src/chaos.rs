//! The undisturbed twin: a seeded input goes through worker processes while everything around them is disturbed, and in
//! the end every record that they wrote is compared, in order and byte for byte, with what one thread without Kafka
//! makes of the same input.
//!
//! ```text
//! send ── direct ──► source ──► workers (the release binary) ──► results, alerts, dead letters, late, state
//!   1 in 10 aborted             ▲   │ all their connections         │
//!                     kill, hold,   ▼                               ▼
//!                     join, leave   proxies ◄ cut, drop, delay    oracle ► verify ► report
//!                                   brokers 1–3 ◄ stop, kill      state of a twin left alone ┘
//! ```
//! A run: send and disturb for some minutes ► heal everything ► the workers reach the end ► they leave ► compare.
//! A seed gives the input and the plan of disturbances; how processes interleave it does not give.

mod disturb;
mod input;
mod oracle;
mod pipeline;
mod points;
mod proxy;
mod send;
mod stage;
mod state;
mod topics;
mod verify;
mod workers;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;

use crate::tree;
use disturb::{Choice, broken_builds};
use points::Depth;
use stage::{Build, Course, PROGRAM, Stage};

/// How long a run is disturbed when nothing is said, minutes …
const MINUTES: f64 = 2.0;
/// … and when it only has to show that something is broken.
const SHOWING: f64 = 0.5;
/// Runs in which a broken build has to be caught.
const TRIES: u64 = 4;

/// One of several equal parts of the runs, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    number: usize,
    of: usize,
}

/// What to run.
#[derive(Args, Clone, Default)]
pub(crate) struct Options {
    /// How long each run is disturbed [default: 2; 0.5 with --broken]
    #[arg(long)]
    minutes: Option<f64>,
    /// Seed of the first run; the next one's is one greater [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Runs [default: 1; up to 4 with --broken]
    #[arg(long)]
    runs: Option<u64>,
    /// Only this part of the runs, such as 1/3, so that several machines can share them; needs the same --seed on each
    #[arg(long, value_name = "K/N", requires = "seed", conflicts_with = "broken")]
    part: Option<Part>,
    /// A build that is broken on purpose, or all of them: each has to be caught
    #[arg(long, value_name = "NAME", conflicts_with = "fault_points")]
    broken: Option<String>,
    /// Visit every fault point of the worker, alone or after every other, in runs that follow one another
    #[arg(long, value_name = "DEPTH", conflicts_with = "disturb")]
    fault_points: Option<Depth>,
    /// What may happen: all, none, or a list
    #[arg(long, value_name = "LIST")]
    disturb: Option<Choice>,
    /// Workers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=16))]
    workers: u64,
    /// Partitions of the source
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=64))]
    partitions: i32,
    /// Records per second, those that are aborted included
    #[arg(long, default_value_t = 2_500, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// The worker's program [default: built here]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Leave configurations and logs behind, also after a clean run
    #[arg(long)]
    keep: bool,
}

impl Options {
    fn usual() -> Self {
        Self { workers: 3, partitions: 6, rate: 2_500, ..Self::default() }
    }

    /// What a build machine runs: two minutes of everything that can happen to workers and their connections. Brokers are
    /// stopped in longer runs, by hand.
    pub(crate) fn short() -> Self {
        Self { disturb: Some(Choice::without_brokers()), ..Self::usual() }
    }

    /// Every fault point, once.
    pub(crate) fn points() -> Self {
        Self { fault_points: Some(Depth::One), ..Self::usual() }
    }

    /// Every broken build.
    pub(crate) fn broken() -> Self {
        Self { broken: Some("all".to_owned()), ..Self::usual() }
    }

    fn minutes(&self) -> f64 {
        self.minutes.unwrap_or(if self.broken.is_some() { SHOWING } else { MINUTES })
    }

    /// Seeds and courses of the runs, in their order.
    fn courses(&self, first: u64) -> Vec<(u64, Course)> {
        let runs = first..first + self.runs.unwrap_or(1);
        let courses: Vec<Course> = match self.fault_points {
            Some(depth) => runs.flat_map(|seed| points::tours(depth, seed)).map(Course::FaultPoints).collect(),
            None => runs.map(|_| Course::Disturbed(self.disturb.clone().unwrap_or_default())).collect(),
        };
        let range = self.part.map_or(0..courses.len(), |part| part.range(courses.len()));
        (first..).zip(courses).skip(range.start).take(range.len()).collect()
    }

    fn build(&self) -> Build {
        match &self.binary {
            Some(binary) => Build::There(binary.clone()),
            None if self.broken.is_some() || self.fault_points.is_some() => Build::WithFaults,
            None => Build::AsReleased,
        }
    }
}

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<()> {
    let first = options.seed.map_or_else(seed_of_the_clock, Ok)?;
    let folder = tree::target_folder().join("services").join(format!("chaos-{}", std::process::id()));
    let outcome = match options.broken.as_deref().map(broken_builds).transpose()? {
        Some(builds) => catch_all(options, builds, first, &folder),
        None => run_all(options, first, &folder),
    };
    clean_up(&folder, options.keep || outcome.is_err())?;
    outcome.map_err(|error| anyhow!("{error:#}; logs: {}", folder.display()))
}

/// Every run has to be clean.
fn run_all(options: &Options, first: u64, folder: &Path) -> Result<()> {
    let courses = options.courses(first);
    let mut stage = Stage::set_up(&options.build(), folder)?;
    let mut unclean = Vec::new();
    for (number, (seed, course)) in (1..).zip(&courses) {
        println!("\nrun {number} of {}", courses.len());
        if !stage.run(options, course, None, *seed)?.is_clean() {
            unclean.push(seed.to_string());
        }
    }
    ensure!(
        unclean.is_empty(),
        "{} of {} runs were not clean: seeds {}",
        unclean.len(),
        courses.len(),
        unclean.join(", ")
    );
    println!("\nall of {} runs were clean", courses.len());
    Ok(())
}

/// Every build that is broken on purpose has to be caught, each in one of some runs.
fn catch_all(options: &Options, builds: Vec<(&str, Choice)>, first: u64, folder: &Path) -> Result<()> {
    let mut stage = Stage::set_up(&options.build(), folder)?;
    let mut missed = Vec::new();
    for (number, (name, choice)) in (0..).zip(builds) {
        let course = Course::Disturbed(options.disturb.clone().unwrap_or(choice));
        // No two runs share a seed, which names their topics.
        let first = first + number * 100;
        let mut caught = None;
        for seed in first..first + options.runs.unwrap_or(TRIES) {
            if stage.run(options, &course, Some(name), seed)?.shows_a_broken_promise() {
                caught = Some(seed);
                break;
            }
        }
        match caught {
            Some(seed) => println!("the broken build `{name}` was caught, seed {seed}"),
            None => missed.push(name),
        }
    }
    match missed.is_empty() {
        true => Ok(()),
        false => bail!("broken builds that were not caught, from seed {first} on: {}", missed.join(", ")),
    }
}

impl Part {
    /// Its share of so many runs.
    fn range(self, runs: usize) -> std::ops::Range<usize> {
        runs * (self.number - 1) / self.of..runs * self.number / self.of
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err("expected K/N with K from 1 to N, such as 1/3".to_owned()),
        }
    }
}

fn seed_of_the_clock() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(since.as_secs() % 1_000_000)
}

/// Data goes; what helps to find out stays if it is wanted.
fn clean_up(folder: &Path, keep: bool) -> Result<()> {
    if !keep {
        return fs::remove_dir_all(folder).with_context(|| format!("failed to remove {}", folder.display()));
    }
    // It is built again sooner than looked at.
    let _not_there_yet = fs::remove_file(folder.join(PROGRAM));
    for entry in fs::read_dir(folder).context("failed to look into the folder")? {
        let data = entry.context("failed to look into the folder")?.path().join("data");
        if data.is_dir() {
            fs::remove_dir_all(&data).with_context(|| format!("failed to remove {}", data.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_together_are_all_runs_with_the_seeds_that_they_have_alone() {
        let seeds = |part: Option<&str>| {
            let part = part.map(|part| part.parse().unwrap());
            let options = Options { runs: Some(8), part, ..Options::usual() };
            options.courses(40).iter().map(|(seed, _)| *seed).collect::<Vec<_>>()
        };
        assert_eq!(seeds(None), (40..48).collect::<Vec<_>>());
        let parts = ["1/3", "2/3", "3/3"].map(|part| seeds(Some(part)));
        assert_eq!(parts.concat(), seeds(None));
        assert!(parts.iter().all(|part| (2..=3).contains(&part.len())), "{parts:?}");
    }

    #[test]
    fn a_part_is_one_of_so_many() {
        assert_eq!("2/3".parse(), Ok(Part { number: 2, of: 3 }));
        for wrong in ["0/3", "4/3", "1/0", "1", "a/b", "-1/2", ""] {
            assert!(wrong.parse::<Part>().unwrap_err().contains("such as 1/3"), "{wrong}");
        }
    }
}
