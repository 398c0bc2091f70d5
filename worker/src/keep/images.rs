//! Images of keys: those that have waited longest, and empty ones for keys that are gone.

use faultline_numerics::image::Writer;

use super::{Keeper, Pace, Page};
use crate::faults::point;
use crate::shard::{CLEAN, Dropped, Shard, write_image};
use crate::state::{Head, RecordKey, write_head};

/// Keys that were dropped leave an empty image, so that a replay does not bring them back; it goes once L has passed.
pub(super) fn write_dropped(shard: &mut Shard, w: &mut Writer, page: &mut Page<'_>) {
    for Dropped { key, below, parts } in std::mem::take(&mut shard.journal.dropped) {
        w.clear();
        write_head(Head { applied_upto: below, parts: 0 }, w);
        page.write(&RecordKey::Image { key: &key, part: 0 }, w.as_bytes());
        // Part 0 goes last: as long as it lies there, whoever reads the topic knows that the others are nothing any more.
        for part in 1..parts {
            shard.journal.bury(below, &RecordKey::Image { key: &key, part });
        }
        shard.journal.bury_key(&key, below);
    }
}

/// Writes the keys that have been dirty for longest, as many as the pace wants.
pub(super) fn write_oldest(shard: &mut Shard, keeper: &mut Keeper, pace: Pace, page: &mut Page<'_>) {
    shard.journal.owed = (shard.journal.owed + pace.owed(&shard.journal)).min(shard.journal.dirty_keys() as f64);
    let begin = page.outputs.len();
    while let Some((at, since)) = shard.journal.oldest_dirty(&shard.keys) {
        let is_wanted = shard.journal.owed >= 1.0 || pace.is_due(&shard.journal, since.offset, page.end);
        if !is_wanted || page.outputs.len() - begin >= pace.most_bytes {
            break;
        }
        write_key(shard, at, keeper, page);
        shard.journal.owed = (shard.journal.owed - 1.0).max(0.0);
    }
}

fn write_key(shard: &mut Shard, at: usize, keeper: &mut Keeper, page: &mut Page<'_>) {
    point("image");
    let Shard { config, scoring, keys, journal, .. } = shard;
    let state = keys.at(at);
    let Keeper { most_part_bytes, w, part, image, .. } = keeper;
    image.clear();
    write_image(config, scoring, state, image, part);
    let applied_upto = page.end;
    let parts = image.len().div_ceil(*most_part_bytes).max(1) as u32;
    for (number, bytes) in image.as_bytes().chunks(*most_part_bytes).enumerate() {
        w.clear();
        write_head(Head { applied_upto, parts }, w);
        w.raw(bytes);
        page.write(&RecordKey::Image { key: state.key(), part: number as u32 }, w.as_bytes());
    }
    for number in parts..state.parts {
        journal.bury(i64::MIN, &RecordKey::Image { key: state.key(), part: number });
    }
    state.parts = parts;
    state.dirty_since = CLEAN;
    state.covered = applied_upto;
}
