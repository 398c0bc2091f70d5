//! A shard stops exactly at the record that shows a bad deployment.

use std::sync::Arc;

use faultline_crds::WorkerConfig;
use faultline_worker::outcome::Outcome;
use faultline_worker::pipeline::Trip;
use faultline_worker::ports::RecordTime;

use super::support::{KEYED, Record, Run, SEVERITIES, START, payment, rules};

/// Takes records until one trips; how many were taken, and the trip.
fn until_trip(config: &Arc<WorkerConfig>, records: impl Iterator<Item = Record>) -> (usize, Option<Trip>) {
    let mut run = Run::new(config);
    let mut taken = 0;
    for record in records {
        match run.try_take(&record) {
            Ok(_) => taken += 1,
            Err(trip) => {
                let (before, offset) = (run.transcript(), run.shard.next_offset());
                assert_eq!((trip.offset, offset), (taken as i64, taken as i64));
                assert_eq!(run.try_take(&record).unwrap_err(), trip, "tried again, it stops again");
                assert_eq!(
                    (run.transcript(), run.tally().records()),
                    (before, taken as u64),
                    "the record left no trace"
                );
                return (taken, Some(trip));
            }
        }
    }
    (taken, None)
}

fn with_share(share: f64) -> Arc<WorkerConfig> {
    rules(KEYED, &SEVERITIES.replace("maxShare: 1", &format!("maxShare: {share}")))
}

#[test]
fn too_many_dead_letters_stop_the_shard() {
    let bad = || payment("u", 0, "null");
    let good = || payment("u", 0, 1);
    let (taken, trip) = until_trip(&with_share(0.05), (0..2000).map(|_| bad()));
    let trip = trip.unwrap();
    assert_eq!((taken, trip.reason), (50, "DeadLetterShare"));
    assert!(
        trip.message.contains("51 of the last 51 records") && trip.message.contains("FieldMissing"),
        "{}",
        trip.message
    );
    assert!(trip.message.contains("field `value`: expected a number, found null"), "{}", trip.message);

    let every = |n: usize| (0..5000).map(move |at| if at % n == 0 { bad() } else { good() });
    assert_eq!(until_trip(&with_share(0.05), every(20)).1, None, "5 % is not more than 5 %");
    let (taken, trip) = until_trip(&with_share(0.05), every(19));
    assert!(trip.is_some() && taken < 1000, "{taken}");
    assert_eq!(until_trip(&with_share(1.0), (0..1500).map(|_| bad())).1, None);
    assert_eq!(until_trip(&with_share(0.0), [good(), bad()].into_iter()).0, 1);

    // Fifty bad ones, then a thousand good ones: forgotten, fifty more may come.
    let waves = (0..1100).map(|at| if at % 1050 < 50 { bad() } else { good() });
    assert_eq!(until_trip(&with_share(0.05), waves).1, None);
    let early = (0..1000).map(|at| if at % 999 < 50 { bad() } else { good() });
    assert_eq!(until_trip(&with_share(0.05), early).0, 999, "the first bad one has not left the window");
}

#[test]
fn milliseconds_read_as_seconds_are_named() {
    let (taken, trip) = until_trip(
        &with_share(0.05),
        (0..100).map(|at| Record::new("u", format!(r#"{{"user":"u","at":{},"value":1}}"#, START * 1000 + at))),
    );
    let trip = trip.unwrap();
    assert_eq!((taken, trip.reason), (50, "DeadLetterShare"));
    assert!(trip.message.contains("`unit: seconds`, but the values look like milliseconds"), "{}", trip.message);
}

#[test]
fn seconds_read_as_milliseconds_are_named() {
    let source = KEYED.replace("unit: seconds", "unit: milliseconds");
    let early = |at: i64| Record::new("u", format!(r#"{{"user":"u","at":{},"value":1}}"#, START + at));
    let (taken, trip) = until_trip(&rules(&source, SEVERITIES), (0..2000).map(early));
    let trip = trip.unwrap();
    assert_eq!((taken, trip.reason), (500, "SuspiciousTimestampUnit"));
    assert!(
        trip.message.starts_with(
            "100 % of the last 501 events lie in 1970: `unit: milliseconds`, but the values look like seconds"
        ),
        "{}",
        trip.message
    );
    let proper = |at: i64| Record::new("u", format!(r#"{{"user":"u","at":{},"value":1}}"#, (START + at) * 1000));
    let mixed = (0..3000).map(|at| if at % 2 == 0 { early(at) } else { proper(at) });
    assert_eq!(until_trip(&rules(&source, SEVERITIES), mixed).1, None, "half is not more than half");
}

#[test]
fn record_times_beyond_2200_are_named() {
    let source = "fields: [{name: value, path: value, type: number, whenMissing: reject}]";
    let far = 7_300_000_000_000;
    let record = || Record { timestamp: RecordTime::Appended(far), ..Record::new("u", r#"{"value":1}"#) };
    let (taken, trip) = until_trip(&rules(source, SEVERITIES), (0..1000).map(|_| record()));
    let trip = trip.unwrap();
    assert_eq!((taken, trip.reason), (500, "SuspiciousTimestampUnit"));
    assert!(
        trip.message.contains("beyond the year 2200") && trip.message.contains("source.timestamp"),
        "{}",
        trip.message
    );
}

#[test]
fn a_topic_partitioned_by_something_else_stops_the_shard() {
    let other =
        |user: &str, key: Option<&str>| Record { key: key.map(|key| key.as_bytes().to_vec()), ..payment(user, 0, 1) };
    let config = rules(KEYED, SEVERITIES);
    let records = [other("a", Some("a")), other("b", Some("x")), other("c", Some("c")), other("user-9", None)];
    let (taken, trip) = until_trip(&config, records.clone().into_iter());
    let trip = trip.unwrap();
    assert_eq!((taken, trip.reason), (3, "KeyNotPartitionKey"));
    assert!(trip.message.contains("2 of the last 4 records") && trip.message.contains("`user-9`"), "{}", trip.message);

    let one_in =
        |n: usize| (0..5000).map(move |at| if at % n == 0 { other("a", Some("x")) } else { other("a", Some("a")) });
    assert_eq!(until_trip(&config, one_in(1000)).1, None);
    assert_eq!(until_trip(&config, one_in(999)).0, 999);

    let trusted = rules(&format!("{KEYED}partitioning: trusted"), SEVERITIES);
    assert_eq!(until_trip(&trusted, records.into_iter()).1, None);
    let by_record = rules("fields: [{name: value, path: value, type: number, whenMissing: reject}]", SEVERITIES);
    assert_eq!(until_trip(&by_record, (0..10).map(|at| Record::new(&format!("k{at}"), r#"{"value":1}"#))).1, None);
}

#[test]
fn a_trip_does_not_depend_on_what_the_outcome_would_have_been() {
    // Filtered records are compared too: the topic's partitioning does not depend on the filter.
    let config = rules(&format!(r#"{KEYED}filter: "false""#), SEVERITIES);
    let mut run = Run::new(&config);
    let wrong = Record { key: Some(b"x".to_vec()), ..payment("u", 0, 1) };
    assert_eq!(run.take(&wrong), Outcome::Filtered);
    assert!(run.try_take(&wrong).is_err());
}
