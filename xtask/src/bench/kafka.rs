//! What the measurements need of a broker: topics, events in them, and how far a group has read.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// A reader that has not moved for this long is stuck.
const STUCK: Duration = Duration::from_secs(60);
/// How often a reader's progress is looked at: 20 times a second costs nothing, and is one part in 200 of a drain.
const LOOK: Duration = Duration::from_millis(50);
const REQUEST: Duration = Duration::from_secs(20);

fn client(brokers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers);
    client
}

/// A broker and its administration.
pub(crate) struct Topics {
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Topics {
    /// Of this broker.
    pub(crate) fn of(brokers: &str) -> Result<Self> {
        let admin = client(brokers).create().context("failed to make a Kafka administrator")?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().context("failed to make a runtime")?;
        Ok(Self { admin, runtime })
    }

    /// Creates a topic.
    pub(crate) fn create(&self, name: &str, partitions: i32) -> Result<()> {
        self.create_with(name, partitions, &[])
    }

    /// Creates a state topic that is not compacted while something is measured: every record can be counted, and none is
    /// spared to whoever reads them.
    pub(crate) fn create_state(&self, name: &str, partitions: i32) -> Result<()> {
        let settings = [
            ("cleanup.policy", "compact"),
            ("segment.bytes", "67108864"),
            ("min.compaction.lag.ms", "86400000"),
            ("max.message.bytes", "1114112"),
        ];
        self.create_with(name, partitions, &settings)
    }

    fn create_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (setting, value)| topic.set(setting, value));
        let answers = self.runtime.block_on(self.admin.create_topics([&topic], &AdminOptions::new()));
        each(answers, name, "create")
    }

    /// Deletes topics, so that their data does not crowd out what is measured next. Those not there are fine.
    pub(crate) fn delete(&self, names: &[&str]) -> Result<()> {
        for name in names {
            let answers = self.runtime.block_on(self.admin.delete_topics(&[name], &AdminOptions::new()));
            let unknown = matches!(answers.as_deref(), Ok([Err((_, RDKafkaErrorCode::UnknownTopicOrPartition))]));
            if !unknown {
                each(answers, name, "delete")?;
            }
        }
        Ok(())
    }
}

fn each(answers: Result<Vec<rdkafka::admin::TopicResult>, KafkaError>, name: &str, verb: &str) -> Result<()> {
    for answer in answers.with_context(|| format!("failed to {verb} topic {name}"))? {
        answer.map_err(|(name, code)| anyhow!("failed to {verb} topic {name}: {code}"))?;
    }
    Ok(())
}

/// A producer of events, quick and in order: a batch that is sent again must not land behind the next one, or its events
/// would be late.
pub(crate) fn event_producer(brokers: &str) -> Result<BaseProducer> {
    client(brokers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("compression.type", "lz4")
        .set("delivery.report.only.error", "true")
        .set("queue.buffering.max.messages", "2000000")
        .set("queue.buffering.max.kbytes", "1000000")
        .create()
        .context("failed to make a producer")
}

/// Queues an event; waits while the queue is full.
pub(crate) fn send(producer: &BaseProducer, topic: &str, partition: i32, key: &str, value: &str) -> Result<()> {
    let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                record = same;
                producer.poll(Duration::from_millis(1));
            }
            Err((error, _)) => return Err(error).context("failed to send an event"),
        }
    }
}

/// Waits until everything is delivered.
pub(crate) fn flush(producer: &BaseProducer) -> Result<()> {
    producer.flush(REQUEST * 3).context("failed to deliver the events")
}

/// How far a group has read a topic, by its committed offsets: the same measure for every program.
pub(crate) struct Progress {
    consumer: BaseConsumer,
    topic: String,
    partitions: i32,
}

impl Progress {
    /// Of this group on this topic.
    pub(crate) fn of(brokers: &str, group: &str, topic: &str, partitions: i32) -> Result<Self> {
        let consumer = client(brokers)
            .set("group.id", group)
            // What is committed, also while a transaction is pending; by default the answer would wait for its end.
            .set("isolation.level", "read_uncommitted")
            .create()
            .context("failed to make a consumer")?;
        Ok(Self { consumer, topic: topic.to_owned(), partitions })
    }

    /// Records read.
    pub(crate) fn records(&self) -> Result<u64> {
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition(&self.topic, partition);
        }
        let committed = self.consumer.committed_offsets(list, REQUEST).context("failed to read committed offsets")?;
        let elements = committed.elements();
        let offsets = elements.iter().map(|element| match element.offset() {
            Offset::Offset(offset) => offset.unsigned_abs(),
            _ => 0,
        });
        Ok(offsets.sum())
    }

    /// Waits until so many were read, returns how many then were; `alive` says when waiting makes no sense any more.
    pub(crate) fn wait_for(&self, records: u64, alive: &mut dyn FnMut() -> Result<()>) -> Result<u64> {
        let (mut last, mut moved) = (0, Instant::now());
        loop {
            // A coordinator that is still loading says so with an error.
            let found = self.records();
            if let Ok(now) = found {
                if now >= records {
                    return Ok(now);
                }
                if now > last {
                    (last, moved) = (now, Instant::now());
                }
            }
            alive()?;
            if moved.elapsed() > STUCK {
                found?;
                bail!("no progress for {} s: {last} of {records} records read", STUCK.as_secs());
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Where the records of a topic end, partition by partition, added up: records and transaction markers ever written.
/// A topic that is not there has none.
pub(crate) fn written(brokers: &str, topic: &str, partitions: i32) -> Result<u64> {
    let consumer: BaseConsumer = client(brokers).create().context("failed to make a consumer")?;
    let mut sum = 0;
    for partition in 0..partitions {
        match consumer.fetch_watermarks(topic, partition, REQUEST) {
            Ok((_, end)) => sum += end.unsigned_abs(),
            Err(error) if is_missing(&error) => return Ok(0),
            Err(error) => return Err(error).with_context(|| format!("failed to find the end of {topic}")),
        }
    }
    Ok(sum)
}

/// Where each partition of a topic ends.
pub(crate) fn ends(brokers: &str, topic: &str, partitions: i32) -> Result<Vec<i64>> {
    let consumer: BaseConsumer = client(brokers).create().context("failed to make a consumer")?;
    let end = |partition| Ok(consumer.fetch_watermarks(topic, partition, REQUEST)?.1);
    (0..partitions).map(end).collect::<Result<_>>().with_context(|| format!("failed to find the end of {topic}"))
}

fn is_missing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopicOrPartition
        )
    )
}

/// Reads committed records of some partitions, from an offset in each to its present end.
pub(crate) fn read_to_end(
    brokers: &str,
    topic: &str,
    partitions: std::ops::Range<i32>,
    from: Offset,
    each: &mut dyn FnMut(&rdkafka::message::BorrowedMessage<'_>) -> bool,
) -> Result<()> {
    let consumer: BaseConsumer = client(brokers)
        .set("group.id", "faultline-bench-audit")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("fetch.queue.backoff.ms", "2")
        .create()
        .context("failed to make a consumer")?;
    let mut list = TopicPartitionList::new();
    for partition in partitions.clone() {
        list.add_partition_offset(topic, partition, from).context("failed to choose a partition")?;
    }
    consumer.assign(&list).with_context(|| format!("failed to read {topic}"))?;
    let (mut open, mut moved) = (partitions.len(), Instant::now());
    while open > 0 {
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(message)) => {
                moved = Instant::now();
                if !each(&message) {
                    return Ok(());
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => return Err(error).with_context(|| format!("failed to read {topic}")),
            None => ensure!(moved.elapsed() < STUCK, "{topic} could not be read to its end"),
        }
    }
    Ok(())
}

/// Mean bytes (key and value) of the first records of a topic, or of its last ones.
pub(crate) fn mean_record_bytes(brokers: &str, topic: &str, from: Offset) -> Result<(f64, f64)> {
    use rdkafka::Message;
    let (mut keys, mut values, mut count) = (0, 0, 0);
    read_to_end(brokers, topic, 0..1, from, &mut |message| {
        keys += message.key().map_or(0, <[u8]>::len);
        values += message.payload().map_or(0, <[u8]>::len);
        count += 1;
        count < 10_000
    })?;
    ensure!(count > 0, "no record in {topic}");
    Ok((keys as f64 / f64::from(count), values as f64 / f64::from(count)))
}
