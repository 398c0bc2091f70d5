//! Pauses that double up to a limit.

use std::time::Duration;

/// Growing pauses between tries of the same thing.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
    limit: Duration,
}

impl Backoff {
    /// Pauses of `first`, 2 × `first`, … up to `limit`.
    #[must_use]
    pub(crate) fn new(first: Duration, limit: Duration) -> Self {
        Self { first, next: first, limit }
    }

    /// The next pause; the one after it is twice as long.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.limit);
        pause
    }

    /// Starts over after a success.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        let pauses: Vec<u128> = (0..4).map(|_| backoff.next_pause().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 350, 350]);
        backoff.reset();
        assert_eq!(backoff.next_pause().as_millis(), 100);
    }
}
