//! Streaming detectors and the calibration that puts all of them on one scale, surprise.
//!
//! ```text
//! inputs ─► detector: strangeness in units of the key's own decayed scale
//!              │            (tail · ewma · count; threshold goes straight to the score)
//!              ▼
//!        calibrator: surprise = −log10 P(a normal event looks at least this strange),
//!              │     pooled over the keys of a shard by maturity, read from a frozen version only
//!              ▼
//!        quarantine: does the key's model learn from this point?
//!              │
//!              ├─► key state (decayed, in the key's image)
//!              └─► increments (integers) ─► the next frozen version, at fixed records of the shard
//! ```
//!
//! Everything here is a function of its arguments: no clock, no I/O, no free randomness, no batch boundary.
//! Increments are plain counters, so the order and the grouping in which they are added do not matter.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub use combination::{Combination, CombinationIncrements, CombinationShared, Combine, KeyCombination};
pub use model::{KeyModel, Model};
pub use score::{Contribution, Maturity, Score};
pub use shared::{Increments, Shared};
pub use spec::{DetectorSpec, Direction, LogScale, ModelSpec};
pub use version::version_due;

mod bins;
mod calibrator;
mod combination;
mod context;
mod count;
mod counts;
mod key_tail;
mod model;
mod peers;
mod quarantine;
mod scale;
mod score;
mod shared;
mod spec;
mod tail_fit;
mod value;
mod version;
