//! What a worker says about itself: `GET /status`, made from the board that its threads write on.

mod board;
mod evictions;
mod unfetched;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

pub(crate) use self::board::restore_topic;
pub use self::board::{Board, Ends, TURN_LIMIT};
use crate::outcome::Tally;
use crate::restore::Stage;

/// The state of the worker, for people and for the operator: `GET /status`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `spec.kafka.identity`.
    pub identity: String,
    /// Starting, Running, Stopping or Stopped.
    pub phase: Phase,
    /// Every owned partition is read and fetched, no commit has waited for long, and every thread has turned within 30 s.
    pub available: bool,
    /// Committed outcomes since the start of this worker.
    #[serde(flatten)]
    pub outcomes: Tally,
    /// Dead letters by class.
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// Events behind the end of the source, over the partitions whose end is known.
    pub lag: Option<u64>,
    /// Records per second, over the last seconds.
    pub events_per_second: f64,
    /// From the record's creation to the acknowledged commit, milliseconds.
    pub latency_ms: Option<Quantiles>,
    /// Duration of the commits, milliseconds.
    pub commit_ms: Option<Quantiles>,
    /// The least watermark of the partitions, milliseconds since the epoch.
    pub watermark_ms: Option<i64>,
    /// Keys held.
    pub keys: u64,
    /// Keys forgotten early to make room for others, since the start of this worker.
    pub evicted_keys: u64,
    /// Estimated bytes of key state.
    pub state_bytes: u64,
    /// Records that arrived for a partition that was not (or not any more) read: they are read again by their owner.
    pub dropped: u64,
    /// Observed over nominal rate of each severity's surprise, by model and severity; 1 is right.
    pub calibration: BTreeMap<String, BTreeMap<&'static str, f64>>,
    /// The owned partitions that are read, or would be if they did not stand still.
    pub partitions: Vec<PartitionStatus>,
    /// The owned partitions that are not read yet, and how far that is.
    pub warming_up: BTreeMap<i32, Stage>,
    /// What is wrong now, one sentence each.
    pub problems: Vec<Problem>,
}

impl Status {
    /// The 95th percentile of the latency, milliseconds.
    #[must_use]
    pub fn latency_p95_ms(&self) -> Option<f64> {
        self.latency_ms.as_ref().map(|quantiles| quantiles.p95)
    }
}

/// Where the worker is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Phase {
    /// Topics are checked, the group is joined.
    Starting,
    /// The lanes turn.
    Running,
    /// The last ticks are committed.
    Stopping,
    /// Everything has ended.
    Stopped,
}

/// Quantiles of a duration, milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: f64,
    /// 95 %.
    pub p95: f64,
    /// 99 %.
    pub p99: f64,
    /// Longest.
    pub max: f64,
}

/// One owned partition.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionStatus {
    /// Source partition.
    pub partition: i32,
    /// Running, or Stalled.
    pub state: PartitionState,
    /// The committed position.
    pub next_offset: i64,
    /// Events behind the partition's end.
    pub lag: Option<u64>,
    /// Watermark, milliseconds since the epoch.
    pub watermark_ms: Option<i64>,
    /// Keys held.
    pub keys: u64,
    /// Keys forgotten early to make room for others, since this worker took the partition over.
    pub evicted_keys: u64,
    /// Estimated bytes of key state.
    pub state_bytes: u64,
    /// Records that a restart would have to replay.
    pub replay: u64,
    /// How long that takes, as fast as this worker folds, seconds.
    pub replay_seconds: f64,
    /// How long reading its state took when this worker brought it back, seconds; `None`: there was none to read.
    pub read_seconds: Option<f64>,
}

/// Whether a partition is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PartitionState {
    /// It is.
    Running,
    /// It stopped at its offset; a problem says why.
    Stalled,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// One word for machines, as in conditions.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
}

/// Events of this worker's life as they are shown: shards that a lane reports on.
#[derive(Debug, Clone)]
pub struct ShardReport {
    /// What is said of the partition.
    pub status: PartitionStatus,
    /// Up to here the source is known to hold no record after the last one: markers of transactions are no lag.
    pub read_to: Option<i64>,
    /// How often each severity's surprise was reached.
    pub calibration: Vec<Rate>,
}

#[cfg(test)]
impl ShardReport {
    /// A shard that has seen nothing.
    pub(crate) fn of(partition: i32) -> Self {
        let status = PartitionStatus {
            partition,
            state: PartitionState::Running,
            next_offset: 0,
            lag: None,
            watermark_ms: None,
            keys: 0,
            evicted_keys: 0,
            state_bytes: 0,
            replay: 0,
            replay_seconds: 0.0,
            read_seconds: None,
        };
        Self { status, read_to: None, calibration: Vec::new() }
    }
}

/// How often a model's events reached a severity's surprise in one shard.
#[derive(Debug, Clone)]
pub struct Rate {
    /// Name of the model within the pipeline.
    pub model: String,
    /// Name of the severity.
    pub severity: &'static str,
    /// Events at or above it.
    pub observed: f64,
    /// Events that should have been, if the model's surprise keeps its promise.
    pub nominal: f64,
}

/// Over all shards: observed over nominal by model and severity.
fn calibration<'a>(rates: impl Iterator<Item = &'a Rate>) -> BTreeMap<String, BTreeMap<&'static str, f64>> {
    let mut sums: BTreeMap<(&str, &'static str), (f64, f64)> = BTreeMap::new();
    for rate in rates {
        let sum = sums.entry((&rate.model, rate.severity)).or_default();
        *sum = (sum.0 + rate.observed, sum.1 + rate.nominal);
    }
    let mut ratios: BTreeMap<String, BTreeMap<&'static str, f64>> = BTreeMap::new();
    for ((model, severity), (observed, nominal)) in sums {
        if nominal > 0.0 {
            ratios.entry(model.to_owned()).or_default().insert(severity, observed / nominal);
        }
    }
    ratios
}

fn quantiles(histogram: &Histogram<u64>) -> Option<Quantiles> {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64;
    (!histogram.is_empty()).then(|| Quantiles {
        p50: at(0.5),
        p95: at(0.95),
        p99: at(0.99),
        max: histogram.max() as f64,
    })
}
