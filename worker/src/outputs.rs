//! What one tick writes, encoded and kept until its commit is acknowledged, so that it can be sent again.
//!
//! All bytes of a tick lie in one buffer that is reused; a record is a few ranges into it.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::outcome::{Class, Outcome, Tally};
use crate::ports::RawEvent;

/// The output topics of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Results, in the source's partition.
    Results,
    /// Alerts.
    Alerts,
    /// Dead letters.
    DeadLetter,
    /// Late records.
    Late,
    /// State, in the source's partition, where it is durable; a record without a value is a tombstone.
    State,
}

/// A range of the tick's buffer.
pub type Span = Range<u32>;

/// One record to write. Headers follow from these members, see the sink; state has none.
#[derive(Debug, Clone)]
pub struct Output {
    /// Where to.
    pub topic: Topic,
    /// Source partition: results and state go to the same, the others to it modulo their count.
    pub partition: i32,
    /// Offset of the source record behind it (for an incident closed by a timer: the shard's next offset).
    pub offset: i64,
    /// Time of the source record, milliseconds; −1 when it had none. Header `dlq.timestamp` of rejected records.
    pub record_time_ms: i64,
    /// Key.
    pub key: Option<Span>,
    /// Value.
    pub value: Option<Span>,
    /// Header `traceparent`.
    pub traceparent: Option<Span>,
    /// For dead letters and late records: why.
    pub rejection: Option<Rejection>,
}

/// Why a record was not scored, for the `dlq.*` headers.
#[derive(Debug, Clone)]
pub struct Rejection {
    /// The step: `decode`, `fields`, `future`, `late`.
    pub stage: &'static str,
    /// The class; `None` for late records.
    pub class: Option<Class>,
    /// What was expected and what was found, at most 1 KiB.
    pub message: Span,
}

/// The outputs and counts of one tick.
#[derive(Debug, Default)]
pub struct Outputs {
    bytes: Vec<u8>,
    records: Vec<Output>,
    tallies: BTreeMap<i32, Tally>,
    /// Creation times of the records taken in, for the end-to-end latency.
    pub created_ms: Vec<i64>,
}

impl Outputs {
    /// An empty tick.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything, keeps the buffers.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.tallies.clear();
        self.created_ms.clear();
    }

    /// The records, in the order in which they were pushed.
    #[must_use]
    pub fn records(&self) -> &[Output] {
        &self.records
    }

    /// The bytes of a range.
    #[must_use]
    pub fn bytes(&self, span: &Span) -> &[u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }

    /// Bytes held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if there is no record (there may be counts).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Counts by source partition.
    #[must_use]
    pub fn tallies(&self) -> &BTreeMap<i32, Tally> {
        &self.tallies
    }

    /// The counts of a partition.
    pub fn tally(&mut self, partition: i32) -> &mut Tally {
        self.tallies.entry(partition).or_default()
    }

    /// Counts an outcome.
    pub fn count(&mut self, partition: i32, outcome: Outcome) {
        self.tally(partition).count(outcome);
    }

    /// Copies bytes into the buffer.
    pub fn put(&mut self, bytes: &[u8]) -> Span {
        self.write(|buffer| buffer.extend_from_slice(bytes))
    }

    /// Lets `encode` append to the buffer; the range is what it appended.
    pub fn write(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.bytes.len() as u32;
        encode(&mut self.bytes);
        start..self.bytes.len() as u32
    }

    /// Adds a record before others; `at` is its place among [`records`](Self::records).
    pub fn insert(&mut self, at: usize, output: Output) {
        self.records.insert(at, output);
    }

    /// Adds a record.
    pub fn push(&mut self, output: Output) {
        self.records.push(output);
    }

    /// Adds the source record itself, byte for byte, to the dead letters or the late records.
    pub fn push_rejected(
        &mut self,
        topic: Topic,
        raw: &RawEvent<'_>,
        stage: &'static str,
        class: Option<Class>,
        message: &str,
    ) {
        let key = raw.key.map(|key| self.put(key));
        let value = raw.value.map(|value| self.put(value));
        let traceparent = raw.traceparent.map(|trace| self.put(trace));
        let message = self.put(&message.as_bytes()[..message.floor_char_boundary(MESSAGE_BYTES)]);
        self.push(Output {
            topic,
            partition: raw.partition,
            offset: raw.offset,
            record_time_ms: raw.timestamp.millis().unwrap_or(-1),
            key,
            value,
            traceparent,
            rejection: Some(Rejection { stage, class, message }),
        });
    }

    /// Drops everything that belongs to a partition (it was taken away before the commit).
    pub fn forget_partition(&mut self, partition: i32) {
        self.records.retain(|record| record.partition != partition);
        self.tallies.remove(&partition);
    }
}

/// Longest `dlq.error.message`: enough for a person, small beside the record itself.
const MESSAGE_BYTES: usize = 1024;
