//! What a worker does with the state that another one left: it knows what that one knew, or says what does not fit and
//! waits for a decision.

use std::time::Duration;

use faultline_worker::Disagreement;
use rdkafka::Offset;
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use serde_json::json;

use crate::history::wait;
use crate::left::{FIRST, Left, USERS, admin, delete_before};
use crate::pipeline;

#[test]
fn a_restarted_worker_knows_what_the_former_one_knew() {
    let left = Left::behind("restart");
    left.pay(0..FIRST + 10);
    let worker = left.start(Disagreement::Stop);
    crate::records(&worker, FIRST + 10);
    let status = worker.status();
    assert_eq!((status.outcomes.duplicate, status.outcomes.scored), (FIRST, 10), "ids are known");
    assert_eq!(status.keys, USERS);
    worker.stop().unwrap();
}

#[test]
fn an_offset_that_was_moved_by_hand_waits_for_a_decision() {
    let left = Left::behind("moved");
    left.set_offset(100);
    let message = left.waits(Disagreement::Stop, "StateDisagrees");
    assert!(message.contains("100") && message.contains(&format!("{FIRST}")), "{message}");
    assert!(message.contains("--reset-state") && message.contains("--trust-marker"), "{message}");

    left.pay(FIRST..FIRST + 10);
    let trusting = left.goes_on(Disagreement::TrustMarker, 10);
    assert_eq!((trusting.scored, trusting.duplicate), (10, 0), "it goes on where the state ends");

    left.set_offset(100);
    let reset = left.goes_on(Disagreement::ResetState, FIRST - 100 + 10);
    assert_eq!((reset.scored, reset.duplicate), (FIRST - 100 + 10, 0), "it goes on at the offset and knows no id");
    left.pay(0..FIRST);
    let after = left.goes_on(Disagreement::Stop, FIRST);
    assert_eq!((after.scored, after.duplicate), (100, FIRST - 100), "nothing of the deleted state is left");
}

#[test]
fn a_state_topic_without_its_marker_is_told() {
    let left = Left::behind("no-marker");
    left.write_state("m", None);
    waits_for_a_marker(&left);
}

#[test]
fn a_state_topic_that_was_emptied_is_told_and_begun_anew() {
    let left = Left::behind("emptied");
    let set_policy = |policy| {
        let topic = left.state_topic();
        let changed = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("cleanup.policy", policy);
        let answers = wait(admin().alter_configs([&changed], &AdminOptions::new())).unwrap();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    };
    // A broker deletes records of a topic only if its policy says so, and a worker refuses a state topic that says so.
    set_policy("compact,delete");
    delete_before(&left.state_topic(), Offset::End);
    set_policy("compact");
    assert!(left.state().is_empty());
    waits_for_a_marker(&left);
    begins_anew(&left);
}

#[test]
fn a_state_topic_that_was_deleted_is_told_and_begun_anew() {
    let left = Left::behind("deleted");
    left.delete_state_topic();
    waits_for_a_marker(&left);
    begins_anew(&left);
}

#[test]
fn a_record_of_state_that_cannot_be_read_is_told_and_nothing_is_touched() {
    let left = Left::behind("unreadable");
    // Neither is an image: the first begins like one, the second has a format that nobody wrote. In this order: a
    // recovery reads the former value of a record, too.
    for garbage in [&[1, 2, 1, 0xff], &b"garbage"[..]] {
        left.write_state("k/u1", Some(garbage));
        let before = left.state();
        for disagreement in [Disagreement::Stop, Disagreement::ResetState] {
            let message = left.waits(disagreement, "StateUnreadable");
            assert!(message.starts_with("partition 0 waits: ") && message.contains("the image of a key"), "{message}");
            assert!(message.contains("state topic"), "{message}");
        }
        assert_eq!((left.state() == before, left.committed()), (true, Some(FIRST as i64)), "it is as it was");
    }
    left.delete_state_topic();
    begins_anew(&left);
}

/// Without a decision nothing is read; a marker that is not there cannot be trusted.
#[track_caller]
fn waits_for_a_marker(left: &Left) {
    let message = left.waits(Disagreement::Stop, "StateDisagrees");
    assert!(message.contains(&format!("offset is {FIRST}")) && message.contains("nowhere"), "{message}");
    let message = left.waits(Disagreement::TrustMarker, "StateDisagrees");
    assert!(message.contains("use --reset-state"), "{message}");
    assert_eq!(left.committed(), Some(FIRST as i64));
}

/// A worker that may reset the state goes on at the group's offset and knows nothing; the next one needs no decision.
#[track_caller]
fn begins_anew(left: &Left) {
    left.pay(0..10);
    let reset = left.goes_on(Disagreement::ResetState, 10);
    assert_eq!((reset.scored, reset.duplicate), (10, 0), "ids of the lost state");
    left.pay(0..20);
    let after = left.goes_on(Disagreement::Stop, 20);
    assert_eq!((after.scored, after.duplicate), (10, 10), "ids since then");
}

#[test]
fn the_state_of_another_pipeline_is_not_touched() {
    let left = Left::behind("foreign");
    let other = Left {
        config: pipeline::config(&left.names, &[("/metadata/name", json!("refunds"))]),
        names: left.names.clone(),
        start_ms: left.start_ms,
    };
    let message = other.waits(Disagreement::ResetState, "StateOwnedByAnother");
    assert!(message.contains("local/shop/payments") && message.contains("local/shop/refunds"), "{message}");
    left.pay(0..FIRST);
    assert_eq!(left.goes_on(Disagreement::Stop, FIRST).duplicate, FIRST, "it is as it was");
}

#[test]
fn a_group_whose_offsets_are_gone_goes_on_where_the_state_ends() {
    let left = Left::behind("expired");
    let answers = wait(admin().delete_groups(&[&left.names.identity], &AdminOptions::new())).unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    left.pay(FIRST..FIRST + 10);
    let tally = left.goes_on(Disagreement::Stop, 10);
    assert_eq!((tally.scored, tally.records()), (10, 10));
}

#[test]
fn a_worker_that_waits_for_a_committed_offset_is_not_available() {
    let left = Left::behind("pending");
    let history = left.history();
    let other = history.writer("other");
    other.begin().offset(FIRST as i64).leave();
    let worker = left.start(Disagreement::Stop);
    let waits = || {
        let status = worker.status();
        let is_waiting = status.warming_up.get(&0).is_some_and(|stage| stage.doing == "waiting");
        assert!(!(is_waiting && status.available), "{status:?}");
        is_waiting
    };
    crate::wait_until("the partition waits", Duration::from_secs(60), waits, || format!("{:?}", worker.status()));
    other.abort();
    crate::reads(&worker);
    worker.stop().unwrap();
}
