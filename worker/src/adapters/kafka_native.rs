//! The calls into librdkafka that the client crate does not wrap. The only `unsafe` of the project.
//!
//! * [`LaneQueue`]: one native queue per lane. Partitions are forwarded to it inside the rebalance callback, and
//!   records are taken from it in batches. Never the consumer's own queue: rebalance events that arrive there through
//!   a batch call would be answered with an empty assignment.
//! * [`wake_leaders`]: has the client notice at once that it may fetch again.
//! * [`TopicHandle`], [`produce`]: a record with headers, without building a topic name and a header list each time.
//! * [`flush`]: waits until everything is delivered and returns at once then (the crate's own waits in 100 ms steps).
//! * [`GroupMetadata`], [`send_offsets`]: generation and member id are read from the very object that is sent.
//! * [`MockBroker`]: the mock cluster of the development broker, without its initial rebalance delay.
//!
//! Every pointer is owned by the type that holds it and kept alive with the client that it came from.

#![allow(unsafe_code, reason = "the one adapter that calls the native client; each block says why it is sound")]

mod arguments;
mod failure;
mod silence;

use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaMessage, RDKafkaRespErr};
use rdkafka::{ClientConfig, TopicPartitionList};

use crate::ports::{Position, RawEvent, RecordTime, Source, Taken};

pub use self::arguments::{Header, MOST_HEADERS};
pub use self::failure::TransactionFailure;

const NO_ERROR: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
/// Records handed over by one native call; also the size of the pointer buffer of a lane.
const BATCH: usize = 4096;

/// A native queue to which partitions of one consumer are forwarded.
pub struct LaneQueue {
    // Before the handle, which may be the last to keep the client.
    asked: Option<Question>,
    ask_at: Instant,
    inner: Arc<QueueHandle>,
    topic: String,
    buffer: Vec<*mut RDKafkaMessage>,
}

/// The way to forward partitions to a lane from the rebalance callback; does not keep the consumer alive.
#[derive(Clone)]
pub struct LaneTarget(Weak<QueueHandle>);

struct QueueHandle {
    queue: Queue,
    // Dropped after the queue is destroyed: a client with a live queue would hang in its own drop.
    _keep: Arc<dyn std::any::Any + Send + Sync>,
}

/// A native queue and its client, which whoever has the queue keeps alive.
struct Queue(*mut sys::rd_kafka_queue_t, *mut sys::rd_kafka_t);

// SAFETY: librdkafka's queues and clients are thread-safe; there is no other state.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}
// SAFETY: the buffer holds pointers only inside `take`, never between calls.
unsafe impl Send for LaneQueue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once, while the client is alive.
        unsafe { sys::rd_kafka_queue_destroy(self.0) }
    }
}

impl LaneQueue {
    /// A queue of its own on a consumer's client, for partitions of one topic.
    ///
    /// The consumer must not report ends of partitions (`enable.partition.eof`): a batch call takes such a report for a
    /// record, moves the position one too far, and the next rebalance would skip a record.
    #[must_use]
    pub fn new<C: ConsumerContext + Send + Sync + 'static>(consumer: &Arc<BaseConsumer<C>>, topic: &str) -> Self {
        let client = consumer.client().native_ptr();
        // SAFETY: the client pointer is valid as long as the consumer, which the handle keeps alive.
        let queue = Queue(unsafe { sys::rd_kafka_queue_new(client) }, client);
        let inner = Arc::new(QueueHandle { queue, _keep: Arc::<BaseConsumer<C>>::clone(consumer) });
        let buffer = vec![ptr::null_mut(); BATCH];
        Self { asked: None, ask_at: Instant::now(), inner, topic: topic.to_owned(), buffer }
    }

    /// What the rebalance callback needs.
    #[must_use]
    pub fn target(&self) -> LaneTarget {
        LaneTarget(Arc::downgrade(&self.inner))
    }
}

impl LaneTarget {
    /// Sends what is fetched of a partition to the lane from now on. To be called on every assignment.
    pub fn forward<C: ClientContext>(&self, client: &Client<C>, topic: &str, partition: i32) {
        let (Some(lane), Ok(topic)) = (self.0.upgrade(), CString::new(topic)) else { return };
        // SAFETY: both queues belong to the client, which is alive during its own callback; the partition's queue
        // reference is given back at once.
        unsafe {
            let queue = sys::rd_kafka_queue_get_partition(client.native_ptr(), topic.as_ptr(), partition);
            if !queue.is_null() {
                sys::rd_kafka_queue_forward(queue, lane.queue.0);
                sys::rd_kafka_queue_destroy(queue);
            }
        }
    }
}

/// Wakes the connections to the leaders of partitions, whose offsets here are to be `Offset::End`, by a question that nobody
/// waits for: one over which nothing else is fetched sees a resumed partition up to a second later.
pub fn wake_leaders<C: ClientContext>(client: &Client<C>, partitions: &TopicPartitionList) {
    drop(Question::ask(client.native_ptr(), partitions));
}

/// A question for the ends of partitions, those of open transactions included.
struct Question {
    answers: Queue,
    asked: Instant,
}

impl Question {
    /// Asks the leaders, and does not wait. The offsets are to be `Offset::End`.
    fn ask(client: *mut sys::rd_kafka_t, partitions: &TopicPartitionList) -> Self {
        // SAFETY: callers have the client alive, and an answer that comes too late is dropped.
        let answers = Queue(unsafe { sys::rd_kafka_queue_new(client) }, client);
        // SAFETY: as above; the call copies the list.
        unsafe { sys::rd_kafka_ListOffsets(client, partitions.ptr(), ptr::null(), answers.0) };
        Self { answers, asked: Instant::now() }
    }

    /// The ends, if the answer is there; partitions whose leader has none are left out.
    fn answer(&self) -> Option<Vec<Position>> {
        // SAFETY: the queue is alive. The event is ours until it is destroyed; what it holds lives as long as it does, and
        // the number of results is written before they are read.
        unsafe {
            let event = sys::rd_kafka_queue_poll(self.answers.0, 0);
            if event.is_null() {
                return None;
            }
            let (mut ends, mut count) = (Vec::new(), 0);
            let result = sys::rd_kafka_event_ListOffsets_result(event);
            if !result.is_null() {
                let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
                for at in 0..count {
                    let end = &*sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(at));
                    if end.err == NO_ERROR && end.offset >= 0 {
                        ends.push(Position { partition: end.partition, next_offset: end.offset });
                    }
                }
            }
            sys::rd_kafka_event_destroy(event);
            Some(ends)
        }
    }
}

/// Gives a message back when the closure that looks at it returns or panics.
struct Message(*mut RDKafkaMessage);

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: handed over by the batch call, destroyed once.
        unsafe { sys::rd_kafka_message_destroy(self.0) }
    }
}

impl Message {
    fn hand_over(&self, each: &mut dyn FnMut(Taken<'_>)) {
        // SAFETY: the message is alive until `self` is dropped; its buffers live as long as it does.
        let message = unsafe { &*self.0 };
        match message.err {
            NO_ERROR => each(Taken::Record(RawEvent {
                partition: message.partition,
                offset: message.offset,
                timestamp: self.time(),
                key: slice(message.key, message.key_len),
                value: slice(message.payload, message.len),
                traceparent: self.header(c"traceparent"),
            })),
            error => {
                let partition = if message.rkt.is_null() { -1 } else { message.partition };
                let gone = matches!(
                    error,
                    RDKafkaRespErr::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
                        | RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE
                );
                // The payload of an error is the client's sentence about it.
                let words = slice(message.payload, message.len).map(String::from_utf8_lossy).unwrap_or_default();
                let reason = format!("{}: {words}", RDKafkaErrorCode::from(error));
                each(Taken::Failed { partition, gone, reason });
            }
        }
    }

    fn time(&self) -> RecordTime {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive; `kind` is written before the call returns.
        let at = unsafe { sys::rd_kafka_message_timestamp(self.0, &raw mut kind) };
        match kind {
            _ if at < 0 => RecordTime::Missing,
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => RecordTime::Created(at),
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => RecordTime::Appended(at),
            _ => RecordTime::Missing,
        }
    }

    fn header(&self, name: &CStr) -> Option<&[u8]> {
        let mut headers = ptr::null_mut();
        let mut value = ptr::null();
        let mut size = 0;
        // SAFETY: the message is alive; headers and their values live as long as it does.
        unsafe {
            if sys::rd_kafka_message_headers(self.0, &raw mut headers) != NO_ERROR
                || sys::rd_kafka_header_get_last(headers, name.as_ptr(), &raw mut value, &raw mut size) != NO_ERROR
            {
                return None;
            }
        }
        slice(value.cast_mut(), size)
    }
}

fn slice<'a>(start: *mut c_void, length: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: callers pass a buffer of a message that outlives the slice's use inside `hand_over`.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) })
}

impl Source for LaneQueue {
    fn take(&mut self, wait: Duration, each: &mut dyn FnMut(Taken<'_>)) -> usize {
        let queue = self.inner.queue.0;
        let millis = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // The call waits until the array is full or the time is out: one first, then what is there.
        // SAFETY: the buffer has room for `BATCH` pointers; the queue is alive.
        let first =
            unsafe { sys::rd_kafka_consume_batch_queue(queue, millis, self.buffer.as_mut_ptr(), 1) }.max(0) as usize;
        let mut taken = first;
        if first == 1 {
            // SAFETY: as above, from the second place on.
            let rest = unsafe { sys::rd_kafka_consume_batch_queue(queue, 0, self.buffer[1..].as_mut_ptr(), BATCH - 1) };
            taken += rest.max(0) as usize;
        }
        for message in &self.buffer[..taken] {
            Message(*message).hand_over(each);
        }
        taken
    }

    fn silent(&mut self, read: &[Position]) -> Vec<Position> {
        self.silent_now(read, Instant::now())
    }

    fn handed_over(&mut self, partition: i32) -> Option<i64> {
        let list = self.list([partition]);
        // SAFETY: the client is kept alive by the handle; the call writes into the list and sends nothing.
        unsafe { sys::rd_kafka_position(self.inner.queue.1, list.ptr()) };
        list.elements().first()?.offset().to_raw().filter(|offset| *offset >= 0)
    }
}

/// Group, generation and member id of a consumer at one moment.
pub struct GroupMetadata(*mut sys::rd_kafka_consumer_group_metadata_t);

// SAFETY: the object is an immutable copy.
unsafe impl Send for GroupMetadata {}
// SAFETY: as above.
unsafe impl Sync for GroupMetadata {}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: owned by us, destroyed once.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0) }
    }
}

impl GroupMetadata {
    /// What the consumer is at this moment; `None` when it has no group, or is too busy to say.
    #[must_use]
    pub fn of<C: ClientContext>(client: &Client<C>) -> Option<Self> {
        // SAFETY: the client is alive; the result is ours.
        let metadata = unsafe { sys::rd_kafka_consumer_group_metadata(client.native_ptr()) };
        (!metadata.is_null()).then(|| Self(metadata))
    }

    /// The generation; −1 outside a group, where a commit would not be fenced.
    #[must_use]
    pub fn generation(&self) -> i32 {
        // SAFETY: the object is alive.
        unsafe { sys::rd_kafka_consumer_group_metadata_generation_id(self.0) }
    }

    /// The member id; empty outside a group.
    #[must_use]
    pub fn member(&self) -> String {
        // SAFETY: the object is alive and its member id, when there is one, is a C string inside it.
        unsafe {
            let member = sys::rd_kafka_consumer_group_metadata_member_id(self.0);
            if member.is_null() { String::new() } else { CStr::from_ptr(member).to_string_lossy().into_owned() }
        }
    }

    /// Whether offsets sent with it are fenced.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.generation() >= 0 && !self.member().is_empty()
    }
}

fn failure(error: *mut sys::rd_kafka_error_t) -> Result<(), TransactionFailure> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the error is ours until it is destroyed below; its text lives as long as it does.
    let failure = unsafe {
        let failure = TransactionFailure {
            code: sys::rd_kafka_error_code(error).into(),
            message: CStr::from_ptr(sys::rd_kafka_error_string(error)).to_string_lossy().into_owned(),
            fatal: sys::rd_kafka_error_is_fatal(error) != 0,
            retriable: sys::rd_kafka_error_is_retriable(error) != 0,
            abort: sys::rd_kafka_error_txn_requires_abort(error) != 0,
        };
        sys::rd_kafka_error_destroy(error);
        failure
    };
    Err(failure)
}

/// Adds offsets to the producer's transaction, fenced by the generation and member id of `group`.
///
/// # Errors
/// What the client answered, with what may be done next.
pub fn send_offsets<C: ProducerContext>(
    producer: &BaseProducer<C>,
    offsets: &TopicPartitionList,
    group: &GroupMetadata,
    timeout: Duration,
) -> Result<(), TransactionFailure> {
    // SAFETY: all three objects are alive during the call, which does not keep them.
    failure(unsafe {
        sys::rd_kafka_send_offsets_to_transaction(
            producer.client().native_ptr(),
            offsets.ptr(),
            group.0,
            millis(timeout),
        )
    })
}

/// Commits the producer's transaction. Everything must have been delivered before, see [`flush`].
///
/// # Errors
/// What the client answered, with what may be done next.
pub fn commit<C: ProducerContext>(producer: &BaseProducer<C>, timeout: Duration) -> Result<(), TransactionFailure> {
    // SAFETY: the producer is alive.
    failure(unsafe { sys::rd_kafka_commit_transaction(producer.client().native_ptr(), millis(timeout)) })
}

/// Waits until every record was delivered or has failed; false when the time was out first.
pub fn flush<C: ProducerContext>(producer: &BaseProducer<C>, timeout: Duration) -> bool {
    // SAFETY: the producer is alive.
    let answer = unsafe { sys::rd_kafka_flush(producer.client().native_ptr(), millis(timeout)) };
    answer == NO_ERROR
}

fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}

/// A topic of a producer, looked up once.
pub struct TopicHandle {
    topic: *mut sys::rd_kafka_topic_t,
    // Dropped after the topic's reference.
    _client: Arc<dyn std::any::Any + Send + Sync>,
}

// SAFETY: librdkafka's topic objects are thread-safe.
unsafe impl Send for TopicHandle {}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once, while the client is alive.
        unsafe { sys::rd_kafka_topic_destroy(self.topic) }
    }
}

impl TopicHandle {
    /// The handle of a topic; `None` for a name that is not a topic's.
    #[must_use]
    pub fn new<C: ProducerContext + Send + Sync + 'static>(
        producer: &Arc<BaseProducer<C>>,
        name: &str,
    ) -> Option<Self> {
        let name = CString::new(name).ok()?;
        // SAFETY: the producer is alive and kept so; the client's default topic configuration is used.
        let topic = unsafe { sys::rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        (!topic.is_null()).then(|| Self { topic, _client: Arc::<BaseProducer<C>>::clone(producer) })
    }
}

/// Queues a record; its bytes are copied.
///
/// # Errors
/// The client's code: `QueueFull` means try again after some were delivered.
pub fn produce<C: ProducerContext>(
    producer: &BaseProducer<C>,
    topic: &TopicHandle,
    partition: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header<'_>],
) -> Result<(), RDKafkaErrorCode> {
    let (arguments, count) = arguments::arguments(topic.topic, partition, key, value, headers);
    // SAFETY: all pointers are alive during the call, which copies payload, key and headers.
    let answer = unsafe { sys::rd_kafka_produceva(producer.client().native_ptr(), arguments.as_ptr(), count) };
    failure(answer).map_err(|failure| failure.code)
}

/// The last known low and high watermark of an assigned partition, from the client's memory (no request).
#[must_use]
pub fn cached_watermarks<C: ClientContext>(client: &Client<C>, topic: &str, partition: i32) -> Option<(i64, i64)> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive; both numbers are written before the call returns.
    let answer = unsafe {
        sys::rd_kafka_get_watermark_offsets(client.native_ptr(), topic.as_ptr(), partition, &raw mut low, &raw mut high)
    };
    (answer == NO_ERROR && high >= 0).then_some((low, high))
}

/// librdkafka's mock cluster: one broker inside this process.
pub struct MockBroker {
    cluster: *mut sys::rd_kafka_mock_cluster_t,
    brokers: String,
    _client: Client<DefaultClientContext>,
}

// SAFETY: the mock cluster runs on its own thread and is driven through thread-safe operations.
unsafe impl Send for MockBroker {}
// SAFETY: as above.
unsafe impl Sync for MockBroker {}

impl MockBroker {
    /// Starts it.
    ///
    /// # Errors
    /// The client's words when it cannot listen.
    pub fn start() -> Result<Self, String> {
        let config = ClientConfig::new();
        let native = config.create_native_config().map_err(|e| e.to_string())?;
        let kind = sys::rd_kafka_type_t::RD_KAFKA_PRODUCER;
        let client = Client::new(&config, native, kind, DefaultClientContext).map_err(|e| e.to_string())?;
        // SAFETY: the client is alive and kept in the result; the list of addresses lives in the cluster.
        let (cluster, brokers) = unsafe {
            let cluster = sys::rd_kafka_mock_cluster_new(client.native_ptr(), 1);
            if cluster.is_null() {
                return Err("the mock cluster could not be created".to_owned());
            }
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
            let brokers = CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(cluster));
            (cluster, brokers.to_string_lossy().into_owned())
        };
        Ok(Self { cluster, brokers, _client: client })
    }

    /// Its address.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// The client's words.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), String> {
        let name = CString::new(name).map_err(|e| e.to_string())?;
        // SAFETY: the cluster is alive.
        let answer = unsafe { sys::rd_kafka_mock_topic_create(self.cluster, name.as_ptr(), partitions, 1) };
        match answer {
            NO_ERROR | RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS => Ok(()),
            error => Err(RDKafkaErrorCode::from(error).to_string()),
        }
    }
}

impl Drop for MockBroker {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once, before the client that it was made with.
        unsafe { sys::rd_kafka_mock_cluster_destroy(self.cluster) }
    }
}
