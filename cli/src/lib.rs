//! The command line of Faultline: everything that `faultline` does on a laptop, from the same YAML that a cluster runs.
//!
//! ```text
//! arguments ─► validate   objects ─► problems
//!           ─► generate   scenario ─► records, labels
//!           ─► up         input ─► feeder ─► broker ─► worker ─► alerts ─► view, judge, summary
//!           ─► worker     objects ─► worker, until a signal
//!           ─► state      state topic, offsets ─► what is known of a partition, of a key
//!           ─► forget     key ─► running workers ─► who has forgotten it
//! ```
//! [`scenario`] is pure: a seeded generator of card payments with planted anomalies, and the judge that compares
//! incidents with what was planted. [`replay`] reads files. The commands do the rest of the I/O.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod arguments;
mod failure;
mod logging;
mod signals;
mod text;

pub mod scenario;

pub mod replay;

mod kafka;
mod pipeline;

mod forget;
mod generate;
mod state;
mod up;
mod validate;
mod worker;

pub use arguments::main;
