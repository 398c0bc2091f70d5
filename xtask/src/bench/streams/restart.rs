//! A fresh instance after the former one has stopped: from its start until it goes on. Whether it goes on with the state
//! of its keys is seen from outside: a user with a long past must not be taken for a new one.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::contestant::{Arena, Contestant};
use super::program::Store;
use super::{NAME, audit, progress};
use crate::bench::events::Events;
use crate::bench::figure::Figure;
use crate::bench::kafka::{self, Progress};
use crate::bench::open_loop::{Reader, now_ms};
use crate::bench::pipelines::Names;

const PARTITIONS: u64 = 6;
/// Events of each user that is known well, one in five minutes, so that all that is learned of a user has begun.
const PAST: u64 = 40;
const PAST_STEP_MS: i64 = 300_000;
/// An instance that says nothing for this long will not say anything.
const PATIENCE: Duration = Duration::from_secs(180);

/// One start.
struct Started {
    /// Seconds to the first result.
    first: f64,
    /// Seconds until every partition had one.
    all: f64,
    /// It knew its keys.
    restored: bool,
}

/// Measures and reports.
pub(crate) fn run(arena: &Arena, keys: u64, report: &mut dyn FnMut(Figure)) -> Result<()> {
    // Both stores restore from one changelog: where the state lies on the machine is nothing that the topic knows.
    let mut ours = Past::make(arena, Contestant::Quickstart, keys)?;
    let mut theirs = Past::make(arena, Contestant::Streams(Store::Memory), keys)?;
    let mut started = [const { Vec::new() }; 3];
    for run in 0..arena.runs {
        for (contestant, runs) in Contestant::ALL.into_iter().zip(&mut started) {
            progress(&format!("restart with {keys} keys, run {} of {}, {}", run + 1, arena.runs, contestant.name()));
            let past = if contestant == Contestant::Quickstart { &mut ours } else { &mut theirs };
            let start = past.start(contestant)?;
            ensure!(start.restored || contestant == Contestant::Quickstart, "Kafka Streams did not restore its state");
            runs.push(start);
        }
    }
    tell(keys, &started, report);
    for past in [ours, theirs] {
        past.end(report)?;
    }
    Ok(())
}

/// What a contestant has seen before it starts again.
struct Past<'a> {
    arena: &'a Arena,
    /// Who has seen it.
    contestant: Contestant,
    names: Names,
    keys: u64,
    events: Events,
    /// Events sent so far.
    sent: u64,
}

impl<'a> Past<'a> {
    /// Every user once, then the first of each partition many times: by then the detectors know all users well enough not to
    /// begin anew on another scale.
    fn make(arena: &'a Arena, contestant: Contestant, keys: u64) -> Result<Self> {
        let who = if contestant == Contestant::Quickstart { "quickstart" } else { "streams" };
        progress(&format!("making the state of {keys} keys, {who}"));
        let identity = format!("restart-{keys}-{who}");
        let names = Names { input: format!("{identity}.in"), identity };
        arena.topics.create(&names.input, PARTITIONS as i32)?;
        arena.create_outputs(&names, PARTITIONS as i32)?;
        let mut past = Self { arena, contestant, names, keys, events: Events::new(arena.seed), sent: 0 };
        past.fill()?;
        let mut side = arena.start(contestant, &past.names)?;
        let progress = Progress::of(&arena.brokers, &past.names.identity, &past.names.input, PARTITIONS as i32)?;
        progress.wait_for(past.sent, &mut || side.check())?;
        side.stop()?;
        Ok(past)
    }

    fn fill(&mut self) -> Result<()> {
        let producer = kafka::event_producer(&self.arena.brokers)?;
        let now_ms = now_ms();
        let first_ms = now_ms - (PAST as i64 + 1) * PAST_STEP_MS;
        for user in 0..self.keys {
            self.send(&producer, user, first_ms - PAST_STEP_MS)?;
        }
        for step in 0..PAST {
            for user in 0..PARTITIONS {
                self.send(&producer, user, first_ms + step as i64 * PAST_STEP_MS)?;
            }
        }
        kafka::flush(&producer)
    }

    fn send(&mut self, producer: &rdkafka::producer::BaseProducer, user: u64, time_ms: i64) -> Result<()> {
        self.events.of_user(user as usize, self.sent, time_ms);
        let partition = (user % PARTITIONS) as i32;
        kafka::send(producer, &self.names.input, partition, &self.events.key, &self.events.value)?;
        self.sent += 1;
        Ok(())
    }

    /// Starts a fresh instance for which an event waits in every partition.
    fn start(&mut self, contestant: Contestant) -> Result<Started> {
        let mut reader = Reader::from_end(&self.arena.brokers, &self.names.results(), PARTITIONS as i32)?;
        let producer = kafka::event_producer(&self.arena.brokers)?;
        let waiting = self.sent..self.sent + PARTITIONS;
        for user in 0..PARTITIONS {
            self.send(&producer, user, now_ms())?;
        }
        kafka::flush(&producer)?;

        let began = Instant::now();
        let mut side = self.arena.start(contestant, &self.names)?;
        let (mut first, mut results, mut unknown) = (None, 0, 0);
        while results < PARTITIONS {
            reader.take(&mut |payload, number| {
                if waiting.contains(&number) {
                    first.get_or_insert_with(|| began.elapsed());
                    results += 1;
                    unknown += u64::from(is_cold(payload));
                }
            });
            side.check()?;
            ensure!(began.elapsed() < PATIENCE, "no result within {} s", PATIENCE.as_secs());
        }
        let all = began.elapsed();
        side.stop()?;
        let Some(first) = first else { bail!("no result came") };
        ensure!(unknown == 0 || unknown == PARTITIONS, "the state of {unknown} of {PARTITIONS} partitions was lost");
        Ok(Started { first: first.as_secs_f64(), all: all.as_secs_f64(), restored: unknown == 0 })
    }

    /// Audits everything that was ever said, and tells how large the state was.
    fn end(self, report: &mut dyn FnMut(Figure)) -> Result<()> {
        let Self { arena, contestant, names, keys, sent, .. } = self;
        audit::demand_each_once(&arena.brokers, &names.results(), PARTITIONS as i32, sent)?;
        if let Some(bytes) = arena.state_bytes(contestant, &names, PARTITIONS as i32)? {
            let who = if contestant == Contestant::Quickstart { "quickstart" } else { "streams" };
            report(Figure::of(NAME, format!("restart.{keys}.{who}.stateRecordBytes"), "bytes", vec![bytes]));
        }
        arena.clean_up(contestant, &names)?;
        arena.topics.delete(&[&names.input])
    }
}

/// Whether a result calls its user new. Both write the member the same way.
fn is_cold(result: &[u8]) -> bool {
    const COLD: &[u8] = b"\"maturity\":\"cold\"";
    result.windows(COLD.len()).any(|window| window == COLD)
}

fn tell(keys: u64, started: &[Vec<Started>; 3], report: &mut dyn FnMut(Figure)) {
    for (contestant, runs) in Contestant::ALL.into_iter().zip(started) {
        // A start that restores nothing must never be read as a restore.
        let what = if runs.iter().all(|run| run.restored) { "restored" } else { "withoutState" };
        let mut figure = |metric: &str, of: &dyn Fn(&Started) -> f64| {
            let metric = format!("restart.{keys}.{}.{what}.{metric}", contestant.name());
            report(Figure::of(NAME, metric, "s", runs.iter().map(of).collect()));
        };
        figure("firstResult", &|run| run.first);
        figure("allPartitions", &|run| run.all);
    }
    let [quickstart, streams @ ..] = started;
    for (contestant, runs) in Contestant::ALL.into_iter().skip(1).zip(streams) {
        if quickstart.iter().chain(runs).all(|run| run.restored) {
            let ratios = quickstart.iter().zip(runs).map(|(ours, theirs)| ours.all / theirs.all);
            report(Figure::of(NAME, format!("restart.{keys}.ratioTo.{}", contestant.name()), "", ratios.collect()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(restored: bool) -> Vec<String> {
        let run = |restored| vec![Started { first: 1.0, all: 2.0, restored }];
        let mut metrics = Vec::new();
        tell(9, &[run(restored), run(true), run(true)], &mut |figure| metrics.push(figure.metric));
        metrics
    }

    #[test]
    fn a_start_without_state_is_not_called_a_restore() {
        let metrics = told(false);
        assert!(metrics.contains(&"restart.9.quickstart.withoutState.firstResult".to_owned()), "{metrics:?}");
        assert!(!metrics.iter().any(|metric| metric.contains("ratioTo")), "{metrics:?}");
        assert!(told(true).contains(&"restart.9.ratioTo.streamsMemory".to_owned()));
    }

    #[test]
    fn a_new_user_is_told_from_a_known_one() {
        assert!(is_cold(br#"{"eventId":"e-1","maturity":"cold","models":[]}"#));
        assert!(!is_cold(br#"{"eventId":"e-1","maturity":"warming","models":[]}"#));
    }
}
