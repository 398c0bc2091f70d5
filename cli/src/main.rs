//! `faultline`.
fn main() {}
