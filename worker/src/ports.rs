//! What the pipeline needs from the outside, in its own words: records in, one commit out.
//!
//! Positions are offsets of the source partition. A source hands over the records of a partition in offset order,
//! each at least once while the partition is owned; a sink makes a tick's outputs and positions visible together,
//! or not at all (`exactlyOnce`), or the outputs first (`atLeastOnce`).

use std::time::Duration;

use crate::outputs::Outputs;

/// One record of the source, borrowed from the client's buffer.
#[derive(Debug, Clone, Copy)]
pub struct RawEvent<'a> {
    /// Source partition.
    pub partition: i32,
    /// Offset in that partition.
    pub offset: i64,
    /// The record's own time.
    pub timestamp: RecordTime,
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The record's value; `None` for a null value.
    pub value: Option<&'a [u8]>,
    /// Header `traceparent`, passed on to what comes out.
    pub traceparent: Option<&'a [u8]>,
}

/// Time of a record, milliseconds since the epoch, and who set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordTime {
    /// None.
    Missing,
    /// Set by the producer.
    Created(i64),
    /// Set by the broker: it can be trusted.
    Appended(i64),
}

impl RecordTime {
    /// The time, whoever set it.
    #[must_use]
    pub fn millis(self) -> Option<i64> {
        match self {
            Self::Missing => None,
            Self::Created(at) | Self::Appended(at) => Some(at),
        }
    }
}

/// What a lane's queue hands over.
#[derive(Debug)]
pub enum Taken<'a> {
    /// A record.
    Record(RawEvent<'a>),
    /// The partition has been read up to its end, `offset` is the next one to come.
    EndOfPartition {
        /// Source partition.
        partition: i32,
        /// The next offset.
        offset: i64,
    },
    /// The partition cannot be read; the text says why.
    Failed {
        /// Source partition, −1 when it concerns the whole client.
        partition: i32,
        /// The client's words.
        reason: String,
    },
}

/// Where a lane takes its records from.
pub trait Source {
    /// Hands over what is queued, waiting at most `wait` for the first; returns how many were handed over.
    fn take(&mut self, wait: Duration, each: &mut dyn FnMut(Taken<'_>)) -> usize;
}

/// A source partition and the offset at which reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Source partition.
    pub partition: i32,
    /// Everything below it has ended in exactly one outcome.
    pub next_offset: i64,
}

/// Makes a tick visible.
pub trait Sink {
    /// Writes the outputs and the positions as one unit.
    ///
    /// # Errors
    /// [`CommitError`] says what is known of the tick and what the lane has to do.
    fn commit(&mut self, outputs: &Outputs, positions: &[Position]) -> Result<(), CommitError>;
}

/// Why a tick was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing of it is visible; the same tick may be sent again.
    #[error("the transaction was aborted: {0}")]
    Aborted(String),
    /// Nobody knows; the producer has been replaced, the committed positions tell.
    #[error("the outcome of the transaction is unknown: {0}")]
    InDoubt(String),
    /// The partitions are not ours any more.
    #[error("the partitions were taken away: {0}")]
    Lost(String),
}
