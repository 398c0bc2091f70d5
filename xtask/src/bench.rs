//! Measurements. Each benchmark is a file and a program with output, never a test: absolute times drift from run to
//! run, so what is compared is measured in one run, alternating, and reported with its spread.

mod calibration;
mod detectors;
mod document;
mod drain;
mod durable_state;
mod events;
mod failover;
mod features;
mod figure;
mod full_topic;
mod kafka;
mod latency;
mod measure;
mod open_loop;
mod pipelines;
mod quality;
mod restore;
mod side;
mod streams;
mod tell;
mod warm_up;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use figure::Figure;

/// What to measure, and how to tell it.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this benchmark
    #[arg(long, value_name = "NAME")]
    only: Option<Name>,
    /// A line per figure for people, or a JSON object per line
    #[arg(long, value_name = "FORM", default_value = "text")]
    output: Form,
    /// Runs of each, alternating where two things are compared
    #[arg(long, value_name = "N", default_value_t = LEAST_PUBLISHED_RUNS)]
    runs: usize,
    /// Seed of everything random
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Write docs/benchmarks.md from the figures
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    streams: streams::Sizes,
    #[command(flatten)]
    durable: durable_state::Sizes,
    #[command(flatten)]
    restore: restore::Sizes,
    #[command(flatten)]
    failover: failover::Sizes,
    /// One side of a comparison in a process of its own; the benchmarks start it
    #[arg(long, hide = true, num_args = 1.., value_name = "ARGUMENT")]
    side: Vec<String>,
}

/// Fewer runs say nothing about the spread.
const LEAST_PUBLISHED_RUNS: usize = 5;

/// The benchmarks, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// Windows alone: events per core, bytes per key
    Features,
    /// Detectors alone: events per core, bytes per key
    Detectors,
    /// Promised against observed rates of surprise
    Calibration,
    /// A full topic read to its end, against raw consume and produce
    Drain,
    /// From the moment an event was due to its visible result, against a bare worker
    Latency,
    /// The same workload on Kafka Streams: throughput, latency, restart
    Streams,
    /// What durable state costs: throughput, latency, bytes
    DurableState,
    /// A fresh worker with a large state: until its shards are ready, to its first results
    Restore,
    /// A worker is killed, or restarted: how long which partitions stand still
    Failover,
    /// What the quickstart finds of what was planted, on seeds that nobody has looked at
    Quality,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
}

/// Runs the benchmarks.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !options.side.is_empty() {
        return side::run(&options.side);
    }
    ensure!(options.runs > 0, "--runs must be at least 1");
    ensure!(
        !options.write || options.runs >= LEAST_PUBLISHED_RUNS,
        "--write publishes medians of at least {LEAST_PUBLISHED_RUNS} runs"
    );
    let mut figures = Vec::new();
    let chosen = |name: &&Name| options.only.is_none_or(|only| only == **name);
    for name in Name::value_variants().iter().filter(chosen) {
        let mut report = |figure: Figure| {
            match options.output {
                Form::Text => println!("{}", tell::text(&figure)),
                Form::Json => println!("{}", tell::json(&figure)),
            }
            figures.push(figure);
        };
        measure(*name, options, &mut report)?;
    }
    if options.write { document::write(&figures) } else { Ok(()) }
}

fn measure(name: Name, options: &Options, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let Options { runs, seed, .. } = *options;
    match name {
        Name::Features => features::run(runs, seed, report),
        Name::Detectors => {
            detectors::run(runs, seed, report);
            Ok(())
        }
        Name::Calibration => {
            calibration::run(runs, seed, report);
            Ok(())
        }
        Name::Drain => drain::run(runs, seed, report),
        Name::Latency => latency::run(runs, seed, report),
        Name::Streams => streams::run(&options.streams, runs, seed, report),
        Name::DurableState => durable_state::run(&options.durable, runs, seed, report),
        Name::Restore => restore::run(&options.restore, runs, seed, report),
        Name::Failover => failover::run(&options.failover, runs, seed, report),
        Name::Quality => quality::run(runs, report),
    }
}
