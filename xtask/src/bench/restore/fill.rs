//! Writes source and state topics in bulk, in transactions, but for their size as a worker would have left them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use faultline_crds::WorkerConfig;
use faultline_numerics::image::Writer;
use faultline_worker::adapters::kafka_native::{self as native, TopicHandle};
use faultline_worker::state::{Head, RecordKey, write_head};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};
use rdkafka::types::RDKafkaErrorCode;

use super::Load;
use super::past::{Habits, Past, Record};
use crate::bench::kafka;
use crate::bench::open_loop::now_ms;
use crate::bench::pipelines::Names;

/// Events that make the past of a partition.
const EVENTS: u64 = 60_000;
/// Bytes of a transaction: many ticks of a worker, or the writing would take minutes.
const TRANSACTION: usize = 8 << 20;
const CALL: Duration = Duration::from_secs(60);

/// What to write.
pub(super) struct Fill<'a> {
    pub(super) brokers: &'a str,
    pub(super) names: &'a Names,
    pub(super) config: Arc<WorkerConfig>,
    pub(super) partitions: i32,
    pub(super) load: Load,
    pub(super) seed: u64,
}

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Filled {
    /// Keys and values of all records.
    pub(super) bytes: u64,
    pub(super) images: u64,
    pub(super) image_bytes: u64,
}

impl Fill<'_> {
    /// Writes it, partition by partition.
    pub(super) fn run(&self) -> Result<Filled> {
        let mut filled = Filled::default();
        let topic = self.names.state();
        let mut bulk = Bulk::new(self.brokers, &topic)?;
        for partition in 0..self.partitions {
            let past = self.past(partition)?;
            self.source(partition, &past)?;
            let end = past.events.len() as i64;
            for _ in 0..self.load.generations {
                let keys = (partition as u64..self.load.keys).step_by(self.partitions as usize);
                for (place, key) in keys.enumerate() {
                    let record = image(&format!("user-{key:05}"), end, &past.images[place % past.images.len()]);
                    filled.images += 1;
                    filled.image_bytes += record.1.len() as u64;
                    filled.bytes += bulk.write(partition, &record)?;
                }
            }
            for record in &past.rest {
                filled.bytes += bulk.write(partition, record)?;
            }
        }
        bulk.commit()?;
        Ok(filled)
    }

    /// Users that are known as well as they can be: each has had as many events as the pipeline remembers.
    fn past(&self, partition: i32) -> Result<Past> {
        let here = self.load.keys.saturating_sub(partition as u64).div_ceil(self.partitions as u64);
        let users = (EVENTS / self.load.values).min(here);
        ensure!(users > 0, "more keys are needed: at least one for each of {} partitions", self.partitions);
        let habits =
            Habits { partition, partitions: self.partitions, users, each: self.load.values, until_ms: now_ms() };
        Past::make(&self.config, &habits, self.seed)
    }

    fn source(&self, partition: i32, past: &Past) -> Result<()> {
        let producer = kafka::event_producer(self.brokers)?;
        for (key, value) in &past.events {
            kafka::send(&producer, &self.names.input, partition, key, value)?;
        }
        kafka::flush(&producer)
    }
}

/// The record of a key's image.
pub(super) fn image(key: &str, applied_upto: i64, image: &[u8]) -> Record {
    let (mut record, mut w) = (Vec::new(), Writer::new());
    RecordKey::Image { key, part: 0 }.write(&mut record);
    write_head(Head { applied_upto, parts: 1 }, &mut w);
    w.raw(image);
    (record, w.into_bytes())
}

/// A writer in transactions.
struct Bulk {
    topic: TopicHandle,
    producer: Arc<BaseProducer<DefaultProducerContext>>,
    /// Bytes of the open transaction.
    open: usize,
}

impl Bulk {
    fn new(brokers: &str, topic: &str) -> Result<Self> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("transactional.id", format!("{topic}.bulk"))
            .set("linger.ms", "0")
            .set("compression.type", "snappy")
            .set("retry.backoff.ms", "10")
            .set("delivery.report.only.error", "true")
            .create()
            .context("failed to make a producer")?;
        producer.init_transactions(CALL).context("failed to start transactions")?;
        let producer = Arc::new(producer);
        Ok(Self { topic: TopicHandle::new(&producer, topic).context("not a topic's name")?, producer, open: 0 })
    }

    /// Bytes written.
    fn write(&mut self, partition: i32, (key, value): &Record) -> Result<u64> {
        if self.open == 0 {
            self.producer.begin_transaction().context("failed to begin a transaction")?;
        }
        loop {
            match native::produce(&self.producer, &self.topic, partition, Some(key), Some(value), &[]) {
                Ok(()) => break,
                Err(RDKafkaErrorCode::QueueFull) => {
                    self.producer.poll(Duration::from_millis(1));
                }
                Err(code) => anyhow::bail!("failed to produce: {code}"),
            }
        }
        let bytes = key.len() + value.len();
        self.open += bytes;
        if self.open >= TRANSACTION {
            self.commit()?;
        }
        Ok(bytes as u64)
    }

    fn commit(&mut self) -> Result<()> {
        if std::mem::take(&mut self.open) == 0 {
            return Ok(());
        }
        ensure!(native::flush(&self.producer, CALL), "the broker did not take the records");
        native::commit(&self.producer, CALL).context("failed to commit")
    }
}
