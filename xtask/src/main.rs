//! `cargo xtask`: the tools of this repository. Everything that a person or a build machine does here beyond plain
//! `cargo` goes through it: generated files, house rules, real services for tests, tests, measurements.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]
#![expect(clippy::print_stdout, reason = "a command-line tool talks to its user")]

mod bench;
mod chaos;
mod ci;
mod generate;
mod services;
mod test;
mod tidy;
mod tree;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tools of this repository
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the generated files (CRDs, command-line reference), or check that they are fresh
    #[command(name = "gen")]
    Generate(generate::Options),
    /// Check the rules of the house: files, words, dependencies, documents
    Tidy,
    /// Start or stop a real Kafka broker of your own
    Services(services::Options),
    /// Run every test of the workspace, against a Kafka broker that is started for the run
    Test(test::Options),
    /// Disturb a pipeline on three brokers in every way there is, and check every record that it wrote
    Chaos(chaos::Options),
    /// Measure; every figure of docs/benchmarks.md comes from here
    Bench(bench::Options),
    /// Everything that has to pass before a change is merged: format, lints, tidy, documentation, tests
    Ci,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Generate(options) => generate::run(&options),
        Command::Tidy => tidy::run(),
        Command::Services(options) => services::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Chaos(options) => chaos::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Ci => ci::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
