//! Every record ends in exactly one outcome, and bad input is named as what it is.

use faultline_worker::outcome::Class::{
    Empty, FieldMissing, FieldNotFinite, FieldWrongType, Future, Key, NotJson, NotUtf8, Timestamp,
};
use faultline_worker::outcome::Outcome::{self, DeadLettered, Duplicate, Filtered, Late, Scored, Skipped};
use faultline_worker::outputs::Topic;
use faultline_worker::ports::RecordTime;

use super::support::{KEYED, Record, Run, SEVERITIES, START, payment, rules};

/// `rest` are more members; user and time are given.
fn event(rest: &str) -> Vec<u8> {
    format!(r#"{{"user":"u","at":{START},{rest}}}"#).into_bytes()
}

fn timed(at: &str) -> Vec<u8> {
    format!(r#"{{"user":"u","value":1,"at":{at}}}"#).into_bytes()
}

fn keyed(user: &str) -> Vec<u8> {
    format!(r#"{{"user":{user},"value":1,"at":{START}}}"#).into_bytes()
}

#[test]
fn every_bad_input_has_its_outcome() {
    let deep =
        format!(r#"{{"user":"u","at":{START},"value":1,"deep":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let deep_value = format!(r#"{{"user":"u","at":{START},"value":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let open = format!(r#"{{"user":"u","at":{START},"value":1,"deep":{}"#, r#"{"a":"#.repeat(100_000));
    let mut large = event(r#""value":1,"padding":""#);
    large.truncate(large.len() - 1);
    large.resize(1 << 20, b'x');
    large.extend_from_slice(b"\"}");
    let cases: Vec<(&str, Option<Vec<u8>>, Outcome, &str)> = vec![
        ("valid", Some(event(r#""value":1"#)), Scored, ""),
        ("null", None, DeadLettered(Empty), "null value"),
        ("empty", Some(Vec::new()), DeadLettered(Empty), "empty value"),
        ("space", Some(b"  ".to_vec()), DeadLettered(NotJson), "EOF"),
        ("not JSON", Some(b"hello".to_vec()), DeadLettered(NotJson), "one JSON object"),
        ("a list", Some(b"[1]".to_vec()), DeadLettered(NotJson), "an object"),
        ("a number", Some(b"1".to_vec()), DeadLettered(NotJson), "an object"),
        ("truncated after the last path", Some(event(r#""value":1,"rest":"ab"#)), DeadLettered(NotJson), "EOF"),
        (
            "without the last brace",
            Some(event(r#""value":1"#).strip_suffix(b"}").unwrap().to_vec()),
            DeadLettered(NotJson),
            "EOF",
        ),
        ("trailing garbage", Some([event(r#""value":1"#), b"x".to_vec()].concat()), DeadLettered(NotJson), "trailing"),
        ("two objects", Some([event(r#""value":1"#), b"{}".to_vec()].concat()), DeadLettered(NotJson), "trailing"),
        ("trailing comma", Some(event(r#""value":1,"#)), DeadLettered(NotJson), ""),
        (
            "invalid UTF-8",
            Some([b"{\"user\":\"".to_vec(), vec![0xFF], b"\"}".to_vec()].concat()),
            DeadLettered(NotUtf8),
            "position 9",
        ),
        ("half a surrogate pair", Some(event(r#""value":1,"note":"\ud800""#)), DeadLettered(NotJson), "surrogate"),
        ("control character", Some(event("\"value\":1,\"note\":\"\u{1}\"")), DeadLettered(NotJson), "control"),
        ("1 MiB", Some(large), Scored, ""),
        ("deep nesting", Some(deep.into_bytes()), Scored, ""),
        ("deep nesting at a field", Some(deep_value.into_bytes()), DeadLettered(FieldWrongType), "an object or a list"),
        ("deep nesting, never closed", Some(open.into_bytes()), DeadLettered(NotJson), "EOF"),
        (
            "missing field",
            Some(event(r#""other":1"#)),
            DeadLettered(FieldMissing),
            "field `value`: expected a number, found nothing",
        ),
        ("null field", Some(event(r#""value":null"#)), DeadLettered(FieldMissing), "found null"),
        ("text for a number", Some(event(r#""value":"1""#)), DeadLettered(FieldWrongType), "found text"),
        ("truth for a number", Some(event(r#""value":true"#)), DeadLettered(FieldWrongType), "true or false"),
        ("object for a number", Some(event(r#""value":{"a":1}"#)), DeadLettered(FieldWrongType), "an object"),
        ("NaN", Some(event(r#""value":NaN"#)), DeadLettered(NotJson), ""),
        ("Infinity", Some(event(r#""value":-Infinity"#)), DeadLettered(NotJson), ""),
        ("too large", Some(event(r#""value":1e400"#)), DeadLettered(FieldNotFinite), "too large"),
        ("too large elsewhere", Some(event(r#""value":1,"other":-1e999"#)), Scored, ""),
        ("beyond 2^53", Some(event(r#""value":9007199254740993"#)), Scored, ""),
        ("leading zero", Some(event(r#""value":01"#)), DeadLettered(NotJson), ""),
        ("repeated member, last wrong", Some(event(r#""value":1,"value":"x""#)), DeadLettered(FieldWrongType), ""),
        ("repeated member, last right", Some(event(r#""value":"x","value":1"#)), Scored, ""),
        ("escaped member name", Some(event(r#""\u0076alue":1"#)), Scored, ""),
        ("zero time", Some(timed("0")), DeadLettered(Timestamp), "between 1970 and 9999"),
        ("negative time", Some(timed("-5")), DeadLettered(Timestamp), "between 1970 and 9999"),
        (
            "no time",
            Some(br#"{"user":"u","value":1}"#.to_vec()),
            DeadLettered(Timestamp),
            "seconds since the epoch, found nothing",
        ),
        ("time as text", Some(timed("\"1793498400\"")), DeadLettered(Timestamp), "found text"),
        ("far future", Some(timed("1893456000")), DeadLettered(Future), "ahead of the worker's clock"),
        ("milliseconds for seconds", Some(timed("1793498400000")), DeadLettered(Timestamp), "between 1970 and 9999"),
        ("endless time", Some(timed("1e400")), DeadLettered(Timestamp), ""),
        ("empty key", Some(keyed("\"\"")), DeadLettered(Key), "found an empty one"),
        ("long key", Some(keyed(&format!("\"{}\"", "k".repeat(2000)))), DeadLettered(Key), "2000 bytes"),
        ("longest key", Some(keyed(&format!("\"{}\"", "k".repeat(1024)))), Scored, ""),
        ("null key", Some(keyed("null")), DeadLettered(Key), "null at `user`"),
        ("object for a key", Some(keyed("{}")), DeadLettered(Key), "an object"),
        ("missing key", Some(format!(r#"{{"value":1,"at":{START}}}"#).into_bytes()), DeadLettered(Key), "nothing"),
        ("numeric key", Some(keyed("12.50")), Scored, ""),
        ("late", Some(timed(&(START - 31).to_string())), Late, ""),
        ("just in time", Some(timed(&(START - 30).to_string())), Scored, ""),
    ];
    let trusted = format!("{KEYED}\npartitioning: trusted");
    let mut run = Run::new(&rules(&trusted, SEVERITIES));
    for (at, (name, value, expected, message)) in cases.iter().enumerate() {
        let record =
            Record { key: Some(b"u".to_vec()), value: value.clone(), timestamp: RecordTime::Created(START * 1000) };
        assert_eq!(run.take(&record), *expected, "{name}");
        assert_eq!(run.tally().records(), at as u64 + 1, "{name}: exactly one outcome");
        if let DeadLettered(_) | Late = expected {
            let rejected = run.outputs.records().last().unwrap().clone();
            assert!(run.last_message().contains(message), "{name}: {}", run.last_message());
            assert_eq!(rejected.value.map(|span| run.outputs.bytes(&span).to_vec()), *value, "{name}: byte for byte");
            assert_eq!(run.outputs.bytes(&rejected.key.unwrap()), b"u", "{name}");
            assert_eq!(
                (rejected.offset, rejected.partition, rejected.record_time_ms),
                (at as i64, 3, START * 1000),
                "{name}"
            );
        }
    }
    let tally = run.tally();
    let scored = cases.iter().filter(|case| case.2 == Scored).count();
    assert_eq!(tally.scored, scored as u64);
    assert_eq!(run.written(Topic::Results).len(), scored, "with mode all, scored = results");
    assert_eq!(tally.by_class.iter().sum::<u64>(), tally.dead_lettered);
    assert_eq!(run.written(Topic::DeadLetter).len() as u64, tally.dead_lettered);
}

#[test]
fn a_message_never_holds_a_value() {
    let mut run = Run::new(&rules(KEYED, SEVERITIES));
    for value in
        [event(r#""value":"secret""#), timed("\"secret\""), keyed("[\"secret\"]"), event(r#""value":1,"x":"secret"#)]
    {
        run.take(&Record::new("u", value));
        assert!(!run.last_message().contains("secret"), "{}", run.last_message());
    }
}

#[test]
fn steps_come_in_order() {
    // Each record is bad in the way of one step and of all later ones.
    let source =
        format!(r#"{KEYED}filter: "!has(kind) || kind != 'test'""#).replace("whenMissing: reject", "whenMissing: skip");
    let mut run = Run::new(&rules(&source, SEVERITIES));
    run.take(&Record::new("u", format!(r#"{{"id":"a","user":"u","at":{START},"value":1}}"#)));
    let far = START + 100_000;
    let old = START - 100;
    let value = |at: i64, rest: &str| format!(r#"{{"id":"a","user":"u","kind":"test","at":{at}{rest}}}"#);
    assert_eq!(run.take(&Record::new("u", value(far, ""))), Skipped, "fields before future");
    assert_eq!(run.take(&Record::new("u", value(far, r#","value":1"#))), DeadLettered(Future), "future before filter");
    assert_eq!(run.take(&Record::new("u", value(old, r#","value":1"#))), Filtered, "filter before late");
    let open = |at: i64| format!(r#"{{"id":"a","user":"u","at":{at},"value":1}}"#);
    assert_eq!(run.take(&Record::new("u", open(old))), Late, "late before duplicate");
    assert_eq!(run.take(&Record::new("u", open(START))), Duplicate);
    assert_eq!(run.shard.keys(), 1);
    assert_eq!(run.tally().records(), 6);
}

#[test]
fn only_accepted_events_move_the_watermark() {
    let source = format!(r#"{KEYED}filter: "!has(kind) || kind != 'test'""#);
    let mut run = Run::new(&rules(&source, SEVERITIES));
    assert_eq!(run.take(&payment("u", 0, 1)), Scored);
    let marks = |run: &Run| (run.shard.greatest_timestamp_ms(), run.shard.watermark_ms());
    let before = marks(&run);
    assert_eq!(before, (Some(START * 1000), Some(START * 1000 - 30_000)));
    let filtered = format!(r#"{{"user":"u","at":{},"value":1,"kind":"test"}}"#, START + 200);
    assert_eq!(run.take(&Record::new("u", filtered)), Filtered);
    assert_eq!(run.take(&payment("u", 300, "\"x\"")), DeadLettered(FieldWrongType));
    assert_eq!(run.take(&payment("u", 100_000, 1)), DeadLettered(Future));
    assert_eq!(marks(&run), before);
    assert_eq!(run.take(&payment("u", 10, 1)), Scored);
    assert_eq!(marks(&run), (Some((START + 10) * 1000), Some((START - 20) * 1000)));
}

#[test]
fn a_missing_field_follows_its_policy_and_rejection_wins() {
    let source = |policies: [&str; 2]| {
        KEYED.replace(
            "fields: [{name: value, path: value, type: number, whenMissing: reject}]",
            &format!(
                "fields: [{{name: value, path: value, type: number, whenMissing: {}}}, {{name: other, path: o, type: text, whenMissing: {}}}]",
                policies[0], policies[1]
            ),
        )
    };
    let outcome =
        |policies, rest: &str| Run::new(&rules(&source(policies), SEVERITIES)).take(&Record::new("u", event(rest)));
    assert_eq!(outcome(["skip", "reject"], r#""x":1"#), DeadLettered(FieldMissing));
    assert_eq!(outcome(["reject", "skip"], r#""x":1"#), DeadLettered(FieldMissing));
    assert_eq!(outcome(["zero", "skip"], r#""x":1"#), Skipped);
    assert_eq!(outcome(["zero", "previous"], r#""x":1"#), Scored);
    assert_eq!(outcome(["skip", "previous"], r#""value":1e400"#), Skipped);
}

#[test]
fn missing_values_are_zero_or_the_previous_one() {
    let source = |policy: &str| KEYED.replace("whenMissing: reject", &format!("whenMissing: {policy}"));
    let rest = SEVERITIES.replace("mode: all", "mode: all, features: always");
    for (policy, expected) in [("zero", [7.0, 0.0, 0.0]), ("previous", [7.0, 7.0, 7.0])] {
        let rest = if rest.contains("features: always") { rest.clone() } else { panic!("the setting moved") };
        let mut run = Run::new(&rules(&source(policy), &rest));
        run.take(&payment("u", 0, 7));
        run.take(&payment("u", 1, "null"));
        run.take(&payment("u", 2, "1e999"));
        let values: Vec<f64> =
            run.payloads(Topic::Results).iter().map(|result| result["features"]["value"].as_f64().unwrap()).collect();
        assert_eq!(values, expected, "{policy}");
    }
}

#[test]
fn ids_are_remembered_for_their_window() {
    let mut run = Run::new(&rules(KEYED, SEVERITIES));
    let mut take = |id: &str, after: i64| {
        run.take(&Record::new("u", format!(r#"{{"id":{id},"user":"u","at":{},"value":1}}"#, START + after)))
    };
    assert_eq!(take("\"a\"", 0), Scored);
    assert_eq!(take("\"a\"", 60), Duplicate);
    assert_eq!(take("17", 60), Scored);
    assert_eq!(take("17", 60), Duplicate, "a numeric id is its text");
    assert_eq!(take("17.0", 60), Scored);
    assert_eq!(take("\"\\u0061\"", 60), Duplicate, "the same text, written otherwise");
    assert_eq!(take("\"\"", 60), Scored, "no id: topic, partition and offset");
    assert_eq!(take("\"\"", 60), Scored);
    assert_eq!(take("null", 60), Scored);
    assert_eq!(take("\"a\"", 600), Duplicate);
    assert_eq!(take("\"a\"", 720), Scored, "beyond the window");
}

#[test]
fn a_duplicate_that_runs_ahead_makes_no_id_forgotten() {
    let mut run = Run::new(&rules(KEYED, SEVERITIES));
    let mut take = |id: &str, after: i64| {
        run.take(&Record::new("u", format!(r#"{{"id":"{id}","user":"u","at":{},"value":1}}"#, START + after)))
    };
    assert_eq!([take("a", 0), take("b", 120)], [Scored, Scored]);
    assert_eq!(take("b", 725), Duplicate, "it does not move the watermark");
    assert_eq!(take("a", 120), Duplicate);
    assert_eq!(take("c", 725), Scored, "it does");
    assert_eq!(take("a", 725), Scored);
}

#[test]
fn the_future_is_measured_from_who_can_know_it() {
    let config = rules(KEYED, SEVERITIES);
    let at = |after: i64, timestamp: RecordTime| Record { timestamp, ..payment("u", after, 1) };
    let day = 86_400;
    // The tick's clock stands one hour after the start.
    let mut run = Run::new(&config);
    assert_eq!(run.take(&at(3600 + 300, RecordTime::Missing)), Scored);
    assert_eq!(run.take(&at(3600 + 301, RecordTime::Missing)), DeadLettered(Future));
    assert_eq!(run.take(&at(3600 + 301, RecordTime::Created((START + day) * 1000))), DeadLettered(Future));
    assert_eq!(run.take(&at(day, RecordTime::Appended((START + day) * 1000))), Scored, "the broker's time is trusted");
    assert_eq!(run.take(&at(day, RecordTime::Appended(START * 1000))), DeadLettered(Future));

    let mut run = Run::of(faultline_worker::shard::Shard::new(config, 3, 0).trusting_record_times());
    assert_eq!(run.take(&at(day, RecordTime::Created((START + day) * 1000))), Scored);
    assert_eq!(run.take(&at(2 * day, RecordTime::Created((START + day) * 1000))), DeadLettered(Future));
    assert_eq!(run.take(&at(2 * day, RecordTime::Missing)), Scored, "nothing to measure from");
}

#[test]
fn keys_and_times_default_to_the_record() {
    let source = "allowedLateness: 30s\nfields: [{name: value, path: value, type: number, whenMissing: reject}]";
    let mut run = Run::new(&rules(source, SEVERITIES));
    let record = |key: Option<&[u8]>, timestamp| Record {
        key: key.map(<[u8]>::to_vec),
        value: Some(br#"{"value":1}"#.to_vec()),
        timestamp,
    };
    let created = RecordTime::Created(START * 1000 + 5);
    assert_eq!(run.take(&record(Some(b"u"), created)), Scored);
    assert_eq!(run.take(&record(None, created)), DeadLettered(Key));
    assert_eq!(run.take(&record(Some(b""), created)), DeadLettered(Key));
    assert_eq!(run.take(&record(Some(&[0xFF]), created)), DeadLettered(Key));
    assert_eq!(run.take(&record(Some(&[b'k'; 1025]), created)), DeadLettered(Key));
    assert_eq!(run.take(&record(Some(b"u"), RecordTime::Missing)), DeadLettered(Timestamp));
    assert_eq!(run.take(&record(Some(b"u"), RecordTime::Created(-1))), DeadLettered(Timestamp));
    let result = &run.payloads(Topic::Results)[0];
    assert_eq!(result["timestamp"], "2026-11-01T02:00:00.005Z");
    assert_eq!(result["eventId"], "payments-3-0");
}
