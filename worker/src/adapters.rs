//! The technologies behind the ports: Kafka through librdkafka, HTTP through axum.

pub mod development_broker;
pub(crate) mod http_status;
pub mod kafka_client;
pub(crate) mod kafka_ends;
pub(crate) mod kafka_group;
pub mod kafka_native;
pub mod kafka_past;
mod kafka_records;
pub(crate) mod kafka_sink;
pub(crate) mod kafka_topics;
