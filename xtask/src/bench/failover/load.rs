//! Events at a constant rate, until it is dropped, whatever becomes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::bench::events::Events;
use crate::bench::kafka;
use crate::bench::open_loop::now_ms;

/// A generator in a thread of its own.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Load {
    /// So many events a second.
    pub(super) fn start(brokers: &str, topic: &str, partitions: i32, rate: u64, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, brokers, topic) = (Arc::clone(&stop), brokers.to_owned(), topic.to_owned());
        let thread = thread::spawn(move || {
            let producer = kafka::event_producer(&brokers)?;
            let (mut events, mut number, began) = (Events::new(seed), 0, Instant::now());
            while !asked.load(Ordering::Relaxed) {
                let due = (began.elapsed().as_nanos() * u128::from(rate) / 1_000_000_000) as u64;
                let now = now_ms();
                while number < due {
                    let user = events.next(number, now);
                    kafka::send(&producer, &topic, user as i32 % partitions, &events.key, &events.value)?;
                    number += 1;
                }
                thread::sleep(Duration::from_millis(1));
            }
            kafka::flush(&producer)
        });
        Self { stop, thread: Some(thread) }
    }

    /// An error if it has ended by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            return self.end();
        }
        Ok(())
    }

    /// Ends it.
    pub(super) fn end(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| anyhow!("the generator panicked"))?
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
