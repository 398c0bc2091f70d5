//! The embedded development broker from outside: kcat lists, reads and writes the topics of a running `faultline up`.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::Value;

use super::{faultline, interrupt, sum_of_outcomes};

/// Longest wait for an answer: a broker that keeps silent fails the test and does not hang it.
const LIMIT: Duration = Duration::from_secs(60);

const PIPELINE: &str = "
apiVersion: faultline.dev/v1alpha1
kind: AnomalyPipeline
metadata: {name: boilers}
spec:
  kafka: {bootstrapServers: unused:9092}
  source:
    topic: readings
    key: boiler
    fields: [{name: celsius, path: celsius, type: number}]
  features: [{name: celsius, field: celsius}]
  models: [{name: hot, modelRef: {name: hot}}]
  outputs: {results: {mode: all}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: hot}
spec: {inputs: [celsius], detector: {threshold: {above: 100}}}
";

/// A pipeline that runs for an hour with nothing to do, fed by a file in real time: one reading now, one at the end.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Running {
    fn start(folder: &Path) -> Self {
        let file = folder.join("readings.csv");
        std::fs::write(folder.join("pipeline.yaml"), PIPELINE).unwrap();
        std::fs::write(&file, "timestamp,boiler,celsius\n2026-06-01 00:00:00,b-1,60\n2026-06-01 01:00:00,b-1,61\n")
            .unwrap();
        let mut command = faultline();
        command.arg("up").arg(folder.join("pipeline.yaml")).args(["--output", "json", "--speed", "1", "--replay"]);
        let mut child = command.arg(file).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let words = first["text"].as_str().unwrap().split(' ');
        let address = words.into_iter().find(|word| word.starts_with("127.0.0.1:")).unwrap().to_owned();
        Self { child, lines, address }
    }

    /// Runs kcat against the broker, gives it `input`, and returns its output.
    #[track_caller]
    fn kcat(&self, arguments: &[&str], input: &str) -> String {
        let mut command = Command::new("kcat");
        command.args(["-b", &self.address]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut kcat = command.spawn().unwrap_or_else(|error| {
            panic!(
                "kcat did not start ({error}): `cargo xtask test` installs it as root on Debian, elsewhere install it"
            )
        });
        kcat.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = kcat.stdout.take().unwrap();
        let (sender, read) = channel();
        std::thread::spawn(move || sender.send(std::io::read_to_string(output)));
        let Ok(output) = read.recv_timeout(LIMIT) else {
            kcat.kill().unwrap();
            panic!("kcat {arguments:?} had not ended after {} s", LIMIT.as_secs());
        };
        assert!(kcat.wait().unwrap().success(), "kcat {arguments:?}");
        output.unwrap()
    }

    /// Waits for so many records of a topic; returns their keys and values.
    #[track_caller]
    fn read(&self, topic: &str, count: usize) -> Vec<(String, String)> {
        let count = count.to_string();
        let arguments = ["-C", "-t", topic, "-o", "beginning", "-c", &count, "-q", "-f", "%k\t%s\n"];
        let output = self.kcat(&arguments, "");
        output.lines().map(|line| line.split_once('\t').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        let _ = self.child.kill();
    }
}

#[test]
fn kcat_reads_and_writes_the_topics_of_a_running_pipeline() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(folder.path());

    let metadata: Value = serde_json::from_str(&running.kcat(&["-L", "-J"], "")).unwrap();
    let topics = metadata["topics"].as_array().unwrap();
    for name in ["readings", "boilers.results", "boilers.alerts", "boilers.dead-letter", "boilers.late"] {
        let found = topics.iter().find(|topic| topic["topic"] == name);
        let partitions = found.map(|topic| topic["partitions"].as_array().unwrap().len());
        assert_eq!(partitions, Some(6), "{name} in {metadata}");
    }

    // What comes out shows that the worker reads by now.
    assert_eq!(running.read("boilers.results", 1)[0].0, "b-1");
    let events = "b-2\t{\"boiler\":\"b-2\",\"celsius\":180}\nb-3\tnot an event\n";
    running.kcat(&["-P", "-t", "readings", "-K", "\t"], events);

    let results = running.read("boilers.results", 2);
    let hot = results.iter().find(|(key, _)| key == "b-2").unwrap();
    assert_eq!(serde_json::from_str::<Value>(&hot.1).unwrap()["key"], "b-2");
    let alerts = running.read("boilers.alerts", 1);
    let alert: Value = serde_json::from_str(&alerts[0].1).unwrap();
    assert_eq!((&alert["state"], &alert["key"]), (&Value::from("opened"), &Value::from("b-2")));
    assert_eq!(running.read("boilers.dead-letter", 1), [("b-3".to_owned(), "not an event".to_owned())]);
    // A group of its own, beside the worker's.
    let grouped = running.kcat(&["-G", "readers", "-c", "2", "-o", "beginning", "-q", "boilers.results"], "");
    assert_eq!(grouped.lines().count(), 2, "{grouped}");

    interrupt(&running.child);
    let last: Value = serde_json::from_str(&running.lines.by_ref().last().unwrap().unwrap()).unwrap();
    assert_eq!(running.child.wait().unwrap().code(), Some(0), "{last}");
    assert_eq!((&last["events"], &last["fromOthers"]), (&Value::from(3), &Value::from(2)), "{last}");
    assert_eq!(sum_of_outcomes(&last), 3);
}
