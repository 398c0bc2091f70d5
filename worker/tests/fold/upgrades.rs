//! A worker whose fold is another than that of the worker before it, which crashed or was stopped.

use std::collections::{BTreeMap, BTreeSet};

use faultline_worker::outcome::Outcome;
use faultline_worker::outputs::Outputs;
use faultline_worker::pipeline::{Scratch, fold};
use faultline_worker::restore::Rebuild;
use faultline_worker::shard::Shard;
use faultline_worker::state::{FOLD_VERSION, RecordKey};

use super::batches::stream;
use super::support::{Record, START};
use super::variants::variants;
use super::world::{World, anomaly, closings, flush, go_on, keeper, raw};

/// Two minutes of lateness: no event of the stream is late.
const NOTHING_IS_LATE: usize = 3;
/// Up to here images hold everything.
const LOW: usize = 490;
/// Where the first worker ends; in between, at 512, a version of what keys share takes force.
const CRASH: usize = 530;

/// A stream of fewer keys than a partition may hold, so that none makes room for another.
fn few_keys() -> Vec<Record> {
    let is_wanted = |record: &Record| {
        let user = std::str::from_utf8(record.key.as_deref().unwrap()).unwrap();
        user.trim_start_matches('u').parse::<u32>().unwrap() < 17
    };
    stream(7, 2 * CRASH).into_iter().filter(is_wanted).take(CRASH).collect()
}

/// What a worker leaves behind that is killed at [`CRASH`], and the shard that dies with it.
fn crashed(records: &[Record]) -> (World, Shard) {
    let (mut world, mut keeper) = (World::new(&variants(NOTHING_IS_LATE)[0]), keeper());
    let mut shard = world.restore(records, &mut Scratch::new());
    go_on(&mut world, &mut shard, &mut keeper, &records[..LOW], 5000.0);
    flush(&mut world, &mut shard, &mut keeper);
    go_on(&mut world, &mut shard, &mut keeper, &records[..CRASH], 5000.0);
    let low = world.marker().unwrap().low_water.offset;
    assert!((LOW..512).contains(&(low as usize)), "{low}");
    (world, shard)
}

/// The same, as another version of the fold would have left it.
fn of_another_version(world: &World) -> World {
    let mut world = world.clone();
    world.remark(|marker| marker.fold_version = FOLD_VERSION + 1);
    world
}

fn record(key: &str, id: &str, at: i64) -> Record {
    let text = format!(r#"{{"id":"{id}","user":"{key}","at":{at},"value":70,"status":"ok","merchant":{{"id":"m1"}}}}"#);
    Record::new(key, text)
}

/// What a shard makes of one more event of each key, by key: all that becomes visible.
fn next_results(shard: &mut Shard, keys: impl IntoIterator<Item = impl AsRef<str>>) -> BTreeMap<String, String> {
    let (mut scratch, mut outputs) = (Scratch::new(), Outputs::new());
    let at = shard.greatest_timestamp_ms().unwrap() / 1000;
    shard.begin_tick(START + 3600);
    let mut results = BTreeMap::new();
    for key in keys {
        let key = key.as_ref();
        // Not where they lie, for some shards know fewer keys.
        let offset = shard.next_offset();
        fold(shard, &raw(&record(key, &format!("next-{key}"), at), offset), &mut scratch, &mut outputs).unwrap();
        let text = |span: &std::ops::Range<u32>| String::from_utf8_lossy(outputs.bytes(span)).into_owned();
        results.insert(key.to_owned(), outputs.records().iter().filter_map(|o| o.value.as_ref()).map(text).collect());
        outputs.clear();
    }
    results
}

#[test]
fn what_another_version_folded_after_the_last_images_is_left_out_and_nothing_else() {
    let records = few_keys();
    let (world, mut dead) = crashed(&records);
    let mut other = of_another_version(&world);
    let marker = other.marker().unwrap();
    let rebuild = Rebuild::begin(other.found().unwrap(), marker.clone(), &other.config, 3, false).unwrap();
    assert!(rebuild.leaves_out());
    assert!(rebuild.range().is_empty());
    let mut shard = rebuild.finish().unwrap();
    assert_eq!(shard.next_offset(), CRASH as i64, "it goes on at C");
    assert_eq!(shard.greatest_timestamp_ms(), dead.greatest_timestamp_ms(), "the watermark is that of C");

    // Ids, of records that images hold and of others.
    let (mut scratch, mut outputs) = (Scratch::new(), Outputs::new());
    let mut duplicates = 0;
    for record in &records[CRASH - 40..] {
        let outcomes = [&mut shard, &mut dead].map(|shard| {
            let offset = shard.next_offset();
            fold(shard, &raw(record, offset), &mut scratch, &mut outputs).unwrap()
        });
        assert_eq!(outcomes[0], outcomes[1]);
        assert_ne!(outcomes[0], Outcome::Scored);
        duplicates += usize::from(outcomes[0] == Outcome::Duplicate);
    }
    assert!(duplicates > 25, "{duplicates} duplicates");

    // Windows: keys whose images hold all their events are as warm as ever, with what all keys share as it was at C.
    let mut last = BTreeMap::new();
    for line in world.visible.lines().filter(|line| line.starts_with("Results ")) {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        last.insert(words[2], words[1].parse::<i64>().unwrap());
    }
    let heads = other.keys();
    let (whole, others): (Vec<&String>, Vec<&String>) =
        heads.keys().partition(|key| heads[*key].applied_upto > last[key.as_str()]);
    assert!(whole.len() >= 3 && others.len() >= 3, "{} keys are whole, {} are not", whole.len(), others.len());
    let (found, expected) = (next_results(&mut shard, heads.keys()), next_results(&mut dead, heads.keys()));
    whole.iter().for_each(|key| assert_eq!(found[*key], expected[*key]));
    others.iter().for_each(|key| assert_ne!(found[*key], expected[*key], "windows of {key} have to warm up"));

    // Its first tick makes the state its own: nothing is left out twice.
    flush(&mut other, &mut shard, &mut keeper());
    let marker = other.marker().unwrap();
    assert_eq!((marker.fold_version, marker.next_offset), (FOLD_VERSION, shard.next_offset()));
    let rebuild = Rebuild::begin(other.found().unwrap(), marker, &other.config, 3, false).unwrap();
    assert!(!rebuild.leaves_out());
}

/// Values over the fixed limit of the pipeline, of keys that were never seen and of one that was.
fn with_anomalies(mut records: Vec<Record>) -> Vec<Record> {
    let known = String::from_utf8(records[LOW - 1].key.clone().unwrap()).unwrap();
    for (at, key) in (CRASH - 3..CRASH).zip(["new-1", "new-2", &known]) {
        records[at] = anomaly(key, &format!("anomaly-{key}"), &records[at]);
    }
    records
}

#[test]
fn incidents_go_on_though_another_version_opened_them() {
    let records = with_anomalies(few_keys());
    let (world, mut dead) = crashed(&records);
    let open: BTreeSet<String> = world.latest().into_keys().filter_map(incident_of).collect();
    let (with_image, without): (Vec<&String>, Vec<&String>) =
        open.iter().partition(|key| world.keys().contains_key(*key));
    assert!(!with_image.is_empty(), "{open:?}");
    assert_eq!(without, ["new-1", "new-2"], "{open:?}");
    let mut other = of_another_version(&world);
    let mut shard = other.restore(&records, &mut Scratch::new());
    let (found, expected) = (closings(&mut shard), closings(&mut dead));
    assert_eq!(expected.len(), open.len());
    assert_eq!(found, expected);
}

fn incident_of(key: &[u8]) -> Option<String> {
    match RecordKey::parse(key) {
        Some(RecordKey::Decision { key }) => Some(key.to_owned()),
        _ => None,
    }
}

#[test]
fn nothing_is_left_out_after_a_clean_stop_of_another_version() {
    let records = few_keys();
    let (mut world, mut dead) = crashed(&records);
    flush(&mut world, &mut dead, &mut keeper());
    let mut other = of_another_version(&world);
    let rebuild = Rebuild::begin(other.found().unwrap(), other.marker().unwrap(), &other.config, 3, false).unwrap();
    assert!(!rebuild.leaves_out());
    let mut shard = other.restore(&records, &mut Scratch::new());
    let keys = other.keys();
    assert_eq!(next_results(&mut shard, keys.keys()), next_results(&mut dead, keys.keys()));
}
