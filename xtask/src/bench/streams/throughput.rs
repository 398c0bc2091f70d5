//! A full topic read to its end: events per CPU second of all threads, compiler and collector of Java included.

use anyhow::Result;
use rdkafka::Offset;

use super::contestant::{Arena, Contestant};
use super::{NAME, audit, progress};
use crate::bench::figure::Figure;
use crate::bench::full_topic::{FullTopic, Spent};
use crate::bench::kafka;
use crate::bench::pipelines::Names;

const PARTITIONS: i32 = 6;
/// The share of the topic that counts as start-up: Java compiles its hot code meanwhile.
const WARM_UP: f64 = 0.4;

/// One contestant's run.
struct Measured {
    spent: Spent,
    result_bytes: f64,
    /// Per event.
    state_records: f64,
}

/// Measures and reports.
pub(crate) fn run(arena: &Arena, events: u64, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let payments = FullTopic {
        brokers: arena.brokers.clone(),
        name: "payments".into(),
        partitions: PARTITIONS,
        events,
        warm_up: (events as f64 * WARM_UP) as u64,
    };
    progress(&format!("filling a topic with {events} events"));
    payments.fill(&arena.topics, arena.seed)?;
    let mut measured = [const { Vec::new() }; 3];
    for run in 0..arena.runs {
        for (contestant, runs) in Contestant::ALL.into_iter().zip(&mut measured) {
            progress(&format!("throughput, run {} of {}, {}", run + 1, arena.runs, contestant.name()));
            runs.push(drain(arena, contestant, &payments, run)?);
        }
    }
    arena.topics.delete(&[&payments.name])?;
    tell(&measured, report);
    Ok(())
}

fn drain(arena: &Arena, contestant: Contestant, payments: &FullTopic, run: usize) -> Result<Measured> {
    let identity = format!("throughput-{}-{run}", contestant.name());
    let names = Names { input: payments.name.clone(), identity };
    arena.create_outputs(&names, PARTITIONS)?;
    let spent = payments.watch(arena.start(contestant, &names)?, &names.identity)?;
    audit::demand_each_once(&arena.brokers, &names.results(), PARTITIONS, payments.events)?;
    let (_, result_bytes) = kafka::mean_record_bytes(&arena.brokers, &names.results(), Offset::Beginning)?;
    let state_records = arena.state_records(contestant, &names, PARTITIONS)? as f64 / payments.events as f64;
    arena.clean_up(contestant, &names)?;
    Ok(Measured { spent, result_bytes, state_records })
}

fn tell(measured: &[Vec<Measured>; 3], report: &mut dyn FnMut(Figure)) {
    for (contestant, runs) in Contestant::ALL.into_iter().zip(measured) {
        let mut figure = |metric: &str, unit, of: &dyn Fn(&Measured) -> f64| {
            let metric = format!("throughput.{}.{metric}", contestant.name());
            report(Figure::of(NAME, metric, unit, runs.iter().map(of).collect()));
        };
        figure("eventsPerCpuSecond", "events/s", &|run| run.spent.events_per_cpu_second());
        figure("cpuMicrosPerEvent", "µs", &|run| run.spent.cpu_micros_per_event());
        figure("eventsPerSecond", "events/s", &|run| run.spent.events_per_second());
        figure("resultBytes", "bytes", &|run| run.result_bytes);
        figure("stateRecordsPerEvent", "", &|run| run.state_records);
    }
    let [quickstart, streams @ ..] = measured;
    for (contestant, runs) in Contestant::ALL.into_iter().skip(1).zip(streams) {
        let ratios = quickstart.iter().zip(runs).map(|(quickstart, streams)| {
            quickstart.spent.events_per_cpu_second() / streams.spent.events_per_cpu_second()
        });
        report(Figure::of(NAME, format!("throughput.ratioTo.{}", contestant.name()), "", ratios.collect()));
    }
}
