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
    /// The partition cannot be read; the text says why.
    Failed {
        /// Source partition, −1 when it concerns the whole client.
        partition: i32,
        /// The position does not exist any more: the source's retention has passed it.
        gone: bool,
        /// The client's words.
        reason: String,
    },
}

/// Where a lane takes its records from.
pub trait Source {
    /// Hands over what is queued, waiting at most `wait` for the first; returns how many were handed over.
    fn take(&mut self, wait: Duration, each: &mut dyn FnMut(Taken<'_>)) -> usize;

    /// Which of these partitions, read up to the positions given, hold nothing more, and where they end: behind the markers
    /// of transactions that follow the last record. What the client fetched last does not say so, for it may be old; a
    /// broker is asked, and this names none until the answer is there, so it has to be called again and again. Records of
    /// a transaction that is open, which may not be read yet, are something more: that would look like silence.
    fn silent(&mut self, read: &[Position]) -> Vec<Position>;

    /// Up to where everything that a partition holds has been handed over, markers of transactions included, which follow the
    /// last record; `None` before anything was.
    fn handed_over(&mut self, partition: i32) -> Option<i64>;
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
    /// What proves that the partitions are still ours: taken from the same moment as their epochs.
    type Fence;

    /// Does what can be done before the next commit, so that it does not wait for it, and ends what a former one left
    /// open. A failure is no matter: the commit tries again.
    fn prepare(&mut self, cancelled: &dyn Fn() -> bool);

    /// Writes the outputs and the positions as one unit.
    ///
    /// `cancelled` is asked during every wait: once it says yes, the sink gives up and answers [`CommitError::Lost`].
    ///
    /// # Errors
    /// [`CommitError`] says what is known of the tick and what the lane has to do.
    fn commit(
        &mut self,
        outputs: &Outputs,
        positions: &[Position],
        fence: &Self::Fence,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), CommitError>;

    /// The committed positions of partitions, once no transaction is pending on them.
    ///
    /// # Errors
    /// [`CommitError::Lost`] when cancelled, [`CommitError::Aborted`] with the client's words otherwise.
    fn committed(&mut self, partitions: &[i32], cancelled: &dyn Fn() -> bool) -> Result<Vec<Position>, CommitError>;
}

/// Why a tick was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Nothing of it is visible; the same tick may be sent again.
    #[error("the transaction was aborted: {0}")]
    Aborted(String),
    /// Nobody knows; the producer has been replaced, the committed positions tell.
    #[error("the outcome of the transaction is unknown: {0}")]
    InDoubt(String),
    /// A partition of the tick is being taken away: nothing more is written for it.
    #[error("given up because partitions are being taken away")]
    Lost,
}
