//! `faultline forget`: tells running workers to drop everything that they know of a key.
//!
//! ```text
//! key ─► POST /forget to each worker ─► forgotten in partition N · does not know it · why it cannot say
//! ```
//! Nothing is guessed: which worker holds a key is known only to the workers. Each answers when what it says is committed.

mod address;
mod request;

use std::io::Write;

use faultline_worker::chain;
use serde_json::json;

use crate::arguments::OutputFormat;
use crate::failure::Failure;
use address::WorkerAddress;
use request::Answer;

/// Makes running workers forget everything that they know of a key.
///
/// Its windows, what its detectors have learned, its open incident (which is closed: `closeReason` `keyForgotten`) and its image in
/// the state topic; the next event of the key is that of a new one. It is done when the command says so. Ask all workers of
/// the pipeline: only the one that owns the key's partition knows the key. What it does not delete: events in the source,
/// records in results and alerts, ids for deduplication, and older records of the state topic until Kafka compacts it.
/// Exit codes: 0 at least one worker has forgotten the key, 1 none has.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    faultline forget user-00042 --worker http://10.0.0.7:8080 http://10.0.0.8:8080\n  \
    faultline forget user-00042 --worker http://localhost:8080 --output json")]
pub(crate) struct Arguments {
    /// The entity key as the source has it, also where results show a hash of it
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key: String,
    /// Where workers listen (`faultline worker --listen`); all of them are asked
    #[arg(long = "worker", value_name = "http://HOST:PORT", required = true, num_args = 1..)]
    workers: Vec<WorkerAddress>,
    /// What is printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { key, workers, output } = arguments;
    let (mut forgotten, mut silent) = (0, 0);
    for worker in workers {
        // One after the other: a key that moves between workers meanwhile is then asked for at its new one, too.
        let answer = request::forget(worker, key);
        match &answer {
            Ok(Answer::Forgotten { .. }) => forgotten += 1,
            Ok(Answer::Unknown) => {}
            Ok(Answer::Refused(_)) | Err(_) => silent += 1,
        }
        let answer = answer.unwrap_or_else(|error| Answer::Refused(chain(&error)));
        let line = match output {
            OutputFormat::Text => as_text(worker, &answer),
            OutputFormat::Json => as_json(worker, &answer),
        };
        writeln!(std::io::stdout().lock(), "{line}").map_err(|error| Failure::of("failed to print", &error))?;
    }
    if forgotten > 0 { Ok(()) } else { Err(Failure::Failed(not_forgotten(key, workers.len(), silent))) }
}

fn as_text(worker: &WorkerAddress, answer: &Answer) -> String {
    match answer {
        Answer::Forgotten { partitions } => {
            let numbers: Vec<String> = partitions.iter().map(i32::to_string).collect();
            let noun = if partitions.len() == 1 { "partition" } else { "partitions" };
            format!("{worker}: forgotten in {noun} {}", numbers.join(", "))
        }
        Answer::Unknown => format!("{worker}: does not know the key"),
        Answer::Refused(reason) => format!("{worker}: cannot say: {reason}"),
    }
}

fn as_json(worker: &WorkerAddress, answer: &Answer) -> String {
    let worker = worker.to_string();
    match answer {
        Answer::Forgotten { partitions } => json!({"worker": worker, "forgotten": true, "partitions": partitions}),
        Answer::Unknown => json!({"worker": worker, "forgotten": false, "partitions": []}),
        Answer::Refused(reason) => json!({"worker": worker, "error": reason}),
    }
    .to_string()
}

/// What to do when no worker has forgotten the key.
fn not_forgotten(key: &str, asked: usize, silent: usize) -> String {
    let found = match (asked, silent) {
        (_, 0) => format!("no worker that was asked knows key `{key}`"),
        (asked, silent) => {
            format!("key `{key}` is not forgotten: {silent} of {asked} workers could not say; ask again")
        }
    };
    format!(
        "{found}. The key lies with the worker that owns its partition, so give every worker of the pipeline with --worker: \
         each logs the address it serves (`serving status and metrics`), and `kafka-consumer-groups.sh --describe --members \
         --group IDENTITY` names their hosts. Ask again after partitions have moved between workers. `faultline state \
         FOLDER --key KEY` shows what the state topic holds"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_told_with_its_worker() {
        let worker: WorkerAddress = "http://h:1".parse().unwrap();
        let answers = [
            (Answer::Forgotten { partitions: vec![3] }, "forgotten in partition 3"),
            (Answer::Forgotten { partitions: vec![1, 3] }, "forgotten in partitions 1, 3"),
            (Answer::Unknown, "does not know the key"),
            (Answer::Refused("this worker is stopping".to_owned()), "cannot say: this worker is stopping"),
        ];
        for (answer, text) in answers {
            assert_eq!(as_text(&worker, &answer), format!("http://h:1: {text}"));
        }
    }

    #[test]
    fn who_could_not_say_is_counted() {
        assert!(not_forgotten("u", 2, 0).starts_with("no worker that was asked knows key `u`. The key lies"));
        assert!(not_forgotten("u", 3, 2).starts_with("key `u` is not forgotten: 2 of 3 workers could not say"));
    }
}
