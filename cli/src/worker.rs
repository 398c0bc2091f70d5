//! `faultline worker`: what runs in a cluster's pod.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use faultline_worker::{ClockKind, Disagreement, Options, chain};
use tracing::info;

use crate::failure::Failure;
use crate::signals::Stop;
use crate::{logging, pipeline};

/// How often a signal is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the worker of a pipeline until it is told to stop.
///
/// Several workers of the same pipeline share the source's partitions. SIGTERM or Ctrl-C: what is under way is
/// committed, the partitions are handed over.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    faultline worker examples/quickstart --brokers localhost:9092\n  \
    faultline worker /etc/faultline/pipeline --listen 0.0.0.0:8080 --secrets /etc/faultline/secrets")]
pub(crate) struct Arguments {
    /// Folder of the YAML files, or one file
    folder: PathBuf,
    /// Which pipeline, if the folder has several
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// In place of `spec.kafka.bootstrapServers`
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Serve /status, /health, /metrics and /forget here
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen)]
    listen: Option<SocketAddr>,
    /// Threads that fold events [default: one per processor]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    lanes: Option<u16>,
    /// Folder of the secrets, as mounted: SECRET/KEY
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// The zone that this process runs in, for `spec.kafka.rackAwareness`
    #[arg(long, value_name = "ZONE")]
    rack: Option<String>,
    /// Others take the partitions of a worker that is silent for so many seconds [default: 10]. With `groupProtocol:
    /// consumer` the brokers decide
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(2..=1800))]
    session_timeout: Option<u64>,
    /// What the shards take for now: the clock on the wall, or, for recorded or generated streams, the events' own time
    #[arg(long, value_enum, value_name = "CLOCK", default_value_t = Clock::Wall)]
    clock: Clock,
    /// Event seconds that pass per second of silence, with --clock records; 0: time stands still between events
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    clock_speed: f64,
    /// Where state and committed offset do not belong together, or the source no longer holds what the state needs: delete
    /// the state, go on with empty windows, at the offset or, if that is later, at the source's first one
    #[arg(long, conflicts_with = "trust_marker")]
    reset_state: bool,
    /// Where state and committed offset do not belong together: go on where the state ends
    #[arg(long)]
    trust_marker: bool,
    /// For measurements only: keep no state, lose all windows and incidents at every restart
    #[arg(long, hide = true)]
    no_durable_state: bool,
    /// Logs as JSON, one object per line
    #[arg(long)]
    log_json: bool,
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8080".to_owned())
}

/// The shards' clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Clock {
    /// The time of day
    Wall,
    /// The greatest event time seen, and what has passed since
    Records,
}

/// A clock does not run backwards.
fn speed(text: &str) -> Result<f64, String> {
    let speed: Option<f64> = text.parse().ok().filter(|speed: &f64| speed.is_finite() && *speed >= 0.0);
    speed.ok_or_else(|| "expected a number from 0, such as 1 or 60".to_owned())
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let ready = pipeline::load(&arguments.folder, arguments.pipeline.as_deref())?;
    logging::start("info", arguments.log_json);
    for note in &ready.notes {
        info!("{note}");
    }
    let stop = Stop::on_signals().map_err(|error| Failure::of("failed to listen to signals", &error))?;
    let options = Options {
        brokers: arguments.brokers.clone(),
        lanes: arguments.lanes.map(usize::from),
        clock: match arguments.clock {
            Clock::Wall => ClockKind::Wall,
            Clock::Records => ClockKind::Records { speed: arguments.clock_speed },
        },
        listen: arguments.listen,
        secrets: arguments.secrets.clone(),
        rack: arguments.rack.clone(),
        session_timeout: arguments.session_timeout.map(Duration::from_secs),
        development: false,
        disagreement: match (arguments.reset_state, arguments.trust_marker) {
            (true, _) => Disagreement::ResetState,
            (false, true) => Disagreement::TrustMarker,
            (false, false) => Disagreement::Stop,
        },
        forgets_state: arguments.no_durable_state,
    };
    let worker = faultline_worker::start(Arc::new(ready.config), options)
        .map_err(|error| Failure::usage(format!("failed to start the worker: {}", chain(&error))))?;
    if let Some(address) = worker.address() {
        info!(%address, "serving status and metrics");
    }
    while !stop.asked() && !worker.has_ended() {
        std::thread::park_timeout(LOOK);
    }
    let ended_by_itself = !stop.asked();
    let status = worker.stop().map_err(|error| Failure::of("the worker failed", &error))?;
    info!(events = status.outcomes.records(), "stopped");
    if ended_by_itself { Err(Failure::Failed("the worker ended by itself; see the log".to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_stands_still_or_runs_forwards() {
        assert_eq!(["0", "1", "60.5"].map(speed), [Ok(0.0), Ok(1.0), Ok(60.5)]);
        assert!(["-1", "inf", "NaN", "fast", ""].map(speed).iter().all(Result::is_err));
    }
}
