//! What the quickstart finds: the shipped program with its default YAML on streams that nobody has looked at.
//!
//! The seeds come from the hash of the last commit that changed the detectors, so they cannot have been chosen. Four
//! seeds a run are judged against what the scenario planted, and one stream without anomalies against what the
//! severities promise.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use faultline_numerics::hash::hash64;
use serde_json::Value;

use super::figure::Figure;
use crate::tree;

const NAME: &str = "quality";
const SEEDS_PER_RUN: usize = 4;
/// What the severities of the quickstart promise: one event in so many.
const SEVERITIES: [(&str, f64); 3] = [("warning", 1_500.0), ("major", 20_000.0), ("critical", 1_000_000.0)];
/// Planted types that must be found.
const REQUIRED: [&str; 5] = ["spike6", "spike10", "contextual", "rateBurst", "levelShift"];
/// Planted types that are reported only.
const REPORTED: [&str; 4] = ["spike3", "spike4", "slowRamp", "manyKeys"];

/// Measures and reports.
pub(crate) fn run(runs: usize, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let commit = frozen()?;
    let seeds: Vec<u64> = (0..runs * SEEDS_PER_RUN).map(|n| hash64(format!("{commit}/{n}").as_bytes()) >> 33).collect();
    let planted = seeds.iter().map(|seed| up(*seed, false)).collect::<Result<Vec<Value>>>()?;
    for kind in REQUIRED.into_iter().chain(REPORTED) {
        let found: Vec<f64> = planted.iter().map(|summary| share(summary, kind)).collect();
        let worst = found.iter().copied().fold(f64::INFINITY, f64::min);
        report(Figure::of(NAME, format!("{kind} found"), "", found));
        report(Figure { runs: seeds.len(), ..Figure::of(NAME, format!("{kind} found, worst seed"), "", vec![worst]) });
    }
    let mut tell = |metric: &str, unit, of: &dyn Fn(&Value) -> f64| {
        report(Figure::of(NAME, metric.to_owned(), unit, planted.iter().map(of).collect()));
    };
    tell("incidents", "", &|summary| number(summary, "/incidents"));
    tell("false incidents", "", &|summary| number(summary, "/falseIncidents"));
    tell("first incident", "s", &|summary| number(summary, "/firstIncidentSeconds"));
    tell("events per second, embedded broker", "events/s", &|summary| number(summary, "/eventsPerSecond"));
    let quiet = seeds.iter().take(runs).map(|seed| up(*seed, true)).collect::<Result<Vec<Value>>>()?;
    for (severity, one_in) in SEVERITIES {
        let ratio = |summary: &Value| {
            let promised = number(summary, "/outcomes/scored") / one_in;
            number(summary, &format!("/severities/{severity}")) / promised
        };
        let ratios = quiet.iter().map(ratio).collect();
        report(Figure::of(NAME, format!("nothing planted: {severity} or more"), "observed/nominal", ratios));
    }
    Ok(())
}

/// The commit that froze the detectors.
fn frozen() -> Result<String> {
    let mut git = Command::new("git");
    git.current_dir(tree::root()).args(["log", "-1", "--format=%H", "--", "inference/detectors"]);
    let answer = git.output().context("failed to run git")?;
    let commit = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    ensure!(!commit.is_empty(), "the seeds come from a commit's hash: run this in a clone of the repository");
    Ok(commit)
}

/// The summary of one run of the quickstart.
fn up(seed: u64, null: bool) -> Result<Value> {
    let program = tree::target_folder().join("release").join("faultline");
    ensure!(program.exists(), "build it first: cargo build --release");
    let mut command = Command::new(program);
    command
        .args(["up", "examples/quickstart", "--output", "json", "--seed", &seed.to_string()])
        .args(null.then_some("--null"));
    let answer = command
        .current_dir(tree::root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("failed to run the quickstart")?;
    ensure!(answer.status.success(), "the quickstart with seed {seed} ended with {}", answer.status);
    let text = String::from_utf8_lossy(&answer.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default()).context("the quickstart's last line is no summary")
}

fn share(summary: &Value, kind: &str) -> f64 {
    number(summary, &format!("/planted/{kind}/found")) / number(summary, &format!("/planted/{kind}/planted"))
}

fn number(summary: &Value, pointer: &str) -> f64 {
    summary.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_from_the_summary() {
        let summary = serde_json::json!({"planted": {"spike6": {"planted": 80, "found": 76}}});
        assert!((share(&summary, "spike6") - 0.95).abs() < 1e-12);
        assert!(share(&summary, "spike10").is_nan(), "a missing type is not taken for nothing");
    }
}
