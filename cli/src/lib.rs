//! The command line of Faultline: everything that `faultline` does on a laptop, from the same YAML that a cluster runs.
//!
//! [`scenario`] is pure: a seeded generator of card payments with planted anomalies, and the judge that compares
//! incidents with what was planted. The commands do the I/O.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod scenario;
