//! What the recovery of a shard asks of the past: committed positions, the state that was written, records once more.
//!
//! Everything is read as committed: what a transaction left open or aborted does not exist. A transaction that a dead
//! owner left open hides what lies behind it; whoever implements this port gets it out of the way. Every wait asks
//! `cancelled`, because a revocation ends a recovery.

use std::ops::{ControlFlow, Range};

use crate::ports::RawEvent;

/// The past of the partitions of a source.
pub trait Past {
    /// The group's committed offset of a source partition, once no transaction is pending on it.
    ///
    /// # Errors
    /// [`PastError`] says what could not be had.
    fn committed(&mut self, partition: i32, cancelled: &dyn Fn() -> bool) -> Result<Option<i64>, PastError>;

    /// First offset of the source partition, and the one behind the last record that can be read.
    ///
    /// # Errors
    /// [`PastError`] says what could not be had.
    fn source_range(&mut self, partition: i32, cancelled: &dyn Fn() -> bool) -> Result<Range<i64>, PastError>;

    /// Offset of the first record at or after a time, milliseconds since the epoch; the end if there is none.
    ///
    /// # Errors
    /// [`PastError`] says what could not be had.
    fn source_offset_at(&mut self, partition: i32, at_ms: i64, cancelled: &dyn Fn() -> bool) -> Result<i64, PastError>;

    /// True if the group has no committed offset on any partition of the source, nor one that is pending.
    ///
    /// # Errors
    /// [`PastError`] says what could not be had.
    fn group_is_new(&mut self, cancelled: &dyn Fn() -> bool) -> Result<bool, PastError>;

    /// Hands over every committed record of the state partition in offset order, up to the end that it had when this
    /// was called, open transactions included. Now and then `progress` is told the next offset and that end.
    /// Returns the bytes of keys and values handed over.
    ///
    /// # Errors
    /// [`PastError`] says what could not be had; what was handed over until then is not the whole.
    fn read_state(
        &mut self,
        partition: i32,
        cancelled: &dyn Fn() -> bool,
        progress: &mut dyn FnMut(i64, i64),
        each: &mut dyn FnMut(StateRecord<'_>) -> ControlFlow<()>,
    ) -> Result<u64, PastError>;

    /// The newest committed value of a record of a state partition; `None` if there is none.
    ///
    /// # Errors
    /// [`PastError`] says what could not be had.
    fn newest_state(
        &mut self,
        partition: i32,
        key: &[u8],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<u8>>, PastError>;

    /// Deletes records of the state partition, in the order given, and commits the group's offset of the source
    /// partition with the first of them; returns when that is certain. Nothing is deleted, and no offset is moved, once the
    /// partition belongs to somebody else.
    ///
    /// # Errors
    /// [`PastError`] says what could not be done; some records may be deleted already, and then the offset is committed.
    fn delete_state(
        &mut self,
        partition: i32,
        next_offset: i64,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), PastError>;

    /// Hands over the committed source records of a range of offsets in offset order, as a lane gets them.
    ///
    /// # Errors
    /// [`PastError`] says what could not be had; what was handed over until then is not the whole.
    fn read_source(
        &mut self,
        partition: i32,
        range: Range<i64>,
        cancelled: &dyn Fn() -> bool,
        each: &mut dyn FnMut(&RawEvent<'_>) -> ControlFlow<()>,
    ) -> Result<(), PastError>;
}

/// One record of a state partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateRecord<'a> {
    /// Its offset.
    pub offset: i64,
    /// Its key; empty if it has none.
    pub key: &'a [u8],
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// Goes on after a success; keeps an error and breaks off: for what is handed over while it is read.
pub(crate) fn go_on<E>(result: Result<(), E>, failed: &mut Option<E>) -> ControlFlow<()> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            *failed = Some(error);
            ControlFlow::Break(())
        }
    }
}

/// Why the past could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The partition is being taken away, or the worker stops.
    #[error("given up because the partition is being taken away")]
    Cancelled,
    /// A request was refused; trying again does not help by itself.
    #[error("failed to {what}")]
    Request {
        /// What was asked.
        what: String,
        /// The client's words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It went on failing, or nothing came, for longer than a broker needs to come back.
    #[error("failed to {what}: no progress for {seconds} s{}", last_words(.reason))]
    NoProgress {
        /// What was asked.
        what: String,
        /// For this long.
        seconds: u64,
        /// What the client last said; may be empty.
        reason: String,
    },
    /// The topic, or this partition of it, is not there.
    #[error("topic `{topic}` has no partition {partition}; was it deleted?")]
    TopicMissing {
        /// Its name.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The offset is not there: the retention has passed it, or the topic was made anew.
    #[error("topic `{topic}`, partition {partition}, does not hold offset {offset}")]
    Gone {
        /// Its name.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset that was asked for.
        offset: i64,
    },
}

fn last_words(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!("; last answer: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_the_client_said_last() {
        let error = |reason: &str| PastError::NoProgress { what: "read".into(), seconds: 60, reason: reason.into() };
        assert_eq!(error("").to_string(), "failed to read: no progress for 60 s");
        assert_eq!(error("away").to_string(), "failed to read: no progress for 60 s; last answer: away");
    }
}
