//! Brokers: the one that `cargo xtask test` started for all tests, and own ones that a test may stop and start.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// The address of the shared broker.
#[track_caller]
pub(crate) fn shared() -> String {
    setting("FAULTLINE_KAFKA")
}

#[track_caller]
fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: these tests need a Kafka broker, run `cargo xtask test`"))
}

/// A name that no other test and no other run uses.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A port that nobody listens on, each time another one, below those that the system gives to outgoing connections: one of
/// them could take the port of a broker that is away for a moment.
pub(crate) fn free_port() -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(103);
    let next = || 12_000 + (begin.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % 16_000) as u16;
    std::iter::repeat_with(next).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Creates a topic.
pub(crate) fn create_topic(brokers: &str, name: &str, partitions: i32) {
    create(brokers, &NewTopic::new(name, partitions, TopicReplication::Fixed(1)));
}

/// Creates a topic that keeps the newest record of each key, as state does.
pub(crate) fn create_compacted_topic(brokers: &str, name: &str, partitions: i32) {
    create(brokers, &NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("cleanup.policy", "compact"));
}

/// Creates a topic with settings.
pub(crate) fn create(brokers: &str, topic: &NewTopic<'_>) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answers = runtime.block_on(admin.create_topics([topic], &AdminOptions::new())).unwrap();
    answers.into_iter().for_each(|answer| drop(answer.unwrap()));
}

/// How many partitions a topic has; 0 if it is not there.
pub(crate) fn partitions(brokers: &str, topic: &str) -> usize {
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(30)).unwrap();
    metadata.topics()[0].partitions().len()
}

/// A broker of one test. It ends with the test, also when that fails: it runs as long as its standard input is open.
pub(crate) struct Broker {
    process: Child,
    addresses: Vec<String>,
}

impl Broker {
    /// Starts it in a folder; what an earlier one left there is used again.
    #[track_caller]
    pub(crate) fn start(folder: &Path, port: u16, secure: bool) -> Self {
        let mut command = Command::new(setting("FAULTLINE_XTASK"));
        command.args(["services", "run", "--port", &port.to_string(), "--folder"]).arg(folder);
        command.args(secure.then_some("--secure"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addresses: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        assert!(!addresses.is_empty(), "the broker did not start: {:?}", process.wait());
        Self { process, addresses }
    }

    /// Without authentication.
    pub(crate) fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// With SASL, on a secure one.
    pub(crate) fn sasl_address(&self) -> &str {
        &self.addresses[1]
    }

    /// Stops it cleanly; its data stays.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.process.stdin.take());
        let status = self.process.wait().unwrap();
        assert!(status.success() || std::thread::panicking(), "the broker ended with {status}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
    }
}
