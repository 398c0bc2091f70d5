//! What passes between the two threads of a lane: a tick, folded and encoded, and what became of it.
//!
//! ```text
//! fold thread ── Tick ──► commit thread      one at most, while the next one is folded
//!             ◄─ Word ──                     lost: one shard's share of it · settled: all that is left is visible
//! ```
//! Whatever a tick makes visible is in it, byte for byte, before the next record touches a shard. Its buffer of outputs
//! comes back empty: two buffers change places, and nothing is copied.

use std::collections::BTreeSet;
use std::mem::{replace, take};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::forget::Receipt;
use crate::outputs::Outputs;
use crate::ownership::Epoch;
use crate::ports::Position;
use crate::status::ShardReport;

/// One tick, from its hand-over until it is settled.
#[derive(Debug)]
pub(crate) struct Tick {
    /// What it writes.
    pub(crate) outputs: Outputs,
    /// The shards that it moves, or writes for.
    pub(crate) shares: Vec<Share>,
}

/// What a tick holds of one shard.
#[derive(Debug)]
pub(crate) struct Share {
    /// Source partition.
    pub(crate) partition: i32,
    /// The assignment under which its records were read.
    pub(crate) epoch: Epoch,
    /// Where the tick began: the end of the shard's former tick.
    pub(crate) start: i64,
    /// The offset after the last record.
    pub(crate) end: i64,
    /// What the board says of the shard once the tick is visible.
    pub(crate) report: ShardReport,
    /// Owed for keys that it has forgotten once the tick is visible.
    pub(crate) receipts: Vec<Receipt>,
}

/// What the commit thread says of the tick in flight.
#[derive(Debug)]
pub(crate) enum Word {
    /// The tick holds nothing of this shard any more: its next owner begins at what is committed.
    Lost {
        /// Source partition.
        partition: i32,
        /// The assignment that the tick knew.
        epoch: Epoch,
    },
    /// What the tick still held is visible. Its buffer, empty.
    Settled(Outputs),
}

impl Tick {
    /// The offsets that become visible with it.
    pub(crate) fn positions(&self) -> Vec<Position> {
        self.shares.iter().map(|share| Position { partition: share.partition, next_offset: share.end }).collect()
    }

    /// Takes a shard out of it.
    pub(crate) fn forget(&mut self, partition: i32) -> Option<Share> {
        let place = self.shares.iter().position(|share| share.partition == partition)?;
        self.outputs.forget_partition(partition);
        Some(self.shares.swap_remove(place))
    }
}

/// A connection between the two threads of a lane.
pub(crate) fn connect() -> (FoldEnd, CommitEnd) {
    let (ticks, taken) = channel();
    let (words, heard) = channel();
    (FoldEnd { ticks, heard, in_flight: None, spare: Outputs::new() }, CommitEnd { taken, words })
}

/// The fold thread's end.
#[derive(Debug)]
pub(crate) struct FoldEnd {
    ticks: Sender<Tick>,
    heard: Receiver<Word>,
    // The partitions that the tick in flight holds, if there is one.
    in_flight: Option<BTreeSet<i32>>,
    // The buffer that is not in use.
    spare: Outputs,
}

/// The commit thread's end.
#[derive(Debug)]
pub(crate) struct CommitEnd {
    taken: Receiver<Tick>,
    words: Sender<Word>,
}

/// The other end has been dropped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl FoldEnd {
    /// Whether a tick is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether the tick in flight holds something of a partition.
    pub(crate) fn holds(&self, partition: i32) -> bool {
        self.in_flight.as_ref().is_some_and(|held| held.contains(&partition))
    }

    /// Sends a tick on its way; `outputs` becomes the other buffer. The former tick has to be settled.
    pub(crate) fn hand_over(&mut self, outputs: &mut Outputs, shares: Vec<Share>) -> Result<(), Gone> {
        self.in_flight = Some(shares.iter().map(|share| share.partition).collect());
        let outputs = replace(outputs, take(&mut self.spare));
        self.ticks.send(Tick { outputs, shares }).map_err(|_| self.gone())
    }

    /// Waits at most `wait` for news of the tick in flight. `Some` is a shard that is lost to it; [`is_busy`] tells when
    /// it is settled.
    ///
    /// [`is_busy`]: FoldEnd::is_busy
    pub(crate) fn hear(&mut self, wait: Duration) -> Result<Option<(i32, Epoch)>, Gone> {
        let Some(held) = &mut self.in_flight else { return Ok(None) };
        match self.heard.recv_timeout(wait) {
            Ok(Word::Lost { partition, epoch }) => {
                held.remove(&partition);
                Ok(Some((partition, epoch)))
            }
            Ok(Word::Settled(outputs)) => {
                self.spare = outputs;
                self.in_flight = None;
                Ok(None)
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(self.gone()),
        }
    }

    fn gone(&mut self) -> Gone {
        self.in_flight = None;
        Gone
    }
}

impl CommitEnd {
    /// Waits at most `wait` for the next tick.
    pub(crate) fn take(&self, wait: Duration) -> Result<Option<Tick>, Gone> {
        match self.taken.recv_timeout(wait) {
            Ok(tick) => Ok(Some(tick)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Gone),
        }
    }

    /// Tells what became of the tick, or of a part of it.
    pub(crate) fn say(&self, word: Word) {
        // Nobody hears it only when the fold thread has panicked, and then nobody has to.
        drop(self.words.send(word));
    }
}
