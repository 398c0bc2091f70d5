//! Ends the process when a thread hangs inside the client: partitions must not be held by a worker that does nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::error;

/// A thread that has not turned for this long hangs: longer than any call of the client may take, and than brokers take
/// to fail over.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// Looks how long the longest silence of a thread is, until everything has ended; unpark the thread then.
pub(crate) fn watch(longest_silence: impl Fn() -> Duration, ended: &AtomicBool, end_process: impl Fn()) {
    while !ended.load(Ordering::Relaxed) {
        if longest_silence() > LIMIT {
            error!("a thread has not turned for {} s, ending the process", LIMIT.as_secs());
            end_process();
        }
        std::thread::park_timeout(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the process is ended when the threads say, look after look, for how many seconds one has been silent.
    fn ends_with(silences: &[u64]) -> bool {
        let (ended, is_killed) = (AtomicBool::new(false), AtomicBool::new(false));
        let looks = std::cell::Cell::new(0);
        let silence = || {
            let seconds = silences[looks.get()];
            looks.set(looks.get() + 1);
            ended.store(looks.get() == silences.len(), Ordering::Relaxed);
            std::thread::current().unpark();
            Duration::from_secs(seconds)
        };
        watch(silence, &ended, || is_killed.store(true, Ordering::Relaxed));
        is_killed.into_inner()
    }

    #[test]
    fn a_thread_that_hangs_ends_the_process_and_a_slow_one_does_not() {
        assert!(!ends_with(&[0, 59, 60, 0]));
        assert!(ends_with(&[0, 30, 61]));
    }
}
