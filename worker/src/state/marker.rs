//! The marker: written by every tick of a shard, it says how far the shard's state goes.

use faultline_numerics::hash::Fingerprint;
use faultline_numerics::image::{ImageError, Reader, Writer};

const FORMAT: u64 = 1;

/// How far the state of a shard goes, and what a replay needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Marker {
    /// Grows by one with each marker of the shard.
    pub sequence: u64,
    /// Who wrote it.
    pub transactional_id: String,
    /// The version of the fold, see [`FOLD_VERSION`](super::FOLD_VERSION).
    pub fold_version: u64,
    /// Partitions of the source.
    pub partitions: u32,
    /// Partitions of the source when the shard began: later ones were added.
    pub start_partitions: u32,
    /// C: every source record below it has ended in exactly one outcome.
    pub next_offset: i64,
    /// The source offset that the shard began at.
    pub start_offset: i64,
    /// Records consumed since then.
    pub records: u64,
    /// Greatest event time accepted, milliseconds.
    pub greatest_ms: Option<i64>,
    /// Timers before it have gone off.
    pub horizon_ms: i64,
    /// The clock's second when the shard was found idle after its last record.
    pub idle_since: Option<i64>,
    /// From where images may lack something.
    pub low_water: LowWater,
    /// The clock's seconds over L..C: each holds from its offset on; the first covers L.
    pub clock: Vec<ClockTick>,
    /// Configurations over L..C: each holds from its offset on; the first covers L, the last holds now.
    pub configurations: Vec<(i64, Fingerprint)>,
    /// The last records as the trips see them.
    pub trips: Vec<u8>,
    /// The source holds no record from C up to this offset: only markers of transactions, and what was aborted. Written if it
    /// is known, by versions that know of it.
    pub read_to: Option<i64>,
}

/// L: every effect of records below it is in the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowWater {
    /// The source offset.
    pub offset: i64,
    /// Greatest event time accepted below it.
    pub greatest_ms: Option<i64>,
    /// Records consumed below it, since the shard began.
    pub records: u64,
}

/// The second that a tick's clock showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockTick {
    /// First offset that was folded under it.
    pub offset: i64,
    /// Seconds since the epoch.
    pub second: i64,
}

impl Marker {
    /// Appends it.
    pub fn write(&self, w: &mut Writer) {
        w.varint(FORMAT);
        w.varint(self.sequence);
        w.bytes(self.transactional_id.as_bytes());
        w.varint(self.fold_version);
        w.varint(u64::from(self.partitions));
        w.varint(u64::from(self.start_partitions));
        w.signed(self.next_offset);
        w.signed(self.start_offset);
        w.varint(self.records);
        optional(w, self.greatest_ms);
        w.signed(self.horizon_ms);
        optional(w, self.idle_since);
        w.signed(self.low_water.offset);
        optional(w, self.low_water.greatest_ms);
        w.varint(self.low_water.records);
        w.varint(self.clock.len() as u64);
        let mut last = ClockTick { offset: 0, second: 0 };
        for tick in &self.clock {
            w.signed(tick.offset.wrapping_sub(last.offset));
            w.signed(tick.second.wrapping_sub(last.second));
            last = *tick;
        }
        w.varint(self.configurations.len() as u64);
        for (offset, of) in &self.configurations {
            w.signed(*offset);
            w.fingerprint(*of);
        }
        w.bytes(&self.trips);
        if let Some(read_to) = self.read_to {
            w.signed(read_to);
        }
    }

    /// Where a recovery begins to read the source: what lies before it may be gone.
    #[must_use]
    pub fn reads_from(&self) -> i64 {
        let low = self.low_water.offset;
        if low < self.next_offset { low } else { self.read_to.unwrap_or(low).max(low) }
    }

    /// Reads one.
    ///
    /// # Errors
    /// The value is cut short, of another format, or not a marker's.
    pub fn read(value: &[u8]) -> Result<Self, ImageError> {
        let mut r = Reader::new(value);
        r.format("the marker", FORMAT)?;
        let sequence = r.varint()?;
        let transactional_id = String::from_utf8_lossy(r.bytes()?).into_owned();
        let fold_version = r.varint()?;
        let (partitions, start_partitions) = (number(&mut r)?, number(&mut r)?);
        let next_offset = r.signed()?;
        let start_offset = r.signed()?;
        let records = r.varint()?;
        let greatest_ms = read_optional(&mut r)?;
        let horizon_ms = r.signed()?;
        let idle_since = read_optional(&mut r)?;
        let low_water = LowWater { offset: r.signed()?, greatest_ms: read_optional(&mut r)?, records: r.varint()? };
        let mut last = ClockTick { offset: 0, second: 0 };
        let clock = (0..r.count(2)?)
            .map(|_| {
                last.offset = last.offset.wrapping_add(r.signed()?);
                last.second = last.second.wrapping_add(r.signed()?);
                Ok(last)
            })
            .collect::<Result<_, ImageError>>()?;
        let configurations =
            (0..r.count(17)?).map(|_| Ok((r.signed()?, r.fingerprint()?))).collect::<Result<_, ImageError>>()?;
        let trips = r.bytes()?.to_vec();
        let read_to = if r.is_at_end() { None } else { Some(r.signed()?) };
        Ok(Self {
            sequence,
            transactional_id,
            fold_version,
            partitions,
            start_partitions,
            next_offset,
            start_offset,
            records,
            greatest_ms,
            horizon_ms,
            idle_since,
            low_water,
            clock,
            configurations,
            trips,
            read_to,
        })
    }
}

fn number(r: &mut Reader<'_>) -> Result<u32, ImageError> {
    let found = r.varint()?;
    u32::try_from(found).map_err(|_| ImageError::Invalid { what: "a number of partitions", found })
}

fn optional(w: &mut Writer, value: Option<i64>) {
    w.bool(value.is_some());
    if let Some(value) = value {
        w.signed(value);
    }
}

fn read_optional(r: &mut Reader<'_>) -> Result<Option<i64>, ImageError> {
    r.bool()?.then(|| r.signed()).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_comes_back_as_it_was() {
        let mut marker = Marker {
            sequence: 9,
            transactional_id: "shop.card-payments.0a1b2c3d.1".to_owned(),
            fold_version: 1,
            partitions: 6,
            start_partitions: 3,
            next_offset: 1_000_000,
            start_offset: 17,
            records: 999_000,
            greatest_ms: Some(-5),
            horizon_ms: i64::MIN,
            idle_since: None,
            low_water: LowWater { offset: 900_000, greatest_ms: None, records: 899_000 },
            clock: vec![ClockTick { offset: 899_990, second: 1_793_498_400 }, ClockTick { offset: 950_000, second: 3 }],
            configurations: vec![(17, Fingerprint::of("one")), (950_000, Fingerprint::of("two"))],
            trips: vec![1, 2, 3],
            read_to: None,
        };
        let written = |marker: &Marker| {
            let mut w = Writer::new();
            marker.write(&mut w);
            w.into_bytes()
        };
        let bytes = written(&marker);
        assert_eq!(Marker::read(&bytes).unwrap(), marker);
        for length in 0..bytes.len() {
            assert!(Marker::read(&bytes[..length]).is_err(), "cut at {length}");
        }
        marker.read_to = Some(1_000_002);
        let longer = written(&marker);
        assert_eq!(Marker::read(&longer).unwrap(), marker);
        assert_eq!(longer[..bytes.len()], bytes, "versions that do not know of it read what they know");
    }

    #[test]
    fn a_recovery_needs_what_it_replays_or_what_has_not_been_read() {
        let mut marker = Marker {
            sequence: 1,
            transactional_id: String::new(),
            fold_version: 1,
            partitions: 1,
            start_partitions: 1,
            next_offset: 50,
            start_offset: 0,
            records: 50,
            greatest_ms: None,
            horizon_ms: 0,
            idle_since: None,
            low_water: LowWater { offset: 50, greatest_ms: None, records: 50 },
            clock: Vec::new(),
            configurations: Vec::new(),
            trips: Vec::new(),
            read_to: None,
        };
        assert_eq!(marker.reads_from(), 50);
        marker.read_to = Some(53);
        assert_eq!(marker.reads_from(), 53);
        marker.low_water.offset = 40;
        assert_eq!(marker.reads_from(), 40);
    }
}
