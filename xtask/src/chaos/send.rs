//! Sends the input at a bounded rate, straight to the brokers: ordinary records through one producer, the records that
//! nobody may count through another, whose transactions are all aborted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::input::{Input, Record};
use super::topics;

/// Records are sent this often, all that are due.
const STEP: Duration = Duration::from_millis(5);
/// … and wait for company for so long: a request a record keeps three brokers busy with nothing else.
const LINGER_MS: &str = "25";
/// Broker restarts take a while.
const FLUSH: Duration = Duration::from_secs(120);
/// A transaction that will be aborted is open for this long at most: it holds back every reader of its partitions.
const OPEN: Duration = Duration::from_millis(150);
/// One call of an aborting producer.
const CALL: Duration = Duration::from_secs(10);

/// A running input.
pub(crate) struct Sending {
    counts: Arc<Counts>,
    thread: JoinHandle<Result<Vec<i64>>>,
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    aborted: AtomicU64,
    stop: AtomicBool,
}

impl Sending {
    /// Begins to send.
    pub(crate) fn start(brokers: &str, topic: &str, input: Input, partitions: i32, rate: u64) -> Self {
        let counts = Arc::new(Counts::default());
        let sender =
            Source { brokers: brokers.to_owned(), topic: topic.to_owned(), partitions, rate, counts: counts.clone() };
        Self { counts, thread: thread::spawn(move || sender.run(input)) }
    }

    /// Records sent that count, and records sent in vain.
    pub(crate) fn sent(&self) -> (u64, u64) {
        (self.counts.sent.load(Ordering::Relaxed), self.counts.aborted.load(Ordering::Relaxed))
    }

    /// Whether it has failed.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Stops; returns for each partition the offset behind its last record that counts.
    pub(crate) fn finish(self) -> Result<Vec<i64>> {
        self.counts.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the input's thread panicked"))?
    }
}

/// The greatest offset delivered per partition, and what failed.
#[derive(Default)]
struct Deliveries(Mutex<(BTreeMap<i32, i64>, Option<KafkaError>)>);

impl Deliveries {
    fn locked(&self) -> MutexGuard<'_, (BTreeMap<i32, i64>, Option<KafkaError>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Deliveries {
    /// Restarts of brokers are part of the run.
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut held = self.locked();
        match result {
            Ok(message) => {
                let end = held.0.entry(message.partition()).or_default();
                *end = (*end).max(message.offset() + 1);
            }
            Err((error, _)) => held.1 = Some(error.clone()),
        }
    }
}

struct Source {
    brokers: String,
    topic: String,
    partitions: i32,
    rate: u64,
    counts: Arc<Counts>,
}

impl Source {
    fn run(self, mut input: Input) -> Result<Vec<i64>> {
        let producer = self.producer()?;
        let (in_vain, aborting) = channel();
        let aborter = Aborter { brokers: self.brokers.clone(), topic: self.topic.clone(), counts: self.counts.clone() };
        let aborter = thread::spawn(move || aborter.run(&aborting));
        let began = Instant::now();
        let mut drawn = 0;
        while !self.counts.stop.load(Ordering::Relaxed) {
            let due = (began.elapsed().as_secs_f64() * self.rate as f64) as u64;
            while drawn < due && !self.counts.stop.load(Ordering::Relaxed) {
                self.one(&producer, input.next(), &in_vain)?;
                drawn += 1;
            }
            producer.poll(Duration::ZERO);
            thread::park_timeout(STEP);
        }
        drop(in_vain);
        let _ended = aborter.join();
        producer.flush(FLUSH).context("failed to deliver the input")?;
        for partition in 0..self.partitions {
            self.send(&producer, &input.closing(partition))?;
        }
        producer.flush(FLUSH).context("failed to deliver the end of the input")?;
        let (ends, failure) = std::mem::take(&mut *producer.context().locked());
        failure.map_or(Ok(()), Err).context("failed to deliver a record of the input")?;
        ensure!(ends.len() == self.partitions as usize, "not every partition has got a record");
        Ok(ends.into_values().collect())
    }

    fn producer(&self) -> Result<BaseProducer<Deliveries>> {
        topics::client(&self.brokers)
            .set("enable.idempotence", "true")
            .set("linger.ms", LINGER_MS)
            .set("compression.type", "lz4")
            .set("queue.buffering.max.messages", "500000")
            .create_with_context(Deliveries::default())
            .context("failed to make the input's producer")
    }

    fn one(&self, producer: &BaseProducer<Deliveries>, record: Record, in_vain: &Sender<Record>) -> Result<()> {
        if record.aborted {
            return in_vain.send(record).map_err(|_| anyhow!("the thread of the aborted records has ended"));
        }
        self.counts.sent.fetch_add(1, Ordering::Relaxed);
        self.send(producer, &record)
    }

    fn send(&self, producer: &BaseProducer<Deliveries>, record: &Record) -> Result<()> {
        loop {
            match producer.send(base(&self.topic, record)) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error).context("failed to send a record of the input"),
            }
        }
    }
}

fn base<'a>(topic: &'a str, record: &'a Record) -> BaseRecord<'a, str, [u8]> {
    let base = BaseRecord::to(topic).partition(record.partition).key(record.key.as_str()).timestamp(record.time_ms);
    match &record.value {
        Some(value) => base.payload(value.as_slice()),
        None => base,
    }
}

/// Sends records in transactions that are aborted. When a broker's restart breaks its producer, a new one with the same
/// id aborts what the old one had begun.
struct Aborter {
    brokers: String,
    topic: String,
    counts: Arc<Counts>,
}

impl Aborter {
    fn run(&self, records: &Receiver<Record>) {
        let mut producer = None;
        loop {
            let first = match records.recv_timeout(Duration::from_secs(1)) {
                Ok(record) => record,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let outcome = match producer.take() {
                Some(held) => Ok(held),
                None => self.connect(),
            };
            // A failure costs this round's records, which nobody would have seen anyway.
            producer = outcome.and_then(|held| self.round(&held, first, records).map(|()| held)).ok();
        }
    }

    fn connect(&self) -> Result<BaseProducer<Deliveries>, KafkaError> {
        let producer: BaseProducer<Deliveries> = topics::client(&self.brokers)
            .set("transactional.id", format!("{}.aborted", self.topic))
            .set("transaction.timeout.ms", "10000")
            .set("linger.ms", LINGER_MS)
            .create_with_context(Deliveries::default())?;
        producer.init_transactions(CALL)?;
        Ok(producer)
    }

    fn round(
        &self,
        producer: &BaseProducer<Deliveries>,
        first: Record,
        rest: &Receiver<Record>,
    ) -> Result<(), KafkaError> {
        producer.begin_transaction()?;
        let began = Instant::now();
        let mut next = Some(first);
        while let Some(record) = next {
            producer.send(base(&self.topic, &record)).map_err(|(error, _)| error)?;
            self.counts.aborted.fetch_add(1, Ordering::Relaxed);
            next = rest.recv_timeout(OPEN.saturating_sub(began.elapsed())).ok();
        }
        // So that they are in the log, for readers to trip over.
        producer.flush(CALL)?;
        producer.abort_transaction(CALL)
    }
}
