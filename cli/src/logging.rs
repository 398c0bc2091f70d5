//! Where log lines go: to stderr, so that stdout holds only what was asked for.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Starts logging at this level, or as `RUST_LOG` says.
pub(crate) fn start(level: &str, json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let colours = stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(stderr);
    // A second start keeps the first one's settings.
    let _ = if json { lines.json().try_init() } else { lines.try_init() };
}
