//! From event to visible result, in an open loop. Before it each contestant reads a lot of events as fast as it can, and
//! their results are waited for: Java compiles its hot code meanwhile, which takes it many more events than seconds.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::audit::{Audit, audit};
use super::contestant::{Arena, Contestant};
use super::{NAME, progress};
use crate::bench::figure::Figure;
use crate::bench::open_loop::{OpenLoop, Stream};
use crate::bench::pipelines::Names;

const PARTITIONS: i32 = 2;
/// Events a second of the warm-up: more than anybody reads.
const AT_ONCE: u64 = 1_000_000;
/// A busy machine may take this long for the warm-up; a quiet one takes seconds.
const WARM_UP_LIMIT: Duration = Duration::from_secs(300);
/// The first fifth of a stream is left out: from large ticks back to small ones.
const SETTLING: u64 = 5;
/// Who is behind by more than the events of this long when the stream ends does not keep up with it.
const KEEPS_UP: Duration = Duration::from_secs(1);
/// Results are waited for this long; who keeps up needs a fraction of it.
const LAST_RESULTS: Duration = Duration::from_secs(5);

/// One contestant's stream.
struct Measured {
    /// p50, p95, p99 in milliseconds.
    quantiles: [f64; 3],
    micros: f64,
    backlog: u64,
    kept_up: bool,
}

/// A stream, and the events before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) warm_up: u64,
    /// Events a second.
    pub(crate) rate: u64,
    pub(crate) seconds: u64,
}

/// Measures and reports.
pub(crate) fn run(arena: &Arena, load: Load, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let rate = load.rate;
    let mut measured = [const { Vec::new() }; 3];
    for run in 0..arena.runs {
        for (contestant, runs) in Contestant::ALL.into_iter().zip(&mut measured) {
            let told = format!("latency at {rate}/s, run {} of {}, {}", run + 1, arena.runs, contestant.name());
            progress(&told);
            runs.push(stream(arena, contestant, load, run)?);
        }
    }
    tell(rate, &measured, report);
    Ok(())
}

fn stream(arena: &Arena, contestant: Contestant, load: Load, run: usize) -> Result<Measured> {
    let Load { warm_up, rate, seconds } = load;
    let identity = format!("latency-{rate}-{}-{run}", contestant.name());
    let names = Names { input: format!("{identity}.in"), identity };
    arena.topics.create(&names.input, PARTITIONS)?;
    arena.create_outputs(&names, PARTITIONS)?;
    let mut way = OpenLoop::new(&arena.brokers, &names.input, &names.results(), PARTITIONS)?;
    let mut side = arena.start(contestant, &names)?;
    way.prime(&mut side, arena.seed)?;

    let warming = Stream { rate: AT_ONCE, numbers: 0..warm_up, warm_up, seed: arena.seed };
    let warmed = way.pass(&mut side, &warming, WARM_UP_LIMIT)?;
    ensure!(warmed.missing == 0, "{} of {warm_up} results of the warm-up did not come", warmed.missing);
    let total = rate * seconds;
    let numbers = warm_up..warm_up + total;
    let stream = Stream { rate, numbers: numbers.clone(), warm_up: total / SETTLING, seed: arena.seed + 1 };
    let passed = way.pass(&mut side, &stream, LAST_RESULTS)?;
    side.stop()?;

    let Audit { missing, repeated } = audit(&arena.brokers, &names.results(), PARTITIONS, numbers.end)?;
    ensure!(repeated == 0, "{repeated} results came twice in {}", names.results());
    ensure!(missing == 0 || passed.missing > 0, "{missing} results are missing in {}", names.results());
    arena.clean_up(contestant, &names)?;
    arena.topics.delete(&[&names.input])?;
    let kept_up = passed.missing == 0 && passed.backlog < (rate as f64 * KEEPS_UP.as_secs_f64()) as u64;
    Ok(Measured {
        quantiles: [0.5, 0.95, 0.99].map(|quantile| passed.ms(quantile)),
        micros: passed.cpu.as_secs_f64() * 1e6 / (total - passed.missing) as f64,
        backlog: passed.backlog,
        kept_up,
    })
}

fn tell(rate: u64, measured: &[Vec<Measured>; 3], report: &mut dyn FnMut(Figure)) {
    for (contestant, runs) in Contestant::ALL.into_iter().zip(measured) {
        let mut figure = |metric: &str, unit, of: &dyn Fn(&Measured) -> f64| {
            let metric = format!("latency.{rate}.{}.{metric}", contestant.name());
            report(Figure::of(NAME, metric, unit, runs.iter().map(of).collect()));
        };
        // Of who falls behind, the latency says only for how long it was measured.
        if keeps_up(runs) {
            figure("p50", "ms", &|run| run.quantiles[0]);
            figure("p95", "ms", &|run| run.quantiles[1]);
            figure("p99", "ms", &|run| run.quantiles[2]);
        }
        figure("keptUp", "", &|run| f64::from(u8::from(run.kept_up)));
        figure("backlog", "events", &|run| run.backlog as f64);
        figure("cpuMicrosPerEvent", "µs", &|run| run.micros);
    }
    let [quickstart, streams @ ..] = measured;
    for (contestant, runs) in Contestant::ALL.into_iter().skip(1).zip(streams) {
        if keeps_up(quickstart) && keeps_up(runs) {
            let ratios = quickstart.iter().zip(runs).map(|(ours, theirs)| ours.quantiles[1] / theirs.quantiles[1]);
            report(Figure::of(NAME, format!("latency.{rate}.ratioTo.{}.p95", contestant.name()), "", ratios.collect()));
        }
    }
}

/// In most runs.
fn keeps_up(runs: &[Measured]) -> bool {
    runs.iter().filter(|run| run.kept_up).count() * 2 > runs.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kept_up: [bool; 3]) -> Vec<String> {
        let run = |kept_up| Measured { quantiles: [1.0, 2.0, 3.0], micros: 4.0, backlog: 5, kept_up };
        let mut metrics = Vec::new();
        tell(7, &kept_up.map(|kept_up| vec![run(kept_up)]), &mut |figure| metrics.push(figure.metric));
        metrics
    }

    #[test]
    fn who_falls_behind_has_a_backlog_and_no_latency() {
        let metrics = told([true, true, false]);
        let has = |metric: &str| metrics.iter().any(|told| told == metric);
        assert!(has("latency.7.quickstart.p95") && has("latency.7.ratioTo.streamsMemory.p95"), "{metrics:?}");
        assert!(!has("latency.7.streamsRocksdb.p95") && !has("latency.7.ratioTo.streamsRocksdb.p95"), "{metrics:?}");
        assert!(has("latency.7.streamsRocksdb.backlog") && has("latency.7.streamsRocksdb.keptUp"), "{metrics:?}");
    }
}
