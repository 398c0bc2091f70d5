//! `faultline forget`: what it asks and tells, with workers that answer as the test says, and with a real one.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::state::{EVENTS, LIMIT, Pipeline, sum};
use super::{ended_with, run};

/// Something that listens as a worker does and gives the same answer to each of so many requests; it returns the requests.
struct Scripted {
    address: String,
    requests: JoinHandle<Vec<String>>,
}

impl Scripted {
    fn new(status: &'static str, body: &'static str, count: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serve = move || {
            let answer = |_| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = String::new();
                while !request.ends_with('}') {
                    let mut bytes = [0; 1024];
                    let length = stream.read(&mut bytes).unwrap();
                    request.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
                }
                write!(stream, "HTTP/1.0 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
                request
            };
            (0..count).map(answer).collect()
        };
        Self { address, requests: std::thread::spawn(serve) }
    }
}

fn unused_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn forget(key: &str, workers: &[&str], more: &[&str]) -> std::process::Output {
    run(&[&["forget", key, "--worker"], workers, more].concat())
}

#[test]
fn every_worker_is_asked_and_one_that_forgot_the_key_is_enough() {
    let unknown = Scripted::new("200 OK", r#"{"forgotten":false,"partitions":[]}"#, 2);
    let owner = Scripted::new("200 OK", r#"{"forgotten":true,"partitions":[4]}"#, 2);
    let stopping = Scripted::new("503 Service Unavailable", "this worker is stopping\n", 2);
    let workers = [unknown.address.as_str(), &owner.address, &stopping.address];
    let text = forget("user \"1\"", &workers, &[]);
    ended_with(&text, 0);
    let [first, second, third] = workers;
    let expected = format!(
        "{first}: does not know the key\n{second}: forgotten in partition 4\n{third}: cannot say: this worker is stopping\n"
    );
    assert_eq!(String::from_utf8(text.stdout).unwrap(), expected);
    let (lines, _) = ended_with(&forget("user \"1\"", &workers, &["--output", "json"]), 0);
    let expected = [
        json!({"worker": first, "forgotten": false, "partitions": []}),
        json!({"worker": second, "forgotten": true, "partitions": [4]}),
        json!({"worker": third, "error": "this worker is stopping"}),
    ];
    assert_eq!(lines, expected);
    for worker in [unknown, owner, stopping] {
        for request in worker.requests.join().unwrap() {
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("POST /forget HTTP/1.0\r\n"), "{head}");
            assert!(head.contains("Content-Type: application/json"), "{head}");
            assert_eq!(body, r#"{"key":"user \"1\""}"#);
        }
    }
}

#[test]
fn a_key_that_nobody_forgot_fails_and_says_how_to_find_the_workers() {
    let unknown = Scripted::new("200 OK", r#"{"forgotten":false,"partitions":[]}"#, 2);
    let (_, errors) = ended_with(&forget("u7", &[&unknown.address], &[]), 1);
    assert!(errors.contains("no worker that was asked knows key `u7`"), "{errors}");
    assert!(errors.contains("--describe --members") && errors.contains("--worker"), "{errors}");
    let nobody = unused_address();
    let (lines, errors) = ended_with(&forget("u7", &[&unknown.address, &nobody], &["--output", "json"]), 1);
    assert!(errors.contains("1 of 2 workers could not say"), "{errors}");
    assert!(lines[1]["error"].as_str().unwrap().contains("failed to connect"), "{lines:?}");
}

#[test]
fn what_cannot_be_asked_for_ends_with_64() {
    for arguments in [
        &["forget", "u7"][..],
        &["forget", "", "--worker", "http://127.0.0.1:1"],
        &["forget", "u7", "--worker", "http://127.0.0.1"],
        &["forget", "u7", "--worker", "https://127.0.0.1:1"],
        &["forget", "--worker", "http://127.0.0.1:1"],
    ] {
        let (_, errors) = ended_with(&run(arguments), 64);
        assert!(!errors.is_empty(), "{arguments:?}");
    }
}

/// How many events the markers of all partitions count.
fn committed(pipeline: &Pipeline) -> u64 {
    let output = pipeline.state(&["--output", "json"]);
    let lines = if output.status.success() { ended_with(&output, 0).0 } else { Vec::new() };
    sum(&lines, "/marker/records")
}

/// Whether nothing but a trace of its end, if that, lies in the state topic.
fn is_gone(pipeline: &Pipeline, key: &str) -> bool {
    let output = pipeline.state(&["--key", key, "--output", "json"]);
    let (lines, errors) = answered(&output);
    let is_unknown = errors.contains(&format!("nothing is known of key `{key}`"));
    let is_end = |line: &Value| line["image"]["dropped"] == Value::Bool(true) && line["incident"].is_null();
    is_unknown || (!lines.is_empty() && lines.iter().all(is_end))
}

#[test]
fn a_key_that_a_worker_forgot_does_not_come_back_though_it_is_killed() {
    let pipeline = Pipeline::new("forget");
    let events = pipeline.fill();
    // Two users with an open incident: what is known of one lies in the state topic though it has no image yet.
    let high = events.iter().filter(|event| event["amount"].as_f64() > Some(100.0));
    let mut users = high.map(|event| event["userId"].as_str().unwrap());
    let key = users.next().unwrap();
    let other = users.find(|user| *user != key).unwrap();
    let address = unused_address();
    let worker = pipeline.worker(&["--listen", &address]);
    let began = Instant::now();
    while committed(&pipeline) < EVENTS as u64 {
        assert!(began.elapsed() < LIMIT, "the worker did not come to the end");
    }
    let (lines, _) = ended_with(&forget(key, &[&address], &["--output", "json"]), 0);
    assert_eq!(lines[0]["forgotten"], Value::Bool(true), "{lines:?}");
    // Killed at once: no image of anything else is written any more.
    drop(worker);
    assert!(is_gone(&pipeline, key));
    assert!(!is_gone(&pipeline, other), "it would be seen");
    let replays = |line: &Value| line["recovery"]["replayRecords"].as_u64() > Some(0);
    assert!(pipeline.lines(&[]).iter().any(replays), "a successor has something to replay");

    let next = unused_address();
    let successor = pipeline.worker(&["--listen", &next]);
    while {
        let (lines, _) = answered(&forget("nobody", &[&next], &["--output", "json"]));
        lines[0]["forgotten"] != Value::Bool(false)
    } {
        assert!(began.elapsed() < 2 * LIMIT, "the successor did not come back");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let (_, errors) = ended_with(&forget(key, &[&next], &[]), 1);
    assert!(errors.contains("no worker that was asked knows"), "{errors}");
    successor.stop();
    assert!(is_gone(&pipeline, key), "a stopped worker has written all it knew");
    assert!(!is_gone(&pipeline, other));
    let lines = pipeline.lines(&[]);
    assert!(!lines.iter().any(replays), "it had all partitions, and replayed them: {lines:?}");
}

/// What was printed, whatever the exit code.
fn answered(output: &std::process::Output) -> (Vec<Value>, String) {
    ended_with(output, output.status.code().unwrap())
}
