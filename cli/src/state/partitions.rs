//! Partitions as a table, and as JSON.

use std::collections::BTreeSet;
use std::fmt::Write;

use faultline_numerics::hash::Fingerprint;
use faultline_worker::restore::inspect::{Agreement, PartitionView};
use faultline_worker::state::FOLD_VERSION;
use serde_json::{Value, json};

use super::table::Table;
use crate::text::{grouped, time};

/// Stands for what is not there.
const NOTHING: &str = "-";

/// Two tables, what is in the state and how far it goes, and what stands in the way of a recovery.
pub(super) fn as_text(topic: &str, expected: &str, current: Fingerprint, views: &[PartitionView]) -> String {
    let owners: BTreeSet<&str> = views.iter().filter_map(|view| view.owner.as_deref()).collect();
    let owners = if owners.is_empty() { "nobody yet".to_owned() } else { Vec::from_iter(owners).join(", ") };
    let mut text = format!("topic {topic}, state of {owners}\n\n");
    contents(views).write(&mut text);
    text.push('\n');
    markers(current, views).write(&mut text);
    text.push('\n');
    recovery(views, &mut text);
    for view in views {
        for note in notes(view, expected) {
            // Writing to memory does not fail.
            let _ = writeln!(text, "partition {}: {note}", view.partition);
        }
    }
    text
}

fn contents(views: &[PartitionView]) -> Table {
    let mut table =
        Table::new(&["PARTITION", "KEY IMAGES", "INCIDENTS", "IDS", "VERSIONS", "RECORDS", "BYTES", "REPLAY", "LAG"]);
    for view in views {
        let lag = view.marker.as_ref().map(|marker| grouped((view.source.end - marker.next_offset).max(0) as u64));
        let counts = [view.keys, view.incidents, view.ids, view.versions, view.records, view.bytes, view.replay()];
        let mut row = vec![view.partition.to_string()];
        row.extend(counts.map(grouped));
        row.push(lag.unwrap_or_else(|| NOTHING.to_owned()));
        table.row(row);
    }
    table
}

fn markers(current: Fingerprint, views: &[PartitionView]) -> Table {
    let mut table = Table::new(&[
        "PARTITION",
        "MARKER",
        "NEXT OFFSET (C)",
        "COMMITTED",
        "LOW WATER (L)",
        "EVENT TIME AT L",
        "CLOCK s",
        "OF",
        "FOLD",
        "CONFIGURATIONS",
        "WRITTEN BY",
    ]);
    for view in views {
        let optional = |value: Option<i64>| value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string());
        let Some(marker) = &view.marker else {
            let mut row = vec![NOTHING.to_owned(); 11];
            (row[0], row[3]) = (view.partition.to_string(), optional(view.committed));
            table.row(row);
            continue;
        };
        let configurations = marker
            .configurations
            .iter()
            .map(|(_, of)| if *of == current { "this".to_owned() } else { of.to_string().chars().take(8).collect() });
        table.row(vec![
            view.partition.to_string(),
            marker.sequence.to_string(),
            marker.next_offset.to_string(),
            optional(view.committed),
            marker.low_water.offset.to_string(),
            marker.low_water.greatest_ms.map_or_else(|| NOTHING.to_owned(), time),
            marker.clock.len().to_string(),
            marker.partitions.to_string(),
            marker.fold_version.to_string(),
            configurations.collect::<Vec<_>>().join(" "),
            marker.transactional_id.clone(),
        ]);
    }
    table
}

/// What a start of all of them would cost.
fn recovery(views: &[PartitionView], text: &mut String) {
    let sum = |of: fn(&PartitionView) -> u64| grouped(views.iter().map(of).sum());
    // Writing to memory does not fail.
    let _ = writeln!(
        text,
        "a recovery reads {} bytes of state in {} records and replays {} records of the source",
        sum(|view| view.bytes),
        sum(|view| view.records),
        sum(PartitionView::replay),
    );
}

fn notes(view: &PartitionView, expected: &str) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(other) = view.owner.as_deref().filter(|owner| *owner != expected) {
        notes
            .push(format!("the state belongs to `{other}`, this pipeline is `{expected}`; its workers will not start"));
    }
    match view.agreement {
        Agreement::Same => {}
        Agreement::Nothing if view.is_unmarked() => notes.push(
            "there are records of state, but neither marker nor committed offset; a worker stops here until it is started \
             with --reset-state"
                .to_owned(),
        ),
        Agreement::Nothing => notes.push("nothing was committed yet".to_owned()),
        Agreement::Moving => {
            notes.push("a worker commits while this is read; offset and marker go together".to_owned())
        }
        Agreement::NoOffset => notes.push(
            "the group has no offset: it has expired, or the source's topic was deleted; a worker goes on at the marker's"
                .to_owned(),
        ),
        Agreement::NoMarker => notes.push(
            "there is a committed offset and no marker; a worker stops here until it is started with --reset-state"
                .to_owned(),
        ),
        Agreement::Differ => notes.push(
            "committed offset and marker differ; a worker stops here until it is started with --reset-state or \
             --trust-marker"
                .to_owned(),
        ),
    }
    if view.source_is_another() {
        notes.push(format!(
            "the source ends at offset {}, before the state does: it was deleted and made anew; a worker stops here until \
             it is started with --reset-state",
            view.source.end
        ));
    }
    if view.source_is_gone() {
        notes.push(format!(
            "the source begins at offset {}, behind what a recovery needs: its retention is too short",
            view.source.start
        ));
    }
    if view.leaves_out() > 0 {
        notes.push(format!(
            "another version of the fold wrote it (this build's is {FOLD_VERSION}): {} records will not be replayed, and \
             windows of their keys warm up again",
            grouped(view.leaves_out())
        ));
    }
    if view.dropped_keys > 0 {
        notes.push(format!("{} keys were dropped; what is left of them goes soon", grouped(view.dropped_keys)));
    }
    if view.unknown > 0 {
        notes.push(format!("{} records are unknown to this build; a newer one wrote them", grouped(view.unknown)));
    }
    notes
}

pub(super) fn as_json(view: &PartitionView) -> Value {
    let agreement = match view.agreement {
        Agreement::Same => "same",
        Agreement::Nothing => "nothing",
        Agreement::Moving => "moving",
        Agreement::NoOffset => "noOffset",
        Agreement::NoMarker => "noMarker",
        Agreement::Differ => "differ",
    };
    let marker = view.marker.as_ref().map(|marker| {
        let configurations = marker.configurations.iter();
        let configurations: Vec<Value> =
            configurations.map(|(from, of)| json!({"from": from, "fingerprint": of.to_string()})).collect();
        json!({
            "nextOffset": marker.next_offset,
            "lowWater": marker.low_water.offset,
            "greatestEventTimeMsAtLowWater": marker.low_water.greatest_ms,
            "greatestEventTimeMs": marker.greatest_ms,
            "startOffset": marker.start_offset,
            "records": marker.records,
            "sequence": marker.sequence,
            "writtenBy": marker.transactional_id,
            "foldVersion": marker.fold_version,
            "sourcePartitions": marker.partitions,
            "clockSeconds": marker.clock.len(),
            "configurations": configurations,
        })
    });
    json!({
        "partition": view.partition,
        "owner": view.owner,
        "marker": marker,
        "committedOffset": view.committed,
        "agreement": agreement,
        "source": {"firstOffset": view.source.start, "endOffset": view.source.end},
        "state": {
            "records": view.records,
            "bytes": view.bytes,
            "keyImages": view.keys,
            "emptyImages": view.dropped_keys,
            "openIncidents": view.incidents,
            "ids": view.ids,
            "versions": view.versions,
            "unknownRecords": view.unknown,
        },
        "recovery": {
            "replayRecords": view.replay(),
            "leftOutRecords": view.leaves_out(),
            "readBytes": view.bytes,
            "sourceIsGone": view.source_is_gone(),
            "sourceIsAnother": view.source_is_another(),
        },
    })
}
