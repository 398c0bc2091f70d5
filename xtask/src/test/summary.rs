//! Finds the suites and their result lines in what `cargo test` prints.

use std::fmt;

use anyhow::{Result, ensure};

/// The result line of each suite.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// The suite that is running.
    current: Option<String>,
    suites: Vec<(String, String)>,
}

impl Summary {
    /// Takes in one line of the output.
    pub(crate) fn read(&mut self, line: &str) {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("Running ") {
            self.current = suite_name(rest);
        } else if let Some(package) = line.strip_prefix("Doc-tests ") {
            self.current = Some(format!("{package}: doc tests"));
        } else if line.starts_with("test result: ") {
            self.suites.push((self.current.take().unwrap_or_else(|| "?".to_owned()), line.to_owned()));
        }
    }

    /// A pattern that fits no test is a mistake, not a success.
    pub(crate) fn check_that_something_ran(&self) -> Result<()> {
        let passed = self.suites.iter().map(|(_, result)| passed(result)).sum::<u64>();
        ensure!(passed > 0, "no test ran");
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.suites.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, result) in &self.suites {
            writeln!(f, "{name:width$}  {result}")?;
        }
        let total: u64 = self.suites.iter().map(|(_, result)| passed(result)).sum();
        write!(f, "{} suites, {total} tests passed", self.suites.len())
    }
}

/// `unittests src/lib.rs (target/release/deps/faultline_crds-0123)` → `faultline_crds: unittests src/lib.rs`.
fn suite_name(running: &str) -> Option<String> {
    let (what, program) = running.strip_suffix(')')?.split_once(" (")?;
    let program = program.rsplit('/').next()?;
    let package = program.rsplit_once('-').map_or(program, |(name, _hash)| name);
    Some(format!("{package}: {what}"))
}

fn passed(result: &str) -> u64 {
    let count = result.split(" passed").next().and_then(|before| before.rsplit(' ').next());
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> Summary {
        let mut summary = Summary::default();
        output.lines().for_each(|line| summary.read(line));
        summary
    }

    #[test]
    fn each_suite_gets_its_own_line() {
        let summary = read(
            "     Running unittests src/lib.rs (target/release/deps/faultline_crds-0a1b)
             test a ... ok
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
             Doc-tests faultline_crds
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
        );
        let text = summary.to_string();
        assert!(text.contains("faultline_crds: unittests src/lib.rs  test result: ok. 2 passed"), "{text}");
        assert!(text.contains("faultline_crds: doc tests             test result: FAILED. 1 passed"), "{text}");
        assert!(text.ends_with("2 suites, 3 tests passed"), "{text}");
    }

    #[test]
    fn a_run_without_tests_is_a_failure() {
        assert!(read("test result: ok. 0 passed; 0 failed").check_that_something_ran().is_err());
        assert!(read("test result: ok. 1 passed; 0 failed").check_that_something_ran().is_ok());
    }
}
