//! One run of `up`: starts everything, watches it, ends it in order, and accounts for every record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use faultline_crds::WorkerConfig;
use faultline_worker::status::Status;
use faultline_worker::{Options, Worker, chain};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::alerts::{Alert, AlertReader};
use super::feeder::Feeder;
use super::gate::Gate;
use super::input::Input;
use super::summary::Summary;
use super::view::{Progress, View};
use crate::failure::Failure;
use crate::kafka::REQUEST;
use crate::kafka::producer::{ProduceError, Producer};
use crate::replay::BadRow;
use crate::scenario::judge::{Incident, judge};
use crate::signals::Stop;

/// How often the worker is looked at: the feeder must not wait for news.
const LOOK: Duration = Duration::from_millis(5);

/// Records on their way for that long without any of them ending: something is wrong.
const STALLED: Duration = Duration::from_secs(60);

/// What the threads tell the session.
pub(super) enum Message {
    Alert(Box<Alert>),
    /// A record of the alerts topic that is no alert.
    BadAlert(String),
    BadRow(BadRow),
}

/// What the counts have to come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accounting {
    /// The topic held nothing before: the outcomes must be exactly the records sent, and those that others have written
    /// meanwhile.
    Exact,
    /// The topic held records before: at least those sent.
    AtLeast,
}

/// Everything that a run needs.
pub(super) struct Session {
    pub(super) config: Arc<WorkerConfig>,
    pub(super) client: ClientConfig,
    pub(super) options: Options,
    pub(super) input: Input,
    pub(super) speed: Option<f64>,
    pub(super) accounting: Accounting,
    pub(super) stop: Stop,
}

/// What has been seen so far.
#[derive(Default)]
struct Seen {
    incidents: Vec<Incident>,
    ids: BTreeSet<String>,
    first_incident: Option<Duration>,
    bad_rows: u64,
    bad_alerts: u64,
    problems: BTreeSet<String>,
}

impl Session {
    pub(super) fn run(mut self, view: &mut View) -> Result<(), Failure> {
        let (messages, received) = channel();
        let reader = AlertReader::start(&self.client, &self.config.outputs.alerts.topic, messages.clone());
        let reader = reader.map_err(|error| Failure::of("failed to follow the alerts", &error))?;
        let before = if self.input.feeds() { held(&self.client, &self.config.source.topic)? } else { 0 };
        let feeding = |error: ProduceError| Failure::of("failed to feed the source topic", &error);
        let producer = self.input.feeds().then(|| Producer::start(&self.client, &self.config.source.topic)).transpose();
        let producer = producer.map_err(feeding)?;
        let worker = faultline_worker::start(Arc::clone(&self.config), self.options.clone())
            .map_err(|error| Failure::usage(format!("failed to start the worker: {}", chain(&error))))?;

        let (gate, sent) = (Gate::default(), AtomicU64::new(0));
        let mut watch = Watch {
            worker: &worker,
            received: &received,
            gate: &gate,
            sent: &sent,
            total: self.input.total(),
            begun: Instant::now(),
            seen: Seen::default(),
            view,
            ready: !self.input.feeds(),
            moved: (0, Instant::now()),
        };
        let (config, client, accounting, stop) = (&self.config, &self.client, self.accounting, &self.stop);
        let watched = std::thread::scope(|scope| {
            let input = &mut self.input;
            let feeder = Feeder { gate: &gate, sent: &sent, messages, speed: self.speed };
            let feeder = producer.map(|producer| scope.spawn(move || feeder.run(input, producer)));
            let fed = || feeder.as_ref().is_none_or(|feeder| feeder.is_finished());
            let watched = watch.until(stop, fed, feeder.is_some());
            gate.close();
            let fed = feeder.map_or(Ok(Ok(())), |feeder| feeder.join());
            watched?;
            fed.map_err(|_| Failure::Failed("the feeder panicked".to_owned()))?.map_err(feeding)?;
            let (sent, ends) = (sent.load(Ordering::Acquire), ends(client, &config.source.topic)?);
            match accounting {
                // By positions only if it must be: transactions of others leave offsets without a record.
                Accounting::Exact if before + sent == sum(&ends) => watch.until_ended(sent),
                _ => watch.until_reached(&ends),
            }
        });

        let elapsed = watch.begun.elapsed();
        let Watch { mut seen, view, .. } = watch;
        let last_words = worker.status();
        let stopped = worker.stop();
        let drained = reader.finish();
        received.try_iter().for_each(|message| seen.take(message, elapsed, view));
        let status = stopped.as_ref().unwrap_or(&last_words);
        let sent = sent.load(Ordering::Acquire);
        // When the broker has gone away meanwhile, nobody else is known to have written.
        let held = held(&self.client, &self.config.source.topic).map_or(sent, |held| held.saturating_sub(before));
        let others = status.outcomes.records().clamp(sent, held.max(sent)) - sent;
        let summary = self.summarise(status, &seen, (sent, others), elapsed);
        view.summary(&summary);

        watched?;
        stopped.map_err(|error| Failure::of("the worker failed", &error))?;
        drained.map_err(|error| Failure::of("failed to follow the alerts", &error))?;
        summary.check(self.accounting == Accounting::Exact && self.input.feeds())
    }

    fn summarise(&self, status: &Status, seen: &Seen, (sent, others): (u64, u64), elapsed: Duration) -> Summary {
        let exact = self.accounting == Accounting::Exact && self.input.feeds();
        let others = if exact { others } else { 0 };
        let verdict = match &self.input {
            Input::Scenario { stream, .. } => {
                let window_ms = self.config.plan.longest_window_ms();
                Some(judge(&seen.incidents, stream.truth(), window_ms, stream.latest_ms()))
            }
            Input::Replay(_) | Input::Topic => None,
        };
        Summary {
            events: if self.input.feeds() { sent + others } else { status.outcomes.records() },
            from_others: others,
            outcomes: status.outcomes.clone(),
            incidents: seen.incidents.len() as u64,
            verdict,
            p95_ms: status.latency_p95_ms(),
            seconds: elapsed.as_secs_f64(),
            first_incident_seconds: seen.first_incident.map(|after| after.as_secs_f64()),
            bad_rows: seen.bad_rows,
            bad_alerts: seen.bad_alerts,
        }
    }
}

impl Seen {
    fn take(&mut self, message: Message, after: Duration, view: &mut View) {
        match message {
            Message::BadRow(row) => {
                self.bad_rows += 1;
                view.bad_row(&row);
            }
            Message::BadAlert(reason) => {
                self.bad_alerts += 1;
                view.problem(&format!("a record of the alerts topic is no alert: {reason}"));
            }
            Message::Alert(alert) => {
                // The same incident again: delivered at least once.
                let new = alert.fields.state == "opened" && self.ids.insert(alert.fields.incident_id.clone());
                view.alert(&alert, new);
                if new {
                    self.first_incident.get_or_insert(after);
                    self.incidents.push(Incident { key: alert.fields.key, opened_at_ms: alert.opened_at_ms });
                }
            }
        }
    }
}

/// Looks at the worker and listens to the threads.
struct Watch<'a, 'v> {
    worker: &'a Worker,
    received: &'a Receiver<Message>,
    gate: &'a Gate,
    sent: &'a AtomicU64,
    total: Option<u64>,
    begun: Instant,
    seen: Seen,
    view: &'v mut View,
    /// Whether the feeder may begin, or there is none.
    ready: bool,
    /// Records that had ended, and since when it is so.
    moved: (u64, Instant),
}

impl Watch<'_, '_> {
    /// Until everything has been fed, or somebody asked to stop.
    fn until(&mut self, stop: &Stop, fed: impl Fn() -> bool, feeds: bool) -> Result<(), Failure> {
        loop {
            self.look()?;
            if stop.asked() || (feeds && fed()) {
                return Ok(());
            }
        }
    }

    /// Until this many records have ended.
    fn until_ended(&mut self, sent: u64) -> Result<(), Failure> {
        while self.look()?.outcomes.records() < sent {}
        Ok(())
    }

    /// Until the committed positions are at the ends of the partitions.
    fn until_reached(&mut self, ends: &BTreeMap<i32, i64>) -> Result<(), Failure> {
        loop {
            let status = self.look()?;
            let reached = |partition: &i32, end: i64| {
                let at = status.partitions.iter().find(|status| status.partition == *partition);
                at.is_some_and(|at| at.next_offset >= end)
            };
            if ends.iter().all(|(partition, end)| *end == 0 || reached(partition, *end)) {
                return Ok(());
            }
        }
    }

    /// One look; waits a moment for messages.
    fn look(&mut self) -> Result<Status, Failure> {
        let first = self.received.recv_timeout(LOOK);
        for message in first.into_iter().chain(self.received.try_iter()) {
            self.seen.take(message, self.begun.elapsed(), self.view);
        }
        let status = self.worker.status();
        let (ended, sent) = (status.outcomes.records(), self.sent.load(Ordering::Acquire));
        self.gate.ended(ended);
        if !self.ready && !status.partitions.is_empty() {
            self.ready = true;
            self.gate.open();
        }
        for problem in &status.problems {
            if self.seen.problems.insert(problem.message.clone()) {
                self.view.problem(&format!("{}: {}", problem.reason, problem.message));
            }
        }
        self.view.progress(&Progress {
            sent,
            ended,
            total: self.total,
            lag: if sent > 0 { sent.saturating_sub(ended) } else { status.lag.unwrap_or(0) },
            p95_ms: status.latency_p95_ms(),
            incidents: self.seen.incidents.len() as u64,
        });
        if self.worker.has_ended() {
            return Err(Failure::Failed("the worker ended by itself".to_owned()));
        }
        if ended != self.moved.0 || (self.ready && sent <= ended) {
            self.moved = (ended, Instant::now());
        }
        if self.moved.1.elapsed() > STALLED {
            let what = if self.ready { "no record has ended" } else { "the worker got no partition" };
            let why: Vec<&str> = status.problems.iter().map(|problem| problem.message.as_str()).collect();
            let text = format!("{what} for {} s. {}", STALLED.as_secs(), why.join("; "));
            return Err(Failure::Failed(text.trim_end().to_owned()));
        }
        Ok(status)
    }
}

fn sum(ends: &BTreeMap<i32, i64>) -> u64 {
    ends.values().map(|end| end.unsigned_abs()).sum()
}

/// Offsets that a topic has given out.
fn held(client: &ClientConfig, topic: &str) -> Result<u64, Failure> {
    ends(client, topic).map(|ends| sum(&ends))
}

/// The ends of a topic's partitions.
fn ends(client: &ClientConfig, topic: &str) -> Result<BTreeMap<i32, i64>, Failure> {
    let failed = |error| Failure::of("failed to find the end of the source topic", &error);
    let consumer: BaseConsumer = client.create().map_err(failed)?;
    let count = crate::kafka::partitions(&consumer, topic).map_err(failed)?;
    (0..count)
        .map(|partition| {
            let (_, high) = consumer.fetch_watermarks(topic, partition, REQUEST).map_err(failed)?;
            Ok((partition, high))
        })
        .collect()
}
