//! Decoding against serde_json: what is accepted, and what is found at a path.

use std::sync::{Arc, LazyLock};

use faultline_crds::WorkerConfig;
use faultline_worker::outcome::{Class, Outcome};
use faultline_worker::outputs::Topic;
use proptest::prelude::*;
use serde_json::{Map, Number, Value};

use super::payloads::echo;
use super::support::{Record, Run};

/// Fields whose paths overlap: an object and members below it, and a name that appears at two depths.
const SOURCE: &str = r"
key: k
timestamp: {path: t, unit: milliseconds}
partitioning: trusted
fields: [{name: value, path: a.b, type: number, whenMissing: previous}, {name: c, path: a.c.d, type: text, whenMissing: previous}, {name: b, path: b, type: text, whenMissing: previous}, {name: a, path: a, type: number, whenMissing: previous}]
";
const REST: &str = "outputs: {results: {topic: results, mode: all, features: always}, deadLetter: {maxShare: 1}}";

/// Resolved once: every case needs a new shard, not a new pipeline.
static CONFIG: LazyLock<Arc<WorkerConfig>> = LazyLock::new(|| echo(SOURCE, REST));

/// Whether serde_json takes the bytes as one object, but for numbers too large for a double, which are JSON too.
fn is_object(bytes: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => Some(value.is_object()),
        Err(error)
            if error.to_string().contains("number out of range") || error.to_string().contains("recursion limit") =>
        {
            None
        }
        Err(_) => Some(false),
    }
}

fn taken_as_json(run: &mut Run, bytes: &[u8]) -> bool {
    let outcome = run.take(&Record::new("u", bytes));
    !matches!(outcome, Outcome::DeadLettered(Class::NotJson | Class::NotUtf8 | Class::Empty))
}

fn json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![Just("a".to_owned()), Just("é\n\"\\😀".to_owned()), "\\PC{0,8}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| Value::Number(number.into())),
        any::<f64>().prop_filter_map("finite", |number| Number::from_f64(number).map(Value::Number)),
        text.prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((name(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Names that meet the needed paths often.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[abcdkt]", 1 => "\\PC{0,4}"]
}

/// The members of an object written one after another, also repeated ones.
fn written(members: &[(String, Value)]) -> String {
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("{}: {value}", Value::String(name.clone()))).collect();
    format!(" {{ {} }} ", members.join(" ,\t"))
}

fn escaped(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_taken_as_serde_json_takes_them(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut run = Run::new(&CONFIG);
        let taken = taken_as_json(&mut run, &bytes);
        if let Some(expected) = is_object(&bytes) {
            prop_assert_eq!(taken, expected);
        }
    }

    #[test]
    fn mutated_json_is_taken_as_serde_json_takes_it(
        value in json(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"\"\\{}[]:,0-.eEtfnu \x00\x80\xffd8".to_vec()), 0..3u8), 0..4),
    ) {
        let mut bytes = written(&[("a".to_owned(), value)]).into_bytes();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
            if bytes.is_empty() {
                return Ok(());
            }
        }
        let mut run = Run::new(&CONFIG);
        let taken = taken_as_json(&mut run, &bytes);
        if let Some(expected) = is_object(&bytes) {
            prop_assert_eq!(taken, expected, "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn what_stands_at_a_path_is_found(members in prop::collection::vec((name(), json()), 0..6), escapes in any::<bool>()) {
        let mut members = members;
        members.push(("k".to_owned(), Value::String("key".to_owned())));
        members.push(("t".to_owned(), Value::Number(1_793_498_400_000_i64.into())));
        let mut text = written(&members);
        if escapes {
            text = text.replacen("\"a\"", &format!("\"{}\"", escaped("a")), 1);
        }
        // serde_json's own map: of a repeated member the last counts.
        let event: Map<String, Value> = serde_json::from_str(&text).unwrap();
        let at = |path: &[&str]| {
            let start = event.get(path[0]).cloned().unwrap_or_default();
            path[1..].iter().fold(start, |value, name| value.get(*name).cloned().unwrap_or_default())
        };
        let number = |value: Value| value.as_f64().map_or(Value::Null, |number| Number::from_f64(number).map_or(Value::Null, Value::Number));
        let only_text = |value: Value| if value.is_string() { value } else { Value::Null };

        let mut run = Run::new(&CONFIG);
        let outcome = run.take(&Record::new("key", text.clone()));
        prop_assert_eq!(outcome, Outcome::Scored);
        let result = &run.payloads(Topic::Results)[0]["features"];
        prop_assert_eq!(result["value"].as_f64(), number(at(&["a", "b"])).as_f64(), "{}", &text);
        prop_assert_eq!(result["a"].as_f64(), number(at(&["a"])).as_f64(), "{}", &text);
        prop_assert_eq!(&result["c"], &only_text(at(&["a", "c", "d"])), "{}", &text);
        prop_assert_eq!(&result["b"], &only_text(at(&["b"])), "{}", &text);
    }
}

#[test]
fn an_object_in_place_of_a_repeated_member_hides_what_came_before() {
    for (event, value, c) in [
        (r#"{"a":{"b":1,"c":{"d":"x"}}}"#, Some(1.0), Some("x")),
        (r#"{"a":{"b":1,"c":{"d":"x"}},"a":{"b":2}}"#, Some(2.0), None),
        (r#"{"a":{"b":1},"a":5}"#, None, None),
        (r#"{"a":{"c":{"d":"x"},"c":1e999}}"#, None, None),
        (r#"{"a":[{"b":1}]}"#, None, None),
    ] {
        let mut run = Run::new(&CONFIG);
        let whole = event.replacen('{', r#"{"k":"key","t":1793498400000,"#, 1);
        assert_eq!(run.take(&Record::new("key", whole)), Outcome::Scored, "{event}");
        let result = &run.payloads(Topic::Results)[0]["features"];
        assert_eq!((result["value"].as_f64(), result["c"].as_str()), (value, c), "{event}");
    }
}
