//! Forgetting a key because a person wants it: from the asker to every lane and back.
//!
//! ```text
//! asker ── Wish ──────► every lane: where its next tick begins, its shards that know the key drop it
//!       ◄─ Looked ───── where the lane has looked, and where the key was known
//!       ◄─ Forgotten ── the tick that drops it there is visible
//! ```
//! Which partition a key lies in is its producer's business, so nobody guesses it: every shard is asked. A key that moved
//! when partitions were added may be known in two.
//!
//! What is answered is true: a [`Receipt`] travels with the shard's share of the tick and is redeemed after the commit. One
//! that is dropped with a lost shard or a stopping lane says nothing, and the asker sees that it is missing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tracing::info;

use crate::ownership::{Mail, Ownership};

/// Nobody is kept waiting longer: a broker that is away may be away for hours.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a lane is asked.
#[derive(Debug)]
pub(crate) struct Wish {
    /// The entity key, as the source has it.
    pub(crate) key: Arc<str>,
    answers: Sender<Answer>,
}

/// What the asker hears.
#[derive(Debug)]
enum Answer {
    /// A lane has looked in the shards of these partitions and found the key in those.
    Looked { partitions: Vec<i32>, known: Vec<i32> },
    /// The tick that drops the key in a partition is visible.
    Forgotten(i32),
}

/// Owed to the asker for a key that a shard has dropped, until that is visible.
#[derive(Debug)]
pub(crate) struct Receipt {
    partition: i32,
    answers: Sender<Answer>,
}

/// Why it cannot be said that a key is forgotten here, or was never known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ForgetError {
    /// There is nothing to look in.
    #[error(
        "this worker owns no partition: it is joining its group, or others own all of them; ask the others, or again"
    )]
    NoPartition,
    /// The lanes have ended, or are about to.
    #[error("this worker is stopping, and its partitions go to others; ask those")]
    Stopping,
    /// Some shards are not there to be asked.
    #[error("{} not ready: being brought back, or on the way to another worker; ask again", named(.0))]
    NotReady(Vec<i32>),
    /// Shards were lost with the drop.
    #[error("{} lost, or started again, before it was certain that the key is forgotten there; ask again", named(.0))]
    Lost(Vec<i32>),
    /// The commit takes long.
    #[error(
        "not committed within {} s, is a broker away? The key is forgotten with the next commit; ask again: a worker that \
         does not know it any more has forgotten it",
        .0.as_secs()
    )]
    Late(Duration),
}

fn named(partitions: &[i32]) -> String {
    let numbers: Vec<String> = partitions.iter().map(i32::to_string).collect();
    match partitions {
        [only] => format!("partition {only} is"),
        _ => format!("partitions {} are", numbers.join(", ")),
    }
}

impl Wish {
    /// For a shard that has dropped the key.
    pub(crate) fn receipt(&self, partition: i32) -> Receipt {
        Receipt { partition, answers: self.answers.clone() }
    }

    /// The lane has looked in the shards of these partitions and found the key in those.
    pub(crate) fn answer(self, partitions: Vec<i32>, known: Vec<i32>) {
        // Who does not wait any more has to ask again anyway.
        drop(self.answers.send(Answer::Looked { partitions, known }));
    }
}

impl Receipt {
    /// The tick that dropped the key is visible.
    pub(crate) fn redeem(self) {
        info!(partition = self.partition, "a key was forgotten on demand");
        drop(self.answers.send(Answer::Forgotten(self.partition)));
    }
}

/// Forgets a key wherever this worker knows it; the partitions in which it did. Waits until that is visible, at most `limit`.
///
/// # Errors
/// It cannot be said, [`ForgetError`] says why. Asking again does no harm.
pub(crate) fn forget<F>(ownership: &Ownership<F>, key: &str, limit: Duration) -> Result<Vec<i32>, ForgetError> {
    let until = Instant::now() + limit;
    let mut owned: BTreeSet<i32> = ownership.snapshot().epochs.keys().copied().collect();
    if owned.is_empty() {
        return Err(ForgetError::NoPartition);
    }
    let (answers, heard) = channel();
    let key: Arc<str> = key.into();
    for lane in 0..ownership.lanes() {
        let wish = Wish { key: Arc::clone(&key), answers: answers.clone() };
        if !ownership.post(lane, Mail::Forget(wish)) {
            return Err(ForgetError::Stopping);
        }
    }
    // From here on only those who owe an answer can give one.
    drop(answers);
    let mut lanes = 0;
    let (mut looked, mut known, mut forgotten) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    loop {
        match heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Answer::Looked { partitions, known: found }) => {
                lanes += 1;
                looked.extend(partitions);
                known.extend(found);
            }
            Ok(Answer::Forgotten(partition)) => drop(forgotten.insert(partition)),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => return Err(ForgetError::Late(limit)),
        }
    }
    if lanes < ownership.lanes() {
        return Err(ForgetError::Stopping);
    }
    let lost: Vec<i32> = known.difference(&forgotten).copied().collect();
    if !lost.is_empty() {
        return Err(ForgetError::Lost(lost));
    }
    owned.extend(ownership.snapshot().epochs.keys());
    let unasked: Vec<i32> = owned.difference(&looked).copied().collect();
    if !unasked.is_empty() {
        return Err(ForgetError::NotReady(unasked));
    }
    Ok(forgotten.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::Snapshot;

    /// Two lanes that own partitions 0 to 3.
    fn ownership() -> Ownership<()> {
        let ownership = Ownership::new(2);
        let epochs = (0..4).map(|partition| (partition, 1)).collect();
        ownership.publish(Snapshot { epochs, ..Snapshot::default() });
        ownership
    }

    /// Asks while one thread plays both lanes: for each, where it looks, where it knows the key, and where that becomes
    /// visible.
    fn asked(lanes: [(&[i32], &[i32], &[i32]); 2]) -> Result<Vec<i32>, ForgetError> {
        let ownership = ownership();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (lane, (partitions, known, visible)) in lanes.into_iter().enumerate() {
                    let wish = loop {
                        match ownership.collect(lane) {
                            Some(Mail::Forget(wish)) => break wish,
                            _ => std::thread::yield_now(),
                        }
                    };
                    assert_eq!(&*wish.key, "u7");
                    let receipts: Vec<Receipt> = known.iter().map(|partition| wish.receipt(*partition)).collect();
                    wish.answer(partitions.to_vec(), known.to_vec());
                    let kept = receipts.into_iter().filter(|receipt| visible.contains(&receipt.partition));
                    kept.for_each(Receipt::redeem);
                }
            });
            forget(&ownership, "u7", Duration::from_secs(60))
        })
    }

    #[test]
    fn a_key_is_forgotten_where_it_is_known_and_visible() {
        assert_eq!(asked([(&[0, 2], &[], &[]), (&[1, 3], &[3], &[3])]), Ok(vec![3]));
        assert_eq!(asked([(&[0, 2], &[2], &[2]), (&[1, 3], &[1], &[1])]), Ok(vec![1, 2]));
    }

    #[test]
    fn a_key_that_no_shard_knows_is_not_forgotten_once_all_have_been_asked() {
        assert_eq!(asked([(&[0, 2], &[], &[]), (&[1, 3], &[], &[])]), Ok(vec![]));
        let refused = asked([(&[0], &[], &[]), (&[1], &[], &[])]);
        assert_eq!(refused, Err(ForgetError::NotReady(vec![2, 3])));
        assert!(refused.unwrap_err().to_string().starts_with("partitions 2, 3 are not ready"));
        let refused = asked([(&[0], &[0], &[0]), (&[1], &[], &[])]);
        assert_eq!(refused, Err(ForgetError::NotReady(vec![2, 3])), "a key that moved may be known in two");
    }

    #[test]
    fn what_was_lost_before_the_commit_is_not_said_to_be_forgotten() {
        let refused = asked([(&[0, 2], &[0, 2], &[0]), (&[1, 3], &[], &[])]);
        assert_eq!(refused, Err(ForgetError::Lost(vec![2])));
    }

    #[test]
    fn nobody_waits_for_lanes_that_have_ended_or_for_a_worker_without_partitions() {
        let nothing: Ownership<()> = Ownership::new(1);
        assert_eq!(forget(&nothing, "u7", PATIENCE), Err(ForgetError::NoPartition));
        let ended = ownership();
        ended.close(1);
        assert_eq!(forget(&ended, "u7", PATIENCE), Err(ForgetError::Stopping));
        let ending = ownership();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for lane in 0..2 {
                    while ending.collect(lane).is_none() {
                        std::thread::yield_now();
                    }
                }
            });
            assert_eq!(forget(&ending, "u7", Duration::from_secs(60)), Err(ForgetError::Stopping));
        });
    }

    #[test]
    fn a_commit_that_does_not_come_is_not_waited_for_without_end() {
        let limit = Duration::from_millis(1);
        assert_eq!(forget(&ownership(), "u7", limit), Err(ForgetError::Late(limit)), "no lane turns");
    }
}
