//! A worker that is held until another one has taken its partitions over, and woken then: whatever it had under way,
//! readers of committed records never see it. On the Kafka that `cargo xtask test` starts; without it this test fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::readings::{Pipeline, REQUEST, client, end, until, until_said};

const PARTITIONS: i32 = 2;

/// Whether a transaction is open on a partition of the results.
fn is_open(pipeline: &Pipeline) -> bool {
    let results = pipeline.topic("results");
    let is_open =
        |partition| end(&pipeline.committed, &results, partition) < end(&pipeline.uncommitted, &results, partition);
    (0..PARTITIONS).any(is_open)
}

/// Whether one stays open: a commit that is under way ends it within milliseconds.
fn stays_open(pipeline: &Pipeline) -> bool {
    let began = Instant::now();
    while is_open(pipeline) {
        if began.elapsed() > Duration::from_millis(500) {
            return true;
        }
    }
    false
}

/// Events without end, at a pace at which some tick is always under way.
struct Feeder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Feeder {
    fn start(topic: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let producer: BaseProducer = client().set("enable.idempotence", "true").create().unwrap();
        let feed = move || {
            let stopped = || stopped.load(Ordering::Relaxed);
            for number in (0_u64..).take_while(|_| !stopped()) {
                for partition in 0..PARTITIONS {
                    let key = format!("s-{partition}-{}", number % 7);
                    let value = format!("{{\"sensor\":\"{key}\",\"value\":{}}}", number % 90);
                    let record = BaseRecord::to(&topic).partition(partition).key(key.as_str());
                    producer.send(record.payload(value.as_str())).map_err(|(error, _)| error).unwrap();
                }
                producer.poll(Duration::ZERO);
                std::thread::park_timeout(Duration::from_millis(1));
            }
            producer.flush(REQUEST).unwrap();
        };
        Self { stop, thread: std::thread::spawn(feed) }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

#[test]
fn an_owner_that_is_woken_after_a_takeover_shows_nothing_to_readers() {
    let pipeline = Pipeline::new("wake", PARTITIONS, "earliest", "10s");
    let feeder = Feeder::start(pipeline.topic("in"));
    let former = pipeline.worker("former", &[]);
    let mut before = vec![0; PARTITIONS as usize];
    until(
        "the former owner held with a transaction open",
        || {
            let now = pipeline.offsets();
            if now.iter().zip(&before).any(|(now, before)| now <= before) {
                return false;
            }
            before = now;
            former.signal("-STOP");
            let open = stays_open(&pipeline);
            if !open {
                former.signal("-CONT");
            }
            open
        },
        || former.log(),
    );

    let successor = pipeline.worker("successor", &[]);
    pipeline.until_committed("the successor has everything", &pipeline.ends());
    assert!(!former.log().contains("partitions lost"), "{}", former.log());

    former.signal("-CONT");
    until_said(&former, "partitions lost");
    pipeline.until_committed("both go on", &pipeline.ends());
    feeder.stop();
    let ends = pipeline.ends();
    pipeline.until_committed("the end", &ends);
    former.stop();
    successor.stop();

    assert!(!is_open(&pipeline), "nothing is hidden from the reader any more");
    let mut hidden = 0;
    for (partition, end) in (0..).zip(ends) {
        let results = pipeline.results(&pipeline.committed, partition);
        hidden += pipeline.results(&pipeline.uncommitted, partition).len() - results.len();
        let first_wrong = results.iter().zip(0..).find(|(offset, expected)| *offset != expected);
        assert_eq!((results.len() as i64, first_wrong), (end, None), "partition {partition}");
    }
    assert!(hidden > 0, "the former owner had nothing under way");
}
