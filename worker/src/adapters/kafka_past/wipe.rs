//! Deletes what a state partition holds, for `--reset-state`.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::requests::{DEADLINE, TURN, pause};
use crate::ownership::lock;
use crate::past::PastError;

/// Keeps the last record that was not written.
#[derive(Default)]
struct Failures(Mutex<Option<KafkaError>>);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            *lock(&self.0) = Some(error.clone());
        }
    }
}

/// Writes a tombstone for each key, in order.
pub(super) fn delete(
    client: &ClientConfig,
    topic: &str,
    partition: i32,
    keys: &mut dyn Iterator<Item = Vec<u8>>,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), PastError> {
    let what = || format!("delete state in topic `{topic}`, partition {partition}");
    let failed = |source: KafkaError| PastError::Request { what: what(), source: Box::new(source) };
    let mut settings = client.clone();
    settings.set("enable.idempotence", "true");
    let producer: BaseProducer<Failures> = settings.create_with_context(Failures::default()).map_err(failed)?;
    for key in keys {
        while let Err((error, _)) = producer.send(BaseRecord::<[u8], [u8]>::to(topic).partition(partition).key(&key)) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(failed(error));
            }
            producer.poll(TURN);
            pause(Duration::ZERO, cancelled)?;
        }
    }
    let began = Instant::now();
    while producer.flush(TURN).is_err() {
        pause(Duration::ZERO, cancelled)?;
        if began.elapsed() > DEADLINE {
            return Err(PastError::NoProgress { what: what(), seconds: DEADLINE.as_secs(), reason: String::new() });
        }
    }
    match lock(&producer.context().0).take() {
        Some(error) => Err(failed(error)),
        None => Ok(()),
    }
}
