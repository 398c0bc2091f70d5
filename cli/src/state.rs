//! `faultline state`: what the state topic holds, of partitions and of a key. It only reads.
//!
//! ```text
//! objects ─► state topic there? ─► each partition: state, offset, ends of the source ─► table, or a line of JSON each
//!                                └► --key: the image of that key, in words
//! ```

mod key;
mod partitions;
mod table;

use std::io::Write;
use std::path::PathBuf;

use faultline_crds::WorkerConfig;
use faultline_crds::worker_config::Guarantee;
use faultline_worker::adapters::kafka_client::client_config;
use faultline_worker::adapters::kafka_past::{KafkaPast, PastConfig, state_topic};
use faultline_worker::chain;
use faultline_worker::restore::inspect::{self, KeyView, PartitionView};
use faultline_worker::restore::{RestoreError, owner};
use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;

use crate::arguments::OutputFormat;
use crate::failure::Failure;
use crate::kafka::{self, CLIENT_ID};
use crate::pipeline;
use crate::signals::Stop;

/// Shows what a pipeline's state topic holds.
///
/// For each partition: how far the state goes, what is in it, and what a recovery would read and replay. With --key: what is
/// known of one key. It only reads, and disturbs no running worker. While workers run, some keys have no image yet, or an
/// older one; what their images lack is what a recovery replays.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    faultline state examples/quickstart --brokers localhost:9092\n  \
    faultline state examples/quickstart --brokers localhost:9092 --key user-00042\n  \
    faultline state /etc/faultline/pipeline --partition 3 --output json")]
pub(crate) struct Arguments {
    /// Folder of the YAML files, or one file
    folder: PathBuf,
    /// Which pipeline, if the folder has several
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// In place of `spec.kafka.bootstrapServers`
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Folder of the secrets, as mounted: SECRET/KEY
    #[arg(long, value_name = "DIR", default_value = "/etc/faultline/secrets")]
    secrets: PathBuf,
    /// Only this partition
    #[arg(long, value_name = "PARTITION", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// What is known of this key
    #[arg(long)]
    key: Option<String>,
    /// What is printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = pipeline::load(&arguments.folder, arguments.pipeline.as_deref())?.config;
    if matches!(config.delivery.guarantee, Guarantee::AtLeastOnce) {
        return Err(Failure::usage(format!(
            "{}: no state is kept with `delivery.guarantee: atLeastOnce`, only the group's offsets",
            config.name
        )));
    }
    let stop = Stop::on_signals().map_err(|error| Failure::of("failed to listen to signals", &error))?;
    let client = client_config(&config.kafka, arguments.brokers.as_deref(), &arguments.secrets, CLIENT_ID)
        .map_err(|error| Failure::usage(chain(&error)))?;
    let partitions = chosen(&client, &state_topic(&config.identity), arguments.partition)?;
    let mut reader = Reader { past: past(&config, client)?, stop, config };
    match &arguments.key {
        Some(key) => print(arguments.output, |format| reader.key(key, &partitions, format)),
        None => print(arguments.output, |format| reader.partitions(&partitions, format)),
    }
}

fn print(format: OutputFormat, make: impl FnOnce(OutputFormat) -> Result<String, Failure>) -> Result<(), Failure> {
    let text = make(format)?;
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(|error| Failure::of("failed to print", &error))
}

/// The partitions to look at.
fn chosen(client: &ClientConfig, topic: &str, wanted: Option<i32>) -> Result<Vec<i32>, Failure> {
    let failed = |error: KafkaError| kafka::unreachable(client, &error);
    let consumer: BaseConsumer = client.create().map_err(failed)?;
    let count = kafka::partitions(&consumer, topic).map_err(failed)?;
    if count == 0 {
        return Err(Failure::Failed(format!(
            "there is no topic `{topic}` at `{}`: no worker of this pipeline has run there yet, or this user may not see it",
            client.get("bootstrap.servers").unwrap_or_default()
        )));
    }
    match wanted {
        None => Ok((0..count).collect()),
        Some(partition) if partition < count => Ok(vec![partition]),
        Some(partition) => Err(Failure::usage(format!(
            "topic `{topic}` has {count} partitions, counted from 0; there is no {partition}"
        ))),
    }
}

/// The past as an onlooker sees it: no owner is named, so no worker is ever fenced.
fn past(config: &WorkerConfig, client: ClientConfig) -> Result<KafkaPast, Failure> {
    KafkaPast::new(PastConfig {
        client,
        group: config.identity.clone(),
        source: config.source.topic.clone(),
        state: state_topic(&config.identity),
        owner_of: Box::new(|_, _| None),
    })
    .map_err(|error| Failure::of("failed to create the Kafka client", &error))
}

struct Reader {
    past: KafkaPast,
    stop: Stop,
    config: WorkerConfig,
}

impl Reader {
    fn partitions(&mut self, partitions: &[i32], format: OutputFormat) -> Result<String, Failure> {
        let Self { past, stop, config } = self;
        let look = |partition: &i32| inspect::partition(past, *partition, &|| stop.asked()).map_err(refused);
        let views: Vec<PartitionView> = partitions.iter().map(look).collect::<Result<_, _>>()?;
        Ok(match format {
            OutputFormat::Json => views.iter().map(|view| format!("{}\n", partitions::as_json(view))).collect(),
            OutputFormat::Text => {
                let expected = owner(&config.namespace, &config.name);
                partitions::as_text(&state_topic(&config.identity), &expected, config.fingerprint, &views)
            }
        })
    }

    fn key(&mut self, key: &str, partitions: &[i32], format: OutputFormat) -> Result<String, Failure> {
        let Self { past, stop, config } = self;
        let mut views: Vec<KeyView> = Vec::new();
        for partition in partitions {
            views.extend(inspect::key(past, config, *partition, key, &|| stop.asked()).map_err(refused)?);
        }
        if views.is_empty() {
            return Err(Failure::Failed(unknown(key, &state_topic(&config.identity), partitions)));
        }
        let show = |view: &KeyView| match format {
            OutputFormat::Json => format!("{}\n", key::as_json(key, view)),
            OutputFormat::Text => key::as_text(key, view),
        };
        Ok(views.iter().map(show).collect())
    }
}

fn refused(error: RestoreError) -> Failure {
    Failure::of("failed to read the state", &error)
}

fn unknown(key: &str, topic: &str, partitions: &[i32]) -> String {
    let place = match partitions {
        [only] => format!("partition {only} of topic `{topic}`"),
        _ => format!("topic `{topic}`"),
    };
    format!(
        "nothing is known of key `{key}` in {place}: it was never seen, has expired, or its first image has not been \
         written yet (running workers write images some seconds after an event)"
    )
}
