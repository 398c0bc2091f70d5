//! The past of a pipeline's partitions, read from Kafka: offsets of its group, its state topic, its source.
//!
//! The clients here carry the group's id and are no members of it: they assign themselves what they read, never
//! subscribe and never commit.
//!
//! ```text
//! committed ─► pending for 500 ms?          ─┐
//! read_state ─► nothing readable for 500 ms? ─┴► whose transaction is open? ─► take it over: it is aborted at once
//! ```
//! A read has its end when the client's position, which counts the markers of transactions, has reached the high
//! watermark that a client with `isolation.level=read_uncommitted` saw; one that reads committed records only would be
//! told the last stable offset, and would take an open transaction for the end.

mod reading;
mod requests;
mod takeover;
mod wipe;

use std::cell::Cell;
use std::ops::{ControlFlow, Range};
use std::time::Instant;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use self::reading::{Reading, Tail};
use self::requests::{Committed, Isolation, Requests};
use self::takeover::Takeover;
use self::wipe::Wipe;
use crate::faults::{Promise, is_broken};
use crate::past::{Past, PastError, StateRecord};
use crate::ports::RawEvent;
use crate::state::writer_of;

pub use self::wipe::Erasure;

/// How far from the end of a state partition its marker is looked for, one after the other: it is written by every tick.
const LOOK_BACK: [i64; 3] = [1_000, 50_000, i64::MAX];

/// Who wrote a state record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrittenBy {
    /// A producer of this process. What it has open is its own business: it is never fenced from here.
    Us,
    /// The producer with this transactional id.
    Another(String),
}

/// Tells from key and value of a state record who wrote it, if the record names its writer.
pub type OwnerOf = Box<dyn Fn(&[u8], Option<&[u8]>) -> Option<WrittenBy> + Send>;

/// Goes by the markers; transactional ids that begin with `own` are ours.
#[must_use]
pub fn owner_by_marker(own: String) -> OwnerOf {
    Box::new(move |key, value| {
        let id = writer_of(key, value)?;
        Some(if id.starts_with(&own) { WrittenBy::Us } else { WrittenBy::Another(id) })
    })
}

/// What the past is read with.
pub struct PastConfig {
    /// Settings of the connection, see [`client_config`](super::kafka_client::client_config).
    pub client: ClientConfig,
    /// Group id of the offsets.
    pub group: String,
    /// Source topic.
    pub source: String,
    /// State topic, see [`state_topic`].
    pub state: String,
    /// Who wrote a state record. An owner that it names loses an open transaction, and its producer, to this reader:
    /// only for readers that own the partition. `None` for all records: nobody is disturbed.
    pub owner_of: OwnerOf,
}

/// Name of a pipeline's state topic.
#[must_use]
pub fn state_topic(identity: &str) -> String {
    format!("{identity}.state")
}

/// The past, see [`Past`].
pub struct KafkaPast {
    requests: Requests,
    takeover: Takeover,
    client: ClientConfig,
    source: String,
    state: String,
    erasure: Option<Erasure>,
}

impl KafkaPast {
    /// Connects nowhere yet.
    ///
    /// # Errors
    /// The client's words when its settings are refused.
    pub fn new(config: PastConfig) -> Result<Self, KafkaError> {
        let PastConfig { client, group, source, state, owner_of } = config;
        let takeover = Takeover::new(client.clone(), state.clone(), owner_of);
        Ok(Self { requests: Requests::new(client.clone(), &group)?, takeover, client, source, state, erasure: None })
    }

    /// The same past, whose state may be deleted.
    #[must_use]
    pub fn erasing(mut self, erasure: Erasure) -> Self {
        self.erasure = Some(erasure);
        self
    }
}

impl Past for KafkaPast {
    fn committed(&mut self, partition: i32, cancelled: &dyn Fn() -> bool) -> Result<Option<i64>, PastError> {
        let what = format!("read the committed offset of topic `{}`, partition {partition}", self.source);
        let began = Instant::now();
        let (mut looked, mut within) = (began, takeover::STUCK);
        loop {
            match self.requests.committed(&what, (&self.source, partition), within, cancelled)? {
                Committed::At(offset) => return Ok(Some(offset)),
                Committed::Never => return Ok(None),
                Committed::Pending if began.elapsed() > requests::DEADLINE => {
                    let reason = "a transaction is open on it".to_owned();
                    return Err(PastError::NoProgress { what, seconds: requests::DEADLINE.as_secs(), reason });
                }
                Committed::Pending => {
                    // A coordinator that is slow looks the same; an open transaction shows in the state, too.
                    let open = self.takeover.is_open(&self.requests, partition, cancelled)?;
                    if open || looked.elapsed() > takeover::STUCK * 4 {
                        self.takeover.try_owner(&self.requests, partition, cancelled)?;
                        looked = Instant::now();
                    }
                    within = (within * 2).min(requests::REQUEST);
                }
            }
        }
    }

    fn source_range(&mut self, partition: i32, cancelled: &dyn Fn() -> bool) -> Result<Range<i64>, PastError> {
        self.requests.range(&self.source, partition, Isolation::Committed, cancelled)
    }

    fn source_offset_at(&mut self, partition: i32, at_ms: i64, cancelled: &dyn Fn() -> bool) -> Result<i64, PastError> {
        match self.requests.offset_at(&self.source, partition, at_ms, cancelled)? {
            Some(offset) => Ok(offset),
            None => Ok(self.source_range(partition, cancelled)?.end),
        }
    }

    fn group_is_new(&mut self, cancelled: &dyn Fn() -> bool) -> Result<bool, PastError> {
        self.requests.group_is_new(&self.source, cancelled)
    }

    fn read_state(
        &mut self,
        partition: i32,
        cancelled: &dyn Fn() -> bool,
        progress: &mut dyn FnMut(i64, i64),
        each: &mut dyn FnMut(StateRecord<'_>) -> ControlFlow<()>,
    ) -> Result<u64, PastError> {
        let Self { requests, takeover, state, .. } = self;
        let isolation = if is_broken(Promise::HighWatermark) { Isolation::Committed } else { Isolation::Uncommitted };
        let range = requests.range(state, partition, isolation, cancelled)?;
        let end = range.end;
        let bytes = Cell::new(0);
        progress(range.start, end);
        Reading {
            settings: &requests.reader(Isolation::Committed),
            topic: state,
            partition,
            range,
            cancelled,
            moved: &mut |position| progress(position, end),
            stuck: &mut |position| {
                // A broker that is slow or away looks the same from here: asked, it tells how far can be read.
                if requests.range(state, partition, Isolation::Committed, cancelled)?.end > position {
                    return Ok(());
                }
                takeover.try_owner(requests, partition, cancelled)
            },
        }
        .run(&mut |raw: &RawEvent<'_>| {
            let key = raw.key.unwrap_or_default();
            bytes.set(bytes.get() + (key.len() + raw.value.map_or(0, <[u8]>::len)) as u64);
            each(StateRecord { offset: raw.offset, key, value: raw.value })
        })?;
        self.takeover.settled(partition);
        Ok(bytes.get())
    }

    fn newest_state(
        &mut self,
        partition: i32,
        key: &[u8],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<u8>>, PastError> {
        let Self { requests, state, .. } = self;
        let held = requests.range(state, partition, Isolation::Committed, cancelled)?;
        let settings = &requests.reader(Isolation::Committed);
        let from = held.end;
        Tail { settings, topic: state, partition, held, from, cancelled }.newest(LOOK_BACK, &mut |raw, newest| {
            if raw.key == Some(key) {
                *newest = raw.value.map(<[u8]>::to_vec);
            }
        })
    }

    fn delete_state(
        &mut self,
        partition: i32,
        next_offset: i64,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), PastError> {
        let Self { client, source, state, erasure, .. } = self;
        let Some(erasure) = erasure else {
            let what = format!("delete state in topic `{state}`");
            return Err(PastError::Request { what, source: "who only looks on deletes nothing".into() });
        };
        Wipe { client, erasure, state, source, partition, next_offset, cancelled }.run(keys)
    }

    fn read_source(
        &mut self,
        partition: i32,
        range: Range<i64>,
        cancelled: &dyn Fn() -> bool,
        each: &mut dyn FnMut(&RawEvent<'_>) -> ControlFlow<()>,
    ) -> Result<(), PastError> {
        let held = self.requests.range(&self.source, partition, Isolation::Committed, cancelled)?;
        for offset in [range.start, range.end] {
            if offset < held.start || offset > held.end {
                return Err(PastError::Gone { topic: self.source.clone(), partition, offset });
            }
        }
        Reading {
            settings: &self.requests.reader(Isolation::Committed),
            topic: &self.source,
            partition,
            range,
            cancelled,
            moved: &mut |_| {},
            stuck: &mut |_| Ok(()),
        }
        .run(each)
    }
}

#[cfg(test)]
mod tests {
    use faultline_numerics::image::Writer;

    use super::*;
    use crate::state::{LowWater, Marker};

    #[test]
    fn an_owner_is_another_unless_its_transactional_id_is_of_this_process() {
        let owner_of = owner_by_marker("shop.payments.0a1b2c3d.".to_owned());
        let by = |id: &str| {
            let marker = Marker {
                sequence: 1,
                transactional_id: id.to_owned(),
                fold_version: 1,
                partitions: 1,
                start_partitions: 1,
                next_offset: 0,
                start_offset: 0,
                records: 0,
                greatest_ms: None,
                horizon_ms: 0,
                idle_since: None,
                low_water: LowWater { offset: 0, greatest_ms: None, records: 0 },
                clock: Vec::new(),
                configurations: Vec::new(),
                trips: Vec::new(),
                read_to: None,
            };
            let mut w = Writer::new();
            marker.write(&mut w);
            owner_of(b"m", Some(w.as_bytes()))
        };
        assert_eq!(by("shop.payments.0a1b2c3d.1"), Some(WrittenBy::Us));
        for other in ["shop.payments.0a1b2c3e.1", "shop.payments.0a1b2c3d1.0", "payments.0a1b2c3d.1"] {
            assert_eq!(by(other), Some(WrittenBy::Another(other.to_owned())));
        }
        assert_eq!((owner_of(b"m", None), owner_of(b"k/a", Some(b"1"))), (None, None));
    }
}
