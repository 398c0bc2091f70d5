//! Ends the transaction that a dead owner left open, without waiting for its timeout.
//!
//! An owner names its transactional id in the records of state that it writes. A producer that starts with the same id
//! makes the broker abort what is open under it, and fences whoever still uses it. So nobody is taken over when the
//! newest owner is this process itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer};
use tracing::{info, warn};

use super::reading::Tail;
use super::requests::{Isolation, LastWords, Requests};
use super::{OwnerOf, WrittenBy};
use crate::adapters::kafka_sink::TRANSACTION_TIMEOUT_MS;
use crate::past::PastError;

/// An open transaction is its owner's business for this long.
pub(super) const STUCK: Duration = Duration::from_millis(500);
/// The coordinator of transactions may take this long altogether …
const PATIENCE: Duration = Duration::from_secs(10);
/// … and is asked in steps of this.
const STEP: Duration = Duration::from_millis(500);
/// How far before the last stable offset an owner is looked for, one after the other: its open transaction may not
/// have come to the record that names it, and then the one before it does.
const LOOK_BACK: [i64; 3] = [0, 10_000, 200_000];

/// Takes over transactions of one state topic.
pub(super) struct Takeover {
    client: ClientConfig,
    topic: String,
    owner_of: OwnerOf,
    /// Whom it has already tried, by partition, so that two readers do not fence each other for ever.
    tried: BTreeSet<(i32, String)>,
}

impl Takeover {
    pub(super) fn new(client: ClientConfig, topic: String, owner_of: OwnerOf) -> Self {
        Self { client, topic, owner_of, tried: BTreeSet::new() }
    }

    /// The partition was read to its end: what comes later is another matter.
    pub(super) fn settled(&mut self, partition: i32) {
        self.tried.retain(|(tried, _)| *tried != partition);
    }

    /// Whether a transaction is open on a state partition.
    pub(super) fn is_open(
        &self,
        requests: &Requests,
        partition: i32,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<bool, PastError> {
        let stable = requests.range(&self.topic, partition, Isolation::Committed, cancelled)?.end;
        Ok(stable < requests.range(&self.topic, partition, Isolation::Uncommitted, cancelled)?.end)
    }

    /// Aborts the transaction of the newest owner of a state partition that was not tried yet.
    ///
    /// What the broker refuses is a warning only: the transaction ends by itself, later.
    pub(super) fn try_owner(
        &mut self,
        requests: &Requests,
        partition: i32,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), PastError> {
        let Some(owner) = self.newest_owner(requests, partition, cancelled)? else { return Ok(()) };
        let began = Instant::now();
        match self.fence(&owner, cancelled)? {
            Ok(()) => info!(
                partition,
                transactional_id = owner,
                took_ms = began.elapsed().as_millis() as u64,
                "aborted the transaction that a former owner left open"
            ),
            Err(error) => warn!(
                partition,
                transactional_id = owner,
                %error,
                "a former owner left a transaction open and it cannot be aborted from here; waiting for its timeout"
            ),
        }
        self.tried.insert((partition, owner));
        Ok(())
    }

    fn newest_owner(
        &self,
        requests: &Requests,
        partition: i32,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<String>, PastError> {
        let held = requests.range(&self.topic, partition, Isolation::Uncommitted, cancelled)?;
        let stable = requests.range(&self.topic, partition, Isolation::Committed, cancelled)?.end;
        let settings = &requests.reader(Isolation::Uncommitted);
        let tail = Tail { settings, topic: &self.topic, partition, held, from: stable, cancelled };
        let newest = tail.newest(LOOK_BACK, &mut |raw, found| {
            let is_tried = |id: &String| self.tried.contains(&(partition, id.clone()));
            match (self.owner_of)(raw.key.unwrap_or_default(), raw.value) {
                Some(WrittenBy::Another(id)) if is_tried(&id) => {}
                Some(owner) => *found = Some(owner),
                None => {}
            }
        })?;
        Ok(match newest {
            Some(WrittenBy::Another(id)) => Some(id),
            // Whoever wrote before us has nothing open any more: we read the state to its end before we wrote.
            Some(WrittenBy::Us) | None => None,
        })
    }

    fn fence(&self, owner: &str, cancelled: &dyn Fn() -> bool) -> Result<Result<(), KafkaError>, PastError> {
        let mut settings = self.client.clone();
        settings
            .set("transactional.id", owner)
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS)
            .set("retry.backoff.ms", "10");
        let producer: BaseProducer<LastWords> = match settings.create_with_context(LastWords::default()) {
            Ok(producer) => producer,
            Err(error) => return Ok(Err(error)),
        };
        let began = Instant::now();
        loop {
            let error = match producer.init_transactions(STEP) {
                Ok(()) => return Ok(Ok(())),
                Err(error) => error,
            };
            let passing = matches!(&error, KafkaError::Transaction(e) if e.is_retriable());
            if cancelled() {
                return Err(PastError::Cancelled);
            }
            if !passing || began.elapsed() > PATIENCE {
                return Ok(Err(error));
            }
        }
    }
}
