//! The embedded development broker: librdkafka's mock cluster in this process, for trying a pipeline on a laptop.
//!
//! It speaks Kafka's protocol on a local port, so that everything else is what runs in production. It does not
//! survive the process, keeps 5 MB per partition (older batches go silently), and its transactions are stubs: it
//! proves nothing about exactly-once. Clients built on librdkafka can use it, Java clients cannot: they misread its answer
//! to their first request.

use super::kafka_native::MockBroker;

/// A broker inside this process.
pub struct DevelopmentBroker(MockBroker);

/// Bytes that a partition keeps; what is written further ahead of its slowest reader is lost.
pub const PARTITION_BYTES: usize = 5 << 20;

/// The broker did not start.
#[derive(Debug, thiserror::Error)]
#[error("failed to start the development broker: {0}")]
pub struct DevelopmentBrokerError(String);

impl DevelopmentBroker {
    /// Starts it with topics of these names and partition counts.
    ///
    /// # Errors
    /// It cannot listen, or a topic's name is not valid.
    pub fn start(topics: &[(String, i32)]) -> Result<Self, DevelopmentBrokerError> {
        let broker = MockBroker::start().map_err(DevelopmentBrokerError)?;
        for (name, partitions) in topics {
            broker
                .create_topic(name, *partitions)
                .map_err(|e| DevelopmentBrokerError(format!("topic `{name}`: {e}")))?;
        }
        Ok(Self(broker))
    }

    /// Its address, for `bootstrap.servers`.
    #[must_use]
    pub fn brokers(&self) -> String {
        self.0.brokers().to_owned()
    }
}
