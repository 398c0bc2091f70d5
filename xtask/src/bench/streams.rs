//! The quickstart beside the same workload on Kafka Streams: what an event costs, when its result can be read, and how
//! long a fresh instance takes until it goes on. Both read the same events, write results of about the same size, and
//! are audited by the same reader: every result exactly once.
//!
//! The yardstick is the small Java program in `xtask/streams`, built here by Maven, with its state in memory and in
//! RocksDB. It is told what an expert would tell it; every setting is in its `QuickstartOnStreams.java`.

mod audit;
mod contestant;
mod delay;
mod program;
mod restart;
mod throughput;

use anyhow::{Context, Result};
use clap::Args;

use super::figure::Figure;
use super::kafka::Topics;
use crate::services::kafka::{Java, Kafka};
use crate::tree;
use contestant::Arena;
use delay::Load;
use program::Program;

const NAME: &str = "streams";

/// How much to measure; 0 leaves a part out.
#[derive(Args)]
pub(crate) struct Sizes {
    /// Of `streams`: events of the full topic
    #[arg(long, value_name = "N", default_value_t = 1_200_000)]
    streams_events: u64,
    /// Of `streams`: events a second of the open loops
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [20_000, 100_000])]
    streams_rates: Vec<u64>,
    /// Of `streams`: events before each open loop, read as fast as possible and not measured
    #[arg(long, value_name = "N", default_value_t = 300_000)]
    streams_warm_up: u64,
    /// Of `streams`: seconds of each open loop
    #[arg(long, value_name = "S", default_value_t = 6)]
    streams_seconds: u64,
    /// Of `streams`: a setting of Kafka Streams that is to differ; may come several times
    #[arg(long, value_name = "NAME=VALUE")]
    streams_set: Vec<String>,
    /// Of `streams`: keys whose state a fresh instance needs
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [100_000])]
    streams_keys: Vec<u64>,
}

/// Measures and reports.
pub(crate) fn run(sizes: &Sizes, runs: usize, seed: u64, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let program = Program::provide(&sizes.streams_set)?;
    let work = tree::target_folder().join("bench");
    std::fs::create_dir_all(&work).context("failed to create the benchmarks' folder")?;
    let kafka = Kafka::fresh(Java::Measured)?;
    let brokers = kafka.addresses()[0].clone();
    let arena = Arena { topics: Topics::of(&brokers)?, brokers, work, program, runs, seed };
    if sizes.streams_events > 0 {
        throughput::run(&arena, sizes.streams_events, report)?;
    }
    for rate in sizes.streams_rates.iter().filter(|rate| **rate > 0) {
        let load = Load { warm_up: sizes.streams_warm_up, rate: *rate, seconds: sizes.streams_seconds };
        delay::run(&arena, load, report)?;
    }
    for keys in sizes.streams_keys.iter().filter(|keys| **keys > 0) {
        restart::run(&arena, *keys, report)?;
    }
    kafka.discard()
}

/// Long work says where it is; standard output is for figures.
fn progress(words: &str) {
    eprintln!("streams: {words}");
}
