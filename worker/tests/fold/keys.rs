//! Keys come, expire, make room, and are forgotten on demand.

use faultline_worker::outcome::Outcome;
use faultline_worker::outputs::Topic;

use super::support::{KEYED, Record, Run, SEVERITIES, START, payment, rules};

/// Whether the last event was the first of its key.
fn was_new(run: &Run) -> bool {
    run.payloads(Topic::Results).last().unwrap()["features"]["before"].is_null()
}

fn always() -> String {
    SEVERITIES.replace("mode: all", "mode: all, features: always")
}

#[test]
fn a_key_expires_after_its_last_event() {
    let mut run = Run::new(&rules(&format!("{KEYED}keyExpiry: 5m"), &always()));
    run.take(&payment("u", 0, 500));
    run.take(&payment("u", 100, 1));
    run.take(&payment("v", 430, 1));
    assert_eq!(run.shard.keys(), 2, "the watermark stands at 400, just where u expires");
    run.take(&payment("v", 431, 1));
    assert_eq!(run.shard.keys(), 1);
    let alerts = run.payloads(Topic::Alerts);
    assert_eq!((alerts.len(), alerts[1]["closeReason"].as_str()), (2, Some("keyExpired")));
    assert_eq!(alerts[1]["timestamp"], "2026-11-01T02:01:40.000Z");
    run.take(&payment("u", 432, 1));
    assert!(was_new(&run));
    run.take(&payment("v", 433, 1));
    assert!(!was_new(&run), "the other one was not touched");
}

#[test]
fn expiry_is_decided_on_access() {
    let mut run = Run::new(&rules(&format!("{KEYED}keyExpiry: 5m"), &always()));
    run.take(&payment("u", 0, 1));
    run.take(&payment("u", 330, 1));
    assert!(!was_new(&run), "the watermark has come to 300");
    run.take(&payment("u", 661, 1));
    assert!(was_new(&run), "its own event is the first to say that it has expired");
    assert_eq!(run.shard.keys(), 1);
}

#[test]
fn keys_expire_while_the_partition_is_idle() {
    let mut run = Run::new(&rules(&format!("{KEYED}keyExpiry: 5m"), SEVERITIES));
    run.take(&payment("u", 0, 1));
    run.idle(START + 3600);
    run.idle(START + 3930);
    assert_eq!(run.shard.keys(), 1);
    run.idle(START + 3931);
    assert_eq!(run.shard.keys(), 0);
}

#[test]
fn the_idlest_keys_make_room() {
    let mut run = Run::new(&rules(&format!("{KEYED}maxKeysPerPartition: 32"), &always()));
    for user in 0..32 {
        run.take(&payment(&format!("u{user:02}"), i64::from(user), if user == 1 { 500 } else { 1 }));
    }
    run.take(&payment("u00", 32, 1));
    assert_eq!((run.shard.keys(), run.shard.evicted_keys()), (32, 0));
    run.take(&payment("new", 33, 1));
    assert_eq!((run.shard.keys(), run.shard.evicted_keys()), (31, 2), "a sixteenth makes room");
    let alerts = run.payloads(Topic::Alerts);
    assert_eq!((alerts[1]["key"].as_str(), alerts[1]["closeReason"].as_str()), (Some("u01"), Some("keyEvicted")));
    run.take(&payment("u00", 34, 1));
    assert!(!was_new(&run), "it had been heard of lately");
    run.take(&payment("u02", 35, 1));
    assert!(was_new(&run), "it was forgotten");
}

#[test]
fn a_key_is_forgotten_on_demand_and_its_incident_is_closed() {
    let mut run = Run::new(&rules(KEYED, &always()));
    run.take(&payment("u", 0, 500));
    run.take(&payment("u", 10, 1));
    run.take(&payment("v", 20, 500));
    assert!(run.forget("u"));
    assert!(!run.forget("u"), "it is not known any more");
    assert!(!run.forget("nobody"));
    assert_eq!((run.shard.keys(), run.shard.evicted_keys()), (1, 0));
    let alerts = run.payloads(Topic::Alerts);
    assert_eq!(alerts.len(), 3, "opened, opened, closed: {alerts:#?}");
    let closed = &alerts[2];
    assert_eq!((&closed["key"], &closed["state"]), (&"u".into(), &"closed".into()));
    assert_eq!(closed["closeReason"], "keyForgotten");
    assert_eq!(closed["timestamp"], "2026-11-01T02:00:10.000Z", "its incident ends with its last event");
    run.take(&payment("u", 5, 700));
    assert!(was_new(&run), "older than what was forgotten, and still the first event of a new key");
    assert_eq!(run.payloads(Topic::Alerts)[3]["state"], "opened");
    run.take(&payment("v", 30, 1));
    assert!(!was_new(&run), "the other one was not touched");
    run.take(&payment("v", 640, 1));
    let closings = run.payloads(Topic::Alerts);
    let closings: Vec<_> = closings.iter().filter(|alert| alert["closeReason"] == "quiet").collect();
    assert_eq!((closings.len(), &closings[0]["key"]), (1, &"u".into()), "timers of the forgotten incident do nothing");
    assert_eq!(closings[0]["timestamp"], "2026-11-01T02:10:05.000Z");
}

#[test]
fn ids_outlive_a_key_that_is_forgotten() {
    let mut run = Run::new(&rules(KEYED, SEVERITIES));
    let event = Record::new("u", format!(r#"{{"id":"e1","user":"u","at":{START},"value":1}}"#));
    assert_eq!(run.take(&event), Outcome::Scored);
    assert!(run.forget("u"));
    assert_eq!(run.take(&event), Outcome::Duplicate);
}

#[test]
fn state_grows_with_keys_and_shrinks_with_them() {
    let mut run = Run::new(&rules(&format!("{KEYED}keyExpiry: 5m"), SEVERITIES));
    let empty = run.shard.state_bytes();
    for user in 0..1000 {
        run.take(&payment(&format!("user-{user}"), 0, 1));
    }
    let full = run.shard.state_bytes();
    assert!((200_000..8_000_000).contains(&(full - empty)), "{empty} to {full}");
    run.take(&payment("v", 1000, 1));
    assert_eq!(run.shard.keys(), 1);
}
