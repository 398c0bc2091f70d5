//! What the state topic holds of a shard, as bytes: one record per thing that is known, keyed so that compaction keeps the
//! latest. This module only knows the formats; what is written when is decided by `keep`, and read by `restore`.
//!
//! ```text
//! k/<key>                     image of a key: windows, rings, detectors; `applied_upto`       image.rs
//! k/<key> 0xFF <part>         its further parts
//! d/<key>                     the key's open incident                                         decision.rs
//! e/<minute>/<tick end>       ids that one tick took in                                       ids.rs
//! s/<fingerprint>/<offset>    a frozen version of state that keys share
//! i/<fingerprint>/<tick end>  what one tick adds to the next version
//! c/<fingerprint>             a configuration                                             text.rs
//! o                           whose state this is                                         text.rs
//! m                           the marker: how far everything above goes                       marker.rs
//! ```
//! Keys are text, so that ordinary tools can list them; values are binary, little-endian, floats as raw bits, and begin
//! with a format version.

mod decision;
mod ids;
mod image;
mod marker;
mod record;
mod text;

pub(crate) use decision::{read_decision, write_decision};
pub use ids::{SeenId, read_ids, write_ids};
pub use image::{Head, MOST_PART_BYTES, read_head, write_head};
pub use marker::{ClockTick, LowWater, Marker};
pub use record::RecordKey;
pub(crate) use text::{read_text, write_text};

/// Changes with every change of the fold after which the same records give another state. A crash across versions is not
/// replayed.
pub const FOLD_VERSION: u64 = 1;

/// The transactional id of who wrote a marker; `None` for other records and for what cannot be read.
#[must_use]
pub fn writer_of(key: &[u8], value: Option<&[u8]>) -> Option<String> {
    match RecordKey::parse(key) {
        Some(RecordKey::Marker) => Some(Marker::read(value?).ok()?.transactional_id),
        _ => None,
    }
}

#[cfg(test)]
mod golden;
