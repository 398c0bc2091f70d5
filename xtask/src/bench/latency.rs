//! Open loop: event i is due at start + i / rate, and its latency counts from then to the moment its result can be
//! read with `read_committed`, so a stall is not hidden. The product with `examples/quickstart` unchanged against the
//! bare toy, with one generator and one reader for both, taking turns.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use faultline_worker::adapters::kafka_native::LaneQueue;
use faultline_worker::ports::{Source, Taken};
use hdrhistogram::Histogram;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::events::{Events, number_of};
use super::figure::Figure;
use super::kafka::{self, Topics};
use super::pipelines::{self, Names, Variant};
use super::side::{Kind, Side, Yardstick};
use crate::services;
use crate::services::kafka::{Access, Kafka, Setup};
use crate::tree;

const NAME: &str = "latency";
const PARTITIONS: i32 = 2;
const RATES: [u64; 2] = [20_000, 100_000];
const SECONDS: u64 = 15;
/// The first fifth of a stream: new keys, new connections.
const WARM_UP: u64 = 5;
/// Results that have not come so long after the last event was due will not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures and reports.
pub(crate) fn run(runs: usize, seed: u64, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let setup = Setup { folder: services::fresh_folder()?, port: None, access: Access::Open };
    let work = tree::target_folder().join("bench");
    std::fs::create_dir_all(&work).context("failed to create the benchmarks' folder")?;
    let kafka = Kafka::start(setup)?;
    let brokers = kafka.addresses()[0].clone();
    let bench = Bench { topics: Topics::of(&brokers)?, brokers, work, seed };
    for rate in RATES {
        let mut pairs = Vec::new();
        for run in 0..runs {
            pairs.push([bench.product(rate, run)?, bench.toy(rate, run)?]);
        }
        tell(rate, &pairs, report);
    }
    kafka.discard()
}

/// Quantiles of one stream in milliseconds, and what the side spent per event.
struct Measured {
    p50: f64,
    p95: f64,
    p99: f64,
    micros: f64,
}

fn tell(rate: u64, pairs: &[[Measured; 2]], report: &mut dyn FnMut(Figure)) {
    let mut figure = |metric: String, unit, of: &dyn Fn(&[Measured; 2]) -> f64| {
        report(Figure::of(NAME, format!("{rate}.{metric}"), unit, pairs.iter().map(of).collect()));
    };
    for (index, side) in ["quickstart", "toy"].into_iter().enumerate() {
        figure(format!("{side}.p50"), "ms", &|pair| pair[index].p50);
        figure(format!("{side}.p95"), "ms", &|pair| pair[index].p95);
        figure(format!("{side}.p99"), "ms", &|pair| pair[index].p99);
        figure(format!("{side}.cpuMicrosPerEvent"), "µs", &|pair| pair[index].micros);
    }
    figure("ratioToToy.p95".to_owned(), "", &|[product, toy]| product.p95 / toy.p95);
}

struct Bench {
    brokers: String,
    topics: Topics,
    work: std::path::PathBuf,
    seed: u64,
}

impl Bench {
    fn product(&self, rate: u64, run: usize) -> Result<Measured> {
        let identity = format!("latency-{rate}-{run}");
        let names = Names { input: format!("{identity}.in"), identity };
        let folder = pipelines::write(&tree::root(), &self.work, Variant::Quickstart, &names)?;
        self.topics.create(&names.input, PARTITIONS)?;
        self.topics.create(&names.results(), PARTITIONS)?;
        let side = Side::product(&folder, &self.brokers)?;
        let measured = self.stream(side, &names.input, &names.results(), rate)?;
        let outputs = names.outputs();
        self.topics.delete(&[names.input.as_str(), &outputs[0], &outputs[1], &outputs[2], &outputs[3]])?;
        Ok(measured)
    }

    fn toy(&self, rate: u64, run: usize) -> Result<Measured> {
        let group = format!("latency-toy-{rate}-{run}");
        let (input, output) = (format!("{group}.in"), format!("{group}.results"));
        self.topics.create(&input, PARTITIONS)?;
        self.topics.create(&output, PARTITIONS)?;
        let yardstick = Yardstick {
            kind: Kind::Toy,
            brokers: self.brokers.clone(),
            input: input.clone(),
            output: output.clone(),
            group,
            partitions: PARTITIONS,
        };
        let side = Side::yardstick(&yardstick, &self.work)?;
        let measured = self.stream(side, &input, &output, rate)?;
        self.topics.delete(&[&input, &output])?;
        Ok(measured)
    }

    /// One open-loop stream through a side.
    fn stream(&self, mut side: Side, input: &str, output: &str, rate: u64) -> Result<Measured> {
        let total = rate * SECONDS;
        let mut reader = Reader::new(&self.brokers, output)?;
        self.prime(&mut side, &mut reader, input)?;
        let cpu = side.cpu()?;
        let start = Instant::now();
        let generator = {
            let (brokers, input, seed) = (self.brokers.clone(), input.to_owned(), self.seed);
            thread::spawn(move || generate(&brokers, &input, seed, rate, total, start))
        };
        let mut latency = Histogram::<u64>::new(3).context("failed to make a histogram")?;
        let (mut received, mut outside) = (0, 0);
        let last_due = start + Duration::from_secs(SECONDS);
        while received < total {
            reader.take(&mut |number| {
                received += 1;
                if number >= total / WARM_UP {
                    let due = Duration::from_nanos(number * 1_000_000_000 / rate);
                    let micros = start.elapsed().saturating_sub(due).as_micros() as u64;
                    outside += u64::from(latency.record(micros.max(1)).is_err());
                }
            });
            side.check()?;
            ensure!(last_due.elapsed() < PATIENCE, "{received} of {total} results came");
        }
        generator.join().map_err(|_| anyhow!("the generator panicked"))??;
        let cpu = side.cpu()?.saturating_sub(cpu);
        side.stop()?;
        ensure!(outside == 0, "{outside} latencies do not fit the histogram");
        let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1_000.0;
        Ok(Measured { p50: ms(0.5), p95: ms(0.95), p99: ms(0.99), micros: cpu.as_secs_f64() * 1e6 / total as f64 })
    }

    /// One event per partition, far outside the stream's numbers: the side is ready when their results are there.
    fn prime(&self, side: &mut Side, reader: &mut Reader, input: &str) -> Result<()> {
        let producer = kafka::event_producer(&self.brokers)?;
        let mut events = Events::new(self.seed);
        for partition in 0..PARTITIONS {
            events.next(u64::MAX - partition as u64, now_ms());
            kafka::send(&producer, input, partition, &events.key, &events.value)?;
        }
        kafka::flush(&producer)?;
        let (mut seen, began) = (0, Instant::now());
        while seen < PARTITIONS {
            reader.take(&mut |_| seen += 1);
            side.check()?;
            ensure!(began.elapsed() < PATIENCE, "the first results did not come within {} s", PATIENCE.as_secs());
        }
        Ok(())
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Sends each event when it is due, whatever becomes of it.
fn generate(brokers: &str, input: &str, seed: u64, rate: u64, total: u64, start: Instant) -> Result<()> {
    let producer = kafka::event_producer(brokers)?;
    let mut events = Events::new(seed);
    let mut number = 0;
    while number < total {
        let due = (start.elapsed().as_nanos() * u128::from(rate) / 1_000_000_000) as u64;
        let now = now_ms();
        while number < due.min(total) {
            let user = events.next(number, now);
            kafka::send(&producer, input, user as i32 % PARTITIONS, &events.key, &events.value)?;
            number += 1;
        }
        thread::sleep(Duration::from_micros(500));
    }
    kafka::flush(&producer)
}

/// Reads committed results in batches.
struct Reader {
    // Dropped before the consumer that it belongs to.
    queue: LaneQueue,
    consumer: Arc<BaseConsumer>,
}

impl Reader {
    fn new(brokers: &str, topic: &str) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "faultline-bench-reader")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "5")
            .set("fetch.queue.backoff.ms", "2")
            .create()
            .context("failed to make a consumer")?;
        let consumer = Arc::new(consumer);
        let queue = LaneQueue::new(&consumer, topic);
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            queue.target().forward(consumer.client(), topic, partition);
            list.add_partition_offset(topic, partition, Offset::Beginning).context("failed to choose partitions")?;
        }
        consumer.assign(&list).context("failed to read the results")?;
        Ok(Self { queue, consumer })
    }

    fn take(&mut self, each: &mut dyn FnMut(u64)) {
        self.consumer.poll(Duration::ZERO);
        self.queue.take(Duration::from_millis(20), &mut |taken| {
            let Taken::Record(record) = taken else { return };
            record.value.and_then(number_of).into_iter().for_each(&mut *each);
        });
    }
}
