//! Deletes what a state partition holds, for `--reset-state`.
//!
//! ```text
//! fence ─► still ours? ─► begin ─► some thousand tombstones ─► drain ─► the group's offset ─► commit      and again
//! ```
//! The offset, sent under the fence, is what an owner's tick has too: a worker that was held meanwhile, and whose partition
//! others have, deletes nothing of theirs.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::requests::{DEADLINE, TURN, pause};
use crate::adapters::kafka_group::log_line;
use crate::adapters::kafka_native::{self as native, GroupMetadata, TransactionFailure};
use crate::adapters::kafka_sink::TRANSACTION_TIMEOUT_MS;
use crate::ownership::{Ownership, lock};
use crate::past::PastError;

/// Tombstones of one transaction, which stays short.
const MOST: usize = 10_000;
/// Longest single wait inside the client.
const SLICE: Duration = Duration::from_millis(500);
/// A commit that was not answered after this long may have worked or not; the recovery begins anew.
const COMMIT: Duration = Duration::from_secs(5);

/// What only an owner of partitions has: the right to delete their state.
pub struct Erasure {
    /// How the transactional ids of the deletions begin.
    pub transactional_ids: String,
    /// Generation and member id of now; `None` while the group is being joined. What it says is used only if the partition
    /// is still this worker's afterwards.
    pub fence: Box<dyn Fn() -> Option<Arc<GroupMetadata>> + Send>,
}

impl Erasure {
    /// Of a worker that owns what is published.
    pub(crate) fn of(ownership: &Arc<Ownership<Arc<GroupMetadata>>>, transactional_ids: String) -> Self {
        let owned = Arc::clone(ownership);
        Self { transactional_ids, fence: Box::new(move || owned.snapshot().fence.clone()) }
    }
}

/// Keeps the last record that was not written.
#[derive(Default)]
struct Failures(Mutex<Option<KafkaError>>);

impl ClientContext for Failures {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }
}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            *lock(&self.0) = Some(error.clone());
        }
    }
}

/// One deletion.
pub(super) struct Wipe<'a> {
    pub(super) client: &'a ClientConfig,
    pub(super) erasure: &'a Erasure,
    pub(super) state: &'a str,
    pub(super) source: &'a str,
    pub(super) partition: i32,
    /// The group's offset from now on.
    pub(super) next_offset: i64,
    pub(super) cancelled: &'a dyn Fn() -> bool,
}

/// Why a transaction did not work out.
enum Broken {
    Cancelled,
    /// The same again, after an abort: the membership has changed.
    Aborted(TransactionFailure),
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl Wipe<'_> {
    /// Writes a tombstone for each key, in order.
    pub(super) fn run(&self, keys: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), PastError> {
        let producer = self.connect()?;
        loop {
            let some: Vec<Vec<u8>> = keys.take(MOST).collect();
            if some.is_empty() {
                return Ok(());
            }
            let began = Instant::now();
            while let Err(broken) = self.transaction(&producer, &some) {
                let aborted = producer.abort_transaction(SLICE * 4);
                match broken {
                    Broken::Cancelled => return Err(PastError::Cancelled),
                    Broken::Aborted(_) if aborted.is_ok() && began.elapsed() < DEADLINE => pause(TURN, self.cancelled)?,
                    Broken::Aborted(failure) => return Err(self.failed(failure)),
                    Broken::Failed(error) => return Err(self.failed(error)),
                }
            }
        }
    }

    fn connect(&self) -> Result<BaseProducer<Failures>, PastError> {
        let id = format!("{}reset.{}", self.erasure.transactional_ids, self.partition);
        let mut settings = self.client.clone();
        settings
            .set("transactional.id", id)
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS)
            .set("retry.backoff.ms", "10")
            // What was delivered is not told, and a flush does not wait until it was heard.
            .set("delivery.report.only.error", "true");
        let producer: BaseProducer<Failures> =
            settings.create_with_context(Failures::default()).map_err(|error| self.failed(error))?;
        let began = Instant::now();
        while let Err(error) = producer.init_transactions(SLICE) {
            pause(Duration::ZERO, self.cancelled)?;
            let passing = matches!(&error, KafkaError::Transaction(e) if e.is_retriable());
            if !passing || began.elapsed() > DEADLINE {
                return Err(self.failed(error));
            }
        }
        Ok(producer)
    }

    fn transaction(&self, producer: &BaseProducer<Failures>, keys: &[Vec<u8>]) -> Result<(), Broken> {
        let fence = self.fence()?;
        producer.begin_transaction().map_err(failed)?;
        for key in keys {
            self.send(producer, key)?;
        }
        while !native::flush(producer, SLICE) {
            producer.poll(Duration::ZERO);
            self.ask()?;
        }
        producer.poll(Duration::ZERO);
        if let Some(error) = lock(&producer.context().0).take() {
            return Err(failed(error));
        }
        let mut offsets = TopicPartitionList::new();
        let next = Offset::Offset(self.next_offset);
        offsets.add_partition_offset(self.source, self.partition, next).map_err(failed)?;
        self.call(|| native::send_offsets(producer, &offsets, &fence, SLICE))?;
        native::commit(producer, COMMIT).map_err(|failure| match failure.abort && !failure.fatal {
            true => Broken::Aborted(failure),
            false => failed(failure),
        })
    }

    /// Of a moment at which the partition was ours: it is afterwards, too, and an assignment never comes back.
    fn fence(&self) -> Result<Arc<GroupMetadata>, Broken> {
        loop {
            let fence = (self.erasure.fence)();
            self.ask()?;
            match fence {
                Some(fence) => return Ok(fence),
                None => std::thread::park_timeout(TURN),
            }
        }
    }

    fn send(&self, producer: &BaseProducer<Failures>, key: &[u8]) -> Result<(), Broken> {
        let record = || BaseRecord::<[u8], [u8]>::to(self.state).partition(self.partition).key(key);
        while let Err((error, _)) = producer.send(record()) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(failed(error));
            }
            producer.poll(TURN);
            self.ask()?;
        }
        Ok(())
    }

    fn call(&self, call: impl Fn() -> Result<(), TransactionFailure>) -> Result<(), Broken> {
        loop {
            match call() {
                Ok(()) => return Ok(()),
                Err(failure) if failure.fatal => return Err(failed(failure)),
                Err(failure) if failure.abort => return Err(Broken::Aborted(failure)),
                Err(failure) if !failure.retriable => return Err(failed(failure)),
                Err(_) => self.ask()?,
            }
        }
    }

    fn ask(&self) -> Result<(), Broken> {
        if (self.cancelled)() { Err(Broken::Cancelled) } else { Ok(()) }
    }

    fn failed(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> PastError {
        let what = format!("delete state in topic `{}`, partition {}", self.state, self.partition);
        PastError::Request { what, source: source.into() }
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Broken {
    Broken::Failed(Box::new(error))
}
