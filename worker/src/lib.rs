//! The streaming engine: takes the records of a source topic, folds them into windows and detectors, scores,
//! decides, and commits results, alerts, dead letters and offsets as one transaction.
//!
//! [`start`] runs a worker. [`pipeline`] is the flow of one record and of one tick; each step has a file of its name.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod pipeline;

mod take;
mod decode;
mod window;
pub mod score;
pub mod decide;
mod emit;
mod commit;

pub mod shard;
pub mod state;
pub mod keep;
pub mod restore;
pub mod clock;
mod faults;
mod fold_rate;
mod lane;
mod tick;
mod ownership;
mod replay_time;
mod forget;
mod control;
mod worker;
mod watchdog;

pub mod outcome;
pub mod outputs;
pub mod ports;
pub mod past;
mod backoff;
mod chain;
#[cfg(test)]
mod small_pipeline;

pub mod status;
mod metrics;

pub mod adapters;

pub use adapters::development_broker::{DevelopmentBroker, PARTITION_BYTES};
pub use chain::chain;
pub use restore::Disagreement;
pub use status::Status;
pub use worker::{ClockKind, Options, StartError, StopError, Worker, start};
