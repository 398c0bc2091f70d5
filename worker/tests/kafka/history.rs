//! Makes a past to read: a state topic with its source, written by transactional producers that commit, abort, or die.

use std::ops::{ControlFlow, Range};
use std::time::Duration;

use faultline_worker::adapters::kafka_past::{KafkaPast, OwnerOf, PastConfig, WrittenBy, state_topic};
use faultline_worker::past::{Past, PastError};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::broker::{create, create_topic, shared, unique};

const LIMIT: Duration = Duration::from_secs(30);
/// Key of the records whose value is the transactional id of their writer.
pub(crate) const OWNER: &str = "m";

/// A group with a source and a state topic.
pub(crate) struct History {
    pub(crate) brokers: String,
    pub(crate) identity: String,
}

/// Offset, key, value.
pub(crate) type Found = (i64, String, Option<String>);

impl History {
    /// Both topics with one partition; the state's settings are what a test of it needs.
    pub(crate) fn new(test: &str, settings: &[(&str, &str)]) -> Self {
        let history = Self { brokers: shared(), identity: unique(test) };
        create_topic(&history.brokers, &history.source(), 1);
        let name = history.state();
        let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
        let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        create(&history.brokers, &topic);
        history
    }

    pub(crate) fn source(&self) -> String {
        format!("{}.in", self.identity)
    }

    pub(crate) fn state(&self) -> String {
        state_topic(&self.identity)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers);
        client
    }

    /// A reader that owns the partition: it takes over what the owners named in the state left open.
    pub(crate) fn past(&self) -> KafkaPast {
        self.past_of(Box::new(|key, value| {
            let id = || String::from_utf8_lossy(value.unwrap()).into_owned();
            (key == OWNER.as_bytes()).then(|| WrittenBy::Another(id()))
        }))
    }

    /// A reader that disturbs nobody.
    pub(crate) fn onlooker(&self) -> KafkaPast {
        self.past_of(Box::new(|_, _| None))
    }

    /// A reader that judges by `owner_of` who wrote a record.
    pub(crate) fn past_of(&self, owner_of: OwnerOf) -> KafkaPast {
        let (source, state) = (self.source(), self.state());
        let group = self.identity.clone();
        KafkaPast::new(PastConfig { client: self.client(), group, source, state, owner_of }).unwrap()
    }

    /// A transactional producer whose open transaction nobody else ends for two minutes.
    #[track_caller]
    pub(crate) fn writer(&self, id: &str) -> Writer {
        let id = format!("{}.{id}", self.identity);
        let mut settings = self.client();
        settings.set("transactional.id", &id).set("transaction.timeout.ms", "120000");
        let producer: BaseProducer = settings.create().unwrap();
        producer.init_transactions(LIMIT).unwrap();
        Writer { producer, id, state: self.state(), source: self.source(), group: self.client_of_group() }
    }

    fn client_of_group(&self) -> BaseConsumer {
        self.client().set("group.id", &self.identity).set("isolation.level", "read_uncommitted").create().unwrap()
    }

    /// First offset and high watermark of the state.
    pub(crate) fn state_range(&self) -> Range<i64> {
        let (low, high) = self.client_of_group().fetch_watermarks(&self.state(), 0, LIMIT).unwrap();
        low..high
    }

    /// Removes the state before an offset.
    pub(crate) fn delete_state_before(&self, offset: Offset) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.state(), 0, offset).unwrap();
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let answer = wait(admin.delete_records(&list, &AdminOptions::new())).unwrap();
        answer.elements().iter().for_each(|element| element.error().unwrap());
    }
}

/// Runs one administrative request.
pub(crate) fn wait<T>(request: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(request)
}

/// What a shard's owner does to both topics.
pub(crate) struct Writer {
    pub(crate) producer: BaseProducer,
    pub(crate) id: String,
    state: String,
    source: String,
    group: BaseConsumer,
}

impl Writer {
    pub(crate) fn begin(&self) -> &Self {
        self.producer.begin_transaction().unwrap();
        self
    }

    fn send(&self, topic: &str, key: &str, value: Option<&str>) -> &Self {
        let mut record = BaseRecord::to(topic).key(key).partition(0);
        record.payload = value;
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
        self
    }

    pub(crate) fn state(&self, key: &str, value: &str) -> &Self {
        self.send(&self.state, key, Some(value))
    }

    pub(crate) fn tombstone(&self, key: &str) -> &Self {
        self.send(&self.state, key, None)
    }

    /// A record that names the writer.
    pub(crate) fn marker(&self) -> &Self {
        self.state(OWNER, &self.id)
    }

    pub(crate) fn event(&self, value: &str) -> &Self {
        self.send(&self.source, "key", Some(value))
    }

    /// Sends an offset of the source along.
    pub(crate) fn offset(&self, offset: i64) -> &Self {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.source, 0, Offset::Offset(offset)).unwrap();
        let group = self.group.group_metadata().unwrap();
        self.producer.send_offsets_to_transaction(&list, &group, LIMIT).unwrap();
        self
    }

    /// Leaves the transaction open, with everything at the broker.
    pub(crate) fn leave(&self) {
        self.producer.flush(LIMIT).unwrap();
    }

    pub(crate) fn commit(&self) {
        self.try_commit().unwrap();
    }

    pub(crate) fn try_commit(&self) -> KafkaResult<()> {
        self.producer.commit_transaction(LIMIT)
    }

    pub(crate) fn abort(&self) {
        // Otherwise what is still here would be dropped, and nothing aborted would be in the topic.
        self.leave();
        self.producer.abort_transaction(LIMIT).unwrap();
    }
}

/// Reads the whole state; the number is that of the bytes.
pub(crate) fn read_state(past: &mut KafkaPast) -> Result<(Vec<Found>, u64), PastError> {
    let mut found = Vec::new();
    let bytes = past.read_state(0, &|| false, &mut |_, _| {}, &mut |record| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        found.push((record.offset, text(record.key), record.value.map(text)));
        ControlFlow::Continue(())
    })?;
    Ok((found, bytes))
}

/// A record as it is expected.
pub(crate) fn record(offset: i64, key: &str, value: &str) -> Found {
    (offset, key.to_owned(), Some(value.to_owned()))
}
