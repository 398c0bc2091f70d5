//! Makes ticks visible: one Kafka transaction each, or, at least once, outputs first and offsets after them.
//!
//! Order of a transaction: begin, produce, drain, offsets, commit. What can go wrong, and what follows:
//!
//! * *retriable*: the same call again;
//! * *abort demanded* (a rebalance raises `ILLEGAL_GENERATION`): abort, the lane sends the kept tick again;
//! * *fatal, unknown, or the commit timed out*: a new producer with the same transactional id; `init_transactions`
//!   decides the old transaction and fences its owner; the committed positions tell what became of it.
//!   A commit whose outcome is unknown is never tried again on the same producer.
//!
//! Every wait is cut into slices and asks whether the partitions are being taken away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::kafka_group::{GroupConsumer, log_line};
use super::kafka_native::{self as native, GroupMetadata, TopicHandle, TransactionFailure};
use super::kafka_records::write_all;
use super::kafka_topics::Layout;
use crate::backoff::Backoff;
use crate::faults::{Promise, is_broken, point};
use crate::outputs::Outputs;
use crate::ownership::lock;
use crate::ports::{CommitError, Position, Sink};

/// Longest single wait inside the client: a lane has to answer a revocation within seconds.
pub(super) const SLICE: Duration = Duration::from_millis(500);
/// A commit that was not answered after this long is in doubt. With what it takes to settle the doubt it stays below
/// the time in which a lane has to answer a revocation.
const COMMIT: Duration = Duration::from_millis(2500);
/// A producer that has not started after this long tells why.
const START: Duration = Duration::from_secs(10);
/// An open transaction of a dead worker is aborted by the broker after this long.
pub(super) const TRANSACTION_TIMEOUT_MS: &str = "5000";

/// How offsets get to the broker.
#[derive(Clone)]
pub(crate) enum Guarantee {
    /// In the transaction of the outputs. With the development broker, whose transactions are stubs, the offsets are
    /// committed plainly too.
    ExactlyOnce {
        /// Commit plainly too.
        development: bool,
    },
    /// After the outputs were acknowledged.
    AtLeastOnce,
}

/// What a sink is made from.
#[derive(Clone)]
pub(crate) struct SinkConfig {
    /// Settings of the connection.
    pub(crate) client: ClientConfig,
    /// Transactional id: one per lane and worker.
    pub(crate) transactional_id: String,
    /// Group id of the offsets.
    pub(crate) group: String,
    /// Source topic of the offsets.
    pub(crate) source: String,
    /// Header `faultline-pipeline`.
    pub(crate) pipeline: String,
    /// The guarantee.
    pub(crate) guarantee: Guarantee,
    /// Partitions and limits of the output topics, as the worker last saw them.
    pub(crate) layout: Arc<RwLock<Layout>>,
}

/// The Kafka side of a lane's commits.
pub(crate) struct KafkaSink {
    config: SinkConfig,
    consumer: Arc<GroupConsumer>,
    positions: BaseConsumer,
    producer: Option<Ready>,
    // Between failed starts of a producer.
    backoff: Backoff,
}

pub(super) struct Ready {
    pub(super) producer: Arc<BaseProducer<Deliveries>>,
    /// In the order of [`crate::outputs::Topic`]; without durable state they end before it.
    pub(super) handles: Vec<TopicHandle>,
}

/// Counts deliveries that failed; only failures are reported.
#[derive(Default)]
pub(super) struct Deliveries {
    failed: AtomicU64,
    last: Mutex<String>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, _error: KafkaError, reason: &str) {
        tracing::debug!("kafka producer: {reason}");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.failed.fetch_add(1, Ordering::Relaxed);
            *lock(&self.last) = error.to_string();
        }
    }
}

impl KafkaSink {
    /// A sink whose producer is made with the first commit.
    ///
    /// # Errors
    /// The client's words when its settings are refused.
    pub(crate) fn new(config: SinkConfig, consumer: Arc<GroupConsumer>) -> Result<Self, KafkaError> {
        let positions = config
            .client
            .clone()
            .set("group.id", &config.group)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .create()?;
        let backoff = Backoff::new(Duration::from_millis(50), SLICE);
        Ok(Self { config, consumer, positions, producer: None, backoff })
    }

    fn settings(&self) -> ClientConfig {
        let mut settings = self.config.client.clone();
        let largest = self.layout_of(|layout| layout.limits.iter().copied().max().unwrap_or(1 << 20));
        let smallest = self.layout_of(|layout| layout.limits.iter().copied().min().unwrap_or(1 << 20));
        settings
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .set("batch.num.messages", "10000")
            .set("batch.size", smallest.min(1_000_000).to_string())
            .set("message.max.bytes", (largest + (1 << 16)).to_string())
            .set("compression.type", "snappy")
            .set("retry.backoff.ms", "10")
            .set("delivery.report.only.error", "true")
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "262144");
        if matches!(self.config.guarantee, Guarantee::ExactlyOnce { .. }) {
            settings.set("transactional.id", &self.config.transactional_id);
            settings.set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
        } else {
            settings.set("message.timeout.ms", "30000");
        }
        settings
    }

    fn layout_of<T>(&self, read: impl FnOnce(&Layout) -> T) -> T {
        read(&self.config.layout.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// A producer that may begin a transaction: a new one is fenced in first.
    fn ready(&mut self, cancelled: &dyn Fn() -> bool) -> Result<(), CommitError> {
        if self.producer.is_some() {
            return Ok(());
        }
        match self.connect(cancelled) {
            Ok(ready) => {
                self.producer = Some(ready);
                self.backoff.reset();
                Ok(())
            }
            Err(CommitError::Lost) => Err(CommitError::Lost),
            Err(error) => {
                pause(self.backoff.next_pause(), cancelled)?;
                Err(error)
            }
        }
    }

    fn connect(&self, cancelled: &dyn Fn() -> bool) -> Result<Ready, CommitError> {
        let until = Instant::now() + START;
        let aborted =
            |error: &dyn std::fmt::Display| CommitError::Aborted(format!("failed to start a producer: {error}"));
        let producer: BaseProducer<Deliveries> =
            self.settings().create_with_context(Deliveries::default()).map_err(|e| aborted(&e))?;
        let producer = Arc::new(producer);
        if matches!(self.config.guarantee, Guarantee::ExactlyOnce { .. }) {
            while let Err(error) = producer.init_transactions(SLICE) {
                let retriable = matches!(&error, KafkaError::Transaction(e) if e.is_retriable());
                if cancelled() {
                    return Err(CommitError::Lost);
                }
                if !retriable || Instant::now() > until {
                    return Err(aborted(&error));
                }
            }
        }
        let names = self.layout_of(|layout| layout.names.clone());
        let handles: Option<Vec<TopicHandle>> = names.iter().map(|name| TopicHandle::new(&producer, name)).collect();
        match handles {
            Some(handles) => Ok(Ready { producer, handles }),
            None => Err(CommitError::Aborted("an output topic's name is not valid".to_owned())),
        }
    }

    fn offsets(&self, positions: &[Position]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for position in positions {
            // Fails only for names with a zero byte, which the configuration refuses.
            drop(list.add_partition_offset(
                &self.config.source,
                position.partition,
                Offset::Offset(position.next_offset),
            ));
        }
        list
    }

    fn transaction(
        &mut self,
        outputs: &Outputs,
        positions: &[Position],
        fence: &GroupMetadata,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), Broken> {
        let offsets = self.offsets(positions);
        let layout = self.config.layout.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let Some(ready) = &self.producer else { return Err(Broken::before("no producer")) };
        let producer = &ready.producer;
        fault("begin")?;
        producer.begin_transaction().map_err(|e| Broken::before(&e))?;
        fault("send")?;
        write_all(ready, &layout, &self.config.pipeline, outputs, cancelled)?;
        fault("drain")?;
        drain(producer, cancelled)?;
        fault("offsets")?;
        if is_broken(Promise::OffsetInTransaction) {
            native::commit(producer, COMMIT).map_err(Broken::commit)?;
            fault("committed")?;
            return self.commit_offsets(positions).map_err(|e| Broken::before(&e));
        }
        // Who only asks for positions is no member: its offsets are not fenced.
        let nobody = is_broken(Promise::FencePerEpoch).then(|| GroupMetadata::of(self.positions.client())).flatten();
        let fence = nobody.as_ref().unwrap_or(fence);
        retry(cancelled, || native::send_offsets(producer, &offsets, fence, SLICE))?;
        fault("commit")?;
        native::commit(producer, COMMIT).map_err(Broken::commit)?;
        match point("committed") {
            true => Err(Broken { abortable: false, step: Step::Commit, ..Broken::before("a fault point") }),
            false => Ok(()),
        }
    }

    /// Outputs acknowledged first, then the offsets.
    fn plainly(
        &mut self,
        outputs: &Outputs,
        positions: &[Position],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), Broken> {
        let layout = self.config.layout.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let Some(ready) = &self.producer else { return Err(Broken::before("no producer")) };
        write_all(ready, &layout, &self.config.pipeline, outputs, cancelled)?;
        drain(&ready.producer, cancelled)?;
        self.commit_offsets(positions).map_err(|e| Broken::before(&e))
    }

    fn commit_offsets(&self, positions: &[Position]) -> Result<(), KafkaError> {
        self.consumer.commit(&self.offsets(positions), CommitMode::Sync)
    }

    /// Ends a transaction that did not work out.
    fn give_up(&mut self, broken: Broken) -> CommitError {
        let Some(ready) = self.producer.take() else { return broken.into_error(false) };
        let plain = matches!(self.config.guarantee, Guarantee::AtLeastOnce);
        // Only a producer that says so itself goes on; any other is replaced, which decides its transaction.
        let is_aborted = !plain && broken.abortable && ready.producer.abort_transaction(SLICE * 4).is_ok();
        if plain || is_aborted {
            self.producer = Some(ready);
        }
        broken.into_error(is_aborted)
    }
}

impl Sink for KafkaSink {
    type Fence = Arc<GroupMetadata>;

    fn prepare(&mut self, cancelled: &dyn Fn() -> bool) {
        if self.producer.is_some() {
            return;
        }
        // Finding the coordinator and getting a producer id takes up to a second.
        match self.connect(cancelled) {
            Ok(ready) => self.producer = Some(ready),
            Err(error) => tracing::debug!(%error, "the producer is not ready yet"),
        }
    }

    fn commit(
        &mut self,
        outputs: &Outputs,
        positions: &[Position],
        fence: &Self::Fence,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), CommitError> {
        self.ready(cancelled)?;
        match self.config.guarantee.clone() {
            Guarantee::ExactlyOnce { development } => {
                self.transaction(outputs, positions, fence, cancelled).map_err(|broken| self.give_up(broken))?;
                if development {
                    self.commit_offsets(positions).map_err(|e| CommitError::InDoubt(e.to_string()))?;
                }
                Ok(())
            }
            Guarantee::AtLeastOnce => {
                self.plainly(outputs, positions, cancelled).map_err(|broken| self.give_up(broken))
            }
        }
    }

    fn committed(&mut self, partitions: &[i32], cancelled: &dyn Fn() -> bool) -> Result<Vec<Position>, CommitError> {
        // The old transaction is decided by the new producer's start; only then do the positions mean anything.
        self.ready(cancelled)?;
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.config.source, *partition);
        }
        let found =
            self.positions.committed_offsets(list, SLICE * 4).map_err(|e| CommitError::Aborted(e.to_string()))?;
        Ok(found
            .elements()
            .iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(next_offset) => Some(Position { partition: element.partition(), next_offset }),
                _ => None,
            })
            .collect())
    }
}

/// A place where the chaos harness may end it all.
fn fault(name: &'static str) -> Result<(), Broken> {
    if point(name) { Err(Broken::before("a fault point")) } else { Ok(()) }
}

/// Why a tick was not written, and what may be done about it.
pub(super) struct Broken {
    reason: String,
    /// The producer may abort and go on.
    abortable: bool,
    step: Step,
}

/// How far a tick had come.
enum Step {
    /// The commit was not asked for: nothing can be visible.
    Before,
    /// The commit was on its way: all may be visible, unless it could still be aborted.
    Commit,
    /// The lane gave it up before the commit.
    Cancelled,
}

impl Broken {
    pub(super) fn before(error: &(impl std::fmt::Display + ?Sized)) -> Self {
        Self { reason: error.to_string(), abortable: true, step: Step::Before }
    }

    pub(super) fn cancelled() -> Self {
        Self { step: Step::Cancelled, ..Self::before("cancelled") }
    }

    /// The client calls every answer that it does not know abortable, and some brokers answer so after they have
    /// committed; an abort that succeeds is what tells.
    fn commit(failure: TransactionFailure) -> Self {
        Self { reason: failure.to_string(), abortable: failure.abort && !failure.fatal, step: Step::Commit }
    }

    fn into_error(self, is_aborted: bool) -> CommitError {
        match self.step {
            Step::Cancelled => CommitError::Lost,
            Step::Commit if !is_aborted => CommitError::InDoubt(self.reason),
            Step::Before | Step::Commit => CommitError::Aborted(self.reason),
        }
    }
}

/// Waits, in short steps, unless cancelled.
fn pause(length: Duration, cancelled: &dyn Fn() -> bool) -> Result<(), CommitError> {
    let until = Instant::now() + length;
    while Instant::now() < until {
        if cancelled() {
            return Err(CommitError::Lost);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

fn retry(cancelled: &dyn Fn() -> bool, mut call: impl FnMut() -> Result<(), TransactionFailure>) -> Result<(), Broken> {
    loop {
        match call() {
            Ok(()) => return Ok(()),
            Err(_) if cancelled() => return Err(Broken::cancelled()),
            Err(failure) if failure.retriable && !failure.fatal && !failure.abort => {}
            Err(failure) => {
                return Err(Broken { abortable: failure.abort && !failure.fatal, ..Broken::before(&failure) });
            }
        }
    }
}

/// Waits until the broker has acknowledged everything.
fn drain(producer: &BaseProducer<Deliveries>, cancelled: &dyn Fn() -> bool) -> Result<(), Broken> {
    let failures = &producer.context().failed;
    while !native::flush(producer, SLICE) {
        producer.poll(Duration::ZERO);
        if cancelled() {
            return Err(Broken::cancelled());
        }
        if failures.load(Ordering::Relaxed) > 0 {
            break;
        }
    }
    producer.poll(Duration::ZERO);
    match failures.swap(0, Ordering::Relaxed) {
        0 => Ok(()),
        count => {
            let last = lock(&producer.context().last).clone();
            Err(Broken::before(&format!("{count} records were not delivered, the last one because: {last}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_failed_is_in_doubt_unless_it_could_still_be_aborted() {
        let failed = |step| Broken { step, ..Broken::before("no answer") };
        assert!(matches!(failed(Step::Commit).into_error(false), CommitError::InDoubt(_)));
        assert!(matches!(failed(Step::Commit).into_error(true), CommitError::Aborted(_)));
        assert!(matches!(failed(Step::Before).into_error(false), CommitError::Aborted(_)), "nothing was asked for");
        assert!(matches!(failed(Step::Cancelled).into_error(false), CommitError::Lost));
    }
}
