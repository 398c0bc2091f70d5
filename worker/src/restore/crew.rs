//! The threads that bring shards back, beside the lanes: a lane never waits for a restoration.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::info;

use super::{Progress, Recovered, Recovery, RestoreError};
use crate::backoff::Backoff;
use crate::chain::chain;
use crate::ownership::{Epoch, lock};
use crate::past::Past;
use crate::shard::Shard;
use crate::status::{Board, restore_topic};

/// A shard that cannot be brought back is tried again after this long first …
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// … and at most after this long.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// A thread without work looks up this often.
const IDLE: Duration = Duration::from_millis(200);

/// A shard that can go on.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) partition: i32,
    pub(crate) epoch: Epoch,
    pub(crate) shard: Box<Shard>,
    /// Its offset has to be committed before anything is read.
    pub(crate) commits_first: bool,
}

/// A partition that was assigned.
struct Job {
    partition: i32,
    epoch: Epoch,
    not_before: Instant,
    backoff: Backoff,
}

/// What the threads share.
pub(crate) struct Crew {
    recovery: Recovery,
    board: Arc<Board>,
    jobs: Mutex<VecDeque<Job>>,
    news: Condvar,
    /// Whether an assignment still holds.
    is_current: Box<dyn Fn(i32, Epoch) -> bool + Send + Sync>,
    stopping: Box<dyn Fn() -> bool + Send + Sync>,
    /// Makes topics large enough for a partition; partitions of the source.
    prepare: Box<dyn Fn(i32) -> Result<i32, String> + Send + Sync>,
}

impl Crew {
    pub(crate) fn new(
        recovery: Recovery,
        board: Arc<Board>,
        is_current: Box<dyn Fn(i32, Epoch) -> bool + Send + Sync>,
        stopping: Box<dyn Fn() -> bool + Send + Sync>,
        prepare: Box<dyn Fn(i32) -> Result<i32, String> + Send + Sync>,
    ) -> Self {
        Self { recovery, board, jobs: Mutex::default(), news: Condvar::new(), is_current, stopping, prepare }
    }

    /// Brings partitions back that were just assigned.
    pub(crate) fn bring(&self, assigned: Vec<(i32, Epoch)>) {
        let jobs = assigned.into_iter().map(|(partition, epoch)| Job {
            partition,
            epoch,
            not_before: Instant::now(),
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
        });
        lock(&self.jobs).extend(jobs);
        self.news.notify_all();
    }

    /// The life of one thread.
    pub(crate) fn work(&self, past: &mut dyn Past, ready: &Sender<Start>) {
        while !(self.stopping)() {
            let Some(mut job) = self.next() else { continue };
            let cancelled = || (self.stopping)() || !(self.is_current)(job.partition, job.epoch);
            if cancelled() {
                continue;
            }
            match self.restore(past, &job, &cancelled) {
                Ok(start) => {
                    self.board.restored(job.partition);
                    self.board.clear(&restore_topic(job.partition));
                    // The control thread may be gone already; then nobody reads anyway.
                    let _ = ready.send(start);
                }
                Err(_) if cancelled() => self.board.restored(job.partition),
                Err((reason, message)) => {
                    let message = format!("partition {} waits: {message}; trying again", job.partition);
                    self.board.problem(&restore_topic(job.partition), reason, &message);
                    job.not_before = Instant::now() + job.backoff.next_pause();
                    lock(&self.jobs).push_back(job);
                }
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = lock(&self.jobs);
        let now = Instant::now();
        if let Some(at) = jobs.iter().position(|job| job.not_before <= now) {
            return jobs.remove(at);
        }
        drop(self.news.wait_timeout(jobs, IDLE).unwrap_or_else(PoisonError::into_inner));
        None
    }

    fn restore(
        &self,
        past: &mut dyn Past,
        job: &Job,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Start, (&'static str, String)> {
        let Job { partition, epoch, .. } = *job;
        let began = Instant::now();
        let partitions = (self.prepare)(partition).map_err(|message| ("TopicsNotReady", message))?;
        let mut tell = |stage| self.board.restoring(partition, stage);
        let mut progress = Progress::new(&mut tell);
        let Recovered { shard, first } =
            self.recovery.recover(past, partition, partitions, cancelled, &mut progress).map_err(told)?;
        if let Some(took) = progress.read_took() {
            self.board.state_read(partition, took);
        }
        info!(
            partition,
            offset = shard.next_offset(),
            keys = shard.keys(),
            epoch,
            took_ms = began.elapsed().as_millis() as u64,
            "shard is ready"
        );
        let commits_first = first && !self.recovery.durable;
        Ok(Start { partition, epoch, shard: Box::new(shard), commits_first })
    }
}

/// An error's reason, and the error as people read it.
fn told(error: RestoreError) -> (&'static str, String) {
    (error.reason(), chain(&error))
}
