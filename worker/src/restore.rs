//! Brings a shard back from its state topic.

mod found;
mod rebuild;

pub use found::Found;
pub use rebuild::{Rebuild, RebuildError};

/// Whose state a pipeline's is, where no cluster says more: `local/<namespace>/<name>`.
#[must_use]
pub fn owner(namespace: &str, name: &str) -> String {
    format!("local/{namespace}/{name}")
}
