//! Rules about Rust files.

use super::Finding;
use super::code::without_comments_and_literals;
use crate::tree::{File, Tree};

/// A file past this many lines wants to be two.
const MOST_LINES: usize = 500;
/// The only file that talks to librdkafka below its Rust wrapper.
const UNSAFE_FILE: &str = "worker/src/adapters/kafka_native.rs";
/// Crates whose every output is a function of their inputs: no clock, no environment, no order by chance.
const PURE: [&str; 3] = ["numerics/src/", "worker/features/src/", "inference/detectors/src/"];

/// Files of the worker that may name Kafka's client: the adapters, the thread that polls the group, and the place that
/// puts everything together. The steps must not.
const KAFKA: [&str; 4] =
    ["worker/src/adapters/", "worker/src/adapters.rs", "worker/src/control.rs", "worker/src/worker.rs"];

/// Checks every Rust file.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Finding> {
    let path = &file.path;
    let mut findings = Vec::new();
    if path.ends_with("/mod.rs") {
        findings.push(Finding::new(path, 0, "use `foo.rs` beside the folder `foo/` in place of `mod.rs`"));
    }
    let lines = file.text.lines().count();
    if lines > MOST_LINES {
        findings.push(Finding::new(
            path,
            0,
            format!("{lines} lines; split it where a second concept begins (at most {MOST_LINES})"),
        ));
    }
    if !starts_with_module_doc(&file.text) {
        findings.push(Finding::new(path, 1, "begin with `//!`: what this file does, why, and what it does not do"));
    }
    findings.extend(words(file));
    findings
}

fn starts_with_module_doc(text: &str) -> bool {
    text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| line.starts_with("//!"))
}

fn words(file: &File) -> Vec<Finding> {
    let code = without_comments_and_literals(&file.text);
    let pure = PURE.iter().any(|folder| file.path.starts_with(folder));
    let path_knows_no_kafka =
        file.path.starts_with("worker/src/") && !KAFKA.iter().any(|allowed| file.path.starts_with(allowed));
    let mut in_tests = file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
    let mut findings = Vec::new();
    for (index, line) in code.lines().enumerate() {
        in_tests |= line.contains("#[cfg(test)]");
        let mut refuse = |message: &str| findings.push(Finding::new(&file.path, index + 1, message));
        if has_word(line, "unsafe") && file.path != UNSAFE_FILE {
            refuse(&format!("`unsafe` lives in {UNSAFE_FILE} only"));
        }
        for unfinished in ["todo!", "unimplemented!", "dbg!"] {
            if line.contains(unfinished) {
                refuse(&format!("`{unfinished}` is not for the main line"));
            }
        }
        if line.contains("#[ignore") {
            refuse("a test that does not run proves nothing: mend it or delete it");
        }
        if in_tests && has_word(line, "sleep") {
            refuse("wait for the condition itself, a test that sleeps is slow or flaky");
        }
        if path_knows_no_kafka && has_word(line, "rdkafka") {
            refuse("Kafka's client stays behind the ports, in worker/src/adapters");
        }
        if pure && !in_tests {
            for word in ["HashMap", "HashSet", "Instant", "SystemTime", "env"] {
                if has_word(line, word) && !line.contains("env!(") {
                    refuse(&format!(
                        "`{word}` in a pure crate: its results must not depend on clock, environment or hash order"
                    ));
                }
            }
        }
    }
    findings
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        let findings = check_file(&File { path: path.into(), text: text.into() });
        assert_eq!(findings.len(), expected.len(), "{findings:?}");
        for (finding, expected) in findings.iter().zip(expected) {
            assert!(finding.to_string().contains(expected), "{finding} does not say {expected}");
        }
    }

    #[test]
    fn a_good_file_passes() {
        check("worker/src/a.rs", "//! Does a.\n#[expect(unsafe_code)]\nfn a() {} // unsafe, todo!\n", &[]);
    }

    #[test]
    fn shape_is_checked() {
        check("a/src/b/mod.rs", "//! B.\n", &["in place of `mod.rs`"]);
        check("a/src/b.rs", "fn b() {}\n", &["b.rs:1: begin with"]);
        check("a/src/b.rs", &format!("//! B.\n{}", "//\n".repeat(MOST_LINES)), &["501 lines"]);
    }

    #[test]
    fn words_are_checked() {
        check("a/src/b.rs", "//! B.\nunsafe fn b() {}\n", &["b.rs:2: `unsafe` lives"]);
        check(UNSAFE_FILE, "//! B.\nunsafe fn b() {}\n", &[]);
        check("a/src/b.rs", "//! B.\nfn b() { todo!() }\n", &["`todo!`"]);
        check("a/src/b.rs", "//! B.\nfn b() { dbg!(1); sleep(1) }\n", &["`dbg!`"]);
        check("a/tests/b.rs", "//! B.\nfn b() { sleep(1) }\n", &["wait for the condition"]);
        check("a/src/b.rs", "//! B.\n#[cfg(test)]\nmod tests { fn b() { thread::sleep(1) } }\n", &["b.rs:3: wait"]);
        check("a/src/b.rs", "//! B.\n#[ignore = \"\"]\nfn b() {}\n", &["proves nothing"]);
    }

    #[test]
    fn the_steps_do_not_know_the_kafka_client() {
        check("worker/src/decode.rs", "//! B.\nuse rdkafka::Message;\n", &["stays behind the ports"]);
        check("worker/src/adapters/kafka_sink.rs", "//! B.\nuse rdkafka::Message;\n", &[]);
        check("cli/src/b.rs", "//! B.\nuse rdkafka::Message;\n", &[]);
    }

    #[test]
    fn pure_crates_are_held_to_more() {
        check("numerics/src/b.rs", "//! B.\nuse std::time::Instant;\n", &["`Instant` in a pure crate"]);
        check("numerics/src/b.rs", "//! B.\nconst A: &str = env!(\"A\");\n", &[]);
        check("worker/src/b.rs", "//! B.\nuse std::time::Instant;\n", &[]);
    }
}
