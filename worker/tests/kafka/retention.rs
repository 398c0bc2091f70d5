//! A source that loses records which a recovery needs, or which nobody has read: images are written in time; what is
//! lost all the same is told.

use std::time::Duration;

use faultline_worker::{Disagreement, Worker};
use serde_json::json;

use crate::left::{FIRST, Left};
use crate::wait_until;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn images_are_written_at_once_when_the_source_is_about_to_lose_what_a_replay_needs() {
    let (left, worker) = without_images("nearly-lost");
    left.delete_source_before(1);
    let mut paid = FIRST;
    let is_written = || {
        left.pay(paid..paid + 1);
        paid += 1;
        crate::records(&worker, paid);
        replay(&worker) == 0
    };
    wait_until("all images", LIMIT, is_written, || format!("{:?}", worker.status()));
    assert_eq!(left.marker(), (paid as i64, paid as i64), "a crash would replay nothing");
    worker.stop().unwrap();
}

#[test]
fn images_are_written_at_once_though_no_record_comes_any_more() {
    let (left, worker) = without_images("nearly-lost-idle");
    left.delete_source_before(1);
    wait_until("all images", LIMIT, || replay(&worker) == 0, || format!("{:?}", worker.status()));
    assert_eq!(left.marker(), (FIRST as i64, FIRST as i64), "a crash would replay nothing");
    worker.stop().unwrap();
}

/// A worker that has folded [`FIRST`] payments and has not written an image of any key: so much may be replayed.
#[track_caller]
fn without_images(test: &str) -> (Left, Worker) {
    let patient = json!({ "guarantee": "exactlyOnce", "maxRecoveryTime": "1h" });
    let (left, worker) = Left::beside(test, &[("/spec/delivery", patient)], Disagreement::Stop);
    assert_eq!((replay(&worker), left.marker()), (FIRST, (0, FIRST as i64)));
    (left, worker)
}

fn replay(worker: &Worker) -> u64 {
    worker.status().partitions[0].replay
}

#[test]
fn a_source_that_lost_what_the_state_needs_is_told() {
    let left = Left::behind("retention");
    left.pay(FIRST..FIRST + 100);
    left.delete_source_before(FIRST as i64 + 50);
    let message = left.waits(Disagreement::Stop, "SourceRetentionPassed");
    assert!(message.contains("300 to 350") && message.contains("50 records"), "{message}");
    assert_eq!(left.goes_on(Disagreement::ResetState, 50).scored, 50);
}

#[test]
fn a_running_worker_whose_next_offset_is_deleted_says_so_and_waits_for_a_decision() {
    let (left, worker) = Left::beside("deleted-ahead", &[], Disagreement::Stop);
    delete_ahead(&left);
    let says = |what: &str| worker.status().problems.iter().any(|problem| problem.message.contains(what));
    let message = crate::problem(&worker, "SourceRetentionPassed");
    assert!(
        message.contains("no longer holds offset 300") && message.contains("start with --reset-state"),
        "{message}"
    );
    // It is tried again, from the state.
    wait_until("a restart", LIMIT, || says("partition 0 waits: "), || format!("{:?}", worker.status()));
    assert!(says("to 301: its retention has passed what the state needs"), "{:?}", worker.status());
    left.pay(FIRST..FIRST + 10);
    let status = worker.status();
    assert!(!status.available && status.warming_up.contains_key(&0), "{status:?}");
    assert_eq!(worker.stop().unwrap().outcomes.records(), FIRST);
    assert_eq!(left.committed(), Some(FIRST as i64));
    assert_eq!(left.goes_on(Disagreement::ResetState, 10).scored, 10);
}

#[test]
fn a_running_worker_that_may_reset_the_state_goes_on_by_itself_where_the_source_begins() {
    let (left, worker) = Left::beside("deleted-reset", &[], Disagreement::ResetState);
    delete_ahead(&left);
    left.pay(0..10);
    crate::records(&worker, FIRST + 10);
    let is_well = |worker: &Worker| worker.status().available && worker.status().problems.is_empty();
    wait_until("no problem", LIMIT, || is_well(&worker), || format!("{:?}", worker.status()));
    let outcomes = worker.stop().unwrap().outcomes;
    assert_eq!((outcomes.scored, outcomes.duplicate), (FIRST + 10, 0), "it knows no id any more");
}

/// The record at [`FIRST`] is deleted before a worker that has come so far can read it: a transaction was open there.
fn delete_ahead(left: &Left) {
    let history = left.history();
    let upstream = history.writer("upstream");
    upstream.begin().event("never read").leave();
    left.delete_source_before(FIRST as i64 + 1);
    upstream.abort();
}
