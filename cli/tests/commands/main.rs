//! The program from outside: what it prints, what it ends with, and a whole pipeline in the embedded broker.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod forget;
mod kcat;
mod readings;
mod recovery;
mod state;
mod wake;
mod working;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn faultline() -> Command {
    Command::new(env!("CARGO_BIN_EXE_faultline"))
}

fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart")
}

fn run(arguments: &[&str]) -> Output {
    faultline().args(arguments).output().unwrap()
}

fn up(arguments: &[&str]) -> Output {
    faultline().arg("up").args(arguments).args(["--output", "json"]).output().unwrap()
}

#[track_caller]
fn ended_with(output: &Output, code: i32) -> (Vec<Value>, String) {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{errors}\n{}", String::from_utf8_lossy(&output.stdout));
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{"));
    (lines.map(|line| serde_json::from_slice(line).unwrap()).collect(), errors)
}

fn of_type<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

fn sum_of_outcomes(summary: &Value) -> u64 {
    summary["outcomes"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

fn interrupt(child: &Child) {
    signal(child, "-INT");
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn wrong_usage_and_wrong_configuration_end_with_64_before_anything_starts() {
    let quickstart = quickstart().display().to_string();
    ended_with(&run(&["--help"]), 0);
    for arguments in [
        &["up"][..],
        &["up", "/does/not/exist"],
        &["up", &quickstart, "--speed", "2"],
        &["up", &quickstart, "--replay", "/does/not/exist.csv"],
        &["generate", "card-payment"],
        &["generate", "card-payments", "--bad", "2"],
        &["worker", &quickstart, "--listen", "nowhere"],
    ] {
        let (_, errors) = ended_with(&run(arguments), 64);
        assert!(!errors.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_quickstart_is_valid_and_every_problem_is_named_with_its_line() {
    let (lines, _) = ended_with(&run(&["validate", &quickstart().display().to_string(), "--output", "json"]), 0);
    assert_eq!(lines[0]["valid"], true);

    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(quickstart()).unwrap() {
        let path = entry.unwrap().path();
        let text =
            std::fs::read_to_string(&path).unwrap().replace("field: amount, aggregate", "field: amout, aggregate");
        std::fs::write(
            folder.path().join(path.file_name().unwrap()),
            text.replace("quietPeriod: 10m", "quietPeriod: soon"),
        )
        .unwrap();
    }
    let broken = folder.path().display().to_string();
    let (lines, _) = ended_with(&run(&["validate", &broken, "--output", "json"]), 64);
    let problems = lines[0]["problems"].as_array().unwrap();
    assert_eq!((&lines[0]["valid"], problems.len()), (&Value::Bool(false), 2), "{problems:?}");
    assert!(problems.iter().all(|problem| problem["file"] == "pipeline.yaml" && problem["line"].as_u64() > Some(1)));
    let (_, errors) = ended_with(&run(&["up", &broken]), 64);
    assert!(errors.contains("amout") && errors.contains("Did you mean \"amount\"?"), "{errors}");
}

#[test]
fn generate_writes_the_same_lines_for_the_same_seed_and_labels_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let labels = folder.path().join("labels.ndjson");
    let arguments = ["generate", "card-payments", "--events", "320000", "--seed", "3"];
    let first = run(&[&arguments[..], &["--labels", labels.to_str().unwrap()]].concat());
    let (lines, _) = ended_with(&first, 0);
    assert_eq!(lines.len(), 320_000);
    assert_eq!(first.stdout, run(&arguments).stdout);
    let labels = std::fs::read_to_string(labels).unwrap();
    let labels: Vec<Value> = labels.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(labels[0]["type"], "spike10");
    let planted = |event: &Value| event["userId"] == labels[0]["key"] && event["timestamp"] == labels[0]["startMs"];
    assert!(lines.iter().any(planted), "{}", labels[0]);
}

#[test]
fn up_accounts_for_every_record_of_the_scenario() {
    let quickstart = quickstart().display().to_string();
    let (lines, _) = ended_with(&up(&[&quickstart, "--events", "60000", "--bad", "0.01"]), 0);
    assert!(lines[0]["text"].as_str().unwrap().ends_with("forgets everything at the end"), "{}", lines[0]);
    let summary = lines.last().unwrap();
    assert_eq!((&summary["type"], &summary["events"]), (&Value::from("summary"), &Value::from(60_000)));
    assert_eq!(sum_of_outcomes(summary), 60_000);
    let dead = summary["outcomes"]["deadLettered"].as_u64().unwrap();
    assert!((500..700).contains(&dead), "{dead} dead letters");
    assert!(summary["outcomes"]["duplicate"].as_u64().unwrap() > 10);
    assert_eq!(of_type(&lines, "incident").len() as u64, summary["incidents"].as_u64().unwrap());
    assert!(summary["p95Ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn up_replays_a_file_and_names_its_bad_rows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("terminal-7.csv");
    let mut text = "when,paid\n".to_owned();
    for hour in 0..500 {
        let (day, hour) = (1 + hour / 24, hour % 24);
        text.push_str(&format!(
            "2026-06-{day:02} {hour:02}:00:00,{}\n",
            if (day, hour) == (20, 3) { 90_000 } else { 20 + hour }
        ));
    }
    text.push_str("2026-06-30 00:00:00\n");
    std::fs::write(&file, text).unwrap();
    let quickstart = quickstart().display().to_string();
    let maps = ["--map", "timestamp=when", "--map", "amount=paid"];
    let replay = [&[quickstart.as_str(), "--replay", file.to_str().unwrap()], &maps[..]].concat();
    let (lines, errors) = ended_with(&up(&replay), 1);
    let summary = lines.last().unwrap();
    assert_eq!((summary["events"].as_u64(), sum_of_outcomes(summary)), (Some(500), 500), "{errors}");
    assert_eq!(summary["badRows"], 1);
    let bad = of_type(&lines, "badRow");
    assert_eq!((bad[0]["file"].as_str(), bad[0]["line"].as_u64()), (Some("terminal-7.csv"), Some(502)));
    assert_eq!(summary["planted"], Value::Null);
    assert!(lines.iter().all(|line| line["type"] != "incident" || line["key"] == "terminal-7"));
}

#[test]
fn an_interrupt_ends_in_order_with_the_summary() {
    let mut command = faultline();
    command.arg("up").arg(quickstart()).args(["--output", "json"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let moving = |line: &Value| line["type"] == "progress" && line["ended"].as_u64() > Some(0);
    assert!(lines.any(|line| moving(&serde_json::from_str(&line.unwrap()).unwrap())), "it never moved");
    interrupt(&child);
    let last: Value = serde_json::from_str(&lines.last().unwrap().unwrap()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(last["type"], "summary");
    let events = last["events"].as_u64().unwrap();
    assert!(events > 0 && events < 3_000_000 && sum_of_outcomes(&last) == events, "{last}");
}
