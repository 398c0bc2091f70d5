//! Brings a shard back, in eight steps, before anything of its partition is read:
//!
//! ```text
//! 1 own the partition (every wait asks whether it still is)
//! 2 the committed offset, once no transaction is pending on it
//! 3 the end of the state partition, open transactions included
//! 4 read it, committed records only, to that end
//! 5 marker = offset?   equal: go on · different: 2 to 5 once more · no offset: the marker counts
//!                      neither: first start · no marker, or still different: stop and show both
//! 6 the source still holds L, and reaches to C
//! 7 replay L..C silently
//! 8 hand the shard over; its lane seeks to C
//! ```
//! Steps 3 and 4 are one call of the port, [`Past::read_state`].

mod crew;
mod found;
pub mod inspect;
mod progress;
mod rebuild;

use std::sync::{Arc, OnceLock};

use faultline_crds::WorkerConfig;
use faultline_crds::worker_config::StartFrom;
use faultline_numerics::image::ImageError;
use tracing::{info, warn};

use crate::faults::{Promise, is_broken, point};
use crate::past::{Past, PastError, go_on};
use crate::pipeline::Scratch;
use crate::shard::Shard;
use crate::state::{Marker, RecordKey};

pub(crate) use crew::{Crew, Start};
pub use found::Found;
pub use progress::{Progress, Stage};
pub use rebuild::{Rebuild, RebuildError};

/// Whose state a pipeline's is, where no cluster says more: `local/<namespace>/<name>`.
#[must_use]
pub fn owner(namespace: &str, name: &str) -> String {
    format!("local/{namespace}/{name}")
}

/// What to do where state and offset do not belong together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Disagreement {
    /// Stop and show both.
    #[default]
    Stop,
    /// Delete the state and go on cold at the committed offset: `--reset-state`.
    ResetState,
    /// Go on where the marker says: `--trust-marker`.
    TrustMarker,
}

/// Why a shard cannot be brought back now.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Kafka does not answer as it should.
    #[error(transparent)]
    Past(#[from] PastError),
    /// A record of the state topic cannot be read.
    #[error("a record of the state topic cannot be read; was it written by a newer version?")]
    Unreadable(#[source] ImageError),
    /// State and source do not lead to the shard as it was.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// Another pipeline owns the state.
    #[error(
        "the state topic belongs to `{found}`, this is `{expected}`; give this pipeline a `spec.kafka.identity` of its own"
    )]
    Foreign {
        /// Whose it is.
        found: String,
        /// Who asks.
        expected: String,
    },
    /// Offset and marker differ.
    #[error(
        "the group's committed offset is {committed} and the state goes to {}; \
         if the offset was set on purpose, start with --reset-state to go on at {committed} with empty windows, \
         or with --trust-marker to go on where the state ends",
        marker.map_or_else(|| "nowhere: the state topic holds no marker".to_owned(), |marker| marker.to_string())
    )]
    Disagree {
        /// The committed offset.
        committed: i64,
        /// C of the marker.
        marker: Option<i64>,
    },
    /// There are records of a state, and nothing says how far it goes.
    #[error(
        "the state topic holds {records} records of this partition and no marker, and the group has no committed offset, \
         so nothing says where to go on; start with --reset-state to delete them and to begin where \
         `spec.source.startFrom` says, as at a first start"
    )]
    Unmarked {
        /// How many.
        records: usize,
    },
    /// There is no marker to trust.
    #[error("--trust-marker: the state topic holds no marker for this partition; use --reset-state")]
    NoMarker,
    /// The source has lost what has to be replayed or read.
    #[error(
        "the source no longer holds offsets {low} to {start}: its retention has passed what the state needs, {} records at most are lost; \
         lengthen `retention.ms` of the source, then start with --reset-state to go on with empty windows",
        start - low
    )]
    SourceGone {
        /// L.
        low: i64,
        /// First offset of the source.
        start: i64,
    },
    /// The source ends before the state does.
    #[error(
        "the source ends at offset {end} and the state goes to {next}: the topic was deleted and made anew, or has lost \
         records at its end, so windows and offsets are those of other records; start with --reset-state to go on at the \
         source's first offset, {start}, with empty windows"
    )]
    SourceRecreated {
        /// First offset of the source.
        start: i64,
        /// Its end.
        end: i64,
        /// C.
        next: i64,
    },
}

impl RestoreError {
    /// One word for machines.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Past(PastError::Cancelled) => "Cancelled",
            Self::Past(_) => "StateNotRead",
            Self::Unreadable(_) | Self::Rebuild(_) => "StateUnreadable",
            Self::Foreign { .. } => "StateOwnedByAnother",
            Self::Disagree { .. } | Self::Unmarked { .. } | Self::NoMarker => "StateDisagrees",
            Self::SourceGone { .. } => "SourceRetentionPassed",
            Self::SourceRecreated { .. } => "SourceRecreated",
        }
    }
}

/// What a shard is brought back for.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// The configuration in force now.
    pub config: Arc<WorkerConfig>,
    /// See [`owner`].
    pub owner: String,
    /// Whether state is kept at all; otherwise only the offset is looked up.
    pub durable: bool,
    /// What to do where state and offset do not belong together.
    pub disagreement: Disagreement,
    /// See [`Shard::trusting_record_times`].
    pub trusts_record_times: bool,
    /// Where no state is kept: what the worker saw before its first commit.
    pub first_look: Arc<OnceLock<FirstLook>>,
}

/// What a worker saw of group and source before it committed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstLook {
    /// No partition had an offset.
    is_new: bool,
    /// Partitions of the source.
    partitions: i32,
}

impl FirstLook {
    /// Whether a partition without an offset has come later than the others.
    fn was_added(self, partition: i32) -> bool {
        !self.is_new || partition >= self.partitions
    }
}

/// A shard that can go on at its next offset.
#[derive(Debug)]
pub struct Recovered {
    /// The shard.
    pub shard: Shard,
    /// Nothing was committed for it yet.
    pub first: bool,
}

impl Recovery {
    /// Steps 2 to 7 for a partition.
    ///
    /// # Errors
    /// [`RestoreError`] says what stands in the way; the committed state is as it was.
    pub fn recover(
        &self,
        past: &mut dyn Past,
        partition: i32,
        partitions: i32,
        cancelled: &dyn Fn() -> bool,
        progress: &mut Progress<'_>,
    ) -> Result<Recovered, RestoreError> {
        if !self.durable {
            return match past.committed(partition, cancelled)? {
                Some(offset) => Ok(Recovered { shard: self.cold(partition, offset), first: false }),
                None => self.first_start(past, partition, partitions, cancelled),
            };
        }
        let (mut found, mut committed) = look(past, partition, cancelled, progress)?;
        if is_broken(Promise::OffsetGuard) || is_broken(Promise::HighWatermark) {
            trust(&mut found, committed);
        }
        if disagree(&found, committed).is_some() || is_unmarked(&found, committed) {
            // A tick of the former owner may have become visible between the two questions.
            (found, committed) = look(past, partition, cancelled, progress)?;
        }
        if let Some(other) = found.owner.as_ref().filter(|found| **found != self.owner) {
            return Err(RestoreError::Foreign { found: other.clone(), expected: self.owner.clone() });
        }
        if let Some((committed, marker)) = disagree(&found, committed) {
            match (self.disagreement, marker) {
                (Disagreement::Stop, _) => return Err(RestoreError::Disagree { committed, marker }),
                (Disagreement::TrustMarker, None) => return Err(RestoreError::NoMarker),
                (Disagreement::TrustMarker, Some(marker)) => {
                    warn!(partition, committed, marker, "going on where the state ends, as --trust-marker says");
                }
                (Disagreement::ResetState, _) => {
                    return self.reset(past, partition, &found, committed, cancelled);
                }
            }
        }
        let Some(marker) = found.marker.clone() else {
            if !found.holds_state() {
                return self.first_start(past, partition, partitions, cancelled);
            }
            return match self.disagreement {
                Disagreement::Stop => Err(RestoreError::Unmarked { records: found.keys().len() }),
                Disagreement::TrustMarker => Err(RestoreError::NoMarker),
                Disagreement::ResetState => {
                    let Recovered { shard, .. } = self.first_start(past, partition, partitions, cancelled)?;
                    self.reset(past, partition, &found, shard.next_offset(), cancelled)
                }
            };
        };
        point("restore-source");
        let range = past.source_range(partition, cancelled)?;
        let (low, next) = (marker.low_water.offset, marker.next_offset);
        if range.end < next {
            if self.disagreement == Disagreement::ResetState {
                return self.reset(past, partition, &found, range.start, cancelled);
            }
            return Err(RestoreError::SourceRecreated { start: range.start, end: range.end, next });
        }
        if marker.reads_from() < range.start {
            if self.disagreement == Disagreement::ResetState {
                return self.reset(past, partition, &found, next.max(range.start), cancelled);
            }
            return Err(RestoreError::SourceGone { low, start: range.start });
        }
        if committed.is_none() {
            warn!(
                partition,
                offset = next,
                "the group has no committed offset: going on where the state ends, which is right if the group's offsets have \
                 expired; if the source's topic was deleted and made anew, its records before this offset stay unread: then \
                 stop all workers, set the group's offsets to the source's beginning, and start with --reset-state"
            );
        }
        if (marker.partitions as i32) < partitions {
            warn!(
                partition,
                from = marker.partitions,
                to = partitions,
                "the source has more partitions: keys that moved between them start cold"
            );
        }
        let mut recovered = self.replay(past, partition, found, marker, cancelled, progress)?;
        // The marker counted: the group gets its offset before anything is read, also where no record comes for long.
        recovered.shard.journal.introduces |= committed != Some(next);
        // The markers of transactions that follow the last record may be gone.
        recovered.shard.go_on_at(range.start);
        Ok(recovered)
    }

    fn replay(
        &self,
        past: &mut dyn Past,
        partition: i32,
        found: Found,
        marker: Marker,
        cancelled: &dyn Fn() -> bool,
        progress: &mut Progress<'_>,
    ) -> Result<Recovered, RestoreError> {
        let mut rebuild = Rebuild::begin(found, marker, &self.config, partition, self.trusts_record_times)?;
        if rebuild.leaves_out() {
            warn!(
                partition,
                "the state was written by another version of the fold: records that were in no image yet are not replayed, their windows warm up again"
            );
        }
        let range = rebuild.range();
        let mut scratch = Scratch::new();
        let mut failed = None;
        if !range.is_empty() {
            point("restore-replay");
            progress.replaying(range.start, range.end);
            past.read_source(partition, range.clone(), cancelled, &mut |raw| {
                progress.at(raw.offset);
                point("restore-record");
                go_on(rebuild.replay(raw, &mut scratch), &mut failed)
            })?;
        }
        if let Some(error) = failed {
            return Err(error.into());
        }
        let shard = rebuild.finish()?;
        point("restore-finished");
        Ok(Recovered { shard, first: false })
    }

    /// A shard that knows nothing.
    fn cold(&self, partition: i32, offset: i64) -> Shard {
        let mut shard = Shard::new(Arc::clone(&self.config), partition, offset);
        if self.trusts_record_times {
            shard = shard.trusting_record_times();
        }
        if self.durable { shard.keeping_state() } else { shard }
    }

    fn first_start(
        &self,
        past: &mut dyn Past,
        partition: i32,
        partitions: i32,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Recovered, RestoreError> {
        let was_added = match self.durable {
            true => was_added(past, partition, partitions, cancelled)?,
            false => self.first_look(past, partitions, cancelled)?.was_added(partition),
        };
        let from = if was_added { StartFrom::Earliest } else { self.config.source.start_from };
        let offset = match from {
            StartFrom::Earliest => past.source_range(partition, cancelled)?.start,
            StartFrom::Latest => past.source_range(partition, cancelled)?.end,
            StartFrom::Time { at_ms } => past.source_offset_at(partition, at_ms, cancelled)?,
        };
        if was_added {
            warn!(
                partition,
                offset,
                "a new partition of the source: it is read from its beginning, and keys that moved to it start cold"
            );
        } else {
            info!(partition, offset, ?from, "first start");
        }
        Ok(Recovered { shard: self.cold(partition, offset), first: true })
    }

    fn first_look(
        &self,
        past: &mut dyn Past,
        partitions: i32,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<FirstLook, RestoreError> {
        if let Some(look) = self.first_look.get() {
            return Ok(*look);
        }
        let look = FirstLook { is_new: past.group_is_new(cancelled)?, partitions };
        Ok(*self.first_look.get_or_init(|| look))
    }

    /// Deletes the state, the marker first, and commits the offset in the same transaction: if the rest is cut short, there
    /// is an offset without a marker, and the next start asks again.
    fn reset(
        &self,
        past: &mut dyn Past,
        partition: i32,
        found: &Found,
        offset: i64,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Recovered, RestoreError> {
        let keys = found.keys();
        warn!(
            partition,
            offset,
            records = keys.len(),
            "deleting the state and going on with empty windows, as --reset-state says"
        );
        let mut marker = Vec::new();
        RecordKey::Marker.write(&mut marker);
        past.delete_state(partition, offset, &mut std::iter::once(marker).chain(keys), cancelled)?;
        Ok(Recovered { shard: self.cold(partition, offset), first: false })
    }
}

/// Whether the source has got a partition after the pipeline's first start: another partition's marker knows fewer. A group
/// that has other offsets does not say so: workers that start for the first time together commit one after the other.
fn was_added(
    past: &mut dyn Past,
    partition: i32,
    partitions: i32,
    cancelled: &dyn Fn() -> bool,
) -> Result<bool, RestoreError> {
    let mut key = Vec::new();
    RecordKey::Marker.write(&mut key);
    for other in (0..partitions).filter(|other| *other != partition) {
        if let Some(value) = past.newest_state(other, &key, cancelled)? {
            let marker = Marker::read(&value).map_err(RestoreError::Unreadable)?;
            return Ok(marker.start_partitions as i32 <= partition);
        }
    }
    Ok(false)
}

/// Steps 2 to 4.
fn look(
    past: &mut dyn Past,
    partition: i32,
    cancelled: &dyn Fn() -> bool,
    progress: &mut Progress<'_>,
) -> Result<(Found, Option<i64>), RestoreError> {
    point("restore-committed");
    let committed = past.committed(partition, cancelled)?;
    point("restore-state");
    let mut found = Found::default();
    let mut failed = None;
    past.read_state(partition, cancelled, &mut |at, end| progress.reading(at, end), &mut |record| {
        go_on(found.take_in(record.key, record.value), &mut failed)
    })?;
    if found.marker.is_some() {
        progress.has_read();
    }
    match failed {
        Some(error) => Err(RestoreError::Unreadable(error)),
        None => Ok((found, committed)),
    }
}

/// The broken promise: reading goes on at the committed offset, whatever the state says.
fn trust(found: &mut Found, committed: Option<i64>) {
    if let (Some(marker), Some(committed)) = (&mut found.marker, committed) {
        let by = committed - marker.next_offset;
        marker.next_offset = committed;
        marker.records = marker.records.saturating_add_signed(by);
        if committed < marker.low_water.offset {
            // Nothing to replay, and no count that would give it away.
            (marker.low_water.offset, marker.low_water.records) = (committed, marker.records);
        }
    }
}

/// Whether there is a state, and nothing says how far it goes.
fn is_unmarked(found: &Found, committed: Option<i64>) -> bool {
    committed.is_none() && found.marker.is_none() && found.holds_state()
}

/// The committed offset and C, if they do not belong together.
fn disagree(found: &Found, committed: Option<i64>) -> Option<(i64, Option<i64>)> {
    let marker = found.marker.as_ref().map(|marker| marker.next_offset);
    committed.filter(|committed| Some(*committed) != marker).map(|committed| (committed, marker))
}

#[cfg(test)]
mod tests;
