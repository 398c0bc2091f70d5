//! What `.ci/run` runs: the checks in the order in which they are cheap, the tests last, so that the suites' summary
//! lines are the last thing on the screen. All in the release profile: native libraries are compiled only once.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::{generate, test, tidy, tree};

const FORMAT: [&str; 3] = ["fmt", "--all", "--check"];
const LINTS: [&str; 7] = ["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"];
/// What is compiled for the chaos harness only.
const FAULTS: [&str; 8] =
    ["clippy", "--release", "--package=faultline-worker", "--features=faults", "--lib", "--", "-D", "warnings"];
const DOCUMENTATION: [&str; 4] = ["doc", "--release", "--workspace", "--no-deps"];

/// Runs all checks; the first that fails ends the run.
pub(crate) fn run() -> Result<()> {
    step("format", || cargo(&FORMAT))?;
    step("lints", || cargo(&LINTS))?;
    step("lints of the fault points", || cargo(&FAULTS))?;
    step("tidy", tidy::run)?;
    step("documentation", || cargo(&DOCUMENTATION))?;
    step("generated files", || generate::run(&generate::Options { check: true }))?;
    step("tests", || test::run(&test::Options::default()))
}

fn step(name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("── {name}");
    let began = Instant::now();
    work().with_context(|| format!("`{name}` failed"))?;
    eprintln!("── {name}: passed in {} s", began.elapsed().as_secs());
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(arguments)
        .env("RUSTDOCFLAGS", "-D warnings")
        .current_dir(tree::root())
        .status()
        .context("failed to start cargo")?;
    ensure!(status.success(), "cargo {} ended with {status}", arguments.join(" "));
    Ok(())
}
