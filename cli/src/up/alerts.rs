//! Reads the alerts as any consumer would: committed records of the alerts topic.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::DateTime;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde::Deserialize;

use super::session::Message;
use crate::kafka::{REQUEST, partitions};

/// Longest wait for an alert before the reader looks around.
const TURN: Duration = Duration::from_millis(50);

/// One alert.
#[derive(Debug, Clone)]
pub(super) struct Alert {
    /// The record as it was written.
    pub(super) payload: String,
    pub(super) fields: AlertFields,
    /// Event time at which the incident was opened.
    pub(super) opened_at_ms: i64,
}

/// What is read of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AlertFields {
    pub(super) incident_id: String,
    pub(super) state: String,
    pub(super) key: String,
    pub(super) opened_at: String,
    pub(super) timestamp: String,
    pub(super) summary: String,
}

impl Alert {
    /// Reads a record of the alerts topic.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, String> {
        let fields: AlertFields = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        let opened_at = DateTime::parse_from_rfc3339(&fields.opened_at);
        let opened_at_ms = opened_at.map_err(|error| format!("openedAt: {error}"))?.timestamp_millis();
        Ok(Self { payload: String::from_utf8_lossy(payload).into_owned(), fields, opened_at_ms })
    }
}

/// A running reader.
pub(super) struct AlertReader {
    thread: JoinHandle<Result<(), KafkaError>>,
    drain: Arc<AtomicBool>,
}

impl AlertReader {
    /// Starts to read what is written from now on; the topic may be made later.
    ///
    /// # Errors
    /// Kafka cannot be reached, or there is no thread to be had.
    pub(super) fn start(client: &ClientConfig, topic: &str, messages: Sender<Message>) -> Result<Self, ReaderError> {
        let consumer: BaseConsumer = client
            .clone()
            // Needed to assign partitions; nothing is ever committed under it.
            .set("group.id", format!("faultline-up-{}", std::process::id()))
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "10")
            .create()
            .map_err(ReaderError::Kafka)?;
        let mut next = BTreeMap::new();
        for partition in 0..partitions(&consumer, topic).map_err(ReaderError::Kafka)? {
            let (_, high) = consumer.fetch_watermarks(topic, partition, REQUEST).map_err(ReaderError::Kafka)?;
            next.insert(partition, high);
        }
        let drain = Arc::new(AtomicBool::new(false));
        let reading = Reading { consumer, topic: topic.to_owned(), next, messages, drain: Arc::clone(&drain) };
        let thread = std::thread::Builder::new().name("alerts".to_owned());
        let thread = thread.spawn(move || reading.run()).map_err(ReaderError::Thread)?;
        Ok(Self { thread, drain })
    }

    /// Reads what is left in the topic and ends. Nothing is written to it any more.
    ///
    /// # Errors
    /// Reading failed.
    pub(super) fn finish(self) -> Result<(), ReaderError> {
        self.drain.store(true, Ordering::Release);
        match self.thread.join() {
            Ok(ended) => ended.map_err(ReaderError::Kafka),
            Err(_) => Err(ReaderError::Panicked),
        }
    }
}

/// Why alerts cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReaderError {
    #[error("failed to read the alerts")]
    Kafka(#[source] KafkaError),
    #[error("failed to start a thread")]
    Thread(#[source] io::Error),
    #[error("the reader of the alerts panicked")]
    Panicked,
}

struct Reading {
    consumer: BaseConsumer,
    topic: String,
    /// The next offset of each partition.
    next: BTreeMap<i32, i64>,
    messages: Sender<Message>,
    drain: Arc<AtomicBool>,
}

impl Reading {
    fn run(mut self) -> Result<(), KafkaError> {
        while self.next.is_empty() && !self.drained() {
            self.look_for_topic()?;
        }
        self.assign()?;
        while !self.drained() {
            self.poll(TURN)?;
        }
        // Fresh fetches report the end of every partition, also of those whose end was seen before.
        self.look_for_topic()?;
        self.assign()?;
        let mut open: Vec<i32> = self.next.keys().copied().collect();
        while !open.is_empty() {
            if let Some(ended) = self.poll(REQUEST)? {
                open.retain(|partition| *partition != ended);
            }
        }
        Ok(())
    }

    fn drained(&self) -> bool {
        self.drain.load(Ordering::Acquire)
    }

    /// Takes in partitions that have been made meanwhile; they are read from their begin.
    fn look_for_topic(&mut self) -> Result<(), KafkaError> {
        let count = partitions(&self.consumer, &self.topic)?;
        (0..count).for_each(|partition| {
            self.next.entry(partition).or_insert(0);
        });
        if count == 0 {
            std::thread::park_timeout(TURN);
        }
        Ok(())
    }

    fn assign(&self) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for (partition, next) in &self.next {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*next))?;
        }
        self.consumer.assign(&list)
    }

    /// Passes the next alert on; or says whose end was reached.
    fn poll(&mut self, wait: Duration) -> Result<Option<i32>, KafkaError> {
        match self.consumer.poll(wait) {
            None => Ok(None),
            Some(Err(KafkaError::PartitionEOF(partition))) => Ok(Some(partition)),
            Some(Err(error)) => match error.rdkafka_error_code() {
                // The client reconnects by itself.
                Some(code) if is_passing(code) => Ok(None),
                _ => Err(error),
            },
            Some(Ok(message)) => {
                self.next.insert(message.partition(), message.offset() + 1);
                let read = Alert::parse(message.payload().unwrap_or_default());
                // The session is there as long as this thread is.
                let _ = self.messages.send(match read {
                    Ok(alert) => Message::Alert(Box::new(alert)),
                    Err(reason) => Message::BadAlert(reason),
                });
                Ok(None)
            }
        }
    }
}

fn is_passing(code: rdkafka::types::RDKafkaErrorCode) -> bool {
    use rdkafka::types::RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_tells_key_and_time_of_its_incident() {
        let payload = br#"{"alertId":"a","incidentId":"i-1","state":"opened","severity":"major","key":"user-00042",
            "openedAt":"2026-11-01T02:14:00.000Z","timestamp":"2026-11-01T02:14:00.000Z","events":1,"peak":5.2,
            "summary":"major: user-00042 paid 4,310.00 at 02:14","explanation":[],"models":[],"maturity":"mature"}"#;
        let alert = Alert::parse(payload).unwrap();
        assert_eq!((alert.fields.key.as_str(), alert.opened_at_ms), ("user-00042", 1_793_499_240_000));
        assert!(Alert::parse(b"{}").is_err());
        assert!(Alert::parse(&payload.map(|byte| if byte == b'T' { b'?' } else { byte })).is_err());
    }
}
