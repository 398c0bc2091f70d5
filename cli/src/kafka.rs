//! What the commands themselves need from Kafka: to make the source topic, to fill it, to read the alerts.

pub(crate) mod producer;

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::failure::Failure;

/// One request may take this long.
pub(crate) const REQUEST: Duration = Duration::from_secs(10);

/// Partitions of a source topic that is made here.
pub(crate) const SOURCE_PARTITIONS: i32 = 6;

/// Name of the clients at the broker.
pub(crate) const CLIENT_ID: &str = "faultline-cli";

/// A broker without TLS and authentication.
pub(crate) fn plain(brokers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("client.id", CLIENT_ID);
    client
}

/// How a topic was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was not there and has been made.
    Made,
    /// It holds no record.
    Empty,
    /// It holds records.
    Filled,
}

/// Makes a topic with [`SOURCE_PARTITIONS`] if it is not there.
pub(crate) fn ensure_topic(client: &ClientConfig, topic: &str) -> Result<Found, Failure> {
    let failed = |error: KafkaError| unreachable(client, &error);
    let consumer: BaseConsumer = client.create().map_err(failed)?;
    let partitions = partitions(&consumer, topic).map_err(failed)?;
    for partition in 0..partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, REQUEST).map_err(failed)?;
        if low < high {
            return Ok(Found::Filled);
        }
    }
    if partitions > 0 {
        return Ok(Found::Empty);
    }
    create(client, topic)?;
    Ok(Found::Made)
}

/// How many partitions a topic has; 0: it is not there.
pub(crate) fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<i32, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST)?;
    Ok(metadata
        .topics()
        .first()
        .filter(|found| found.error().is_none())
        .map_or(0, |found| found.partitions().len() as i32))
}

fn create(client: &ClientConfig, topic: &str) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Failure::of("failed to start a runtime", &error))?;
    let admin: AdminClient<DefaultClientContext> = client.create().map_err(|error| unreachable(client, &error))?;
    let wanted = NewTopic::new(topic, SOURCE_PARTITIONS, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().operation_timeout(Some(REQUEST)).request_timeout(Some(REQUEST));
    let action = format!("failed to create topic `{topic}`");
    let answers =
        runtime.block_on(admin.create_topics([&wanted], &options)).map_err(|error| Failure::of(&action, &error))?;
    for answer in answers {
        match answer {
            // Somebody else was faster.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(Failure::of(&action, &code)),
        }
    }
    Ok(())
}

pub(crate) fn unreachable(client: &ClientConfig, error: &KafkaError) -> Failure {
    let brokers = client.get("bootstrap.servers").unwrap_or_default();
    let why = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
    Failure::Failed(format!(
        "failed to reach Kafka at `{brokers}`: {why}; is the address right, is Kafka running there?"
    ))
}
