//! Open loop: event i is due at start + i / rate, and its latency counts from then to the moment its result can be
//! read with `read_committed`, so a stall is not hidden. One generator and one reader for whatever is measured.

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use faultline_worker::adapters::kafka_native::LaneQueue;
use faultline_worker::ports::{RawEvent, Source, Taken};
use hdrhistogram::Histogram;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::events::{Events, number_of};
use super::kafka;
use super::side::Side;

/// Results that have not come so long after the last event was due will not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const REQUEST: Duration = Duration::from_secs(20);

/// The way of events through a side.
pub(crate) struct OpenLoop {
    brokers: String,
    input: String,
    partitions: i32,
    reader: Reader,
}

/// One stream.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    /// Events a second.
    pub(crate) rate: u64,
    /// Numbers of its events.
    pub(crate) numbers: Range<u64>,
    /// Events at its beginning whose latency is left out.
    pub(crate) warm_up: u64,
    pub(crate) seed: u64,
}

/// What became of a stream.
pub(crate) struct Passed {
    latency: Histogram<u64>,
    /// The same, of the events that were due within one second.
    seconds: Vec<Histogram<u64>>,
    /// CPU time of the side, all threads.
    pub(crate) cpu: Duration,
    /// Results that could not be read yet when the last event was due.
    pub(crate) backlog: u64,
    /// Results that did not come at all, for as long as we waited.
    pub(crate) missing: u64,
}

impl Passed {
    /// Quantile of the latency.
    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// The longest latency.
    pub(crate) fn max_ms(&self) -> f64 {
        self.latency.max() as f64 / 1_000.0
    }

    /// The worst second's p99 over the median second's: what comes now and then shows here, whatever the general level.
    pub(crate) fn worst_second(&self) -> f64 {
        let mut p99s: Vec<u64> = self.seconds.iter().map(|second| second.value_at_quantile(0.99)).collect();
        p99s.sort_unstable();
        let median = p99s.get(p99s.len() / 2).copied().unwrap_or(0);
        p99s.last().copied().unwrap_or(0) as f64 / median as f64
    }
}

impl OpenLoop {
    /// From an input to a results topic, which are both there and empty.
    pub(crate) fn new(brokers: &str, input: &str, output: &str, partitions: i32) -> Result<Self> {
        let reader = Reader::from_beginning(brokers, output, partitions)?;
        Ok(Self { brokers: brokers.to_owned(), input: input.to_owned(), partitions, reader })
    }

    /// From an input to a results topic, both with a past that nobody reads again.
    pub(crate) fn going_on(brokers: &str, input: &str, output: &str, partitions: i32) -> Result<Self> {
        let reader = Reader::from_end(brokers, output, partitions)?;
        Ok(Self { brokers: brokers.to_owned(), input: input.to_owned(), partitions, reader })
    }

    /// One event per partition, far outside the stream's numbers: the side is ready when their results are there.
    pub(crate) fn prime(&mut self, side: &mut Side, seed: u64) -> Result<()> {
        let producer = kafka::event_producer(&self.brokers)?;
        let mut events = Events::new(seed);
        for partition in 0..self.partitions {
            events.next(u64::MAX - partition as u64, now_ms());
            kafka::send(&producer, &self.input, partition, &events.key, &events.value)?;
        }
        kafka::flush(&producer)?;
        let (mut seen, began) = (0, Instant::now());
        while seen < self.partitions {
            self.reader.take(&mut |_, _| seen += 1);
            side.check()?;
            ensure!(began.elapsed() < PATIENCE, "the first results did not come within {} s", PATIENCE.as_secs());
        }
        Ok(())
    }

    /// Lets a stream pass; waits for its results at most so long after the last event was due.
    pub(crate) fn pass(&mut self, side: &mut Side, stream: &Stream, patience: Duration) -> Result<Passed> {
        let (first, total) = (stream.numbers.start, stream.numbers.end - stream.numbers.start);
        let cpu = side.cpu()?;
        let start = Instant::now();
        let generator = {
            let (brokers, input, partitions) = (self.brokers.clone(), self.input.clone(), self.partitions);
            let stream = stream.clone();
            thread::spawn(move || generate(&brokers, &input, partitions, &stream, start))
        };
        let mut latency = Histogram::<u64>::new(3).context("failed to make a histogram")?;
        let mut seconds = Vec::new();
        for _ in 0..(total - stream.warm_up).div_ceil(stream.rate) {
            seconds.push(Histogram::<u64>::new(2).context("failed to make a histogram")?);
        }
        let (mut received, mut outside, mut backlog) = (0, 0, None);
        let last_due = start + Duration::from_nanos(total * 1_000_000_000 / stream.rate);
        while received < total && Instant::now().saturating_duration_since(last_due) < patience {
            self.reader.take(&mut |_, number| {
                if !stream.numbers.contains(&number) {
                    return;
                }
                received += 1;
                let place = number - first;
                if place >= stream.warm_up {
                    let due = Duration::from_nanos(place * 1_000_000_000 / stream.rate);
                    let micros = start.elapsed().saturating_sub(due).as_micros() as u64;
                    outside += u64::from(latency.record(micros.max(1)).is_err());
                    let second = &mut seconds[((place - stream.warm_up) / stream.rate) as usize];
                    outside += u64::from(second.record(micros.max(1)).is_err());
                }
            });
            side.check()?;
            if backlog.is_none() && Instant::now() >= last_due {
                backlog = Some(total.saturating_sub(received));
            }
        }
        generator.join().map_err(|_| anyhow!("the generator panicked"))??;
        ensure!(outside == 0, "{outside} latencies do not fit the histogram");
        let cpu = side.cpu()?.saturating_sub(cpu);
        Ok(Passed { latency, seconds, cpu, backlog: backlog.unwrap_or(0), missing: total.saturating_sub(received) })
    }
}

/// This moment, for events.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Sends each event when it is due, whatever becomes of it.
fn generate(brokers: &str, input: &str, partitions: i32, stream: &Stream, start: Instant) -> Result<()> {
    let producer = kafka::event_producer(brokers)?;
    let mut events = Events::new(stream.seed);
    let total = stream.numbers.end - stream.numbers.start;
    let mut place = 0;
    while place < total {
        let due = (start.elapsed().as_nanos() * u128::from(stream.rate) / 1_000_000_000) as u64;
        let now = now_ms();
        while place < due.min(total) {
            let user = events.next(stream.numbers.start + place, now);
            kafka::send(&producer, input, user as i32 % partitions, &events.key, &events.value)?;
            place += 1;
        }
        thread::sleep(Duration::from_micros(500));
    }
    kafka::flush(&producer)
}

/// Reads committed results in batches.
pub(crate) struct Reader {
    // Dropped before the consumer that it belongs to.
    queue: LaneQueue,
    consumer: Arc<BaseConsumer>,
}

impl Reader {
    /// Reads all that was ever written.
    pub(crate) fn from_beginning(brokers: &str, topic: &str, partitions: i32) -> Result<Self> {
        Self::new(brokers, topic, partitions, |_, _| Ok(Offset::Beginning))
    }

    /// Reads what is written from now on.
    pub(crate) fn from_end(brokers: &str, topic: &str, partitions: i32) -> Result<Self> {
        Self::new(brokers, topic, partitions, |consumer, partition| {
            let marks = consumer.fetch_watermarks(topic, partition, REQUEST);
            Ok(Offset::Offset(marks.context("failed to find the end of the results")?.1))
        })
    }

    fn new(
        brokers: &str,
        topic: &str,
        partitions: i32,
        from: impl Fn(&BaseConsumer, i32) -> Result<Offset>,
    ) -> Result<Self> {
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
        for partition in 0..partitions {
            queue.target().forward(consumer.client(), topic, partition);
            let offset = from(&consumer, partition)?;
            list.add_partition_offset(topic, partition, offset).context("failed to choose partitions")?;
        }
        consumer.assign(&list).context("failed to read the results")?;
        Ok(Self { queue, consumer })
    }

    /// Hands over the payloads of what has come, with their numbers.
    pub(crate) fn take(&mut self, each: &mut dyn FnMut(&[u8], u64)) {
        self.take_records(&mut |record| {
            let Some(payload) = record.value else { return };
            if let Some(number) = number_of(payload) {
                each(payload, number);
            }
        });
    }

    /// Hands over what has come.
    pub(crate) fn take_records(&mut self, each: &mut dyn FnMut(&RawEvent<'_>)) {
        self.consumer.poll(Duration::ZERO);
        self.queue.take(Duration::from_millis(20), &mut |taken| {
            if let Taken::Record(record) = taken {
                each(&record);
            }
        });
    }
}
