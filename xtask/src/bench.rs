//! Measurements.
use clap::Args;

use anyhow::Result;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {}

/// Measures.
pub(crate) fn run(_options: &Options) -> Result<()> {
    Ok(())
}
