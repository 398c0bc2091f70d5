//! A source partition, its state topic, and workers that come and go: what of it can be seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use faultline_crds::WorkerConfig;
use faultline_numerics::hash::Fingerprint;
use faultline_numerics::image::Writer;
use faultline_worker::keep::{Backlog, Keeper, Pace, keep};
use faultline_worker::outputs::{Outputs, Topic};
use faultline_worker::pipeline::{Scratch, fold, forget, turn};
use faultline_worker::ports::{RawEvent, RecordTime};
use faultline_worker::restore::{Found, Rebuild, RestoreError};
use faultline_worker::shard::Shard;
use faultline_worker::state::{Head, Marker, RecordKey, read_head};

use super::support::{Record, START};

/// Ticks, crashes and pace of a run, and who is forgotten in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Course {
    /// Records after which a tick ends.
    pub(crate) ends: Vec<usize>,
    /// Ticks that are lost before they are visible, so often.
    pub(crate) crashes: BTreeMap<usize, u32>,
    /// Ticks before which the worker goes and another one comes, with another configuration.
    pub(crate) switches: BTreeMap<usize, Switch>,
    /// Records that a replay may take.
    pub(crate) replay: f64,
    /// Ticks after which the partition is found idle, for [`SILENT_TICKS`] ticks.
    pub(crate) idle: Vec<usize>,
    /// Users that are forgotten before a record …
    pub(crate) forgotten: BTreeMap<usize, u64>,
    /// … and at the end of a tick, perhaps of one without records.
    pub(crate) forgotten_last: BTreeMap<usize, u64>,
    /// Whether the state topic is compacted at every restart.
    pub(crate) compacts: bool,
    /// Longest part of an image, tick by tick and round again; empty: as in production.
    pub(crate) part_bytes: Vec<usize>,
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

/// How a worker goes, and how the next one comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switch {
    /// The next one's configuration, by its number.
    pub(crate) to: usize,
    /// Most ticks in which the old one still writes images; 0 is a crash, [`CLEAN`] a clean stop.
    pub(crate) images: u32,
}

/// As many as it takes.
pub(crate) const CLEAN: u32 = u32::MAX;

/// A source partition, its state topic and what became visible.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) config: Arc<WorkerConfig>,
    pub(crate) log: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(crate) visible: String,
    /// Records that were replayed.
    pub(crate) replayed: usize,
    /// Keys and incidents after the last tick, if all of it was written under one configuration.
    known: Option<Known>,
}

/// What lies in the state topic, without what says when it was written.
type Known = BTreeMap<Vec<u8>, Vec<u8>>;

impl World {
    pub(crate) fn new(config: &Arc<WorkerConfig>) -> Self {
        Self { config: Arc::clone(config), log: Vec::new(), visible: String::new(), replayed: 0, known: None }
    }

    /// Commits a tick.
    pub(crate) fn commit(&mut self, outputs: &Outputs) {
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
    pub(crate) fn compact(&mut self) {
        let last: BTreeMap<Vec<u8>, usize> =
            self.log.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect();
        let mut at = 0;
        self.log.retain(|(key, _)| {
            at += 1;
            last[key] == at - 1
        });
    }

    pub(crate) fn found(&self) -> Result<Found, RestoreError> {
        let mut found = Found::default();
        let mut take_in = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| found.take_in(key, value.as_deref());
        self.log.iter().try_for_each(&mut take_in).map_err(RestoreError::Unreadable)?;
        Ok(found)
    }

    pub(crate) fn marker(&self) -> Option<Marker> {
        let (_, value) = self.log.iter().rev().find(|(key, _)| key == b"m")?;
        Some(Marker::read(value.as_deref()?).unwrap())
    }

    /// Writes another marker.
    pub(crate) fn remark(&mut self, edit: impl FnOnce(&mut Marker)) {
        let (mut marker, mut w) = (self.marker().unwrap(), Writer::new());
        edit(&mut marker);
        marker.write(&mut w);
        self.write(RecordKey::Marker, Some(w.into_bytes()));
    }

    /// Writes a record of state, or deletes it.
    pub(crate) fn write(&mut self, record: RecordKey<'_>, value: Option<Vec<u8>>) {
        let mut key = Vec::new();
        record.write(&mut key);
        self.log.push((key, value));
    }

    /// The shard as a new owner gets it, and the records that it had to replay.
    pub(crate) fn try_restore(
        &self,
        records: &[Record],
        scratch: &mut Scratch,
    ) -> Result<(Shard, usize), RestoreError> {
        let found = self.found()?;
        let Some(marker) = self.marker() else {
            return Ok((Shard::new(Arc::clone(&self.config), 3, 0).keeping_state(), 0));
        };
        let mut rebuild = Rebuild::begin(found, marker, &self.config, 3, false)?;
        let range = rebuild.range();
        for offset in range.clone() {
            rebuild.replay(&raw(&records[offset as usize], offset), scratch)?;
        }
        Ok((rebuild.finish()?, range.count()))
    }

    pub(crate) fn restore(&mut self, records: &[Record], scratch: &mut Scratch) -> Shard {
        let (shard, replayed) = self.try_restore(records, scratch).unwrap();
        self.replayed += replayed;
        shard
    }

    /// The latest records.
    pub(crate) fn latest(&self) -> BTreeMap<&[u8], &[u8]> {
        let mut latest = BTreeMap::new();
        for (key, value) in &self.log {
            match value {
                Some(value) => drop(latest.insert(&key[..], &value[..])),
                None => drop(latest.remove(&key[..])),
            }
        }
        latest
    }

    /// Keys with an image, and its head.
    pub(crate) fn keys(&self) -> BTreeMap<String, Head> {
        let head = |(key, value): (&[u8], &[u8])| match RecordKey::parse(key) {
            Some(RecordKey::Image { key, part: 0 }) => Some((key.to_owned(), read_head(value).unwrap().0)),
            _ => None,
        };
        self.latest().into_iter().filter_map(head).filter(|(_, head)| head.parts > 0).collect()
    }

    /// Keys and incidents; with `all`, ids and what keys share too.
    fn known(&self, all: bool) -> Known {
        let heads = self.keys();
        let mut parts = BTreeMap::new();
        for (key, value) in self.latest() {
            match RecordKey::parse(key).unwrap() {
                RecordKey::Image { key, part } if heads.get(key).is_some_and(|head| part < head.parts) => {
                    let (head, bytes) = read_head(value).unwrap();
                    assert_eq!(head, heads[key], "part {part} of {key}");
                    parts.insert((format!("k/{key}").into_bytes(), part), bytes);
                }
                RecordKey::Decision { .. } => {
                    parts.insert((key.to_vec(), 0), value);
                }
                RecordKey::Ids { .. } | RecordKey::Version { .. } | RecordKey::Increments { .. } if all => {
                    parts.insert((key.to_vec(), 0), value);
                }
                _ => {}
            }
        }
        parts.into_iter().fold(Known::new(), |mut known, ((key, _), bytes)| {
            known.entry(key).or_default().extend_from_slice(bytes);
            known
        })
    }

    /// What lies in the state topic though nothing needs it, once everything is written.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let (heads, marker) = (self.keys(), self.marker().unwrap());
        let source = &self.config.source;
        let models: BTreeSet<_> = self.config.models.iter().map(|bound| bound.model.fingerprint()).collect();
        let latest: Vec<RecordKey<'_>> = self.latest().into_keys().map(|key| RecordKey::parse(key).unwrap()).collect();
        let newest = latest.iter().filter_map(|key| match key {
            RecordKey::Version { of, offset } => Some((*of, *offset)),
            _ => None,
        });
        let newest: BTreeMap<_, _> = newest.fold(BTreeMap::new(), |mut newest, (of, offset)| {
            let at = newest.entry(of).or_insert(offset);
            *at = offset.max(*at);
            newest
        });
        // All others belong to one combination.
        let mut others = BTreeSet::new();
        let mut is_known = |of: Fingerprint| {
            models.contains(&of) || {
                others.insert(of);
                others.len() == 1
            }
        };
        let oldest_ms = marker.greatest_ms.unwrap() - source.allowed_lateness_ms - source.deduplicate_ms.unwrap_or(0);
        let mut is_needed = |key: &RecordKey<'_>| match key {
            RecordKey::Image { key, part } => heads.get(*key).is_some_and(|head| *part < head.parts),
            RecordKey::Decision { key } => heads.contains_key(*key),
            RecordKey::Configuration { of } => *of == self.config.fingerprint,
            RecordKey::Version { of, offset } => is_known(*of) && newest[of] == *offset,
            RecordKey::Increments { of, tick_end } => {
                is_known(*of) && newest.get(of).is_none_or(|offset| offset < tick_end)
            }
            RecordKey::Ids { minute, .. } => source.deduplicate_ms.is_some() && *minute >= oldest_ms.div_euclid(60_000),
            RecordKey::Owner | RecordKey::Marker => true,
        };
        latest.iter().filter(|key| !is_needed(key)).map(|key| format!("{key:?}")).collect()
    }
}

/// The first difference between two runs.
pub(crate) fn difference(found: &World, expected: &World) -> Option<String> {
    let lines = |world: &World| world.visible.lines().map(str::to_owned).collect::<Vec<_>>();
    let (found_lines, expected_lines) = (lines(found), lines(expected));
    if let Some(at) =
        (0..found_lines.len().max(expected_lines.len())).find(|at| found_lines.get(*at) != expected_lines.get(*at))
    {
        return Some(format!("line {at}:\n{:?}\nexpected\n{:?}", found_lines.get(at), expected_lines.get(at)));
    }
    let before = found.known.as_ref().zip(expected.known.as_ref()).and_then(|(found, expected)| other(found, expected));
    before.or_else(|| other(&found.known(true), &expected.known(true)))
}

fn other(found: &Known, expected: &Known) -> Option<String> {
    let keys = found.keys().chain(expected.keys());
    let mut different = keys.filter(|key| found.get(*key) != expected.get(*key));
    different.next().map(|key| {
        let length = |state: &Known| state.get(key).map(Vec::len);
        format!("state of {}: {:?} bytes, expected {:?}", String::from_utf8_lossy(key), length(found), length(expected))
    })
}

/// Closing alerts of all incidents once the partition has been silent for long, by key.
pub(crate) fn closings(shard: &mut Shard) -> BTreeSet<String> {
    let mut outputs = Outputs::new();
    shard.at_end(START + 3600);
    shard.at_end(START + 4000);
    turn(shard, &mut Scratch::new(), &mut outputs);
    let values = outputs.records().iter().filter_map(|output| output.value.as_ref());
    values.map(|span| String::from_utf8_lossy(outputs.bytes(span)).into_owned()).collect()
}

/// An event that every model of the busy pipelines finds strange, at the time of another record.
pub(crate) fn anomaly(key: &str, id: &str, like: &Record) -> Record {
    let at = like.timestamp.millis().unwrap() / 1000;
    let text =
        format!(r#"{{"id":"{id}","user":"{key}","at":{at},"value":70000,"status":"ok","merchant":{{"id":"m1"}}}}"#);
    Record { timestamp: like.timestamp, ..Record::new(key, text) }
}

pub(crate) fn raw(record: &Record, offset: i64) -> RawEvent<'_> {
    RawEvent {
        partition: 3,
        offset,
        timestamp: record.timestamp,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        traceparent: None,
    }
}

pub(crate) fn keeper() -> Keeper {
    Keeper::new("test.0", "local/default/busy", 1)
}

/// Runs a stream through crashes and configurations; it begins with the first of them.
pub(crate) fn run(configs: &[Arc<WorkerConfig>], records: &[Record], course: &Course) -> World {
    let mut world = World::new(&configs[0]);
    let (mut scratch, mut outputs) = (Scratch::new(), Outputs::new());
    let mut keeper = keeper();
    let mut part_bytes = course.part_bytes.iter().copied().cycle();
    let mut shard = world.restore(records, &mut scratch);
    let mut begin = 0;
    for (tick, (end, silent)) in course.ticks(records.len()).into_iter().enumerate() {
        keeper.most_part_bytes = part_bytes.next().unwrap_or(keeper.most_part_bytes);
        let keys = shard.keys();
        let come_back = |world: &mut World, scratch: &mut Scratch| {
            if course.compacts {
                world.compact();
            }
            let shard = world.restore(records, scratch);
            assert_eq!(shard.next_offset(), begin as i64);
            assert_eq!(shard.keys(), keys);
            shard
        };
        if let Some(switch) = course.switches.get(&tick) {
            write_images(&mut world, &mut shard, &mut keeper, switch.images);
            world.config = Arc::clone(&configs[switch.to]);
            shard = come_back(&mut world, &mut scratch);
        }
        let mut crashes = course.crashes.get(&tick).copied().unwrap_or(0);
        loop {
            // Some event times lie ahead of the clock, so that its history matters.
            let second = START + tick as i64 * 11;
            shard.begin_tick(second);
            let forget = |shard: &mut Shard, user: Option<&u64>, outputs: &mut Outputs| {
                user.map(|user| forget(shard, &format!("u{user}"), &mut Scratch::new(), outputs));
            };
            for (offset, record) in records.iter().enumerate().take(end).skip(begin) {
                forget(&mut shard, course.forgotten.get(&offset), &mut outputs);
                fold(&mut shard, &raw(record, offset as i64), &mut scratch, &mut outputs).unwrap();
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
            shard = come_back(&mut world, &mut scratch);
        }
        world.commit(&outputs);
        outputs.clear();
        begin = end;
    }
    flush(&mut world, &mut shard, &mut keeper);
    world.known = course.switches.is_empty().then(|| world.known(false));
    last_round(&mut world, records, &mut keeper);
    world
}

/// Folds records in ticks of 50 that all become visible; the greatest backlog comes back.
pub(crate) fn go_on(
    world: &mut World,
    shard: &mut Shard,
    keeper: &mut Keeper,
    records: &[Record],
    replay: f64,
) -> Backlog {
    let (mut scratch, mut outputs) = (Scratch::new(), Outputs::new());
    let mut most = Backlog::default();
    while shard.next_offset() < records.len() as i64 {
        shard.begin_tick(START + 3600);
        for record in records.iter().skip(shard.next_offset() as usize).take(50) {
            let offset = shard.next_offset();
            fold(shard, &raw(record, offset), &mut scratch, &mut outputs).unwrap();
        }
        let pace = Pace { replay, folded: 50, most_bytes: 1 << 20, hurry: false };
        let backlog = keep(shard, keeper, pace, &mut outputs);
        most = if backlog.replay > most.replay { backlog } else { most };
        world.commit(&outputs);
        outputs.clear();
    }
    most
}

/// A clean stop.
pub(crate) fn flush(world: &mut World, shard: &mut Shard, keeper: &mut Keeper) {
    write_images(world, shard, keeper, CLEAN);
    assert_eq!(world.marker().unwrap().low_water.offset, shard.next_offset());
}

/// Writes images in so many ticks at most.
pub(crate) fn write_images(world: &mut World, shard: &mut Shard, keeper: &mut Keeper, ticks: u32) {
    let mut outputs = Outputs::new();
    let pace = Pace { replay: 0.0, folded: 0, most_bytes: 10_000, hurry: true };
    for _ in 0..ticks {
        let backlog = keep(shard, keeper, pace, &mut outputs);
        world.commit(&outputs);
        outputs.clear();
        if backlog.replay == 0 {
            break;
        }
    }
}

/// After a last restart, one more event of every key: all that lies in the topic is read once more, and written anew
/// under the last configuration. Then nothing else is left in the topic.
fn last_round(world: &mut World, records: &[Record], keeper: &mut Keeper) {
    let (mut scratch, mut outputs) = (Scratch::new(), Outputs::new());
    let replayed = world.replayed;
    let mut shard = world.restore(records, &mut scratch);
    assert_eq!(world.replayed, replayed);
    let keys = world.keys();
    assert_eq!(shard.keys(), keys.len());
    let second = shard.greatest_timestamp_ms().unwrap_or_default().div_euclid(1000);
    shard.begin_tick(second);
    // Perhaps all keys have ended: what an event makes old is forgotten with the next one.
    for user in keys.keys().map(String::as_str).chain(["last", "very last"]) {
        let text = format!(
            r#"{{"id":"last-{user}","user":"{user}","at":{second},"value":55.5,"status":"ok","merchant":{{"id":"m1"}}}}"#
        );
        let record = Record { timestamp: RecordTime::Appended(second * 1000), ..Record::new(user, text) };
        let offset = shard.next_offset();
        fold(&mut shard, &raw(&record, offset), &mut scratch, &mut outputs).unwrap();
    }
    world.commit(&outputs);
    flush(world, &mut shard, keeper);
    drain(world, &mut shard, keeper);
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

/// Ticks without records until there is nothing left to delete.
pub(crate) fn drain(world: &mut World, shard: &mut Shard, keeper: &mut Keeper) {
    let mut outputs = Outputs::new();
    while outputs.records().len() != 1 {
        outputs.clear();
        keep(shard, keeper, Pace { replay: 0.0, folded: 0, most_bytes: 10_000, hurry: true }, &mut outputs);
        world.commit(&outputs);
    }
}
