//! The board that every thread of a worker writes on.
//!
//! Counts appear here after the commit that made them true, never before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use tracing::{error, info, warn};

use super::evictions::Evictions;
use super::unfetched::Unfetched;
use super::{PartitionState, PartitionStatus, Phase, Problem, ShardReport, Status, calibration, quantiles};
use crate::outcome::{Class, Tally};
use crate::outputs::Outputs;
use crate::ownership::lock;
use crate::restore::Stage;

/// A lane's thread or the control thread that has not turned for this long is not alive.
pub const TURN_LIMIT: Duration = Duration::from_secs(30);
/// One and the same trouble is logged again only after this long.
const REPEAT: Duration = Duration::from_secs(30);
/// Under which trouble with the brokers is told.
const BROKER: &str = "broker";
/// Longest latency that is told apart.
const HOUR_MS: u64 = 3_600_000;

/// What the threads write on.
#[derive(Debug)]
pub struct Board {
    identity: String,
    state: Mutex<State>,
    // Milliseconds since `started` of the last turn: the control thread, then each lane's fold and commit threads.
    turns: Vec<AtomicU64>,
    started: Instant,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    totals: Tally,
    dropped: u64,
    evictions: Evictions,
    shards: BTreeMap<i32, ShardReport>,
    // Assigned, and not taken over by a lane yet.
    waiting: BTreeSet<i32>,
    restoring: BTreeMap<i32, Stage>,
    reads: BTreeMap<i32, Duration>,
    // Where partitions begin and end, as fetches were told, and as brokers answered when they were asked.
    fetched: Ends,
    asked: Ends,
    unfetched: Unfetched,
    problems: BTreeMap<String, (Problem, Instant)>,
    latency: Histogram<u64>,
    commits: Histogram<u64>,
    pace: Pace,
}

/// Where partitions of the source begin and end.
#[derive(Debug, Default)]
pub struct Ends {
    /// First offsets.
    pub starts: BTreeMap<i32, i64>,
    /// Offsets behind the last ones.
    pub ends: BTreeMap<i32, i64>,
}

#[derive(Debug)]
struct Pace {
    at: Instant,
    records: u64,
    per_second: f64,
}

impl Board {
    /// An empty board for a worker with this many lanes.
    #[must_use]
    pub fn new(identity: &str, lanes: usize) -> Self {
        Self::begun(identity, lanes, Instant::now())
    }

    /// One whose threads have had since then to turn.
    pub(crate) fn begun(identity: &str, lanes: usize, started: Instant) -> Self {
        // Bounds 1 to an hour, two digits: valid for the histogram, so the fallback is never taken.
        let histogram = |digits| Histogram::new_with_bounds(1, HOUR_MS, digits).unwrap_or_else(|_| unreachable!());
        Self {
            identity: identity.to_owned(),
            state: Mutex::new(State {
                phase: Phase::Starting,
                totals: Tally::default(),
                dropped: 0,
                evictions: Evictions::new(),
                shards: BTreeMap::new(),
                waiting: BTreeSet::new(),
                restoring: BTreeMap::new(),
                reads: BTreeMap::new(),
                fetched: Ends::default(),
                asked: Ends::default(),
                unfetched: Unfetched::default(),
                problems: BTreeMap::new(),
                latency: histogram(2),
                commits: histogram(2),
                pace: Pace { at: Instant::now(), records: 0, per_second: 0.0 },
            }),
            turns: (0..=2 * lanes).map(|_| AtomicU64::new(0)).collect(),
            started,
        }
    }

    /// The control thread is alive.
    pub fn control_turned(&self) {
        self.turned(0);
    }

    /// A lane's fold thread is alive: it completed a turn, or waits with open eyes.
    pub fn fold_turned(&self, lane: usize) {
        self.turned(2 * lane + 1);
    }

    /// A lane's commit thread is alive: likewise.
    pub fn commit_turned(&self, lane: usize) {
        self.turned(2 * lane + 2);
    }

    fn turned(&self, thread: usize) {
        self.turns[thread].store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// The longest time for which one of the threads has not turned.
    #[must_use]
    pub fn longest_silence(&self) -> Duration {
        let oldest = self.turns.iter().map(|turn| turn.load(Ordering::Relaxed)).min().unwrap_or(0);
        self.started.elapsed().saturating_sub(Duration::from_millis(oldest))
    }

    /// A new phase of the worker's life.
    pub fn enter(&self, phase: Phase) {
        lock(&self.state).phase = phase;
    }

    /// A tick became visible.
    pub fn committed(&self, outputs: &Outputs, shards: Vec<ShardReport>, took: Duration) {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let mut state = lock(&self.state);
        outputs.tallies().values().for_each(|tally| state.totals.add(tally));
        for created in &outputs.created_ms {
            state.latency.saturating_record((now_ms - created).max(1) as u64);
        }
        if !outputs.tallies().is_empty() {
            state.commits.saturating_record(took.as_millis().max(1) as u64);
        }
        shards.into_iter().for_each(|report| state.take(report));
    }

    /// Records that nobody waits for any more.
    pub fn dropped(&self, count: u64) {
        lock(&self.state).dropped += count;
    }

    /// Partitions that are ours from now on; each is read once a lane has [taken it over](Board::shard).
    pub fn assigned(&self, partitions: &[i32]) {
        let mut state = lock(&self.state);
        for partition in partitions {
            state.waiting.insert(*partition);
            // What is shown of an assignment before this one.
            state.shards.remove(partition);
        }
    }

    /// A partition is being brought back.
    pub fn restoring(&self, partition: i32, stage: Stage) {
        lock(&self.state).restoring.insert(partition, stage);
    }

    /// A partition has been brought back, or nobody tries any more.
    pub fn restored(&self, partition: i32) {
        lock(&self.state).restoring.remove(&partition);
    }

    /// The state of a partition was read.
    pub(crate) fn state_read(&self, partition: i32, took: Duration) {
        lock(&self.state).reads.insert(partition, took);
    }

    /// A lane's partitions would be replayed for longer than `delivery.maxRecoveryTime`, and that lasts.
    pub(crate) fn replay_exceeds(&self, lane: usize, seconds: f64, most: f64) {
        let message = format!(
            "after a crash the partitions of lane {lane} would be replayed for about {seconds:.0} s, longer than \
             delivery.maxRecoveryTime ({most:.0} s): keys change faster than their images are written; \
             spread the partitions over more workers or lanes, or allow a longer time"
        );
        self.problem(&replay_topic(lane), "RecoveryTimeExceeded", &message);
    }

    /// They would not any more.
    pub(crate) fn replay_is_well(&self, lane: usize) {
        self.clear(&replay_topic(lane));
    }

    /// A partition was taken over by its lane.
    pub fn shard(&self, report: ShardReport) {
        let mut state = lock(&self.state);
        state.waiting.remove(&report.status.partition);
        state.take(report);
    }

    /// Partitions that are not ours any more.
    pub fn forget_partitions(&self, partitions: &[i32]) {
        let mut state = lock(&self.state);
        for partition in partitions {
            state.shards.remove(partition);
            state.waiting.remove(partition);
            state.restoring.remove(partition);
            state.reads.remove(partition);
            state.problems.remove(&restore_topic(*partition));
            state.fetched.forget(*partition);
            state.asked.forget(*partition);
            state.unfetched.forget(*partition);
            state.problems.remove(&fetch_topic(*partition));
            state.problems.remove(&partition_topic(*partition));
        }
    }

    /// The first offset that the source still holds, as far as known.
    #[must_use]
    pub fn first_offset(&self, partition: i32) -> Option<i64> {
        let state = lock(&self.state);
        state.fetched.starts.get(&partition).max(state.asked.starts.get(&partition)).copied()
    }

    /// Where partitions begin and end, as the last fetches were told, and the rate since the last call.
    pub fn fetched(&self, ends: Ends) {
        let mut state = lock(&self.state);
        state.fetched = ends;
        let (records, elapsed) = (state.totals.records(), state.pace.at.elapsed().as_secs_f64());
        if elapsed > 0.5 {
            let now = (records - state.pace.records) as f64 / elapsed;
            let per_second = if state.pace.per_second > 0.0 { 0.5 * state.pace.per_second + 0.5 * now } else { now };
            state.pace = Pace { at: Instant::now(), records, per_second };
        }
    }

    /// Where partitions begin and end, as brokers answer. A partition that is read and is not fetched all the same is a
    /// problem.
    pub fn asked(&self, asked: Ends, now: Instant) {
        let mut silences = Vec::new();
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        for (partition, end) in &asked.ends {
            let is_read = state.shards.contains_key(partition)
                && !state.waiting.contains(partition)
                && !state.problems.contains_key(&partition_topic(*partition));
            let fetched = state.fetched.ends.get(partition).copied();
            let silence = if is_read {
                state.unfetched.look(*partition, *end, fetched, now)
            } else {
                state.unfetched.forget(*partition);
                None
            };
            silences.push((*partition, *end, silence));
        }
        state.asked = asked;
        drop(guard);
        for (partition, end, silence) in silences {
            let topic = fetch_topic(partition);
            let Some(silence) = silence else {
                self.clear(&topic);
                continue;
            };
            let message = format!(
                "nothing has come of partition {partition} for {} s, although the source goes on to offset {end}; if the \
                 brokers are well, restart this worker: others take over, and nothing is lost",
                silence.as_secs()
            );
            self.problem(&topic, "PartitionNotFetched", &message);
        }
    }

    /// Something that is wrong until it is [cleared](Board::clear); logged once, and again when it lasts.
    pub fn problem(&self, topic: &str, reason: &str, message: &str) {
        let mut state = lock(&self.state);
        let problem = Problem { reason: reason.to_owned(), message: message.to_owned() };
        let known = state.problems.get(topic).is_some_and(|(old, at)| old.reason == reason && at.elapsed() < REPEAT);
        if known {
            return;
        }
        state.problems.insert(topic.to_owned(), (problem, Instant::now()));
        drop(state);
        warn!(reason, "{message}");
    }

    /// It is well again.
    pub fn clear(&self, topic: &str) {
        if lock(&self.state).problems.remove(topic).is_some() {
            info!(topic, "back to normal");
        }
    }

    /// A partition stopped; someone must act.
    pub fn stalled(&self, partition: i32, reason: &str, message: &str) {
        let problem = Problem { reason: reason.to_owned(), message: message.to_owned() };
        let old = lock(&self.state).problems.insert(partition_topic(partition), (problem.clone(), Instant::now()));
        if old.is_none_or(|(old, _)| old != problem) {
            error!(partition, reason, "{message}");
        }
    }

    /// A partition goes on.
    pub fn resumed(&self, partition: i32) {
        self.clear(&partition_topic(partition));
    }

    /// The client library reports trouble with the brokers; it reconnects by itself.
    pub fn broker_trouble(&self, error: &str, reason: &str) {
        self.problem(BROKER, "BrokerUnavailable", &format!("{error}: {reason}; trying again, nothing is lost"));
    }

    /// The brokers have answered.
    pub fn broker_is_well(&self) {
        self.clear(BROKER);
    }

    /// A try of a lane to commit its tick has failed.
    pub(crate) fn commit_trouble(&self, lane: usize, reason: &str, message: &str) {
        self.problem(&commit_topic(lane), reason, message);
    }

    /// A lane's tick has not become visible for longer than that.
    pub(crate) fn commit_waits(&self, lane: usize, patience: Duration) {
        let message = format!(
            "lane {lane} has waited for more than {} s for Kafka to commit what it has read, and reads no further \
             meanwhile; nothing is lost, and it goes on as soon as Kafka does",
            patience.as_secs()
        );
        self.problem(&wait_topic(lane), "CommitWaits", &message);
    }

    /// A lane has no tick that waits.
    pub(crate) fn commit_is_well(&self, lane: usize) {
        self.clear(&commit_topic(lane));
        self.clear(&wait_topic(lane));
    }

    /// What the board says now.
    #[must_use]
    pub fn status(&self) -> Status {
        let silence = self.longest_silence();
        let state = lock(&self.state);
        let told = |report: &ShardReport| {
            let mut partition = report.status.clone();
            let number = &partition.partition;
            let end = state.fetched.ends.get(number).max(state.asked.ends.get(number));
            let next = partition.next_offset.max(report.read_to.unwrap_or(0));
            partition.lag = end.map(|end| (end - next).max(0) as u64);
            partition.read_seconds = state.reads.get(&partition.partition).map(Duration::as_secs_f64);
            // Ticks that were folded before the partition stopped become visible after it: they do not say.
            if state.problems.contains_key(&partition_topic(partition.partition)) {
                partition.state = PartitionState::Stalled;
            }
            partition
        };
        let partitions: Vec<PartitionStatus> = state.shards.values().map(told).collect();
        let mut warming_up: BTreeMap<i32, Stage> =
            state.waiting.iter().map(|partition| (*partition, Stage::WAITING)).collect();
        warming_up.extend(&state.restoring);
        let is_read = |partition: &PartitionStatus| {
            partition.state == PartitionState::Running
                && !state.problems.contains_key(&fetch_topic(partition.partition))
        };
        let lanes = self.turns.len() / 2;
        let waits = (0..lanes).any(|lane| state.problems.contains_key(&wait_topic(lane)));
        let running = warming_up.is_empty() && partitions.iter().all(is_read) && !waits;
        Status {
            identity: self.identity.clone(),
            phase: state.phase,
            available: state.phase == Phase::Running && running && silence < TURN_LIMIT,
            dead_letters: Class::ALL.iter().zip(state.totals.by_class).map(|(c, n)| (c.name(), n)).collect(),
            outcomes: state.totals.clone(),
            lag: partitions.iter().filter_map(|partition| partition.lag).reduce(|a, b| a + b),
            events_per_second: state.pace.per_second,
            latency_ms: quantiles(&state.latency),
            commit_ms: quantiles(&state.commits),
            watermark_ms: partitions.iter().filter_map(|partition| partition.watermark_ms).min(),
            keys: partitions.iter().map(|partition| partition.keys).sum(),
            evicted_keys: state.evictions.total(),
            state_bytes: partitions.iter().map(|partition| partition.state_bytes).sum(),
            dropped: state.dropped,
            calibration: calibration(state.shards.values().flat_map(|report| &report.calibration)),
            partitions,
            warming_up,
            problems: state.problems.values().map(|(problem, _)| problem.clone()).collect(),
        }
    }

    /// Copies of the histograms: latency and commits, milliseconds.
    #[must_use]
    pub fn histograms(&self) -> (Histogram<u64>, Histogram<u64>) {
        let state = lock(&self.state);
        (state.latency.clone(), state.commits.clone())
    }
}

impl Ends {
    fn forget(&mut self, partition: i32) {
        self.starts.remove(&partition);
        self.ends.remove(&partition);
    }
}

impl State {
    /// Takes what a lane says of a shard. One that has started again has counted nothing yet.
    fn take(&mut self, report: ShardReport) {
        let partition = report.status.partition;
        let before = self.shards.get(&partition).map_or(0, |old| old.status.evicted_keys);
        let evicted = report.status.evicted_keys.saturating_sub(before);
        self.shards.insert(partition, report);
        if let Some(message) = self.evictions.count(evicted, Instant::now()) {
            warn!(partition, "{message}");
        }
    }
}

/// Under which trouble with bringing a partition back is told.
pub(crate) fn restore_topic(partition: i32) -> String {
    format!("restore {partition}")
}

fn commit_topic(lane: usize) -> String {
    format!("commit {lane}")
}

fn wait_topic(lane: usize) -> String {
    format!("commit wait {lane}")
}

fn replay_topic(lane: usize) -> String {
    format!("replay {lane}")
}

fn fetch_topic(partition: i32) -> String {
    format!("fetch {partition}")
}

fn partition_topic(partition: i32) -> String {
    format!("partition {partition}")
}

#[cfg(test)]
mod tests;
