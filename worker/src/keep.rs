//! The step before the commit: adds to the tick what has to be remembered of it.
//!
//! ```text
//! marker · first: owner, configuration · changed incidents · dropped keys · oldest dirty keys within the budget
//!        · ids taken in · frozen versions and counts · tombstones that L has passed
//! ```
//! The marker comes first among them, so that a transaction which is left open names its owner. All of it becomes visible
//! with the tick's results and offset, or not at all.
//!
//! Which images are written when is a matter of pace ([`Pace`]) and changes no output: images never hold more than
//! `applied_upto` says, and everything beyond is replayed.

mod images;
mod pace;

use faultline_numerics::image::Writer;

use crate::faults::{Promise, is_broken, point};
use crate::outputs::{Output, Outputs, Topic};
use crate::score::{Learner, Pool};
use crate::shard::Shard;
use crate::state::{FOLD_VERSION, MOST_PART_BYTES, Marker, RecordKey, write_decision, write_ids, write_text};
use images::{write_dropped, write_oldest};

pub use pace::Pace;

/// Most records deleted by one tick: a version that takes force ends the counts of thousands of ticks at once.
const MOST_TOMBSTONES: usize = 256;

/// What a worker's shards have in common when they are kept.
#[derive(Debug)]
pub struct Keeper {
    /// The producer that writes them.
    pub transactional_id: String,
    /// Whose state it is, see [`owner`](crate::restore::owner).
    pub owner: String,
    /// Partitions of the source.
    pub partitions: u32,
    /// Longest part of an image.
    pub most_part_bytes: usize,
    // Buffers.
    w: Writer,
    part: Writer,
    image: Writer,
}

/// What is not in images yet after a tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Records that a restart would replay: C − L.
    pub replay: u64,
    /// Keys that no image holds whole, about.
    pub dirty_keys: u64,
    /// Bytes that this tick has added to the state topic.
    pub bytes: u64,
}

impl Keeper {
    /// For shards that are written by one producer.
    #[must_use]
    pub fn new(transactional_id: &str, owner: &str, partitions: u32) -> Self {
        Self {
            transactional_id: transactional_id.to_owned(),
            owner: owner.to_owned(),
            partitions,
            most_part_bytes: MOST_PART_BYTES,
            w: Writer::new(),
            part: Writer::new(),
            image: Writer::new(),
        }
    }
}

/// Adds what has changed in a shard since the last tick; nothing if its state is not kept.
pub fn keep(shard: &mut Shard, keeper: &mut Keeper, pace: Pace, outputs: &mut Outputs) -> Backlog {
    if !shard.journal.is_on() {
        return Backlog::default();
    }
    let (first, bytes_before) = (outputs.records().len(), outputs.len());
    let mut page = Page { partition: shard.partition(), end: shard.next_offset(), outputs, key: Vec::new() };
    point("keep");
    introduce(shard, keeper, &mut page);
    decisions(shard, keeper, &mut page);
    write_dropped(shard, &mut keeper.w, &mut page);
    write_oldest(shard, keeper, pace, &mut page);
    ids(shard, keeper, &mut page);
    shared(shard, &mut page);

    let low_water = shard.low_water();
    shard.journal.forget_below(low_water.offset);
    bury(shard, low_water.offset, &mut page);
    let marker = marker(shard, keeper, low_water);
    keeper.w.clear();
    marker.write(&mut keeper.w);
    let output = page.record(&RecordKey::Marker, Some(keeper.w.as_bytes()));
    page.outputs.insert(first, output);
    Backlog {
        replay: (shard.next_offset() - low_water.offset).max(0) as u64,
        dirty_keys: shard.journal.dirty_keys() as u64,
        bytes: (outputs.len() - bytes_before) as u64,
    }
}

/// The records of one shard and tick, as they are written.
struct Page<'a> {
    partition: i32,
    /// End offset of the tick.
    end: i64,
    outputs: &'a mut Outputs,
    key: Vec<u8>,
}

impl Page<'_> {
    fn record(&mut self, key: &RecordKey<'_>, value: Option<&[u8]>) -> Output {
        self.key.clear();
        key.write(&mut self.key);
        let key = self.outputs.put(&self.key);
        let value = value.map(|value| self.outputs.put(value));
        self.output(key, value)
    }

    fn output(&self, key: crate::outputs::Span, value: Option<crate::outputs::Span>) -> Output {
        Output {
            topic: Topic::State,
            partition: self.partition,
            offset: self.end,
            record_time_ms: -1,
            key: Some(key),
            value,
            traceparent: None,
            rejection: None,
        }
    }

    fn write(&mut self, key: &RecordKey<'_>, value: &[u8]) {
        let record = self.record(key, Some(value));
        self.outputs.push(record);
    }

    fn delete(&mut self, key: &RecordKey<'_>) {
        let record = self.record(key, None);
        self.outputs.push(record);
    }
}

/// Says whose state this is and under which configuration it goes on.
fn introduce(shard: &mut Shard, keeper: &mut Keeper, page: &mut Page<'_>) {
    if !std::mem::take(&mut shard.journal.introduces) {
        return;
    }
    let of = shard.config.fingerprint;
    if shard.journal.configurations.is_empty() {
        shard.journal.configurations.push((shard.start_offset(), of));
    }
    for (key, text) in [(RecordKey::Owner, &keeper.owner), (RecordKey::Configuration { of }, &shard.config.content)] {
        keeper.w.clear();
        write_text(text, &mut keeper.w);
        page.write(&key, keeper.w.as_bytes());
    }
}

/// Incidents that were opened, went on, or were closed.
fn decisions(shard: &mut Shard, keeper: &mut Keeper, page: &mut Page<'_>) {
    let mut decided = std::mem::take(&mut shard.journal.decided);
    if is_broken(Promise::DecisionsKept) {
        return;
    }
    decided.sort_unstable();
    decided.dedup();
    for key in &decided {
        let record = RecordKey::Decision { key };
        let incident = shard.keys.find(key).and_then(|at| shard.keys.at(at).incident.as_deref());
        match incident {
            Some(incident) => {
                keeper.w.clear();
                write_decision(incident, &mut keeper.w);
                page.write(&record, keeper.w.as_bytes());
            }
            None => page.delete(&record),
        }
    }
}

/// Ids taken in; minutes that were forgotten have to go.
fn ids(shard: &mut Shard, keeper: &mut Keeper, page: &mut Page<'_>) {
    let tick_end = page.end;
    for (minute, seen) in std::mem::take(&mut shard.journal.ids) {
        keeper.w.clear();
        write_ids(&seen, &mut keeper.w);
        page.write(&RecordKey::Ids { minute, tick_end }, keeper.w.as_bytes());
        shard.journal.minutes.entry(minute).or_default().push(tick_end);
    }
    for (minute, offset) in std::mem::take(&mut shard.journal.forgotten) {
        for tick_end in shard.journal.minutes.remove(&minute).unwrap_or_default() {
            shard.journal.bury(offset, &RecordKey::Ids { minute, tick_end });
        }
    }
}

/// What keys share: versions that took force, and what was counted since.
fn shared(shard: &mut Shard, page: &mut Page<'_>) {
    let Shard { config, scoring, journal, .. } = shard;
    for (bound, own) in config.models.iter().zip(&mut scoring.models) {
        pool(&mut own.pool, &bound.model, journal, page);
    }
    pool(&mut scoring.combined, &scoring.combination, journal, page);
}

fn pool<L: Learner>(pool: &mut Pool<L>, learner: &L, journal: &mut crate::shard::Journal, page: &mut Page<'_>) {
    let of = pool.of;
    let changes = pool.take_changes(learner, page.end);
    let mut replaced = changes.replaced;
    for (offset, image) in &changes.versions {
        page.write(&RecordKey::Version { of, offset: *offset }, image);
        if let Some(old) = replaced.replace(*offset) {
            // A replay that begins before the new version reads the old one.
            journal.bury(*offset, &RecordKey::Version { of, offset: old });
        }
    }
    for tick_end in changes.spent {
        journal.bury(i64::MIN, &RecordKey::Increments { of, tick_end });
    }
    if let Some(increments) = &changes.increments {
        page.write(&RecordKey::Increments { of, tick_end: page.end }, increments);
    }
}

/// Deletes records that no replay needs any more.
fn bury(shard: &mut Shard, low: i64, page: &mut Page<'_>) {
    for _ in 0..MOST_TOMBSTONES {
        let Some(tombstone) = shard.journal.next_tombstone(low) else { return };
        let is_wanted = match RecordKey::parse(&tombstone.key) {
            // A key that has come back, or has ended again since: what lies there is, or will be, another image.
            Some(RecordKey::Image { key, part: 0 }) => {
                !shard.journal.is_last_end(key, tombstone.after) || shard.keys.find(key).is_some()
            }
            Some(RecordKey::Image { key, part }) => {
                shard.keys.find(key).is_some_and(|at| part < shard.keys.at(at).parts)
            }
            Some(RecordKey::Configuration { of }) => shard.journal.configurations.iter().any(|(_, used)| *used == of),
            Some(RecordKey::Decision { key }) => {
                shard.keys.find(key).is_some_and(|at| shard.keys.at(at).incident.is_some())
            }
            Some(_) => false,
            None => true,
        };
        if !is_wanted {
            let key = page.outputs.put(&tombstone.key);
            let output = page.output(key, None);
            page.outputs.push(output);
        }
    }
}

fn marker(shard: &mut Shard, keeper: &Keeper, mut low_water: crate::state::LowWater) -> Marker {
    shard.journal.sequence += 1;
    shard.journal.idle_since = shard.time.idle_since();
    shard.journal.read_to = shard.read_to;
    if is_broken(Promise::WatermarkAtLow) {
        low_water.greatest_ms = shard.time.greatest_ms();
    }
    Marker {
        sequence: shard.journal.sequence,
        transactional_id: keeper.transactional_id.clone(),
        fold_version: FOLD_VERSION,
        partitions: keeper.partitions,
        start_partitions: *shard.start_partitions.get_or_insert(keeper.partitions),
        next_offset: shard.next_offset(),
        start_offset: shard.start_offset(),
        records: shard.records(),
        greatest_ms: shard.time.greatest_ms(),
        horizon_ms: shard.time.horizon_ms(),
        idle_since: shard.time.idle_since(),
        low_water,
        clock: shard.journal.clock.iter().copied().collect(),
        configurations: shard.journal.configurations.clone(),
        trips: shard.trips.image(),
        read_to: shard.read_to,
    }
}
