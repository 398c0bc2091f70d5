//! Tests of the public API.

#![allow(clippy::unwrap_used, clippy::panic)]

mod carry_over;
mod common;
mod expressions;
mod fingerprints;
mod golden;
mod images;
mod oracle;
mod problems;
