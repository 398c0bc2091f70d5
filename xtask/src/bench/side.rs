//! What is measured, each in a process of its own: the product as `faultline worker`, and two yardsticks that share
//! one loop.
//!
//! * `raw`: consumes and produces one record of a given size per event, nothing else: what Kafka and its client cost.
//! * `toy`: the least that a worker does. It finds the fields of an event without parsing it, keeps a ring of 64 values
//!   per key and writes a z-score. No group, no restore, no late events, no validation, no alerts.
//!
//! Both read with the same client settings, take in batches from native queues, and commit results and offsets as one
//! transaction a tick, as the product does.

mod toy;

use std::ffi::CStr;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use faultline_worker::adapters::kafka_native::{self as native, GroupMetadata, Header, LaneQueue, TopicHandle};
use faultline_worker::ports::{RawEvent, Source, Taken};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::measure;
use crate::tree;
use toy::Toy;

/// The quickstart's commit interval.
const TICK: Duration = Duration::from_millis(10);
/// The product's largest tick.
const MOST_RECORDS: usize = 20_000;
const CALL: Duration = Duration::from_secs(20);

/// A yardstick and what it works on.
#[derive(Debug, Clone)]
pub(crate) struct Yardstick {
    /// `raw` with the size of the values it writes, or `toy`.
    pub(crate) kind: Kind,
    pub(crate) brokers: String,
    pub(crate) input: String,
    pub(crate) output: String,
    pub(crate) group: String,
    pub(crate) partitions: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Raw { value_bytes: usize },
    Toy,
}

/// A process under measurement. Dropping it kills it.
pub(crate) struct Side {
    child: Child,
    log: std::path::PathBuf,
}

impl Side {
    /// Starts `faultline worker`.
    pub(crate) fn product(pipeline: &Path, brokers: &str) -> Result<Self> {
        Self::worker(pipeline, brokers, "log", &[])
    }

    /// Starts `faultline worker` with more arguments; its log is a file of this name in the pipeline's folder.
    pub(crate) fn worker(pipeline: &Path, brokers: &str, log: &str, more: &[&str]) -> Result<Self> {
        let program = tree::target_folder().join("release").join("faultline");
        ensure!(program.exists(), "build it first: cargo build --release");
        let mut command = Command::new(program);
        command.arg("worker").arg(pipeline).args(["--brokers", brokers]).args(more);
        Self::spawn(command, &pipeline.join(log))
    }

    /// Starts a yardstick.
    pub(crate) fn yardstick(yardstick: &Yardstick, folder: &Path) -> Result<Self> {
        let kind = match yardstick.kind {
            Kind::Raw { value_bytes } => value_bytes.to_string(),
            Kind::Toy => "toy".to_owned(),
        };
        let mut command = Command::new(std::env::current_exe().context("failed to find this program")?);
        let Yardstick { brokers, input, output, group, partitions, .. } = yardstick;
        command.args(["bench", "--side", &kind, brokers, input, output, group, &partitions.to_string()]);
        Self::spawn(command, &folder.join(format!("{group}.log")))
    }

    /// Starts a program of any kind; what it says goes to the log.
    pub(crate) fn spawn(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("failed to create {}", log.display()))?;
        let errors = file.try_clone().context("failed to share a log")?;
        let child =
            command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn().context("failed to start a process")?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// CPU time of all its threads.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        measure::process_cpu(self.child.id())
    }

    /// An error with the end of its log if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait().context("failed to look after a process")? else { return Ok(()) };
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        bail!("the process ended ({status}):\n{}", lines[lines.len().saturating_sub(20)..].join("\n"))
    }

    /// The partitions that a worker with `--log-json` has brought back so far.
    pub(crate) fn ready_shards(&self) -> Vec<ReadyShard> {
        // A line that is being written is looked at again next time.
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter_map(ready_shard).collect()
    }

    /// Asks it to end.
    pub(crate) fn ask_to_end(&self) -> Result<()> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).context("failed to stop a process")
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Lets it end.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.ask_to_end()?;
        self.child.wait().context("failed to wait for a process")?;
        Ok(())
    }
}

/// A partition that a worker has brought back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReadyShard {
    /// When it said so, as text that sorts.
    pub(crate) at: String,
    pub(crate) partition: i32,
    pub(crate) keys: u64,
}

fn ready_shard(line: &str) -> Option<ReadyShard> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = &line["fields"];
    let is_ready = fields["message"] == "shard is ready";
    let at = line["timestamp"].as_str()?.to_owned();
    is_ready.then_some(ReadyShard {
        at,
        partition: fields["partition"].as_i64()? as i32,
        keys: fields["keys"].as_u64()?,
    })
}

impl Drop for Side {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// What the hidden option `--side` runs, until the process is stopped.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [kind, brokers, input, output, group, partitions] = arguments else { bail!("--side takes 6 arguments") };
    let kind = match kind.as_str() {
        "toy" => Kind::Toy,
        bytes => Kind::Raw { value_bytes: bytes.parse().context("--side: toy, or a number of bytes")? },
    };
    let partitions = partitions.parse().context("--side: not a number of partitions")?;
    let yardstick = Yardstick {
        kind,
        brokers: brokers.clone(),
        input: input.clone(),
        output: output.clone(),
        group: group.clone(),
        partitions,
    };
    yardstick.work()
}

type Consumed = BaseConsumer<DefaultConsumerContext>;

impl Yardstick {
    /// As many lanes as the product has by default.
    fn work(&self) -> Result<()> {
        let consumer = Arc::new(self.consumer()?);
        let lanes = thread::available_parallelism().map_or(1, usize::from);
        let queues: Vec<LaneQueue> = (0..lanes).map(|_| LaneQueue::new(&consumer, &self.input)).collect();
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            queues[partition as usize % lanes].target().forward(consumer.client(), &self.input, partition);
            list.add_partition_offset(&self.input, partition, Offset::Beginning)
                .context("failed to choose partitions")?;
        }
        consumer.assign(&list).context("failed to read the events")?;
        let threads: Vec<_> = queues
            .into_iter()
            .enumerate()
            .map(|(lane, queue)| {
                let (yardstick, consumer) = (self.clone(), Arc::clone(&consumer));
                thread::spawn(move || yardstick.lane(lane, queue, &consumer))
            })
            .collect();
        // A consumer whose own queue nobody polls is thrown out.
        while !threads.iter().any(thread::JoinHandle::is_finished) {
            consumer.poll(Duration::from_millis(100));
        }
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a lane panicked"))?)
    }

    fn consumer(&self) -> Result<Consumed> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", &self.group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("fetch.wait.max.ms", "10")
            .set("fetch.queue.backoff.ms", "2")
            .set("queued.min.messages", "100000")
            .set("queued.max.messages.kbytes", "65536")
            .create()
            .context("failed to make a consumer")
    }

    fn producer(&self, lane: usize) -> Result<Arc<BaseProducer>> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("transactional.id", format!("{}.{lane}", self.group))
            .set("linger.ms", "0")
            .set("batch.num.messages", "10000")
            .set("compression.type", "snappy")
            .set("retry.backoff.ms", "10")
            .set("delivery.report.only.error", "true")
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "262144")
            .create()
            .context("failed to make a producer")?;
        producer.init_transactions(CALL).context("failed to start transactions")?;
        Ok(Arc::new(producer))
    }

    fn lane(&self, lane: usize, mut queue: LaneQueue, consumer: &Consumed) -> Result<()> {
        let producer = self.producer(lane)?;
        let topic = TopicHandle::new(&producer, &self.output).context("not a topic's name")?;
        let mut toy = Toy::default();
        let filler = match self.kind {
            Kind::Raw { value_bytes } => filler(value_bytes),
            Kind::Toy => Vec::new(),
        };
        let mut next = vec![None; self.partitions as usize];
        let mut value = Vec::new();
        let mut last_commit = Instant::now();
        loop {
            let (mut records, mut failure) = (0, None);
            while records == 0 || (records < MOST_RECORDS && last_commit.elapsed() < TICK) {
                let wait =
                    if records == 0 { Duration::from_millis(20) } else { TICK.saturating_sub(last_commit.elapsed()) };
                queue.take(wait, &mut |taken| {
                    let Taken::Record(event) = taken else { return };
                    if records == 0 {
                        failure = producer.begin_transaction().err().map(|error| anyhow!(error));
                    }
                    records += 1;
                    next[event.partition as usize] = Some(event.offset + 1);
                    let value = match self.kind {
                        Kind::Raw { .. } => filler.as_slice(),
                        Kind::Toy => toy.result(&event, &mut value),
                    };
                    failure = failure.take().or_else(|| produce(&producer, &topic, &event, value, &self.input).err());
                });
            }
            failure.map_or(Ok(()), Err)?;
            self.commit(&producer, consumer, &mut next)?;
            last_commit = Instant::now();
        }
    }

    fn commit(&self, producer: &BaseProducer, consumer: &Consumed, next: &mut [Option<i64>]) -> Result<()> {
        ensure!(native::flush(producer, CALL), "the broker did not take the records");
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in next.iter_mut().enumerate() {
            if let Some(offset) = offset.take() {
                offsets
                    .add_partition_offset(&self.input, partition as i32, Offset::Offset(offset))
                    .context("failed to name an offset")?;
            }
        }
        let group = GroupMetadata::of(consumer.client()).context("the consumer has no group")?;
        native::send_offsets(producer, &offsets, &group, CALL).context("failed to send offsets")?;
        native::commit(producer, CALL).context("failed to commit")
    }
}

/// A value that compresses about as well as results do: their JSON with other digits each time it repeats.
fn filler(bytes: usize) -> Vec<u8> {
    let text = (0..).flat_map(|n: u32| {
        format!("{{\"eventId\":\"e-{n}\",\"surprise\":{}.{n},\"severity\":null,", n % 7).into_bytes()
    });
    text.take(bytes).collect()
}

/// One record with the headers that results have.
fn produce(
    producer: &BaseProducer<DefaultProducerContext>,
    topic: &TopicHandle,
    event: &RawEvent<'_>,
    value: &[u8],
    input: &str,
) -> Result<()> {
    const SOURCE: &CStr = c"faultline-source";
    const PIPELINE: &CStr = c"faultline-pipeline";
    let source = format!("{input}-{}-{}", event.partition, event.offset);
    let headers =
        [Header { name: SOURCE, value: source.as_bytes() }, Header { name: PIPELINE, value: b"default/card-payments" }];
    loop {
        match native::produce(producer, topic, event.partition, event.key, Some(value), &headers) {
            Ok(()) => return Ok(()),
            Err(RDKafkaErrorCode::QueueFull) => {
                producer.poll(Duration::from_millis(1));
            }
            Err(code) => bail!("failed to produce: {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filler_has_the_size_that_was_asked_for() {
        assert_eq!((filler(0).len(), filler(250).len()), (0, 250));
        assert!(filler(300).starts_with(b"{\"eventId\":\"e-0\""));
    }

    #[test]
    fn a_ready_shard_is_found_in_a_log() {
        let line = r#"{"timestamp":"2026-11-22T20:00:00Z","fields":{"message":"shard is ready","partition":3,"keys":17},"target":"x"}"#;
        let expected = ReadyShard { at: "2026-11-22T20:00:00Z".to_owned(), partition: 3, keys: 17 };
        assert_eq!(ready_shard(line), Some(expected));
        assert_eq!(ready_shard(r#"{"timestamp":"","fields":{"message":"stopped"}}"#), None);
    }

    #[test]
    fn a_side_needs_all_its_arguments() {
        assert!(run(&["toy".to_owned()]).is_err());
    }
}
