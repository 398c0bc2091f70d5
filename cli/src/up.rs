//! `faultline up`: a pipeline on this machine, from the same YAML as in a cluster, through the same worker.
//!
//! ```text
//!  input (scenario, file) ─► feeder ─► source topic ─► worker ─► alerts topic ─► reader ─┐
//!                              ▲ gate: never far ahead                                   ▼
//!                              └───────────── session: counts, incidents ─► view, judge, summary
//! ```
//! Without `--brokers` the topics live in an embedded development broker that ends with the process.

mod alerts;
mod feeder;
mod gate;
mod input;
mod session;
mod summary;
mod view;

use std::path::PathBuf;
use std::sync::Arc;

use faultline_worker::adapters::development_broker::DevelopmentBroker;
use faultline_worker::adapters::kafka_client::client_config;
use faultline_worker::{ClockKind, Disagreement, Options, chain};
use rdkafka::ClientConfig;

use self::input::{Input, Wanted};
use self::session::{Accounting, Session};
use self::view::View;
use crate::arguments::OutputFormat;
use crate::failure::Failure;
use crate::generate::StreamArguments;
use crate::kafka::{self, Found, SOURCE_PARTITIONS};
use crate::logging;
use crate::pipeline;
use crate::replay::Mapping;
use crate::scenario::CARD_PAYMENTS;
use crate::signals::Stop;
use faultline_crds::WorkerConfig;

/// Annotation of a pipeline that names the scenario to generate.
const SCENARIO_ANNOTATION: &str = "faultline.dev/scenario";

/// Runs a pipeline on this machine and shows the incidents it finds.
///
/// Without --brokers it brings a Kafka of its own, an embedded development broker that forgets everything at the end. Its
/// address is on the first line; kcat and other clients built on librdkafka can use it, Java clients cannot.
/// It is fed by the scenario that the pipeline's annotation `faultline.dev/scenario` names, by a file (--replay), or,
/// with --brokers, by what is in the topic. A topic that holds records is only added to with --scenario or --replay.
/// Ctrl-C stops it and prints the summary.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    faultline up examples/quickstart\n  \
    faultline up examples/quickstart --events 500000 --seed 7 --output json\n  \
    faultline up examples/quickstart --brokers localhost:9092 --scenario card-payments\n  \
    faultline up my-metrics --replay cpu.csv --map value=cpu_percent --map timestamp=time --speed 3600")]
pub(crate) struct Arguments {
    /// Folder of the YAML files, or one file
    folder: PathBuf,
    /// Which pipeline, if the folder has several
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// A Kafka to use in place of the embedded one; a missing source topic is made with 6 partitions
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    #[arg(long, value_name = "NAME", value_parser = [CARD_PAYMENTS], conflicts_with = "replay", help = "Generate this scenario [default: the pipeline's annotation]")]
    scenario: Option<String>,
    #[command(flatten)]
    stream: StreamArguments,
    /// Feed the events of a .csv, .ndjson or .jsonl file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "events", "null", "bad"])]
    replay: Option<PathBuf>,
    /// Take a field of the event from this column of the file; may be given several times
    #[arg(long, value_name = "FIELD=COLUMN", requires = "replay")]
    map: Vec<Mapping>,
    /// Replay this many times as fast as it happened [default: as fast as possible]
    #[arg(long, value_name = "FACTOR", requires = "replay", value_parser = speed)]
    speed: Option<f64>,
    /// What is printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
    /// Folder of the secrets that the pipeline names: SECRET/KEY
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if speed > 0.0 && f64::is_finite(speed) => Ok(speed),
        _ => Err(format!("expected a factor above 0, found `{text}`")),
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let ready = pipeline::load(&arguments.folder, arguments.pipeline.as_deref())?;
    let config = Arc::new(ready.config);
    let wanted = wanted(arguments, &config)?;
    let secrets = arguments.secrets.clone().unwrap_or_else(|| PathBuf::from("secrets"));
    logging::start("warn", false);
    let stop = Stop::on_signals().map_err(|error| Failure::of("failed to listen to signals", &error))?;
    let mut view = View::new(arguments.output);

    let embedded = match arguments.brokers {
        Some(_) => None,
        None => Some(start_broker(&config)?),
    };
    let brokers = embedded.as_ref().map(DevelopmentBroker::brokers).or_else(|| arguments.brokers.clone());
    let brokers = brokers.unwrap_or_default();
    match &embedded {
        Some(_) => view.note(&format!(
            "no --brokers given: the embedded development broker at {brokers} forgets everything at the end"
        )),
        None => view.note(&format!("using Kafka at {brokers}")),
    }
    ready.notes.iter().for_each(|note| view.note(note));
    let client = match embedded {
        Some(_) => kafka::plain(&brokers),
        None => client_of(&config, &brokers, &secrets)?,
    };
    let found = if embedded.is_some() { Found::Made } else { kafka::ensure_topic(&client, &config.source.topic)? };
    if found == Found::Made && embedded.is_none() {
        view.note(&format!("made topic `{}` with {SOURCE_PARTITIONS} partitions", config.source.topic));
    }
    let input = wanted.settle(found);
    view.note(&input.describe(&config.source.topic));

    let options = Options {
        brokers: Some(brokers),
        lanes: None,
        // Events are older than now, or come faster than life.
        clock: if input.feeds() {
            ClockKind::Records { speed: arguments.speed.unwrap_or(1.0) }
        } else {
            ClockKind::Wall
        },
        listen: None,
        secrets: Some(secrets),
        // Where this machine stands is no zone of the brokers.
        rack: None,
        session_timeout: None,
        development: embedded.is_some(),
        disagreement: Disagreement::Stop,
        forgets_state: false,
    };
    let accounting = if found == Found::Filled { Accounting::AtLeast } else { Accounting::Exact };
    let session = Session { config, client, options, input, speed: arguments.speed, accounting, stop };
    let outcome = session.run(&mut view);
    // The broker outlives everything that talks to it.
    drop(embedded);
    outcome
}

/// What the arguments and the pipeline want to be fed with.
fn wanted(arguments: &Arguments, config: &WorkerConfig) -> Result<Wanted, Failure> {
    if let Some(file) = &arguments.replay {
        let replay = input::open_replay(file, &arguments.map, config).map_err(|error| Failure::usage(chain(&error)))?;
        return Ok(Wanted::Certainly(Input::Replay(Box::new(replay))));
    }
    let annotated = config.annotations.get(SCENARIO_ANNOTATION);
    if let Some(name) = annotated.filter(|name| *name != CARD_PAYMENTS) {
        let text = format!("annotation {SCENARIO_ANNOTATION}: expected {CARD_PAYMENTS}, found `{name}`");
        return Err(Failure::usage(text));
    }
    let asked = arguments.scenario.is_some() || (annotated.is_some() && arguments.stream.given());
    let scenario = || Input::scenario(arguments.stream.settings());
    match (annotated, &arguments.brokers) {
        _ if asked => Ok(Wanted::Certainly(scenario())),
        (None, _) if arguments.stream.given() => Err(Failure::usage(format!(
            "--seed, --events, --null and --bad need a scenario: add --scenario {CARD_PAYMENTS}"
        ))),
        (Some(_), _) => Ok(Wanted::UnlessFilled(scenario())),
        (None, Some(_)) => Ok(Wanted::Certainly(Input::Topic)),
        (None, None) => Err(Failure::usage(format!(
            "nothing to read: give --replay FILE, --scenario {CARD_PAYMENTS}, --brokers HOST:PORT, or annotate the pipeline with {SCENARIO_ANNOTATION}"
        ))),
    }
}

/// An embedded broker with all topics of the pipeline.
fn start_broker(config: &WorkerConfig) -> Result<DevelopmentBroker, Failure> {
    let outputs = &config.outputs;
    let names = [
        &config.source.topic,
        &outputs.results.topic,
        &outputs.alerts.topic,
        &outputs.dead_letter.topic,
        &outputs.late_topic,
    ];
    let topics: Vec<(String, i32)> = names.into_iter().map(|name| (name.clone(), SOURCE_PARTITIONS)).collect();
    DevelopmentBroker::start(&topics).map_err(|error| Failure::of("failed to start", &error))
}

fn client_of(config: &WorkerConfig, brokers: &str, secrets: &std::path::Path) -> Result<ClientConfig, Failure> {
    client_config(&config.kafka, Some(brokers), secrets, kafka::CLIENT_ID)
        .map_err(|error| Failure::usage(chain(&error)))
}
