//! What the state topic says of a partition and of a key, for people: read, never changed.
//!
//! It works beside running workers if the [`Past`] names no owner of an open transaction: then nobody is fenced. What they
//! commit meanwhile may or may not be seen, but always whole ticks.

use std::ops::Range;

use faultline_crds::WorkerConfig;
use faultline_features::HeldState;
use faultline_numerics::image::{ImageError, Reader};

use super::{Found, Progress, RebuildError, RestoreError, look};
use crate::decide::Incident;
use crate::emit::maturity_name;
use crate::past::{Past, go_on};
use crate::shard::split_image;
use crate::state::{FOLD_VERSION, Marker, RecordKey, read_decision, read_ids};

/// What is known of a partition.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionView {
    /// The partition.
    pub partition: i32,
    /// Whose state it is, see [`owner`](super::owner).
    pub owner: Option<String>,
    /// How far the state goes; `None`: no tick was committed yet.
    pub marker: Option<Marker>,
    /// The group's offset.
    pub committed: Option<i64>,
    /// Whether marker and offset belong together.
    pub agreement: Agreement,
    /// First offset of the source, and the one behind its last record.
    pub source: Range<i64>,
    /// Records that a recovery reads; more than there are things known, until compaction has passed.
    pub records: u64,
    /// Their keys and values.
    pub bytes: u64,
    /// Records that this build does not know.
    pub unknown: u64,
    /// Keys with an image; those whose first events a recovery still has to replay have none.
    pub keys: u64,
    /// Keys that were dropped, and whose empty image has not been deleted yet.
    pub dropped_keys: u64,
    /// Open incidents.
    pub incidents: u64,
    /// Ids remembered for deduplication.
    pub ids: u64,
    /// Frozen versions of what keys share.
    pub versions: u64,
}

/// Whether the group's offset and the marker's C belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// They are equal.
    Same,
    /// Neither is there: no worker has committed anything.
    Nothing,
    /// A worker committed while both were read, and the marker lies in between.
    Moving,
    /// There is no offset: the group's have expired. A recovery takes the marker's.
    NoOffset,
    /// There is an offset and no marker. A recovery stops.
    NoMarker,
    /// They differ. A recovery stops.
    Differ,
}

impl Agreement {
    fn of(before: Option<i64>, marker: Option<i64>, after: Option<i64>) -> Self {
        match (before, marker, after) {
            (_, Some(marker), after) if after == Some(marker) => Self::Same,
            (Some(before), Some(marker), Some(after)) if (before..=after).contains(&marker) => Self::Moving,
            // The first commit of all came in between.
            (None, Some(marker), Some(after)) if marker <= after => Self::Moving,
            (None, None, _) => Self::Nothing,
            (Some(_), None, _) => Self::NoMarker,
            (_, Some(_), None) => Self::NoOffset,
            (_, Some(_), Some(_)) => Self::Differ,
        }
    }
}

impl PartitionView {
    /// Records between L and C.
    fn between(&self) -> u64 {
        self.marker.as_ref().map_or(0, |marker| (marker.next_offset - marker.low_water.offset).max(0) as u64)
    }

    /// Records that a recovery by this build replays.
    #[must_use]
    pub fn replay(&self) -> u64 {
        if self.leaves_out() > 0 { 0 } else { self.between() }
    }

    /// Records that a recovery by this build leaves out, because another version of the fold folded them.
    #[must_use]
    pub fn leaves_out(&self) -> u64 {
        let other = self.marker.as_ref().is_some_and(|marker| marker.fold_version != FOLD_VERSION);
        if other { self.between() } else { 0 }
    }

    /// Whether the source has lost what a recovery has to read.
    #[must_use]
    pub fn source_is_gone(&self) -> bool {
        self.marker.as_ref().is_some_and(|marker| marker.reads_from() < self.source.start)
    }

    /// Whether the source ends before the state does.
    #[must_use]
    pub fn source_is_another(&self) -> bool {
        self.marker.as_ref().is_some_and(|marker| self.source.end < marker.next_offset)
    }

    /// Whether there is a state, and nothing says how far it goes.
    #[must_use]
    pub fn is_unmarked(&self) -> bool {
        let held = [self.keys, self.dropped_keys, self.incidents, self.ids, self.versions];
        self.agreement == Agreement::Nothing && held.iter().any(|count| *count > 0)
    }
}

/// Reads a state partition and what belongs to it.
///
/// # Errors
/// What could not be had or read.
pub fn partition(
    past: &mut dyn Past,
    partition: i32,
    cancelled: &dyn Fn() -> bool,
) -> Result<PartitionView, RestoreError> {
    let (found, before) = look(past, partition, cancelled, &mut Progress::new(&mut |_| {}))?;
    let next_offset = found.marker.as_ref().map(|marker| marker.next_offset);
    let after = if before == next_offset { before } else { past.committed(partition, cancelled)? };
    let source = past.source_range(partition, cancelled)?;
    let keys = found.images.values().filter(|image| image.head.parts > 0).count();
    let mut ids = 0;
    for value in found.ids.values() {
        ids += read_ids(value).map_err(RestoreError::Unreadable)?.len();
    }
    Ok(PartitionView {
        partition,
        agreement: Agreement::of(before, next_offset, after),
        committed: after,
        source,
        records: found.records,
        bytes: found.bytes,
        unknown: found.unknown,
        keys: keys as u64,
        dropped_keys: (found.images.len() - keys) as u64,
        incidents: found.decisions.len() as u64,
        ids: ids as u64,
        versions: found.versions.values().map(|versions| versions.len() as u64).sum(),
        owner: found.owner,
        marker: found.marker,
    })
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyView {
    /// The partition that it lies in.
    pub partition: i32,
    /// C of the partition.
    pub next_offset: Option<i64>,
    /// Its image; `None`: it has an incident only, its first image comes later.
    pub image: Option<ImageView>,
    /// Its open incident.
    pub incident: Option<IncidentView>,
}

/// The image of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageView {
    /// Effects of all records below this offset are in it. A recovery replays the key's records from there to C.
    pub applied_upto: i64,
    /// Records that it lies in; 0: the key was dropped, and a tombstone follows.
    pub parts: u32,
    /// Its length.
    pub bytes: usize,
    /// Greatest event time of the key.
    pub last_ms: Option<i64>,
    /// Windows, rings and memories of features.
    pub states: Vec<HeldState>,
    /// What the models know of the key.
    pub models: Vec<ModelView>,
    /// Models in it that the pipeline does not have any more.
    pub foreign_models: usize,
}

/// What a model knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelView {
    /// Name within the pipeline.
    pub name: String,
    /// Rows learned: events, or buckets for a count.
    pub learned: u32,
    /// `cold`, `warming` or `mature`.
    pub maturity: &'static str,
    /// Its length in the image.
    pub bytes: usize,
}

/// The open incident of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentView {
    /// As in its alerts.
    pub id: u128,
    /// Event time of the first anomaly.
    pub opened_ms: i64,
    /// Greatest event time of an anomaly.
    pub last_ms: i64,
    /// Anomalies so far.
    pub events: u64,
    /// Greatest surprise.
    pub peak: f64,
    /// Greatest severity.
    pub severity: &'static str,
    /// Maturity at the peak.
    pub maturity: &'static str,
    /// Models of the pipeline that scored an anomaly of it.
    pub models: Vec<String>,
}

/// Looks for a key in a state partition; `config` names what its image holds. `None`: it is not there.
///
/// # Errors
/// What could not be had or read.
pub fn key(
    past: &mut dyn Past,
    config: &WorkerConfig,
    partition: i32,
    key: &str,
    cancelled: &dyn Fn() -> bool,
) -> Result<Option<KeyView>, RestoreError> {
    let mut found = Found::default();
    let mut failed = None;
    past.read_state(partition, cancelled, &mut |_, _| {}, &mut |record| {
        let is_wanted = match RecordKey::parse(record.key) {
            Some(RecordKey::Image { key: of, .. } | RecordKey::Decision { key: of }) => of == key,
            Some(RecordKey::Marker) => true,
            _ => false,
        };
        go_on(if is_wanted { found.take_in(record.key, record.value) } else { Ok(()) }, &mut failed)
    })?;
    if let Some(error) = failed {
        return Err(RestoreError::Unreadable(error));
    }
    let image = match found.images.remove(key) {
        None => None,
        Some(image) => {
            let head = image.head;
            let bytes = if head.parts == 0 { Vec::new() } else { image.bytes().ok_or(RebuildError::Part)? };
            let view = read_view(config, head.applied_upto, head.parts, &bytes).map_err(RestoreError::Unreadable)?;
            Some(view)
        }
    };
    let incident = found.decisions.get(key).map(|value| read_decision(value)).transpose();
    let incident = incident.map_err(RestoreError::Unreadable)?.map(|incident| view_of(config, &incident));
    if image.is_none() && incident.is_none() {
        return Ok(None);
    }
    let next_offset = found.marker.map(|marker| marker.next_offset);
    Ok(Some(KeyView { partition, next_offset, image, incident }))
}

fn read_view(config: &WorkerConfig, applied_upto: i64, parts: u32, bytes: &[u8]) -> Result<ImageView, ImageError> {
    let mut view = ImageView {
        applied_upto,
        parts,
        bytes: bytes.len(),
        last_ms: None,
        states: Vec::new(),
        models: Vec::new(),
        foreign_models: 0,
    };
    if parts == 0 {
        return Ok(view);
    }
    let split = split_image(bytes)?;
    view.last_ms = Some(split.last_ms);
    view.states = config.plan.list_states(&mut Reader::new(split.windows))?;
    for (of, part) in split.models {
        let mut is_known = false;
        for bound in config.models.iter().filter(|bound| bound.model.fingerprint() == of) {
            let model = bound.model.restore_key(&mut Reader::new(part))?;
            is_known = true;
            view.models.push(ModelView {
                name: bound.name.clone(),
                learned: model.learned(),
                maturity: maturity_name(model.maturity()),
                bytes: part.len(),
            });
        }
        view.foreign_models += usize::from(!is_known);
    }
    Ok(view)
}

fn view_of(config: &WorkerConfig, incident: &Incident) -> IncidentView {
    let named = config.models.iter().enumerate().filter(|(at, _)| incident.models.contains(*at));
    IncidentView {
        id: incident.id,
        opened_ms: incident.opened_ms,
        last_ms: incident.last_ms,
        events: incident.events,
        peak: incident.peak,
        severity: incident.severity.name(),
        maturity: maturity_name(incident.maturity),
        models: named.map(|(_, bound)| bound.name.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_between_two_looks_at_the_offset_is_a_worker_at_work() {
        use Agreement::{Differ, Moving, NoMarker, NoOffset, Nothing, Same};
        for (before, marker, after, expected) in [
            (Some(5), Some(5), Some(5), Same),
            (Some(3), Some(5), Some(5), Same),
            (Some(3), Some(5), Some(7), Moving),
            (None, Some(5), Some(7), Moving),
            (Some(7), Some(5), Some(7), Differ),
            (Some(3), Some(5), Some(3), Differ),
            (None, None, None, Nothing),
            (Some(3), None, Some(3), NoMarker),
            (None, Some(5), None, NoOffset),
        ] {
            assert_eq!(Agreement::of(before, marker, after), expected, "{before:?} {marker:?} {after:?}");
        }
    }
}
