//! Doubts about ticks in which a shard wrote without moving: an answer cannot be read from its position.

use std::sync::Arc;
use std::time::Duration;

use super::rig::{Answer, Stage, at, halves};
use crate::commit::commit;
use crate::ownership::Request;
use crate::ports::Position;
use crate::status::ShardReport;
use crate::tick::Share;

/// Partition 0 moved, partition 1 wrote without moving.
const BOTH: [(i32, i64, i64); 2] = [(0, 7, 9), (1, 7, 7)];
const SILENT: [(i32, i64, i64); 1] = [(1, 7, 7)];

/// What came of a tick whose first commit was not answered.
#[derive(Debug, PartialEq, Eq)]
struct Settled {
    /// Its further tries.
    again: Vec<Vec<Position>>,
    restarted: Vec<Request>,
}

impl Settled {
    fn visible() -> Self {
        Self { again: Vec::new(), restarted: Vec::new() }
    }
}

/// Commits a tick of these shares (partition, start, end); the positions are found when the doubt is settled.
fn doubt(durable: bool, shares: &[(i32, i64, i64)], found: &[Position]) -> Settled {
    let stage = Arc::new(Stage::default());
    let (mut lane, mut committer) = halves(&stage);
    committer.durable = durable;
    stage.script().answers.extend([Answer::InDoubt { committed: found.to_vec() }, Answer::Done]);
    let share = |&(partition, start, end)| Share {
        partition,
        epoch: 1,
        start,
        end,
        report: ShardReport::of(partition),
        receipts: Vec::new(),
    };
    lane.commits.hand_over(&mut lane.outputs, shares.iter().map(share).collect()).expect("the other end lives");
    let tick = committer.fold.take(Duration::ZERO).expect("the lane lives").expect("handed over");
    commit(&mut committer, tick);
    assert!(lane.board.status().problems.is_empty(), "the doubt is settled");
    let again = stage.script().attempts.drain(..).skip(1).map(|attempt| attempt.positions).collect();
    Settled { again, restarted: lane.ownership.take_requests() }
}

#[test]
fn a_tick_in_which_nothing_moved_is_neither_counted_nor_sent_again_but_read_back() {
    let restarted = vec![Request::Restart(1)];
    assert_eq!(doubt(true, &SILENT, &[at(1, 7)]), Settled { again: Vec::new(), restarted });
}

#[test]
fn a_shard_that_did_not_move_has_the_fate_of_those_that_did() {
    assert_eq!(doubt(true, &BOTH, &[at(0, 9), at(1, 7)]), Settled::visible());
    let again = vec![vec![at(0, 9), at(1, 7)]];
    assert_eq!(doubt(true, &BOTH, &[at(0, 7), at(1, 7)]), Settled { again, restarted: Vec::new() });
}

#[test]
fn a_shard_that_did_not_move_is_read_back_when_those_that_did_fit_neither_end() {
    let restarted = vec![Request::Restart(0), Request::Restart(1)];
    assert_eq!(doubt(true, &BOTH, &[at(0, 3), at(1, 7)]), Settled { again: Vec::new(), restarted });
}

#[test]
fn where_no_state_is_kept_the_position_alone_decides() {
    assert_eq!(doubt(false, &SILENT, &[at(1, 7)]), Settled::visible());
    let (again, restarted) = (vec![vec![at(1, 7)]], vec![Request::Restart(0)]);
    assert_eq!(doubt(false, &BOTH, &[at(0, 3), at(1, 7)]), Settled { again, restarted });
}
