//! Writes docs/benchmarks.md: the figures, the machine, the command, and in plain words what is compared with what.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use super::figure::Figure;
use super::tell::{number, reliability};
use crate::tree;

/// What each benchmark is about.
const SECTIONS: [(&str, &str, &str); 10] = [
    (
        "features",
        "Windows",
        "One thread, no Kafka: 8 windows (mean, min, max, standard deviation, count; 5 minutes and 1 hour) over 2 fields, \
         a million events per run, per CPU second of that thread. Hot keys: 64 keys, which fit the caches. Zipf: 100,000 \
         keys, the first of which gets 8 % of the events. Quickstart: the features of `examples/quickstart` on 10,000 keys. \
         A mature key is one that has seen an event a second for two hours; the bytes are those of the 8 windows, of the \
         quickstart's features or of one feature alone, above an empty key.",
    ),
    (
        "detectors",
        "Detectors",
        "One thread, no Kafka: each detector alone, per CPU second of that thread, and what it remembers of a key.",
    ),
    (
        "calibration",
        "Does a surprise keep its promise?",
        "A surprise of 4 promises one event in 10,000. Observed over promised rate on streams without anomalies that the \
         detectors have not seen: 1 is perfect, above 1 is more alarms than promised.",
    ),
    (
        "drain",
        "Draining a full topic",
        "2,000,000 card payments of 100,000 users (Zipf) in 6 partitions, read to the end by one worker process with \
         exactly-once results for every event. *Quickstart* is `examples/quickstart` unchanged but for topic names; \
         *threshold* is the same with one threshold rule in place of its two models. *Raw* is the limit: a program that \
         consumes each event and produces one record of the results' size with the same client, batches, ticks, \
         transactions, headers and compression, and does nothing else. CPU seconds are those of all threads of the \
         process, the client's own included; the first 5 % of the topic are left out. The ratio is formed within each \
         run, then its median is taken: 1 would be as fast as raw.",
    ),
    (
        "latency",
        "From event to visible result",
        "Open loop: event i is due at start + i / rate, and its latency counts from then until its result is read with \
         `read_committed`, so a stall is not hidden. 15 s per stream, the first fifth left out; 100,000 users (Zipf), 2 \
         partitions. *Toy* is the least that a worker of keyed windows does: it picks the fields out of the text, keeps a \
         ring of 64 values per key and writes a z-score, without validation, group, late events, alerts or durable state. \
         Generator, broker, worker and reader share the machine's cores. Pairs at the highest rate go before those that \
         count, until the broker's compilers have taken less than 4 % of a core all through one of them.",
    ),
    (
        "streams",
        "Beside Kafka Streams",
        "The same workload on Kafka Streams 4.3.1: `xtask/streams`, a Java program with the Processor API that validates the \
         same JSON (Jackson's streaming parser), keeps the same windows and two detectors of equal work per user, and \
         writes a result of about the same size for each event, with the same headers, into the same partition. It does \
         less than the product where less was simpler: no deduplication by event id, no pooling over users, no quarantine, \
         simpler alerts. Both run with exactly-once results, a commit every 10 ms, two threads, snappy, the same \
         output topics, on one broker and the same cores; they take turns, and a reader with `read_committed` makes sure that \
         each event has exactly one result.\n\n\
         *streamsMemory* and *streamsRocksdb* keep their state in memory and in RocksDB, both with a changelog: \
         `exactly_once_v2`, `commit.interval.ms` 10, `num.stream.threads` 2, `statestore.cache.max.bytes` 256 MiB (all \
         busy users fit), `poll.ms` 5, `max.poll.records` 5,000, `buffered.records.per.partition` 10,000, \
         `fetch.max.wait.ms` 10, producer `linger.ms` 20, `batch.size` 512 KiB, `buffer.memory` 128 MiB, \
         `retry.backoff.ms` 10, a static member, no standby; changelog segments of 64 MiB with a dirty ratio of 0.2; Java \
         with a heap of 3 GiB and the parallel collector. All of it is in `QuickstartOnStreams.java`, and \
         `--streams-set name=value` tries another value.\n\n\
         *Throughput*: a full topic, 100,000 users (Zipf), 6 partitions; the first 40 % are left out, in which Java compiles \
         its hot code. CPU seconds are those of all threads, its compiler and collector included. *stateRecordsPerEvent* is \
         what is written to make the state durable, records and transaction markers: 0 means that the state is not durable, \
         so that less is promised for less work. *Latency*: an open loop as above, 2 partitions, 6 s, the \
         first fifth left out; before it 300,000 events are read as fast as possible and not measured, for the same reason. \
         Who is more than a second's events behind when the stream ends has not kept up; who has not in most runs has a \
         *backlog* but no quantiles. *Restart*: from the start of a fresh process, after a clean stop, with \
         nothing left on the machine, to the first result, and to a result from each of 6 partitions; an event waits in \
         each. *restored* is said only where users with a long past were known again; \
         *withoutState* is a start that restores nothing, and no such start is compared with one that does. Session timeouts \
         after a crash are not in it.",
    ),
    (
        "durable-state",
        "What durable state costs",
        "`examples/quickstart` with exactly-once results, *with* its state topic and *without* it (an option of `faultline \
         worker` that is there for this measurement only: without it all windows and incidents are lost at every restart). \
         They take turns, and change places in every other run. A broker that has just started compiles its hot code for \
         minutes and takes up to a third of a core for it, so worker after worker goes before those that count, until the \
         broker's compilers have taken less than 4 % of a core all through the life of one. Each worker first drains a full topic (1,500,000 events, 100,000 \
         users by Zipf's law, 2 partitions, the first 5 % left out), then, going on, reads open loops of 50,000 and 100,000 \
         events/s, 15 s each, the first fifth left out: by then images are written at their steady pace. CPU seconds are those of all \
         threads of the worker. A side that is more than a second's events behind when the stream ends (*backlog*) has not kept up: its \
         quantiles say nothing then, and no ratio of them is formed. *worstSecond* is the p99 of the worst second over that of the median second: a pause that \
         comes now and then would show here. *stateBytesPerEvent* counts keys and values of everything written to the state \
         topic, before compression; *imageBytesPerEvent* is the images' share of it, the rest are mostly ids for \
         deduplication, and markers. The state topic is not compacted meanwhile, so that everything can be counted.",
    ),
    (
        "restore",
        "Restoring a large state",
        "A fresh worker, with nothing left on the machine, whose state topic holds a million keys: two uncompacted generations \
         of images of 1 KiB, or one of images of 8 KiB, in transactions that are larger than a worker's. The images are real: the worker's own fold makes those of users with a long \
         past, and all keys share them. The pipeline is the quickstart, whose `mean_20` remembers 90 or 990 amounts in \
         place of 20, so that images have about 1 and 8 KiB. The former worker has ended cleanly, so nothing is replayed: \
         after a crash up to `maxRecoveryTime` comes on top. Ids for deduplication, which are as many as there were events \
         in the last 10 minutes, are not among what is read, but for those of the long past. *ready*: from the start of \
         the process until each shard has its keys, all of them. *firstResult* and *allPartitions*: until a result can be \
         read, and one of each partition; an event waits in each. MB are those of all keys and values read, before \
         compression.",
    ),
    (
        "failover",
        "A worker goes",
        "20,000 events/s of 100,000 users (Zipf) in 6 partitions, `examples/quickstart`, durable state, a session timeout of \
         10 s, `maxRecoveryTime` 10 s. What is seen by a reader with `read_committed`, who notes when results of which \
         partition come. *kill*: one of two workers is killed (SIGKILL) after at least 8 s under way. *Back*: from the kill \
         until a partition of the dead worker has results again, the earliest and the last of them. *restart*: one of three \
         workers is asked to end (SIGTERM), and a new one is started as soon as it has ended. *ended*: from the request to its end. \
         *allPartitionsScore*: from the request until every partition has had a result after the last move of a shard, so \
         that nothing is pending any more. Gaps are the longest times without a result of any one partition: in \
         the seconds before (*steady*), of partitions that did not move (*untouched*), or of all of them.",
    ),
    (
        "quality",
        "What the quickstart finds",
        "The shipped program with `examples/quickstart` unchanged: 21 days of card payments with planted anomalies, four \
         seeds a run, taken from the hash of the commit that froze the detectors. *Found*: an incident of that user was \
         opened between the anomaly's start and its end plus twice the longest window. Every other incident is false. \
         `head -70 cli/src/scenario.rs` says what each type is. With nothing planted, the events at or above each \
         severity over those it promises: 1 is right, above 2 would be too loud.",
    ),
];

/// Writes the sections of the benchmarks that were run; the others stay as they are.
pub(crate) fn write(figures: &[Figure]) -> Result<()> {
    let machine = Machine::this()?;
    let date =
        chrono::DateTime::from_timestamp_millis(now_ms()).context("the clock is wrong")?.format("%Y-%m-%d").to_string();
    let path = tree::root().join("docs/benchmarks.md");
    let page = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let page = render(&page, figures, &machine, &date);
    fs::write(&path, page).with_context(|| format!("failed to write {}", path.display()))
}

fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Where the figures come from.
struct Machine {
    processor: String,
    cores: usize,
    memory_gib: u64,
}

impl Machine {
    fn this() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("failed to read {path}"));
        let after_colon = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let processor = after_colon(&read("/proc/cpuinfo")?, "model name").unwrap_or_else(|| "unknown".to_owned());
        let memory = after_colon(&read("/proc/meminfo")?, "MemTotal").unwrap_or_default();
        let kib: u64 = memory.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { processor, cores, memory_gib: (kib + (1 << 19)) >> 20 })
    }
}

/// What the page begins with.
const HEAD: &str = "# Benchmarks

Written by `cargo xtask bench --write`, or with `--only NAME` too for one section. Do not edit.

Each value is the median of its runs. The spread is the distance between the least and the greatest run, as a share of the \
median. Where two things are compared they took turns in one run: absolute times differ from machine to machine and from \
day to day, ratios much less.
";

/// The page, with new sections for the benchmarks that there are figures of.
fn render(page: &str, figures: &[Figure], machine: &Machine, date: &str) -> String {
    let mut text = HEAD.to_owned();
    for (name, title, words) in SECTIONS {
        let rows: Vec<&Figure> = figures.iter().filter(|figure| figure.benchmark == name).collect();
        if rows.is_empty() {
            text.extend(section_of(page, title));
        } else {
            text.push_str(&section(name, title, words, &rows, machine, date));
        }
    }
    text
}

/// A section of the page as it is.
fn section_of<'a>(page: &'a str, title: &str) -> Option<&'a str> {
    let begin = page.find(&format!("\n## {title}\n"))?;
    let end = page[begin + 1..].find("\n## ").map_or(page.len(), |after| begin + 1 + after);
    Some(&page[begin..end])
}

fn section(name: &str, title: &str, words: &str, rows: &[&Figure], machine: &Machine, date: &str) -> String {
    let Machine { processor, cores, memory_gib } = machine;
    let mut text = format!(
        "\n## {title}\n\n{words}\n\nMeasured on {date}, on {cores} cores of {processor} with {memory_gib} GiB of memory.\n\n\
         | figure | value | unit | |\n|---|---:|---|---|\n"
    );
    for figure in rows {
        let value = number(figure.value);
        let reliability = reliability(figure);
        let reliability = reliability.trim_matches(['(', ')']);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} | {value} | {} | {reliability} |", figure.metric, figure.unit);
    }
    let _ = write!(text, "\n```sh\ncargo xtask bench --only {name}\n```\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine { processor: "A 1".into(), cores: 2, memory_gib: 24 }
    }

    #[test]
    fn the_document_says_what_where_when_and_how_sure() {
        let figures = [Figure::of("drain", "quickstart.ratioToRaw".into(), "", vec![0.3, 0.4, 0.5])];
        let text = render("", &figures, &machine(), "2026-11-22");
        assert!(text.contains("on 2026-11-22, on 2 cores of A 1 with 24 GiB"), "{text}");
        assert!(text.contains("| quickstart.ratioToRaw | 0.40 |  | 3 runs, spread 50 % |"), "{text}");
        assert!(text.contains("cargo xtask bench --only drain") && !text.contains("--only latency"), "{text}");
    }

    #[test]
    fn a_section_that_was_not_measured_stays_as_it_is() {
        let of = |benchmark, value| Figure::of(benchmark, "m".into(), "", vec![value; 5]);
        let page = render("", &[of("features", 1.0), of("latency", 2.0), of("quality", 3.0)], &machine(), "then");
        let next = render(&page, &[of("latency", 7.0)], &machine(), "now");
        let measured: Vec<&str> =
            next.lines().filter(|line| line.starts_with("| m ") || line.starts_with("Measured")).collect();
        let on = |date| format!("Measured on {date}, on 2 cores of A 1 with 24 GiB of memory.");
        let row = |value| format!("| m | {value} |  | 5 runs, spread 0 % |");
        assert_eq!(measured, [on("then"), row("1.00"), on("now"), row("7.00"), on("then"), row("3.00")]);
        assert_eq!(render(&page, &[], &machine(), "now"), page);
    }

    #[test]
    fn every_benchmark_has_its_section() {
        use clap::ValueEnum;
        for name in super::super::Name::value_variants() {
            let value = name.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            assert!(SECTIONS.iter().any(|(section, _, _)| *section == value), "{value}");
        }
    }

    #[test]
    fn this_machine_can_be_described() {
        let machine = Machine::this().unwrap();
        assert!(machine.cores > 0 && machine.memory_gib > 0);
    }
}
