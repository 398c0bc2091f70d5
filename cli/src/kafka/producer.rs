//! Fills a topic: keyed records, partitioned as Java clients do, none lost in silence.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use crate::scenario::Record;

/// A record that is not acknowledged by then has failed.
const DELIVERY: Duration = Duration::from_secs(60);

/// Why records did not get into the topic.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProduceError {
    #[error("failed to start a producer")]
    Start(#[source] KafkaError),
    #[error("failed to send a record")]
    Send(#[source] KafkaError),
    #[error("{count} records were not acknowledged by Kafka: {first}")]
    Delivery { count: u64, first: String },
    #[error("failed to wait for Kafka's acknowledgements")]
    Flush(#[source] KafkaError),
}

/// Writes into one topic.
pub(crate) struct Producer {
    inner: BaseProducer<Reports>,
    topic: String,
}

impl Producer {
    pub(crate) fn start(client: &ClientConfig, topic: &str) -> Result<Self, ProduceError> {
        let inner = client
            .clone()
            .set("partitioner", "murmur2_random")
            // Retries neither repeat nor reorder.
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .set("batch.num.messages", "10000")
            .set("queue.buffering.max.messages", "500000")
            .set("message.timeout.ms", DELIVERY.as_millis().to_string())
            .set("delivery.report.only.error", "true")
            .create_with_context(Reports::default())
            .map_err(ProduceError::Start)?;
        Ok(Self { inner, topic: topic.to_owned() })
    }

    /// Hands a record over; waits while the queue is full.
    pub(crate) fn send(&self, record: &Record, timestamp_ms: i64) -> Result<(), ProduceError> {
        let mut message: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&self.topic).payload(&record.value[..]).timestamp(timestamp_ms);
        if !record.key.is_empty() {
            message = message.key(&record.key[..]);
        }
        loop {
            match self.inner.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.inner.poll(Duration::from_millis(10));
                    self.healthy()?;
                    message = back;
                }
                Err((error, _)) => return Err(ProduceError::Send(error)),
            }
        }
    }

    /// Takes in what Kafka refused so far.
    pub(crate) fn poll(&self) -> Result<(), ProduceError> {
        self.inner.poll(Duration::ZERO);
        self.healthy()
    }

    /// Waits until Kafka has acknowledged everything.
    pub(crate) fn finish(self) -> Result<(), ProduceError> {
        // Every record ends within the delivery time, one way or the other.
        self.inner.flush(2 * DELIVERY).map_err(ProduceError::Flush)?;
        self.healthy()
    }

    fn healthy(&self) -> Result<(), ProduceError> {
        self.inner.context().check()
    }
}

/// Counts what was refused.
#[derive(Default)]
struct Reports {
    count: AtomicU64,
    first: Mutex<Option<String>>,
}

impl Reports {
    fn check(&self) -> Result<(), ProduceError> {
        match self.count.load(Ordering::Acquire) {
            0 => Ok(()),
            count => {
                let first = self.first.lock().map(|first| first.clone().unwrap_or_default()).unwrap_or_default();
                Err(ProduceError::Delivery { count, first })
            }
        }
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "the producer has trouble, trying again");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            if let Ok(mut first) = self.first.lock() {
                first.get_or_insert_with(|| error.to_string());
            }
            self.count.fetch_add(1, Ordering::Release);
        }
    }
}
