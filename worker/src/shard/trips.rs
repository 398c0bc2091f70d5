//! When a shard must stop: a bad deployment looks different from bad data.
//!
//! Three conditions over the last 1,000 records are looked at *before* a record is folded; the record that would
//! break one is not consumed, so everything before it stays committed, wherever a tick ends.

use faultline_crds::worker_config::{Partitioning, TimeUnit, WorkerConfig};

use faultline_numerics::image::{ImageError, Reader, Writer};

use crate::decode::{likely_unit, unit_name};
use crate::outcome::Class;

/// The shard must stop before this record: it is not consumed and has no outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trip {
    /// `DeadLetterShare`, `KeyNotPartitionKey` or `SuspiciousTimestampUnit`.
    pub reason: &'static str,
    /// What was seen, an example, what to do.
    pub message: String,
    /// The record's offset.
    pub offset: i64,
}

/// Records looked at.
const WINDOW: usize = 1000;
/// Among them may be this many whose key is not the partition key: 0.1 %.
const MISMATCHES: u32 = 1;
/// Event times before 1971 or from 2200 on are those of a wrong unit.
const FROM_MS: i64 = 31_536_000_000;
const TO_MS: i64 = 7_258_118_400_000;

/// What is looked at of one record.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sighting<'a> {
    /// The class of a dead letter, and its message.
    pub(crate) dead_letter: Option<(Class, &'a str)>,
    /// The entity key as outputs show it, if the record's key differs from it.
    pub(crate) key_mismatch: Option<&'a str>,
    /// Event time.
    pub(crate) time_ms: Option<i64>,
    /// The number at the timestamp's path.
    pub(crate) time_text: Option<&'a str>,
}

/// The last records, and what a shard makes of them.
#[derive(Debug)]
pub(crate) struct Trips {
    /// Per record: the class of a dead letter + 1, and flags.
    ring: Vec<u8>,
    at: usize,
    classes: [u32; Class::ALL.len()],
    dead_letters: u32,
    mismatches: u32,
    odd_times: u32,
    max_share: f64,
    compares_keys: bool,
    unit: Option<TimeUnit>,
}

const TRIPS_FORMAT: u64 = 1;
const CLASS_BITS: u8 = 0x0F;
const MISMATCH: u8 = 0x10;
const ODD_TIME: u8 = 0x20;

impl Trips {
    pub(crate) fn new(config: &WorkerConfig) -> Self {
        Self {
            ring: Vec::with_capacity(WINDOW),
            at: 0,
            classes: [0; Class::ALL.len()],
            dead_letters: 0,
            mismatches: 0,
            odd_times: 0,
            max_share: config.outputs.dead_letter.max_share,
            compares_keys: config.source.partitioning == Partitioning::Verified && config.source.key.is_some(),
            unit: config.source.timestamp.map(|timestamp| timestamp.unit),
        }
    }

    /// Whether record keys are compared with entity keys.
    pub(crate) fn compares_keys(&self) -> bool {
        self.compares_keys
    }

    /// Takes a record in, or finds that the shard must stop before it; then nothing has changed.
    pub(crate) fn take_in(&mut self, sighting: &Sighting<'_>, offset: i64) -> Result<(), Trip> {
        let odd_time = sighting.time_ms.is_some_and(|at| !(FROM_MS..TO_MS).contains(&at));
        let class = sighting.dead_letter.map_or(0, |(class, _)| class as u8 + 1);
        let mismatch = sighting.key_mismatch.is_some();
        let seen = class | if mismatch { MISMATCH } else { 0 } | if odd_time { ODD_TIME } else { 0 };
        let leaving = if self.ring.len() == WINDOW { self.ring[self.at] } else { 0 };
        if seen | leaving != 0 {
            self.check(seen, leaving, sighting).map_err(|(reason, message)| Trip { reason, message, offset })?;
            self.count(leaving, u32::wrapping_sub);
            self.count(seen, u32::wrapping_add);
        }
        if self.ring.len() < WINDOW {
            self.ring.push(seen);
        } else {
            self.ring[self.at] = seen;
            self.at = (self.at + 1) % WINDOW;
        }
        Ok(())
    }

    /// What is seen of the last records, for the marker: almost all of it is zero.
    pub(crate) fn image(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.varint(TRIPS_FORMAT);
        w.varint(self.ring.len() as u64);
        w.varint(self.at as u64);
        let mut next = 0;
        for (at, seen) in self.ring.iter().enumerate().filter(|(_, seen)| **seen != 0) {
            w.varint((at - next) as u64);
            w.u8(*seen);
            next = at + 1;
        }
        w.into_bytes()
    }

    /// Goes on from an image.
    ///
    /// # Errors
    /// The image is cut short, of another format, or not one of these.
    pub(crate) fn restore(&mut self, image: &[u8]) -> Result<(), ImageError> {
        let invalid = |what, found: usize| ImageError::Invalid { what, found: found as u64 };
        let mut r = Reader::new(image);
        r.format("the window of the trips", TRIPS_FORMAT)?;
        let (length, at) = (r.varint()? as usize, r.varint()? as usize);
        if length > WINDOW || at >= WINDOW {
            return Err(invalid("the window of the trips", length.max(at)));
        }
        (self.ring, self.at) = (vec![0; length], at);
        (self.classes, self.dead_letters, self.mismatches, self.odd_times) = Default::default();
        let mut next = 0_usize;
        while !r.is_at_end() {
            let (place, seen) = (next.saturating_add(r.varint()? as usize), r.u8()?);
            if place >= length || usize::from(seen & CLASS_BITS) > Class::ALL.len() {
                return Err(invalid("a record of the trips", place));
            }
            self.ring[place] = seen;
            self.count(seen, u32::wrapping_add);
            next = place + 1;
        }
        Ok(())
    }

    fn count(&mut self, seen: u8, by: fn(u32, u32) -> u32) {
        if let Some(class) = (seen & CLASS_BITS).checked_sub(1) {
            self.classes[class as usize] = by(self.classes[class as usize], 1);
            self.dead_letters = by(self.dead_letters, 1);
        }
        self.mismatches = by(self.mismatches, u32::from(seen & MISMATCH != 0));
        self.odd_times = by(self.odd_times, u32::from(seen & ODD_TIME != 0));
    }

    fn check(&self, seen: u8, leaving: u8, sighting: &Sighting<'_>) -> Result<(), (&'static str, String)> {
        let with = |held: u32, bits: u8| held + u32::from(seen & bits != 0) - u32::from(leaving & bits != 0);
        let records = WINDOW.min(self.ring.len() + 1);
        let dead_letters = with(self.dead_letters, CLASS_BITS);
        if let Some((_, example)) = sighting.dead_letter
            && f64::from(dead_letters) > self.max_share * WINDOW as f64
        {
            return Err(("DeadLetterShare", self.dead_letter_message(dead_letters, records, example, sighting)));
        }
        if let Some(key) = sighting.key_mismatch
            && with(self.mismatches, MISMATCH) > MISMATCHES
        {
            return Err(("KeyNotPartitionKey", key_message(key, with(self.mismatches, MISMATCH), records)));
        }
        let odd_times = with(self.odd_times, ODD_TIME);
        if seen & ODD_TIME != 0 && odd_times as usize > WINDOW / 2 {
            return Err(("SuspiciousTimestampUnit", self.unit_message(odd_times, records, sighting)));
        }
        Ok(())
    }

    fn dead_letter_message(&self, dead_letters: u32, records: usize, example: &str, sighting: &Sighting<'_>) -> String {
        let mut classes = self.classes;
        if let Some((class, _)) = sighting.dead_letter {
            classes[class as usize] += 1;
        }
        let most = Class::ALL.into_iter().rev().max_by_key(|class| classes[*class as usize]).map_or("", Class::name);
        let of_time = classes[Class::Future as usize] + classes[Class::Timestamp as usize];
        let hint = if of_time * 2 > dead_letters { self.unit_hint(sighting.time_text) } else { None };
        format!(
            "{dead_letters} of the last {} records are dead letters, more than outputs.deadLetter.maxShare allows ({} of 1,000); \
             mostly {most}. This record: {example}.{} Correct the producer or the pipeline, or raise maxShare; the shard goes on at this record",
            thousands(records),
            (self.max_share * WINDOW as f64).floor(),
            hint.map_or_else(String::new, |hint| format!(" {hint}.")),
        )
    }

    fn unit_message(&self, odd_times: u32, records: usize, sighting: &Sighting<'_>) -> String {
        let percent = u64::from(odd_times) * 100 / records as u64;
        let place = if sighting.time_ms.is_some_and(|at| at < FROM_MS) { "in 1970" } else { "beyond the year 2200" };
        let hint = self.unit_hint(sighting.time_text).unwrap_or_else(|| match self.unit {
            Some(unit) => format!("`unit: {}` may be wrong", unit_name(unit)),
            None => "the producer's record timestamps are wrong; set source.timestamp".to_owned(),
        });
        format!("{percent} % of the last {} events lie {place}: {hint}. Correct source.timestamp", thousands(records))
    }

    /// Says in which unit the value would lie in this century, if that is another one than configured.
    fn unit_hint(&self, time_text: Option<&str>) -> Option<String> {
        let unit = self.unit?;
        let likely = likely_unit(time_text?).filter(|likely| *likely != unit)?;
        Some(format!("`unit: {}`, but the values look like {}", unit_name(unit), unit_name(likely)))
    }
}

fn key_message(key: &str, mismatches: u32, records: usize) -> String {
    format!(
        "{mismatches} of the last {} records have another key than their entity, now `{}`: the topic is not partitioned by source.key, \
         so one entity's events may lie in several partitions. Produce with the entity key as the record key, \
         or set source.partitioning: trusted if a custom partitioner does it",
        thousands(records),
        &key[..key.floor_char_boundary(64)],
    )
}

fn thousands(number: usize) -> String {
    if number >= 1000 { format!("{},{:03}", number / 1000, number % 1000) } else { number.to_string() }
}
