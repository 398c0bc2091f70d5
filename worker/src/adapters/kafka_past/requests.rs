//! Single questions to the brokers, asked again until they are answered.
//!
//! A broker that is away is waited for up to [`DEADLINE`]; what it refuses is told at once.

use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::adapters::kafka_group::log_line;
use crate::backoff::Backoff;
use crate::ownership::lock;
use crate::past::PastError;

/// Without an answer or a record for this long a recovery gives up; a broker's fail-over takes less.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);
/// A wait looks up this often.
pub(super) const TURN: Duration = Duration::from_millis(20);
/// One request may take this long; so long may a cancellation wait while the brokers are away.
pub(super) const REQUEST: Duration = Duration::from_secs(2);
/// A topic that was just created or grown is known everywhere after this long.
const PROPAGATION: Duration = Duration::from_secs(5);

/// Whether open and aborted transactions count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// They do not exist, and an end is the last stable offset.
    Committed,
    /// They do, and an end is the high watermark.
    Uncommitted,
}

/// A group's offset.
pub(super) enum Committed {
    At(i64),
    Never,
    /// A transaction that is open may change it.
    Pending,
}

/// A client's context that keeps the last thing it heard.
#[derive(Default)]
pub(super) struct LastWords(Mutex<String>);

impl LastWords {
    pub(super) fn last(&self) -> String {
        lock(&self.0).clone()
    }
}

impl ClientContext for LastWords {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        *lock(&self.0) = format!("{error}: {reason}");
    }
}

impl ConsumerContext for LastWords {}

impl ProducerContext for LastWords {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// The clients that ask.
pub(super) struct Requests {
    settings: ClientConfig,
    committed: BaseConsumer<LastWords>,
    uncommitted: BaseConsumer<LastWords>,
}

impl Requests {
    pub(super) fn new(client: ClientConfig, group: &str) -> Result<Self, KafkaError> {
        let mut settings = client;
        settings
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            // An offset that is pending is asked for again after this long.
            .set("retry.backoff.ms", "20");
        let create = |isolation| isolated(&settings, isolation).create_with_context(LastWords::default());
        let (committed, uncommitted) = (create(Isolation::Committed)?, create(Isolation::Uncommitted)?);
        Ok(Self { settings, committed, uncommitted })
    }

    /// Settings of a client that reads much and fast.
    pub(super) fn reader(&self, isolation: Isolation) -> ClientConfig {
        let mut settings = isolated(&self.settings, isolation);
        settings
            .set("fetch.wait.max.ms", "10")
            // The default of 1 s would stall a reader whose queue was full.
            .set("fetch.queue.backoff.ms", "2")
            .set("queued.min.messages", "100000")
            .set("queued.max.messages.kbytes", "65536")
            // One partition has the connection for itself: fewer turns for the same bytes.
            .set("max.partition.fetch.bytes", "8388608");
        settings
    }

    fn client(&self, isolation: Isolation) -> &BaseConsumer<LastWords> {
        match isolation {
            Isolation::Committed => &self.committed,
            Isolation::Uncommitted => &self.uncommitted,
        }
    }

    /// First offset of a partition and its end.
    pub(super) fn range(
        &self,
        topic: &str,
        partition: i32,
        isolation: Isolation,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Range<i64>, PastError> {
        let what = format!("find the ends of topic `{topic}`, partition {partition}");
        let client = self.client(isolation);
        let (low, high) =
            self.ask(&what, (topic, partition), cancelled, || client.fetch_watermarks(topic, partition, REQUEST))?;
        Ok(low..high)
    }

    /// The first offset at or after a time.
    pub(super) fn offset_at(
        &self,
        topic: &str,
        partition: i32,
        at_ms: i64,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<i64>, PastError> {
        let what = format!("find time {at_ms} in topic `{topic}`, partition {partition}");
        self.ask(&what, (topic, partition), cancelled, || {
            let mut times = TopicPartitionList::new();
            times.add_partition_offset(topic, partition, Offset::Offset(at_ms))?;
            let found = self.committed.offsets_for_times(times, REQUEST)?;
            let Some(element) = found.find_partition(topic, partition) else { return Ok(None) };
            element.error()?;
            Ok(match element.offset() {
                Offset::Offset(offset) => Some(offset),
                // No record at or after that time yet.
                _ => None,
            })
        })
    }

    /// The group's offset of a partition, if no transaction is open on it that long.
    pub(super) fn committed(
        &self,
        what: &str,
        (topic, partition): (&str, i32),
        within: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Committed, PastError> {
        let look_up = |client: &BaseConsumer<LastWords>, within| {
            let mut list = TopicPartitionList::new();
            list.add_partition(topic, partition);
            client.committed_offsets(list, within)
        };
        self.ask(what, (topic, partition), cancelled, || {
            let found = match look_up(&self.committed, within) {
                // The client asks for a pending offset again and again until its time is out. Whether it is that, a
                // client which takes what was committed before can tell.
                Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut) => {
                    return look_up(&self.uncommitted, REQUEST).map(|_| Committed::Pending);
                }
                other => other?,
            };
            let Some(element) = found.find_partition(topic, partition) else { return Ok(Committed::Never) };
            match (element.error(), element.offset()) {
                (Err(KafkaError::OffsetFetch(RDKafkaErrorCode::UnstableOffsetCommit)), _) => Ok(Committed::Pending),
                (Err(error), _) => Err(error),
                (Ok(()), Offset::Offset(offset)) => Ok(Committed::At(offset)),
                (Ok(()), _) => Ok(Committed::Never),
            }
        })
    }

    /// True if no partition of the topic has an offset of the group; those of open transactions do not count.
    pub(super) fn group_is_new(&self, topic: &str, cancelled: &dyn Fn() -> bool) -> Result<bool, PastError> {
        let what = format!("read the committed offsets of topic `{topic}`");
        self.ask(&what, (topic, 0), cancelled, || {
            let metadata = self.uncommitted.fetch_metadata(Some(topic), REQUEST)?;
            let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
            if partitions == 0 {
                return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
            }
            let mut list = TopicPartitionList::with_capacity(partitions);
            list.add_partition_range(topic, 0, partitions as i32 - 1);
            let found = self.uncommitted.committed_offsets(list, REQUEST)?;
            let elements = found.elements();
            elements.iter().try_for_each(|element| element.error())?;
            Ok(elements.iter().all(|element| !matches!(element.offset(), Offset::Offset(_))))
        })
    }

    fn ask<T>(
        &self,
        what: &str,
        (topic, partition): (&str, i32),
        cancelled: &dyn Fn() -> bool,
        mut request: impl FnMut() -> Result<T, KafkaError>,
    ) -> Result<T, PastError> {
        let (began, mut missing_since) = (Instant::now(), None);
        let mut backoff = Backoff::new(TURN, Duration::from_secs(1));
        loop {
            if cancelled() {
                return Err(PastError::Cancelled);
            }
            let error = match request() {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let kind = kind(&error);
            // One answer of a broker that has just come back says little: the same answer all the time says enough.
            if kind != Kind::Missing {
                missing_since = None;
            }
            match kind {
                Kind::Missing if missing_since.get_or_insert_with(Instant::now).elapsed() > PROPAGATION => {
                    return Err(PastError::TopicMissing { topic: topic.to_owned(), partition });
                }
                Kind::Refused => return Err(refused(what.to_owned(), error)),
                _ if began.elapsed() > DEADLINE => {
                    return Err(PastError::NoProgress {
                        what: what.to_owned(),
                        seconds: DEADLINE.as_secs(),
                        reason: error.to_string(),
                    });
                }
                _ => pause(backoff.next_pause(), cancelled)?,
            }
        }
    }
}

fn isolated(settings: &ClientConfig, isolation: Isolation) -> ClientConfig {
    let mut settings = settings.clone();
    settings.set(
        "isolation.level",
        match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        },
    );
    settings
}

/// Waits, in short steps, unless cancelled.
pub(super) fn pause(length: Duration, cancelled: &dyn Fn() -> bool) -> Result<(), PastError> {
    let until = Instant::now() + length;
    loop {
        if cancelled() {
            return Err(PastError::Cancelled);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::park_timeout(left.min(TURN));
    }
}

pub(super) fn refused(what: String, error: KafkaError) -> PastError {
    PastError::Request { what, source: Box::new(error) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Missing,
    Refused,
    Passing,
}

fn kind(error: &KafkaError) -> Kind {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition) => Kind::Missing,
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidTopic
            | Code::InvalidGroupId
            | Code::UnsupportedFeature,
        )
        | None => Kind::Refused,
        Some(_) => Kind::Passing,
    }
}
