//! Writes the input into the source topic, on a thread of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::gate::{Gate, Pass};
use super::input::Input;
use super::session::Message;
use crate::generate::now_ms;
use crate::kafka::producer::{ProduceError, Producer};
use crate::scenario::Record;

/// Bytes on their way. Less than the 5 MB that a partition of the embedded broker keeps, even if all lie in one; enough
/// for a tenth of a second at full speed.
const AHEAD_BYTES: u64 = 2 << 20;

/// What Kafka adds to a record, about.
const FRAME_BYTES: u64 = 24;

/// Records between two looks at the gate and the producer.
const BATCH: u64 = 256;

/// What the feeder shares with the session.
pub(super) struct Feeder<'a> {
    pub(super) gate: &'a Gate,
    /// Records handed to the producer.
    pub(super) sent: &'a AtomicU64,
    pub(super) messages: Sender<Message>,
    /// Event seconds per second; `None`: as fast as possible.
    pub(super) speed: Option<f64>,
}

impl Feeder<'_> {
    /// Feeds until the input ends or the gate closes; what was sent has been acknowledged by Kafka then.
    pub(super) fn run(self, input: &mut Input, producer: Producer) -> Result<(), ProduceError> {
        if !self.gate.wait_open() {
            return Ok(());
        }
        let mut record = Record::default();
        let mut pace = self.speed.map(Pace::new);
        let (mut sent, mut bytes) = (0u64, 0u64);
        while let Some(next) = input.next_into(&mut record) {
            if let Err(bad) = next {
                // The session is there as long as this thread is.
                let _ = self.messages.send(Message::BadRow(bad));
                continue;
            }
            if pace.as_mut().is_some_and(|pace| !pace.wait(record.time_ms, self.gate, &producer)) {
                break;
            }
            let timestamp_ms = if input.time_is_in_the_record() { record.time_ms } else { now_ms() };
            producer.send(&record, timestamp_ms)?;
            sent += 1;
            bytes += (record.key.len() + record.value.len()) as u64 + FRAME_BYTES;
            self.sent.store(sent, Ordering::Release);
            if (sent.is_multiple_of(BATCH) || pace.is_some())
                && !self.passes(&producer, sent, AHEAD_BYTES / (bytes / sent))?
            {
                break;
            }
        }
        producer.finish()
    }

    /// Waits at the gate; `false` once it is closed.
    fn passes(&self, producer: &Producer, sent: u64, limit: u64) -> Result<bool, ProduceError> {
        loop {
            producer.poll()?;
            match self.gate.pass(sent, limit) {
                Pass::Open => return Ok(true),
                Pass::Closed => return Ok(false),
                Pass::Wait => {}
            }
        }
    }
}

/// Event time against the clock on the wall.
struct Pace {
    speed: f64,
    first: Option<(i64, Instant)>,
}

impl Pace {
    fn new(speed: f64) -> Self {
        Self { speed, first: None }
    }

    /// Waits until this event is due; `false` once the gate is closed.
    fn wait(&mut self, time_ms: i64, gate: &Gate, producer: &Producer) -> bool {
        let (first_ms, begun) = *self.first.get_or_insert_with(|| (time_ms, Instant::now()));
        let due = Duration::from_secs_f64(((time_ms - first_ms) as f64 / 1000.0 / self.speed).clamp(0.0, 1e9));
        loop {
            let left = due.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return true;
            }
            // Trouble shows at the next send.
            let _ = producer.poll();
            if !gate.rest(left.min(Duration::from_secs(1))) {
                return false;
            }
        }
    }
}
