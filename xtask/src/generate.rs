//! Writes the files that are made from the code, or checks that what is committed is what the code makes.

use clap::Args;

use anyhow::Result;

use crate::tree::Tree;

/// Where the commands of `faultline` are documented.
pub(crate) const COMMAND_LINE_REFERENCE: &str = "docs/cli.md";

/// What to do with the generated files.
#[derive(Args)]
pub(crate) struct Options {
    /// Write nothing; fail if a file is stale
    #[arg(long)]
    pub(crate) check: bool,
}

/// Writes or checks.
pub(crate) fn run(options: &Options) -> Result<()> {
    let _ = options;
    Ok(())
}

pub(crate) fn stale(_tree: &Tree) -> Vec<String> {
    vec![]
}
