//! The streaming engine: takes the records of a source topic, folds them into windows and detectors, scores,
//! decides, and commits results, alerts, dead letters and offsets as one transaction.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod outcome;
pub mod outputs;
pub mod ports;
pub mod clock;
pub mod pipeline;
mod decode;
mod window;
pub mod score;
pub mod decide;
mod emit;
pub mod shard;
