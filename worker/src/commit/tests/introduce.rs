//! A shard whose state is kept begins with a tick that says whose it is and where it begins; nothing is read before.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::Duration;

use super::rig::{Answer, Rig, at, shard, snapshot};
use crate::ownership::{Mail, Request, Tenure};

const LIMIT: Duration = Duration::from_secs(60);

/// Gives the lane a new shard of partition 2 that begins at offset 5.
fn adopt(rig: &Rig) -> Receiver<Tenure> {
    rig.ownership.publish(snapshot(&[(0, 1), (1, 1), (2, 1)], &[]));
    let (taken, adopted) = channel();
    let shard = Box::new(shard(2, 5).keeping_state());
    assert!(rig.ownership.post(0, Mail::Adopt { partition: 2, epoch: 1, shard, taken }));
    adopted
}

#[test]
fn a_shard_is_read_when_its_beginning_is_committed() {
    let rig = Rig::new([]);
    let adopted = adopt(&rig);
    rig.attempts(1);
    assert_eq!(adopted.try_recv(), Err(TryRecvError::Empty), "the commit is not answered");
    rig.answer([Answer::Aborted]);
    rig.stage.wait("another try", |script| script.attempts.len() == 2);
    assert_eq!(adopted.try_recv(), Err(TryRecvError::Empty), "nothing is visible");
    rig.answer([Answer::Done]);
    assert_eq!(adopted.recv_timeout(LIMIT), Ok(Tenure { partition: 2, epoch: 1 }));
    assert_eq!(rig.stop().sent(), [[at(2, 5)], [at(2, 5)]]);
}

#[test]
fn a_tick_under_way_is_not_taken_for_the_one_that_introduces_a_shard() {
    let mut rig = Rig::new([]);
    rig.fold(&[(0, 7)]);
    rig.attempts(1);
    let adopted = adopt(&rig);
    // It is in the open tick, which waits for the one under way.
    assert_eq!(adopted.recv_timeout(Duration::from_millis(100)), Err(RecvTimeoutError::Timeout));
    rig.answer([Answer::Done]);
    rig.attempts(2);
    assert_eq!(adopted.try_recv(), Err(TryRecvError::Empty));
    rig.answer([Answer::Done]);
    assert_eq!(adopted.recv_timeout(LIMIT), Ok(Tenure { partition: 2, epoch: 1 }));
    assert_eq!(rig.stop().sent(), [[at(0, 8)], [at(2, 5)]]);
}

#[test]
fn a_shard_whose_beginning_is_in_doubt_starts_again_unread() {
    let rig = Rig::new([Answer::InDoubt { committed: Vec::new() }]);
    let adopted = adopt(&rig);
    assert_eq!(adopted.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
    assert_eq!(rig.ownership.take_requests(), [Request::Restart(2)]);
    assert_eq!(rig.stop().attempts.len(), 1);
}
