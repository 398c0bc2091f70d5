//! Runs every test of the workspace against real services: starts them, tells the tests where they are, prints the
//! summary line of each suite, stops them. A service that cannot be had fails the run. A run of everything ends with two
//! minutes of `cargo xtask chaos`, with a visit to every fault point, and with the builds that are broken on purpose.

mod summary;

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::chaos;
use crate::services::kafka::{Java, Kafka};
use crate::services::tools;
use crate::tree;
use summary::Summary;

/// Which tests to run.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Only tests whose name contains this
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// Only this package's tests
    #[arg(long, short, value_name = "NAME")]
    package: Option<String>,
    /// Arguments for the test programs, such as --nocapture
    #[arg(last = true)]
    rest: Vec<OsString>,
}

/// Runs the tests.
pub(crate) fn run(options: &Options) -> Result<()> {
    tools::provide(&tools::CLIENTS)?;
    let kafka = Kafka::fresh(Java::Small)?;
    eprintln!("Kafka answers at {}", kafka.addresses()[0]);

    let mut command = Command::new(env!("CARGO"));
    command.args(cargo_arguments(options)).current_dir(tree::root());
    command.env("FAULTLINE_KAFKA", &kafka.addresses()[0]);
    command.env("FAULTLINE_XTASK", std::env::current_exe().context("failed to find this program")?);
    // Would write what it should compare with.
    command.env_remove("UPDATE_GOLDEN");
    let (status, summary) = follow(&mut command)?;

    kafka.discard()?;
    println!("\n{summary}");
    ensure!(status.success(), "the tests did not pass ({status})");
    summary.check_that_something_ran()?;
    if options.is_everything() {
        println!("\ntwo minutes of disturbances (cargo xtask chaos)");
        chaos::run(&chaos::Options::short())?;
        println!("\nevery fault point (cargo xtask chaos --fault-points one)");
        chaos::run(&chaos::Options::points())?;
        println!("\nthe harness can fail (cargo xtask chaos --broken all)");
        chaos::run(&chaos::Options::broken())?;
    }
    Ok(())
}

impl Options {
    fn is_everything(&self) -> bool {
        self.only.is_none() && self.package.is_none() && self.rest.is_empty()
    }
}

fn cargo_arguments(options: &Options) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["test", "--release", "--no-fail-fast"].map(OsString::from).into();
    match &options.package {
        Some(package) => arguments.extend(["--package".into(), package.into()]),
        None => arguments.push("--workspace".into()),
    }
    arguments.extend(options.only.iter().map(OsString::from));
    if !options.rest.is_empty() {
        arguments.push("--".into());
        arguments.extend(options.rest.iter().cloned());
    }
    arguments
}

/// Runs the command, shows its output, and collects the suites' summary lines from it. A signal that ends us ends the
/// command first, so that the caller goes on and stops its services.
fn follow(command: &mut Command) -> Result<(ExitStatus, Summary)> {
    // One pipe for both streams: cargo names the suite on one and the suite counts on the other, in this order.
    let (output, input) = std::io::pipe().context("failed to make a pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(input.try_clone().context("failed to share a pipe")?)
        .stderr(input)
        .process_group(0);
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("failed to watch for signals")?;
    let watch = signals.handle();
    let mut child = command.spawn().context("failed to start cargo")?;
    // Holds the writing end of the pipe; while it lives, reading does not end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let group = Pid::from_raw(child.id() as i32);
    let passing_on = thread::spawn(move || {
        for _ in signals.forever() {
            let _ended_already = killpg(group, Signal::SIGTERM);
        }
    });

    let mut summary = Summary::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("failed to read the tests' output")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        summary.read(&line);
    }
    let status = child.wait().context("failed to wait for cargo")?;
    watch.close();
    let _passed = passing_on.join();
    Ok((status, summary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_suites_run_by_default() {
        assert_eq!(cargo_arguments(&Options::default()), ["test", "--release", "--no-fail-fast", "--workspace"]);
    }

    #[test]
    fn pattern_package_and_rest_pass_through() {
        let options =
            Options { only: Some("trip".into()), package: Some("p".into()), rest: vec!["--nocapture".into()] };
        let expected = ["test", "--release", "--no-fail-fast", "--package", "p", "trip", "--", "--nocapture"];
        assert_eq!(cargo_arguments(&options), expected);
    }

    #[test]
    fn both_streams_are_read_and_the_status_is_told() {
        let script = "echo '     Running unittests src/lib.rs (target/release/deps/a-1)' >&2
                      echo 'test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s'; exit 7";
        let (status, summary) = follow(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(status.code(), Some(7));
        assert!(summary.to_string().contains("a: unittests src/lib.rs"), "{summary}");
        summary.check_that_something_ran().unwrap();
    }
}
