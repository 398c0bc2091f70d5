//! Records of released formats: what an older version left in a state topic is read, value by value.
//!
//! `tests/golden/<kind>.<formats>.txt` holds records of one kind, written from the values below: the key of each as it
//! lies in the topic, then its value. The formats in a name are those of all parts of the record, see [`Kind`].
//! To add one: raise the `FORMAT`, teach the reader both, add the formats that were to the kind's `old`, and run this
//! test; it fails and says where it has put the new file. Look at it and commit it. Old files are never rewritten: they
//! stand for what is stored in the topics of running pipelines.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use faultline_crds::WorkerConfig;
use faultline_detectors::Maturity;
use faultline_numerics::hash::Fingerprint;
use faultline_numerics::image::{Reader, Writer};
use faultline_numerics::random::Random;

use super::{
    ClockTick, Head, LowWater, Marker, RecordKey, SeenId, read_decision, read_head, read_ids, write_decision,
    write_head, write_ids, write_text,
};
use crate::decide::{Incident, ModelSet, Severity};
use crate::keep::{Keeper, Pace, keep};
use crate::outcome::Class;
use crate::outputs::{Outputs, Topic};
use crate::pipeline::{Scratch, fold};
use crate::ports::{RawEvent, RecordTime};
use crate::restore::Found;
use crate::score::{Learner, Scoring};
use crate::shard::{Shard, Sighting, Trips, read_image, write_image};

/// Value bytes on a line.
const LINE_BYTES: usize = 60;

/// Keys and values.
type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Records whose formats have one name.
struct Kind {
    name: &'static str,
    /// Formats before the present ones.
    old: &'static [&'static [u64]],
    records: fn() -> Records,
    formats: fn(&Records) -> Vec<u64>,
}

const KINDS: [Kind; 8] = [
    // Of the marker, of the window of the trips in it.
    Kind { name: "marker", old: &[], records: marker, formats: formats_of_marker },
    // The same where the end of the source is known: one number more, which older versions leave unread.
    Kind { name: "marker-at-end", old: &[], records: marker_at_end, formats: formats_of_marker },
    Kind { name: "ids", old: &[], records: ids, formats: own_format },
    Kind { name: "decision", old: &[], records: decision, formats: own_format },
    // Owner and configuration.
    Kind { name: "text", old: &[], records: texts, formats: own_format },
    // Of the head, of the image, of the windows, of a model, of the combination in it.
    Kind { name: "image", old: &[], records: image, formats: formats_of_image },
    // Of a model's, of the combination's.
    Kind { name: "version", old: &[], records: versions, formats: formats_of_learners },
    Kind { name: "increments", old: &[], records: increments, formats: formats_of_learners },
];

const PIPELINE: &str = "
apiVersion: faultline.dev/v1alpha1
kind: AnomalyPipeline
metadata: {name: payments}
spec:
  kafka: {bootstrapServers: unused:9092}
  source:
    topic: payments
    key: user
    timestamp: {path: at, unit: seconds}
    fields: [{name: amount, path: amount, type: number}]
  features:
    - {name: amount, field: amount}
    - {name: mean_5m, field: amount, aggregate: mean, window: 5m}
  models:
    - {name: usual, modelRef: {name: usual}}
    - {name: smooth, modelRef: {name: smooth}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: usual}
spec: {inputs: [amount], detector: {tail: {}}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: smooth}
spec: {inputs: [mean_5m], detector: {ewma: {}}}
";

/// Events of the shard that images and shared state are taken from; the second version takes force at 512.
const EVENTS: i64 = 600;
/// 2026-11-01T02:00:00Z, seconds.
const START: i64 = 1_793_498_400;
const KEY: &str = "ü/1";

fn config() -> Arc<WorkerConfig> {
    let folder = faultline_crds::read_text("golden.yaml", PIPELINE).unwrap();
    Arc::new(faultline_crds::resolve(folder.pipeline(None).unwrap(), &folder.models).unwrap())
}

fn one(key: RecordKey<'_>, write: impl FnOnce(&mut Writer)) -> (Vec<u8>, Vec<u8>) {
    let (mut bytes, mut w) = (Vec::new(), Writer::new());
    key.write(&mut bytes);
    write(&mut w);
    (bytes, w.into_bytes())
}

fn marker() -> Records {
    marker_of(None)
}

fn marker_at_end() -> Records {
    marker_of(Some(1_000_002))
}

fn marker_of(read_to: Option<i64>) -> Records {
    let mut trips = Trips::new(&config());
    for offset in 0..1_007 {
        let sighting = Sighting {
            dead_letter: (offset % 400 == 9).then_some((Class::NotJson, "")),
            key_mismatch: (offset == 500).then_some("another"),
            time_ms: Some(if offset % 300 == 5 { 7 } else { START * 1000 }),
            time_text: None,
        };
        trips.take_in(&sighting, offset).unwrap();
    }
    let marker = Marker {
        sequence: 300,
        transactional_id: "shop.card-payments.0a1b2c3d.1".to_owned(),
        fold_version: 1,
        partitions: 12,
        start_partitions: 6,
        next_offset: 1_000_000,
        start_offset: 17,
        records: 999_000,
        greatest_ms: Some(START * 1000 + 999),
        horizon_ms: i64::MIN,
        idle_since: Some(START + 7),
        low_water: LowWater { offset: 900_000, greatest_ms: None, records: 899_000 },
        clock: vec![
            ClockTick { offset: 899_990, second: START },
            ClockTick { offset: 950_000, second: START - 3 },
            ClockTick { offset: 1_000_000, second: START + 70_000 },
        ],
        configurations: vec![(17, Fingerprint::of("one")), (950_000, Fingerprint::of("two"))],
        trips: trips.image(),
        read_to,
    };
    Records::from([one(RecordKey::Marker, |w| marker.write(w))])
}

fn ids() -> Records {
    let seen = [(u128::MAX - 5, 0), (1 << 77, 300), (0, 299), (17, 70_000)].map(|(id, offset)| SeenId { id, offset });
    let key = |minute| RecordKey::Ids { minute, tick_end: 70_001 };
    Records::from([one(key(29_891_640), |w| write_ids(&seen, w)), one(key(-3), |w| write_ids(&[], w))])
}

fn decision() -> Records {
    let incident = Incident {
        id: 0x0123_4567_89ab_cdef_0011_2233_4455_6677,
        opened_ms: START * 1000,
        last_ms: START * 1000 + 123_456,
        events: 300,
        peak: 7.25,
        alerted_peak: -0.0,
        severity: Severity::Major,
        maturity: Maturity::Warming,
        models: ModelSet::from_bits(1 << 63 | 5),
        end_timer_ms: i64::MIN,
    };
    Records::from([one(RecordKey::Decision { key: KEY }, |w| write_decision(&incident, w))])
}

fn texts() -> Records {
    let of = Fingerprint::of("one");
    Records::from([
        one(RecordKey::Owner, |w| write_text("local/shop/card-payments", w)),
        one(RecordKey::Configuration { of }, |w| write_text(&"{\"name\":\"ü\"}\n".repeat(20), w)),
    ])
}

/// The records of a shard of one key, as `keep` writes them.
fn kept() -> Records {
    let mut shard = Shard::new(config(), 3, 0).keeping_state();
    let mut keeper = Keeper::new("p.0", "local/default/payments", 6);
    let (mut scratch, mut outputs, mut random) = (Scratch::new(), Outputs::new(), Random::seeded(11));
    shard.begin_tick(START);
    for offset in 0..EVENTS {
        let value = format!(
            "{{\"user\":\"{KEY}\",\"at\":{},\"amount\":{:.2}}}",
            START + offset / 3,
            10.0 + 40.0 * random.exponential()
        );
        let raw = RawEvent {
            partition: 3,
            offset,
            timestamp: RecordTime::Created(START * 1000),
            key: Some(KEY.as_bytes()),
            value: Some(value.as_bytes()),
            traceparent: None,
        };
        fold(&mut shard, &raw, &mut scratch, &mut outputs).unwrap();
    }
    let pace = Pace { replay: 0.0, folded: EVENTS as u64, most_bytes: 1 << 20, hurry: true };
    keep(&mut shard, &mut keeper, pace, &mut outputs);
    let state = outputs.records().iter().filter(|record| record.topic == Topic::State);
    let bytes = |span: &Option<std::ops::Range<u32>>| span.as_ref().map(|span| outputs.bytes(span).to_vec());
    state.filter_map(|record| Some((bytes(&record.key)?, bytes(&record.value)?))).collect()
}

fn kept_of(wanted: fn(RecordKey<'_>) -> bool) -> Records {
    kept().into_iter().filter(|(key, _)| RecordKey::parse(key).is_some_and(wanted)).collect()
}

fn image() -> Records {
    kept_of(|key| matches!(key, RecordKey::Image { .. }))
}

fn versions() -> Records {
    kept_of(|key| matches!(key, RecordKey::Version { .. }))
}

fn increments() -> Records {
    kept_of(|key| matches!(key, RecordKey::Increments { .. }))
}

fn first(bytes: &[u8]) -> u64 {
    Reader::new(bytes).varint().unwrap()
}

fn only(records: &Records) -> &[u8] {
    assert_eq!(records.len(), 1);
    records.values().next().unwrap()
}

fn own_format(records: &Records) -> Vec<u64> {
    let mut formats: Vec<u64> = records.values().map(|value| first(value)).collect();
    formats.dedup();
    formats
}

fn formats_of_learners(records: &Records) -> Vec<u64> {
    let combined = Scoring::new(&config()).combined.of;
    let is_combined = |key: &[u8]| match RecordKey::parse(key) {
        Some(RecordKey::Version { of, .. } | RecordKey::Increments { of, .. }) => of == combined,
        _ => false,
    };
    let of = |wanted| records.iter().find(|(key, _)| is_combined(key) == wanted).map(|(_, value)| first(value));
    [of(false), of(true)].map(Option::unwrap).to_vec()
}

fn formats_of_marker(records: &Records) -> Vec<u64> {
    let value = only(records);
    vec![first(value), first(&Marker::read(value).unwrap().trips)]
}

fn formats_of_image(records: &Records) -> Vec<u64> {
    let value = only(records);
    let (_, image) = read_head(value).unwrap();
    let mut r = Reader::new(image);
    let own = r.varint().unwrap();
    r.signed().unwrap();
    let windows = first(r.bytes().unwrap());
    let mut states = Vec::new();
    for _ in 0..=r.count(17).unwrap() {
        r.fingerprint().unwrap();
        states.push(first(r.bytes().unwrap()));
    }
    assert_eq!((states.len(), states[0]), (3, states[1]), "two models and their combination");
    vec![first(value), own, windows, states[1], states[2]]
}

/// Everything that was found, written again.
fn again(found: Found) -> Records {
    let config = config();
    let scoring = Scoring::new(&config);
    let mut records = Records::new();
    let mut add = |key: RecordKey<'_>, write: &dyn Fn(&mut Writer)| records.extend([one(key, write)]);
    if let Some(marker) = &found.marker {
        let mut trips = Trips::new(&config);
        trips.restore(&marker.trips).unwrap();
        let marker = Marker { trips: trips.image(), ..marker.clone() };
        add(RecordKey::Marker, &|w| marker.write(w));
    }
    if let Some(owner) = &found.owner {
        add(RecordKey::Owner, &|w| write_text(owner, w));
    }
    for (of, content) in &found.configurations {
        add(RecordKey::Configuration { of: *of }, &|w| write_text(content, w));
    }
    for (key, value) in &found.decisions {
        add(RecordKey::Decision { key }, &|w| write_decision(&read_decision(value).unwrap(), w));
    }
    for ((minute, tick_end), value) in &found.ids {
        let key = RecordKey::Ids { minute: *minute, tick_end: *tick_end };
        add(key, &|w| write_ids(&read_ids(value).unwrap(), w));
    }
    for (key, image) in found.images {
        let Head { applied_upto, parts } = image.head;
        let state = read_image(&config, &scoring, &key, &image.bytes().unwrap()).unwrap();
        add(RecordKey::Image { key: &key, part: 0 }, &|w| {
            write_head(Head { applied_upto, parts }, w);
            let mut image = Writer::new();
            write_image(&config, &scoring, &state, &mut image, &mut Writer::new());
            w.raw(image.as_bytes());
        });
    }
    for (of, versions) in found.versions {
        for (offset, bytes) in versions {
            let learned = learned_again(&config, &scoring, of, Learned::Version, &bytes);
            add(RecordKey::Version { of, offset }, &|w| w.raw(&learned));
        }
    }
    for (of, increments) in found.increments {
        for (tick_end, bytes) in increments {
            let learned = learned_again(&config, &scoring, of, Learned::Increments, &bytes);
            add(RecordKey::Increments { of, tick_end }, &|w| w.raw(&learned));
        }
    }
    records
}

/// What lies in a record of state that keys share.
#[derive(Clone, Copy)]
enum Learned {
    Version,
    Increments,
}

/// What a model, or the combination, reads from such a record, written again.
fn learned_again(config: &WorkerConfig, scoring: &Scoring, of: Fingerprint, what: Learned, bytes: &[u8]) -> Vec<u8> {
    fn by(learner: &impl Learner, what: Learned, bytes: &[u8]) -> Vec<u8> {
        let (mut r, mut w) = (Reader::new(bytes), Writer::new());
        match what {
            Learned::Version => learner.write_shared(&learner.restore_shared(&mut r).unwrap(), &mut w),
            Learned::Increments => learner.write_increments(&learner.restore_increments(&mut r).unwrap(), &mut w),
        }
        assert!(r.is_at_end());
        w.into_bytes()
    }
    match config.models.iter().find(|bound| bound.model.fingerprint() == of) {
        Some(bound) => by(&bound.model, what, bytes),
        None => {
            assert_eq!(of, scoring.combined.of, "of another model");
            by(&scoring.combination, what, bytes)
        }
    }
}

fn to_text(records: &Records) -> String {
    let mut text = String::new();
    for (key, value) in records {
        text += &format!("record {}\n", std::str::from_utf8(key).unwrap());
        for bytes in value.chunks(LINE_BYTES) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("value {hex}\n");
        }
    }
    text
}

fn found(text: &str) -> Found {
    let mut found = Found::default();
    for record in text.split("record ").skip(1) {
        let (key, value) = record.split_once('\n').unwrap();
        let hex: String = value.lines().filter_map(|line| line.strip_prefix("value ")).collect();
        let value: Vec<u8> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        found.take_in(key.as_bytes(), Some(&value)).unwrap();
    }
    found
}

#[test]
fn records_of_released_formats_are_read_as_they_were_written() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let mut missing = Vec::new();
    for Kind { name, old, records, formats } in KINDS {
        let records = records();
        assert!(!records.is_empty(), "{name}");
        let current = formats(&records);
        let file = |formats: &[u64]| {
            format!("{name}.{}.txt", formats.iter().map(u64::to_string).collect::<Vec<_>>().join("."))
        };
        for formats in old.iter().copied().chain([&current[..]]) {
            let path = folder.join(file(formats));
            let Ok(text) = fs::read_to_string(&path) else {
                assert!(formats == current, "{}: files of released formats stay", path.display());
                let proposed = std::env::temp_dir().join(file(formats));
                fs::write(&proposed, to_text(&records)).unwrap();
                missing.push(format!("look at {} and commit it as {}", proposed.display(), path.display()));
                continue;
            };
            let found = found(&text);
            assert_eq!(found.unknown, 0, "{}: a record of no kind", path.display());
            assert!(again(found) == records, "{}: another value than was written", path.display());
            let is_same = formats != current || text == to_text(&records);
            assert!(is_same, "the layout of {name} has changed, but its formats are still {current:?}");
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
