//! Who owns which source partition, under which epoch: the one structure that the control thread and the lanes share.
//!
//! The control thread writes, the lanes read. An *epoch* is one assignment of a partition to this worker; it never
//! comes back. A lane works under a [`Snapshot`] and commits only while every partition of its tick still has the
//! epoch under which it was read; the snapshot's fence (generation and member id) comes from the same moment.
//!
//! A revocation is announced first (`draining`), then put into the lane's mailbox, and the control thread waits for
//! the answer: partitions are never given up under a running lane.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::forget::Wish;
use crate::shard::Shard;

/// One assignment of a partition to this worker.
pub(crate) type Epoch = u64;

/// What holds at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot<F> {
    /// Epochs of the partitions that are ours.
    pub(crate) epochs: BTreeMap<i32, Epoch>,
    /// Partitions that are being taken away.
    pub(crate) draining: BTreeSet<i32>,
    /// Proof of membership; `None` while the group is being joined.
    pub(crate) fence: Option<F>,
}

impl<F> Default for Snapshot<F> {
    fn default() -> Self {
        Self { epochs: BTreeMap::new(), draining: BTreeSet::new(), fence: None }
    }
}

/// A shard that a lane has: a partition, and the assignment for which it was brought. What is said of one must not act on
/// the next one, which may go on at another offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tenure {
    /// Source partition.
    pub(crate) partition: i32,
    /// Its assignment.
    pub(crate) epoch: Epoch,
}

/// What a lane is told.
#[derive(Debug)]
pub(crate) enum Mail {
    /// Own this partition. Reading resumes when `taken` is answered.
    Adopt {
        /// Source partition.
        partition: i32,
        /// Its assignment.
        epoch: Epoch,
        /// The shard, which goes on at its next offset.
        shard: Box<Shard>,
        /// Answered when the shard is there, and what introduces it is visible.
        taken: Sender<Tenure>,
    },
    /// A partition that stood still may be read again: the client has been taken back to the shard's position. Reading
    /// resumes when `taken` is answered.
    Continue {
        /// The shard.
        tenure: Tenure,
        /// Answered when the shard is ready.
        taken: Sender<Tenure>,
    },
    /// Drop these partitions, then answer.
    Release {
        /// Source partitions.
        partitions: Vec<i32>,
        /// Answered when they are gone.
        done: Sender<()>,
    },
    /// Forget a key, at the beginning of the next tick.
    Forget(Wish),
    /// Finish: nothing more will come.
    Stop,
}

/// What a lane asks of the control thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Stop fetching a partition.
    Pause(i32),
    /// Fetch it again from an offset, if it is still the same shard's.
    Resume {
        /// The shard.
        tenure: Tenure,
        /// Where to go on.
        offset: i64,
    },
    /// What the shard knows is in doubt: start it again from its committed offset.
    Restart(i32),
}

/// What waits for a lane. Once closed it takes nothing more.
#[derive(Debug, Default)]
struct Mailbox {
    closed: bool,
    mails: VecDeque<Mail>,
}

/// The shared structure.
#[derive(Debug)]
pub(crate) struct Ownership<F> {
    snapshot: Mutex<Arc<Snapshot<F>>>,
    changed: Condvar,
    mailboxes: Vec<Mutex<Mailbox>>,
    requests: Mutex<Vec<Request>>,
    // When the worker stops: ticks that are not committed by then are given up.
    end: OnceLock<Instant>,
}

impl<F> Ownership<F> {
    /// Nothing owned, for a number of lanes.
    #[must_use]
    pub(crate) fn new(lanes: usize) -> Self {
        Self {
            snapshot: Mutex::default(),
            changed: Condvar::new(),
            mailboxes: (0..lanes).map(|_| Mutex::default()).collect(),
            requests: Mutex::default(),
            end: OnceLock::new(),
        }
    }

    /// How many lanes there are.
    pub(crate) fn lanes(&self) -> usize {
        self.mailboxes.len()
    }

    /// The lane that owns a partition.
    #[must_use]
    pub(crate) fn lane_of(&self, partition: i32) -> usize {
        partition.unsigned_abs() as usize % self.mailboxes.len()
    }

    /// What holds now.
    #[must_use]
    pub(crate) fn snapshot(&self) -> Arc<Snapshot<F>> {
        Arc::clone(&lock(&self.snapshot))
    }

    /// Publishes what holds from now on.
    pub(crate) fn publish(&self, snapshot: Snapshot<F>) {
        *lock(&self.snapshot) = Arc::new(snapshot);
        self.changed.notify_all();
    }

    /// Waits until something newer than `seen` is published, at most `limit`.
    pub(crate) fn wait_for_news(&self, seen: &Arc<Snapshot<F>>, limit: Duration) {
        let guard = lock(&self.snapshot);
        drop(self.changed.wait_timeout_while(guard, limit, |now| Arc::ptr_eq(now, seen)));
    }

    /// Puts something into a lane's mailbox; false when the lane has ended.
    pub(crate) fn post(&self, lane: usize, mail: Mail) -> bool {
        let mut mailbox = lock(&self.mailboxes[lane]);
        if !mailbox.closed {
            mailbox.mails.push_back(mail);
        }
        !mailbox.closed
    }

    /// Takes the oldest mail of a lane.
    pub(crate) fn collect(&self, lane: usize) -> Option<Mail> {
        lock(&self.mailboxes[lane]).mails.pop_front()
    }

    /// A lane has ended and owns nothing any more: who waits for it is answered, and nobody waits again.
    pub(crate) fn close(&self, lane: usize) {
        let mut mailbox = lock(&self.mailboxes[lane]);
        mailbox.closed = true;
        for mail in mailbox.mails.drain(..) {
            if let Mail::Release { done, .. } = mail {
                let _ = done.send(());
            }
        }
    }

    /// The worker stops: a tick that is not committed by this moment is given up. The first call counts.
    pub(crate) fn end_by(&self, moment: Instant) {
        let _ = self.end.set(moment);
    }

    /// Whether the time for the last ticks is over.
    pub(crate) fn is_over(&self) -> bool {
        self.end.get().is_some_and(|end| Instant::now() >= *end)
    }

    /// Asks something of the control thread.
    pub(crate) fn ask(&self, request: Request) {
        lock(&self.requests).push(request);
    }

    /// Takes what has been asked so far, in its order.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut *lock(&self.requests))
    }

    /// Tells the lanes to drop partitions and waits for all of them, at most `limit`; false if one did not answer.
    #[must_use]
    pub(crate) fn release(&self, partitions: &[i32], limit: Duration) -> bool {
        let (done, answers): (Sender<()>, Receiver<()>) = channel();
        let mut waiting = 0;
        for lane in 0..self.mailboxes.len() {
            let mine: Vec<i32> = partitions.iter().copied().filter(|p| self.lane_of(*p) == lane).collect();
            if !mine.is_empty() && self.post(lane, Mail::Release { partitions: mine, done: done.clone() }) {
                waiting += 1;
            }
        }
        self.changed.notify_all();
        let until = Instant::now() + limit;
        (0..waiting).all(|_| answers.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok())
    }
}

/// A lock that goes on after a panic elsewhere: the data are replaced whole, never left half written.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_waits_for_every_lane_that_owns_a_partition() {
        let ownership: Arc<Ownership<()>> = Arc::new(Ownership::new(2));
        let lanes: Vec<_> = (0..2)
            .map(|lane| {
                let ownership = Arc::clone(&ownership);
                std::thread::spawn(move || {
                    loop {
                        match ownership.collect(lane) {
                            Some(Mail::Release { partitions, done }) => {
                                assert!(partitions.iter().all(|p| ownership.lane_of(*p) == lane));
                                done.send(()).expect("the control thread waits");
                                return partitions.len();
                            }
                            _ => std::thread::yield_now(),
                        }
                    }
                })
            })
            .collect();
        assert!(ownership.release(&[0, 1, 2], Duration::from_secs(10)));
        let released: usize = lanes.into_iter().map(|lane| lane.join().expect("no panic")).sum();
        assert_eq!(released, 3);
    }

    #[test]
    fn a_lane_that_does_not_answer_is_noticed() {
        let ownership: Ownership<()> = Ownership::new(1);
        assert!(!ownership.release(&[0], Duration::from_millis(10)));
    }

    #[test]
    fn nobody_waits_for_a_lane_that_has_ended() {
        let ownership: Ownership<()> = Ownership::new(1);
        let (done, answered) = channel();
        assert!(ownership.post(0, Mail::Release { partitions: vec![0], done }));
        ownership.close(0);
        assert!(answered.recv().is_ok(), "who waited already is answered");
        assert!(ownership.release(&[0], Duration::from_secs(60)), "and nobody waits again");
    }

    #[test]
    fn a_waiting_lane_wakes_up_on_news() {
        let ownership: Arc<Ownership<i32>> = Arc::new(Ownership::new(1));
        let seen = ownership.snapshot();
        let waiter = {
            let ownership = Arc::clone(&ownership);
            std::thread::spawn(move || ownership.wait_for_news(&seen, Duration::from_secs(60)))
        };
        ownership.publish(Snapshot { fence: Some(1), ..Snapshot::default() });
        waiter.join().expect("woken long before the limit");
        assert_eq!(ownership.snapshot().fence, Some(1));
    }
}
