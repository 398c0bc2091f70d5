//! How a worker is run. Nothing of it changes what the pipeline is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::restore::Disagreement;

/// How a worker is run, beside what the pipeline says.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// In place of `spec.kafka.bootstrapServers`.
    pub brokers: Option<String>,
    /// Lanes; default: one per processor.
    pub lanes: Option<usize>,
    /// The shards' clock.
    pub clock: ClockKind,
    /// Where `/status`, `/health`, `/metrics` and `/forget` are served; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Folder of the secrets, `<secret>/<key>` each; default `/etc/faultline/secrets`.
    pub secrets: Option<PathBuf>,
    /// The zone that this process runs in: with `spec.kafka.rackAwareness`, records come from the nearest replica.
    pub rack: Option<String>,
    /// A worker that is silent for this long is given up by its group; default 10 s. With `groupProtocol: consumer` the
    /// brokers decide.
    pub session_timeout: Option<Duration>,
    /// The broker is the embedded development broker.
    pub development: bool,
    /// What to do where state and committed offset do not belong together.
    pub disagreement: Disagreement,
    /// For measurements only: nothing is written to the state topic, and all state is lost at every restart.
    pub forgets_state: bool,
}

/// What a shard takes for "now".
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum ClockKind {
    /// The wall clock.
    #[default]
    Wall,
    /// The greatest event time seen, plus the time that has passed since, times `speed`.
    Records {
        /// Event seconds per second.
        speed: f64,
    },
}
