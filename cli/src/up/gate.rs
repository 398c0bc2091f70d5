//! Holds the feeder back, so that it is never far ahead of the worker.
//!
//! The embedded broker keeps 5 MB per partition and drops older batches without a word; and an event's latency should
//! be the worker's, not the time it spent in a queue.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the feeder waits before it looks after its producer again.
const TURN: Duration = Duration::from_millis(50);

/// Counts records that have ended.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    ended: u64,
    closed: bool,
}

/// What the feeder may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Go on.
    Open,
    /// Not yet; ask again.
    Wait,
    /// Never again.
    Closed,
}

impl Gate {
    /// The worker is ready: from here on latency counts.
    pub(super) fn open(&self) {
        self.state().open = true;
        self.changed.notify_all();
    }

    /// This many records have ended.
    pub(super) fn ended(&self, count: u64) {
        self.state().ended = count;
        self.changed.notify_all();
    }

    /// Lets nothing more through.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Waits until it is opened; `false` if it is closed instead.
    pub(super) fn wait_open(&self) -> bool {
        let waiting = |state: &mut State| !state.open && !state.closed;
        let state = self.changed.wait_while(self.state(), waiting).unwrap_or_else(PoisonError::into_inner);
        !state.closed
    }

    /// Waits until fewer than `limit` of `sent` records are on their way, but not for long.
    pub(super) fn pass(&self, sent: u64, limit: u64) -> Pass {
        let full = |state: &mut State| !state.closed && sent.saturating_sub(state.ended) >= limit;
        let (state, _) =
            self.changed.wait_timeout_while(self.state(), TURN, full).unwrap_or_else(PoisonError::into_inner);
        match (state.closed, sent.saturating_sub(state.ended) < limit) {
            (true, _) => Pass::Closed,
            (false, true) => Pass::Open,
            (false, false) => Pass::Wait,
        }
    }

    /// Waits for a while; `false` once it is closed.
    pub(super) fn rest(&self, pause: Duration) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), pause, |state| !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        !state.closed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lets_through_until_the_limit_and_again_when_records_end() {
        let gate = Gate::default();
        assert_eq!(gate.pass(9, 10), Pass::Open);
        assert_eq!(gate.pass(10, 10), Pass::Wait);
        gate.ended(1);
        assert_eq!(gate.pass(10, 10), Pass::Open);
        assert_eq!(gate.pass(11, 10), Pass::Wait);
    }

    #[test]
    fn a_closed_gate_wakes_whoever_waits() {
        let gate = Gate::default();
        std::thread::scope(|scope| {
            let resting = scope.spawn(|| gate.rest(Duration::from_secs(600)));
            let waiting = scope.spawn(|| gate.wait_open());
            gate.close();
            assert!(!resting.join().unwrap() && !waiting.join().unwrap());
        });
        assert_eq!(gate.pass(0, 10), Pass::Closed);
    }
}
