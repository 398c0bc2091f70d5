//! What the harness asks of the brokers itself, past the proxies: topics, records, offsets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const REQUEST: Duration = Duration::from_secs(20);
/// A reader that has got nothing for this long is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// How long to wait before a coordinator that moves is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// State topics are compacted and rolled all the time, so that tombstones go and segments end within a run.
const AGGRESSIVE: [(&str, &str); 4] = [
    ("segment.bytes", "1048576"),
    ("segment.ms", "10000"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("max.compaction.lag.ms", "5000"),
];

/// A quiet client.
pub(crate) fn client(brokers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("reconnect.backoff.max.ms", "500");
    client.set_log_level(RDKafkaLogLevel::Emerg);
    client
}

fn consumer(brokers: &str, group: &str, isolation: &str) -> Result<BaseConsumer> {
    client(brokers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("isolation.level", isolation)
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "20")
        .create()
        .context("failed to make a consumer")
}

fn admin(brokers: &str) -> Result<(AdminClient<DefaultClientContext>, tokio::runtime::Runtime)> {
    let admin = client(brokers).create().context("failed to make a Kafka administrator")?;
    Ok((admin, tokio::runtime::Builder::new_current_thread().build().context("failed to make a runtime")?))
}

/// Makes a topic with three replicas whose records do not age, whatever their time says.
pub(crate) fn create(brokers: &str, name: &str, partitions: i32) -> Result<()> {
    let (admin, runtime) = admin(brokers)?;
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(3)).set("retention.ms", "-1");
    let answers = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new()));
    for answer in answers.with_context(|| format!("failed to create topic {name}"))? {
        answer.map_err(|(name, code)| anyhow!("failed to create topic {name}: {code}"))?;
    }
    Ok(())
}

/// Deletes every topic whose name begins with one of these.
pub(crate) fn delete_all(brokers: &str, prefixes: &[String]) -> Result<()> {
    let (admin, runtime) = admin(brokers)?;
    let metadata = admin.inner().fetch_metadata(None, REQUEST).context("failed to look for topics")?;
    let is_named = |name: &&str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let names: Vec<&str> = metadata.topics().iter().map(|topic| topic.name()).filter(is_named).collect();
    let answers = runtime.block_on(admin.delete_topics(&names, &AdminOptions::new()));
    for answer in answers.context("failed to delete topics")? {
        answer.map_err(|(name, code)| anyhow!("failed to delete topic {name}: {code}"))?;
    }
    Ok(())
}

/// Partitions of a topic; 0: it is not there.
pub(crate) fn partitions(brokers: &str, topic: &str) -> Result<i32> {
    let consumer = consumer(brokers, "chaos", "read_committed")?;
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST).context("failed to look for a topic")?;
    let found = metadata.topics().first().filter(|found| found.error().is_none());
    Ok(found.map_or(0, |found| found.partitions().len() as i32))
}

/// Makes a compacted topic compact all the time, and delete its tombstones after a while; its other settings stay.
pub(crate) fn compact_often(brokers: &str, topic: &str, tombstones: Duration) -> Result<()> {
    let (admin, runtime) = admin(brokers)?;
    let resource = ResourceSpecifier::Topic(topic);
    let described = runtime.block_on(admin.describe_configs([&resource], &AdminOptions::new()));
    let described = described.context("failed to describe the state topic")?;
    let mut settings: BTreeMap<String, String> = BTreeMap::new();
    for resource in described.into_iter().flatten() {
        let own = resource.entries.into_iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
        settings.extend(own.filter_map(|entry| Some((entry.name, entry.value?))));
    }
    // A broker that has not heard of them yet would have them taken away.
    ensure!(settings.contains_key("cleanup.policy"), "a broker does not know the settings of topic {topic} yet");
    settings.extend(AGGRESSIVE.map(|(name, value)| (name.to_owned(), value.to_owned())));
    settings.insert("delete.retention.ms".to_owned(), tombstones.as_millis().to_string());
    let mut change = AlterConfig::new(resource);
    for (name, value) in &settings {
        change = change.set(name, value);
    }
    let answers = runtime.block_on(admin.alter_configs([&change], &AdminOptions::new()));
    for answer in answers.context("failed to alter the state topic")? {
        answer.map_err(|(_, code)| anyhow!("failed to alter topic {topic}: {code}"))?;
    }
    Ok(())
}

/// Reads a partition from its beginning to its end, read committed.
pub(crate) fn read(
    brokers: &str,
    topic: &str,
    partition: i32,
    each: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    read_with(&consumer(brokers, "chaos", "read_committed")?, topic, partition, each)
}

/// The same with what lies in aborted transactions.
pub(crate) fn read_uncommitted(
    brokers: &str,
    topic: &str,
    partition: i32,
    each: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    read_with(&consumer(brokers, "chaos", "read_uncommitted")?, topic, partition, each)
}

fn read_with(
    consumer: &BaseConsumer,
    topic: &str,
    partition: i32,
    mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning).context("failed to name a partition")?;
    consumer.assign(&list).with_context(|| format!("failed to read {topic}"))?;
    let mut moved = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(message)) => {
                each(&message)?;
                moved = Instant::now();
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            // The brokers are being restarted, perhaps: time tells.
            Some(Err(_)) | None => {
                ensure!(moved.elapsed() < STUCK, "reading partition {partition} of {topic} stands still");
            }
        }
    }
}

/// What a group has committed for each partition; −1: nothing.
pub(crate) struct Group {
    stable: BaseConsumer,
    shown: BaseConsumer,
    topic: String,
    partitions: i32,
}

impl Group {
    /// Of this group on this topic.
    pub(crate) fn of(brokers: &str, group: &str, topic: &str, partitions: i32) -> Result<Self> {
        let stable = consumer(brokers, group, "read_committed")?;
        let shown = consumer(brokers, group, "read_uncommitted")?;
        Ok(Self { stable, shown, topic: topic.to_owned(), partitions })
    }

    /// Once nothing is pending. Waits for `limit` at most: while workers are busy, there may be no such moment.
    pub(crate) fn committed(&self, limit: Duration) -> Result<Vec<i64>> {
        self.offsets(&self.stable, limit)
    }

    /// So far, whatever is pending. Waits for `limit` at most.
    pub(crate) fn committed_so_far(&self, limit: Duration) -> Result<Vec<i64>> {
        self.offsets(&self.shown, limit)
    }

    fn offsets(&self, consumer: &BaseConsumer, limit: Duration) -> Result<Vec<i64>> {
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition(&self.topic, partition);
        }
        let until = Instant::now() + limit;
        let found = loop {
            match consumer.committed_offsets(list.clone(), until.saturating_duration_since(Instant::now())) {
                Err(error) if coordinator_moves(&error) && Instant::now() < until => {
                    std::thread::park_timeout(ASK_AGAIN);
                }
                found => break found.context("failed to read committed offsets")?,
            }
        };
        let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { -1 };
        Ok((0..self.partitions)
            .map(|partition| found.find_partition(&self.topic, partition).map_or(-1, |found| offset(found.offset())))
            .collect())
    }

    /// Moves a partition's offset as an administrator does, while nobody is a member.
    pub(crate) fn move_to(&self, partition: i32, offset: i64) -> Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))
            .context("failed to name an offset")?;
        self.stable.commit(&list, CommitMode::Sync).context("failed to move the committed offset")
    }
}

/// Whether an answer says only that another broker is about to be the group's coordinator: librdkafka asks again only
/// if there was no answer at all.
fn coordinator_moves(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    matches!(error.rdkafka_error_code(), Some(NotCoordinator | CoordinatorNotAvailable | CoordinatorLoadInProgress))
}

/// Partitions of topics in which a transaction is still open after `limit`: `topic-partition`, with what stands where.
pub(crate) fn hanging(brokers: &str, topics: &[&str], limit: Duration) -> Result<Vec<String>> {
    let (stable, all) =
        (consumer(brokers, "chaos", "read_committed")?, consumer(brokers, "chaos", "read_uncommitted")?);
    let began = Instant::now();
    loop {
        let mut found = Vec::new();
        for topic in topics {
            for partition in 0..partitions(brokers, topic)? {
                let end = |consumer: &BaseConsumer| consumer.fetch_watermarks(topic, partition, REQUEST);
                match (end(&stable), end(&all)) {
                    (Ok((_, stable)), Ok((_, high))) if stable == high => {}
                    (Ok((_, stable)), Ok((_, high))) => {
                        found.push(format!("{topic}-{partition}: last stable offset {stable}, high watermark {high}"))
                    }
                    // A leader that has just moved answers soon.
                    (Err(error), _) | (_, Err(error)) => found.push(format!("{topic}-{partition}: not known: {error}")),
                }
            }
        }
        if found.is_empty() || began.elapsed() > limit {
            return Ok(found);
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
}
