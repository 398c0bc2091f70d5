//! Replays of CSV and NDJSON: mapping, times, keys, and rows that are named when they are bad.

use serde_json::json;

use super::*;

fn shape() -> Shape {
    Shape {
        time: Some(("timestamp".to_owned(), TimeUnit::Seconds)),
        key: Some("userId".to_owned()),
        texts: ["userId".to_owned(), "merchant.id".to_owned()].into(),
        required: ["amount".to_owned()].into(),
    }
}

fn maps(texts: &[&str]) -> Vec<Mapping> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The events as (key, time, value) and the bad rows, as they print.
fn replayed(name: &str, text: &str, mappings: &[&str], shape: Shape) -> (Vec<(String, i64, Value)>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let mut replay = Replay::open(&path, &maps(mappings), shape).unwrap();
    let (mut events, mut bad) = (Vec::new(), Vec::new());
    let mut record = Record::default();
    while let Some(row) = replay.next_into(&mut record) {
        match row {
            Ok(()) => {
                let key = String::from_utf8(record.key.clone()).unwrap();
                events.push((key, record.time_ms, serde_json::from_slice(&record.value).unwrap()));
            }
            Err(row) => bad.push(row.to_string()),
        }
    }
    (events, bad)
}

#[test]
fn a_file_of_a_metric_gets_its_name_as_key() {
    let text = "timestamp,value\n2014-04-01 00:00:00,19.76\n2014-04-01 00:05:00,20\n";
    let (events, bad) = replayed("cpu_4f2.csv", text, &["amount=value"], shape());
    assert!(bad.is_empty());
    assert_eq!(events[0].0, "cpu_4f2");
    assert_eq!(events[0].1, 1_396_310_400_000);
    let first = json!({"timestamp": 1_396_310_400, "value": 19.76, "amount": 19.76, "userId": "cpu_4f2"});
    assert_eq!(events[0].2, first);
    assert_eq!(events[1].2["amount"], json!(20));
}

#[test]
fn columns_are_mapped_to_paths_and_declared_texts_stay_texts() {
    let text = "when,who,paid,shop\n1793499240,007,3.5,42\n";
    let mappings = ["timestamp=when", "userId=who", "amount=paid", "merchant.id=shop"];
    let (events, bad) = replayed("a.csv", text, &mappings, shape());
    assert!(bad.is_empty());
    let (key, time_ms, event) = &events[0];
    assert_eq!((key.as_str(), *time_ms), ("007", 1_793_499_240_000));
    assert_eq!(
        (&event["userId"], &event["merchant"]["id"], &event["amount"]),
        (&json!("007"), &json!("42"), &json!(3.5))
    );
}

#[test]
fn lines_of_json_are_read_with_nested_names() {
    let text = "{\"ts\":\"2026-11-01T02:14:00Z\",\"who\":{\"id\":7},\"amount\":1}\n\n{\"ts\":\"2026-11-01T02:15:00Z\",\"who\":{\"id\":8},\"amount\":2}\n";
    let (events, bad) = replayed("a.ndjson", text, &["timestamp=ts", "userId=who.id"], shape());
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(events.iter().map(|(key, ..)| key.as_str()).collect::<Vec<_>>(), ["7", "8"]);
    assert_eq!(events[1].2["timestamp"], json!(1_793_499_300));
}

#[test]
fn bad_rows_are_named_by_line_and_left_out() {
    let text = "timestamp,amount\n1793499240,1\n1793499240\nnever,2\n1793499240,\n1793499300,3\n";
    let (events, bad) = replayed("a.csv", text, &[], shape());
    assert_eq!(events.len(), 2);
    assert_eq!(bad.len(), 3, "{bad:?}");
    assert_eq!(bad[0], "a.csv:3: expected 2 columns, found 1");
    assert!(bad[1].starts_with("a.csv:4: `timestamp`: expected a time"), "{}", bad[1]);
    assert_eq!(bad[2], "a.csv:5: expected a value for `amount`, found none");
    let (_, bad) = replayed("a.jsonl", "{\"timestamp\":1,\"amount\":1}\nnonsense\n[1]\n", &[], shape());
    assert_eq!(bad.len(), 2);
    assert!(bad[0].starts_with("a.jsonl:2: expected a JSON object"), "{}", bad[0]);
}

#[test]
fn a_column_that_is_not_there_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, "timestamp,value\n").unwrap();
    let refused = |mappings: &[&str]| Replay::open(&path, &maps(mappings), shape()).err().unwrap().to_string();
    let text = refused(&[]);
    assert!(
        text.contains("no column `amount`; its columns are timestamp, value") && text.contains("--map amount="),
        "{text}"
    );
    assert!(refused(&["amount=valeu"]).contains("no column `valeu`"));
    let other = folder.path().join("a.txt");
    assert!(matches!(Replay::open(&other, &[], shape()), Err(OpenError::Format { .. })));
    assert!(matches!(Replay::open(&folder.path().join("b.csv"), &[], shape()), Err(OpenError::Read { .. })));
}

#[test]
fn without_paths_the_record_carries_key_and_time() {
    let shape = Shape { time: None, key: None, texts: BTreeSet::new(), required: BTreeSet::new() };
    let (events, bad) =
        replayed("a.csv", "at,host,load\n2026-11-01 02:14:00,web-1,3\n", &["timestamp=at", "key=host"], shape);
    assert!(bad.is_empty());
    assert_eq!((events[0].0.as_str(), events[0].1), ("web-1", 1_793_499_240_000));
}

#[test]
fn a_mapping_needs_both_sides() {
    assert_eq!("a=b".parse(), Ok(Mapping { path: "a".to_owned(), column: "b".to_owned() }));
    assert!("a".parse::<Mapping>().unwrap_err().contains("expected field=column"));
    assert!("=b".parse::<Mapping>().is_err());
}
