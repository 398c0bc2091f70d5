//! The first start of a pipeline: where it begins, and that this is settled before anything is read.

use chrono::{DateTime, SecondsFormat};
use faultline_worker::Disagreement;
use serde_json::{Value, json};

use crate::left::Left;
use crate::pipeline;

#[test]
fn a_first_start_begins_behind_what_was_there_if_nothing_is_said() {
    let left = Left::nothing("latest", &[("/spec/source/startFrom", Value::Null)]);
    left.pay(0..100);
    let worker = left.start(Disagreement::Stop);
    crate::reads(&worker);
    left.pay(100..130);
    crate::records(&worker, 30);
    assert_eq!((worker.stop().unwrap().outcomes.records(), left.committed()), (30, Some(130)));
}

#[test]
fn a_worker_that_stopped_before_any_record_came_goes_on_where_it_began() {
    begins_once("exactlyOnce");
}

#[test]
fn a_worker_without_durable_state_goes_on_where_it_began_too() {
    begins_once("atLeastOnce");
}

/// Records that come while no worker runs are read, though the first one has seen none.
#[track_caller]
fn begins_once(guarantee: &str) {
    let changes = [("/spec/source/startFrom", json!({ "latest": {} })), ("/spec/delivery/guarantee", json!(guarantee))];
    let left = Left::nothing("latest-idle", &changes);
    left.pay(0..100);
    let worker = left.start(Disagreement::Stop);
    crate::reads(&worker);
    assert_eq!(worker.stop().unwrap().outcomes.records(), 0);
    assert_eq!(left.committed(), Some(100));

    left.pay(100..110);
    assert_eq!((left.goes_on(Disagreement::Stop, 10).records(), left.committed()), (10, Some(110)));
}

#[test]
fn a_first_start_from_a_time_begins_at_the_first_record_of_that_time_or_later() {
    // A record comes every 10 ms.
    for (test, after_ms, first) in [("time-at", 400, 40), ("time-between", 401, 41)] {
        let mut left = Left::nothing(test, &[]);
        let time = DateTime::from_timestamp_millis(left.start_ms + after_ms).unwrap();
        let time = time.to_rfc3339_opts(SecondsFormat::Millis, true);
        left.config = pipeline::config(&left.names, &[("/spec/source/startFrom", json!({ "time": time }))]);
        left.pay((0..500).step_by(10));
        let records = left.goes_on(Disagreement::Stop, 50 - first).records();
        assert_eq!((records, left.committed()), (50 - first, Some(50)), "{test}");
    }
}
