//! `faultline generate`: the records of a scenario, to stdout or into a topic, and the labels to a file.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::Failure;
use crate::kafka::producer::{ProduceError, Producer};
use crate::kafka::{self, Found};
use crate::scenario::{CARD_PAYMENTS, CardPayments, EVENTS, NULL_EVENTS, Record, Settings};
use crate::signals::Stop;
use crate::text::grouped;

/// Writes the records of a scenario: to stdout, a JSON object per line, or into a topic.
///
/// The same seed gives the same records, always and everywhere. What was planted is only in the labels.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    faultline generate card-payments --events 1000 | head -3\n  \
    faultline generate card-payments --seed 7 --labels labels.ndjson > payments.ndjson\n  \
    faultline generate card-payments --null --brokers localhost:9092 --topic payments")]
pub(crate) struct Arguments {
    #[arg(value_parser = [CARD_PAYMENTS], help = "Name of the scenario")]
    scenario: String,
    #[command(flatten)]
    stream: StreamArguments,
    /// Write what was planted to this file, a JSON object per line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Write into a topic of this Kafka instead of stdout
    #[arg(long, value_name = "HOST:PORT", requires = "topic")]
    brokers: Option<String>,
    /// The topic; made with 6 partitions if it is not there
    #[arg(long, requires = "brokers")]
    topic: Option<String>,
}

/// Which stream of a scenario.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct StreamArguments {
    /// Equal seeds give equal streams [default: 1]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Records to generate [default: 3000000, with --null 1000000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) events: Option<u64>,
    /// Plant nothing
    #[arg(long)]
    pub(crate) null: bool,
    /// Share of records that are broken
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) bad: Option<f64>,
}

impl StreamArguments {
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            seed: self.seed.unwrap_or(1),
            events: self.events.unwrap_or(if self.null { NULL_EVENTS } else { EVENTS }),
            planted: !self.null,
            bad_share: self.bad.unwrap_or(0.0),
        }
    }

    /// Whether any of them was given.
    pub(crate) fn given(&self) -> bool {
        self.seed.is_some() || self.events.is_some() || self.null || self.bad.is_some()
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("expected a number from 0 to 1, found `{text}`"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("expected a number from 0 to 1, found {share}")) }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let labels = arguments.labels.as_ref().map(|path| {
        File::create(path).map_err(|error| Failure::usage(format!("failed to create `{}`: {error}", path.display())))
    });
    let labels = labels.transpose()?;
    let stop = Stop::on_signals().map_err(|error| Failure::of("failed to listen to signals", &error))?;
    let mut stream = CardPayments::new(arguments.stream.settings());
    match (&arguments.brokers, &arguments.topic) {
        (Some(brokers), Some(topic)) => fill_topic(&mut stream, brokers, topic, &stop)?,
        _ => write_lines(&mut stream, &stop)?,
    }
    if let Some(file) = labels {
        write_labels(&stream, BufWriter::new(file))
            .map_err(|error| Failure::of("failed to write the labels", &error))?;
    }
    Ok(())
}

fn write_lines(stream: &mut CardPayments, stop: &Stop) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut record = Record::default();
    let mut write = || -> io::Result<()> {
        while !stop.asked() && stream.next_into(&mut record) {
            record.value.push(b'\n');
            out.write_all(&record.value)?;
        }
        out.flush()
    };
    match write() {
        // The reader has seen enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        ended => ended.map_err(|error| Failure::of("failed to write records", &error)),
    }
}

fn fill_topic(stream: &mut CardPayments, brokers: &str, topic: &str, stop: &Stop) -> Result<(), Failure> {
    let client = kafka::plain(brokers);
    let found = kafka::ensure_topic(&client, topic)?;
    let produce = |stream: &mut CardPayments| -> Result<u64, ProduceError> {
        let producer = Producer::start(&client, topic)?;
        let mut record = Record::default();
        let mut count = 0;
        while !stop.asked() && stream.next_into(&mut record) {
            producer.send(&record, now_ms())?;
            count += 1;
            if u64::is_multiple_of(count, 1024) {
                producer.poll()?;
            }
        }
        producer.finish()?;
        Ok(count)
    };
    let count = produce(stream).map_err(|error| Failure::of(&format!("failed to fill topic `{topic}`"), &error))?;
    let made = if found == Found::Made { ", which was made" } else { "" };
    let line = format!("{} records into topic `{topic}`{made}", grouped(count));
    writeln!(io::stderr().lock(), "{line}").map_err(|error| Failure::of("failed to print", &error))
}

fn write_labels(stream: &CardPayments, mut out: impl Write) -> io::Result<()> {
    for planted in stream.truth() {
        serde_json::to_writer(&mut out, planted)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// The time of day, for the timestamps of records: latency counts from there.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
