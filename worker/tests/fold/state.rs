//! What is kept of a shard brings it back: no crash, at any record, shows in what comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use faultline_crds::WorkerConfig;
use faultline_numerics::random::Random;
use faultline_worker::keep::{Backlog, Keeper, Pace, keep};
use faultline_worker::outputs::{Outputs, Topic};
use faultline_worker::pipeline::{Scratch, fold, forget, turn};
use faultline_worker::ports::RawEvent;
use faultline_worker::restore::{Found, Rebuild};
use faultline_worker::shard::Shard;
use faultline_worker::state::{Marker, RecordKey, read_head};
use proptest::prelude::*;

use super::batches::{busy, stream};
use super::support::{Record, START};

/// Ticks, crashes and pace of a run, and who is forgotten in it.
#[derive(Debug, Clone, Default)]
struct Course {
    /// Records after which a tick ends.
    ends: Vec<usize>,
    /// Ticks that are lost before they are visible, so often.
    crashes: BTreeMap<usize, u32>,
    /// Records that a replay may take.
    replay: f64,
    /// Ticks after which the partition is found idle, for [`SILENT_TICKS`] ticks.
    idle: Vec<usize>,
    /// Users that are forgotten before a record …
    forgotten: BTreeMap<usize, u64>,
    /// … and at the end of a tick, perhaps of one without records.
    forgotten_last: BTreeMap<usize, u64>,
    /// Whether the state topic is compacted at every restart.
    compacts: bool,
}

/// A silence lasts for so many ticks …
const SILENT_TICKS: i64 = 8;
/// … of so many seconds: in the end keys have expired, and most ticks write nothing.
const SILENT_SECONDS: i64 = 50;

impl Course {
    /// The ends of all ticks, and for how long the partition has been silent then.
    fn ticks(&self, records: usize) -> Vec<(usize, Option<i64>)> {
        let ends = self.ends.iter().copied().chain([records]);
        let silence = |tick| if self.idle.contains(&tick) { SILENT_TICKS } else { 0 };
        let ticks = ends.enumerate().flat_map(|(tick, end)| {
            let silent = (0..silence(tick)).map(move |silent| (end, Some(silent * SILENT_SECONDS)));
            std::iter::once((end, None)).chain(silent)
        });
        ticks.collect()
    }
}

/// A source partition, its state topic and what became visible.
struct World {
    config: Arc<WorkerConfig>,
    log: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    visible: String,
}

impl World {
    fn new(config: &Arc<WorkerConfig>) -> Self {
        Self { config: Arc::clone(config), log: Vec::new(), visible: String::new() }
    }

    /// Commits a tick.
    fn commit(&mut self, outputs: &Outputs) {
        for output in outputs.records() {
            let bytes = |span: &Option<std::ops::Range<u32>>| span.as_ref().map(|span| outputs.bytes(span).to_vec());
            let (key, value) = (bytes(&output.key), bytes(&output.value));
            if output.topic == Topic::State {
                self.log.push((key.unwrap(), value));
            } else {
                let text =
                    |bytes: Option<Vec<u8>>| bytes.map_or("-".into(), |b| String::from_utf8_lossy(&b).into_owned());
                let line = format!("{:?} {} {} {}\n", output.topic, output.offset, text(key), text(value));
                self.visible.push_str(&line);
            }
        }
    }

    /// The latest record of each key, in the order of the log.
    fn compact(&mut self) {
        let last: BTreeMap<Vec<u8>, usize> =
            self.log.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect();
        let mut at = 0;
        self.log.retain(|(key, _)| {
            at += 1;
            last[key] == at - 1
        });
    }

    fn found(&self) -> Found {
        let mut found = Found::default();
        self.log.iter().for_each(|(key, value)| found.take_in(key, value.as_deref()).unwrap());
        found
    }

    fn marker(&self) -> Option<Marker> {
        let (_, value) = self.log.iter().rev().find(|(key, _)| key == b"m")?;
        Some(Marker::read(value.as_deref()?).unwrap())
    }

    /// The shard as a new owner gets it, and the records that it had to replay.
    fn restore(&self, records: &[Record], scratch: &mut Scratch) -> (Shard, usize) {
        let Some(marker) = self.marker() else {
            return (Shard::new(Arc::clone(&self.config), 3, 0).keeping_state(), 0);
        };
        let mut rebuild = Rebuild::begin(self.found(), marker, &self.config, 3, false).unwrap();
        let range = rebuild.range();
        for offset in range.clone() {
            rebuild.replay(&raw(records, offset as usize), scratch).unwrap();
        }
        (rebuild.finish().unwrap(), range.count())
    }

    /// Keys and incidents as they lie in the state topic, without what says when they were written.
    fn final_state(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut latest: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (key, value) in &self.log {
            match (RecordKey::parse(key).unwrap(), value) {
                (RecordKey::Image { .. }, Some(value)) if read_head(value).unwrap().0.parts > 0 => {
                    latest.insert(key.clone(), read_head(value).unwrap().1.to_vec());
                }
                (RecordKey::Decision { .. }, Some(value)) => drop(latest.insert(key.clone(), value.clone())),
                (RecordKey::Image { .. } | RecordKey::Decision { .. }, _) => drop(latest.remove(key)),
                _ => {}
            }
        }
        latest
    }
}

/// The first difference between two runs.
fn difference(found: &World, expected: &World) -> Option<String> {
    let lines = |world: &World| world.visible.lines().map(str::to_owned).collect::<Vec<_>>();
    let (found_lines, expected_lines) = (lines(found), lines(expected));
    if let Some(at) =
        (0..found_lines.len().max(expected_lines.len())).find(|at| found_lines.get(*at) != expected_lines.get(*at))
    {
        return Some(format!("line {at}:\n{:?}\nexpected\n{:?}", found_lines.get(at), expected_lines.get(at)));
    }
    let (found, expected) = (found.final_state(), expected.final_state());
    let keys = found.keys().chain(expected.keys());
    let mut different = keys.filter(|key| found.get(*key) != expected.get(*key));
    different.next().map(|key| {
        let length = |state: &BTreeMap<Vec<u8>, Vec<u8>>| state.get(key).map(Vec::len);
        format!(
            "state of {}: {:?} bytes, expected {:?}",
            String::from_utf8_lossy(key),
            length(&found),
            length(&expected)
        )
    })
}

fn raw(records: &[Record], offset: usize) -> RawEvent<'_> {
    let record = &records[offset];
    RawEvent {
        partition: 3,
        offset: offset as i64,
        timestamp: record.timestamp,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        traceparent: None,
    }
}

/// Runs a stream through crashes; the records that were replayed come with it.
fn run(config: &Arc<WorkerConfig>, records: &[Record], course: &Course) -> (World, usize) {
    let mut world = World::new(config);
    let (mut scratch, mut outputs) = (Scratch::new(), Outputs::new());
    let mut keeper = Keeper::new("test.0", "local/default/busy", 1);
    let (mut shard, mut replayed) = world.restore(records, &mut scratch);
    let mut begin = 0;
    for (tick, (end, silent)) in course.ticks(records.len()).into_iter().enumerate() {
        let mut crashes = course.crashes.get(&tick).copied().unwrap_or(0);
        let keys = shard.keys();
        loop {
            // Some event times lie ahead of the clock, so that its history matters.
            let second = START + tick as i64 * 11;
            shard.begin_tick(second);
            let forget = |shard: &mut Shard, user: Option<&u64>, outputs: &mut Outputs| {
                user.map(|user| forget(shard, &format!("u{user}"), &mut Scratch::new(), outputs));
            };
            for offset in begin..end {
                forget(&mut shard, course.forgotten.get(&offset), &mut outputs);
                fold(&mut shard, &raw(records, offset), &mut scratch, &mut outputs).unwrap();
            }
            forget(&mut shard, course.forgotten_last.get(&tick), &mut outputs);
            if let Some(seconds) = silent {
                shard.at_end(second + seconds);
                turn(&mut shard, &mut scratch, &mut outputs);
            }
            let pace = Pace { replay: course.replay, folded: (end - begin) as u64, most_bytes: 1 << 20, hurry: false };
            // As a lane does.
            if end > begin || !outputs.is_empty() || shard.has_to_tell() {
                keep(&mut shard, &mut keeper, pace, &mut outputs);
            }
            if crashes == 0 {
                break;
            }
            crashes -= 1;
            outputs.clear();
            if course.compacts {
                world.compact();
            }
            let (restored, count) = world.restore(records, &mut scratch);
            (shard, replayed) = (restored, replayed + count);
            assert_eq!(shard.next_offset(), begin as i64);
            assert_eq!(shard.keys(), keys);
        }
        world.commit(&outputs);
        outputs.clear();
        begin = end;
    }
    flush(&mut world, &mut shard, &mut keeper);
    (world, replayed)
}

/// A clean stop.
fn flush(world: &mut World, shard: &mut Shard, keeper: &mut Keeper) {
    let mut outputs = Outputs::new();
    let pace = Pace { replay: 0.0, folded: 0, most_bytes: 10_000, hurry: true };
    while keep(shard, keeper, pace, &mut outputs).replay > 0 {
        world.commit(&outputs);
        outputs.clear();
    }
    world.commit(&outputs);
    assert_eq!(world.marker().unwrap().low_water.offset, shard.next_offset());
}

fn courses(records: usize) -> impl Strategy<Value = Course> {
    let ends = prop::collection::btree_set(0..records, 0..40);
    let crashes = prop::collection::btree_map(0..60_usize, 1..3_u32, 0..10);
    let empty = prop::collection::vec(0..records, 0..4);
    let idle = prop::collection::vec(0..41_usize, 0..3);
    // Users come the more often the smaller their number is.
    let forgotten = prop::collection::btree_map(0..records, 0..20_u64, 0..20);
    let forgotten_last = prop::collection::btree_map(0..45_usize, 0..20_u64, 0..10);
    let replay = prop_oneof![0.0..20.0, 0.0..2000.0];
    (ends, empty, crashes, replay, idle, any::<bool>(), forgotten, forgotten_last).prop_map(
        |(ends, empty, crashes, replay, idle, compacts, forgotten, forgotten_last)| {
            // A tick that ends where the one before it ended has no records.
            let mut ends: Vec<usize> =
                ends.into_iter().flat_map(|end| [end].repeat(1 + usize::from(empty.contains(&end)))).collect();
            ends.extend(empty);
            ends.sort_unstable();
            Course { ends, crashes, replay, idle, compacts, forgotten, forgotten_last }
        },
    )
}

/// Cases of the property; more by `FAULTLINE_CASES`.
fn cases() -> u32 {
    std::env::var("FAULTLINE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_crash_shows(seed in any::<u64>(), course in courses(500)) {
        let config = busy();
        let records = stream(seed, 500);
        let calm = Course { crashes: BTreeMap::new(), ..course.clone() };
        let (undisturbed, _) = run(&config, &records, &calm);
        let (disturbed, _) = run(&config, &records, &course);
        prop_assert_eq!(difference(&disturbed, &undisturbed), None);
    }
}

/// Records of a tick, where ticks are equally long.
const EVERY: usize = 37;

/// A crash after every tick.
fn crashing(records: usize, replay: f64) -> Course {
    let ends: Vec<usize> = (0..records).step_by(EVERY).collect();
    let crashes = (0..ends.len() + 1).map(|tick| (tick, 1)).collect();
    Course { ends, crashes, replay, compacts: true, ..Course::default() }
}

#[test]
fn a_crash_after_every_tick_replays_and_shows_nothing() {
    let config = busy();
    let records = stream(7, 1500);
    let course = Course { idle: vec![20], ..crashing(1500, 200.0) };
    let (disturbed, replayed) = run(&config, &records, &course);
    let (undisturbed, _) = run(&config, &records, &Course { crashes: BTreeMap::new(), ..course });
    assert!(replayed > 1000, "{replayed} records were replayed");
    assert!(undisturbed.visible.contains("closed"));
    assert_eq!(difference(&disturbed, &undisturbed), None);
}

/// The results of a user, by offset: whether the event was the first that was known of him.
fn was_new(world: &World, user: &str) -> BTreeMap<usize, bool> {
    let results = world.visible.lines().filter_map(|line| {
        let mut words = line.splitn(4, ' ');
        let (topic, offset, key) = (words.next()?, words.next()?, words.next()?);
        let payload: serde_json::Value = serde_json::from_str(words.next()?).ok()?;
        let is_new = payload["features"]["before"].is_null();
        (topic == "Results" && key == user).then(|| (offset.parse().unwrap(), is_new))
    });
    results.collect()
}

#[test]
fn a_key_that_was_forgotten_does_not_come_back_with_a_crash() {
    let config = busy();
    let records = stream(7, 1500);
    let remembered = crashing(1500, 2000.0);
    let (known, _) = run(&config, &records, &remembered);
    // A user in an incident, whose next event comes after the next crash.
    let next_of = |user: &str, at: usize| was_new(&known, user).into_iter().find(|(offset, _)| *offset > at);
    let is_apart = |at: usize, next: usize| at > 300 && next / EVERY > (at + 1) / EVERY;
    let is_fit = |(at, user): &(usize, &str)| matches!(next_of(user, *at), Some((next, false)) if is_apart(*at, next));
    let mut opened = known.visible.lines().filter(|line| line.contains(r#""state":"opened""#)).map(|line| {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        (words[1].parse::<usize>().unwrap(), words[2])
    });
    let (at, user) = opened.find(is_fit).unwrap();
    let number = user.trim_start_matches('u').parse().unwrap();
    let course = Course { forgotten: [(at + 1, number)].into(), ..remembered };
    let (disturbed, replayed) = run(&config, &records, &course);
    assert!(replayed > 1000, "{replayed} records were replayed");
    assert_eq!(disturbed.visible.matches("keyForgotten").count(), 1, "its incident is closed, once");
    let (next, _) = next_of(user, at).unwrap();
    let (known, found) = (was_new(&known, user), was_new(&disturbed, user));
    let differ: Vec<_> = found.iter().filter(|(offset, is_new)| known[*offset] != **is_new).collect();
    assert_eq!(differ, [(&next, &true)], "exactly the next event is the first of a new key");
    let (undisturbed, _) = run(&config, &records, &Course { crashes: BTreeMap::new(), ..course });
    assert_eq!(difference(&disturbed, &undisturbed), None);
}

#[test]
fn a_clean_stop_leaves_nothing_to_replay_and_the_pace_bounds_the_rest() {
    let config = busy();
    let mut random = Random::seeded(3);
    let records = stream(random.below(1000), 1500);
    let (mut scratch, mut outputs) = (Scratch::new(), Outputs::new());
    let mut keeper = Keeper::new("test.0", "local/default/busy", 1);
    let mut world = World::new(&config);
    let (mut shard, _) = world.restore(&records, &mut scratch);
    let mut most = Backlog::default();
    for begin in (0..1500).step_by(50) {
        shard.begin_tick(START + 3600);
        for offset in begin..begin + 50 {
            fold(&mut shard, &raw(&records, offset), &mut scratch, &mut outputs).unwrap();
        }
        let pace = Pace { replay: 300.0, folded: 50, most_bytes: 1 << 20, hurry: false };
        let backlog = keep(&mut shard, &mut keeper, pace, &mut outputs);
        if backlog.replay > most.replay {
            most = backlog;
        }
        world.commit(&outputs);
        outputs.clear();
    }
    assert!((50..=300).contains(&most.replay), "{most:?}");
    flush(&mut world, &mut shard, &mut keeper);
    let (_, replayed) = world.restore(&records, &mut scratch);
    assert_eq!(replayed, 0);
}
