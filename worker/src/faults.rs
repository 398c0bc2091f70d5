//! Places where the chaos harness may make a worker die, wait or fail, and promises that it may have broken on purpose.
//! Compiled in with the feature `faults` only; without it each call is nothing.
//!
//! `FAULTLINE_FAULTS="commit=kill@3;restore-state=stall:2000"` arms points: `kill` (the process aborts), `stall:MILLISECONDS`
//! (the thread waits), `stop` (the process is held, until somebody lets it go on), `error` (the call fails); `@N`: at the N-th
//! passing, else at the first.
//! `FAULTLINE_BREAK=decisions-dropped` breaks one promise.

/// The promises that can be broken, to show that the harness notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Offsets go with the outputs; broken: they are committed after the transaction.
    OffsetInTransaction,
    /// Incidents are remembered; broken: they are not written.
    DecisionsKept,
    /// The marker tells the watermark at L; broken: it tells the one at C.
    WatermarkAtLow,
    /// State and committed offset are compared; broken: reading goes on at the offset, whatever the state says.
    OffsetGuard,
    /// State is read to the high watermark; broken: to the last stable offset, and not compared.
    HighWatermark,
    /// A tick is committed only under the assignment that it was read under; broken: under any, or none.
    FencePerEpoch,
}

#[cfg(feature = "faults")]
mod armed {
    use std::sync::OnceLock;
    use std::time::Duration;

    use tracing::warn;

    use super::Promise;

    impl Promise {
        fn name(self) -> &'static str {
            match self {
                Self::OffsetInTransaction => "offset-outside-transaction",
                Self::DecisionsKept => "decisions-dropped",
                Self::WatermarkAtLow => "watermark-at-c",
                Self::OffsetGuard => "no-offset-guard",
                Self::HighWatermark => "last-stable-offset",
                Self::FencePerEpoch => "fence-not-tied-to-epochs",
            }
        }
    }

    /// Takes the variables of the environment in; false if a word of them is not understood.
    pub(crate) fn arm() -> bool {
        let faults = std::env::var("FAULTLINE_FAULTS").unwrap_or_default();
        faults.split(';').filter(|fault| !fault.is_empty()).all(|fault| {
            let Some((point, action)) = fault.split_once('=') else { return false };
            let (action, at) = action.split_once('@').unwrap_or((action, "1"));
            let Some(before) = at.parse::<u64>().ok().and_then(|at| at.checked_sub(1)) else { return false };
            let action = match action.split_once(':') {
                Some(("stall", millis)) if millis.parse::<u64>().is_ok() => format!("1*return(stall:{millis})"),
                None if matches!(action, "kill" | "stop" | "error") => format!("1*return({action})"),
                _ => return false,
            };
            let first = if before > 0 { format!("{before}*off->") } else { String::new() };
            warn!(fault, "a fault point is armed");
            fail::cfg(point, &format!("{first}{action}->off")).is_ok()
        })
    }

    /// A fault point; true: the call is to fail.
    pub(crate) fn point(name: &'static str) -> bool {
        fail::eval(name, |argument| {
            warn!(point = name, "a fault point is passed");
            match argument.as_deref().unwrap_or_default() {
                "kill" => std::process::abort(),
                "stop" => hold(),
                "error" => return true,
                stall => std::thread::sleep(stall_of(stall)),
            }
            false
        })
        .unwrap_or(false)
    }

    /// Of `stall:MILLISECONDS`, as [`arm`] has checked.
    fn stall_of(argument: &str) -> Duration {
        let millis = argument.strip_prefix("stall:").and_then(|millis| millis.parse().ok());
        Duration::from_millis(millis.unwrap_or_default())
    }

    /// Returns when the process is let go on.
    fn hold() {
        let process = std::process::id().to_string();
        if let Err(error) = std::process::Command::new("kill").args(["-STOP", &process]).status() {
            warn!(%error, "failed to hold the process");
        }
    }

    /// Whether this promise is broken.
    pub(crate) fn is_broken(promise: Promise) -> bool {
        static BROKEN: OnceLock<Option<String>> = OnceLock::new();
        let broken = BROKEN.get_or_init(|| std::env::var("FAULTLINE_BREAK").ok());
        broken.as_deref() == Some(promise.name())
    }
}

#[cfg(feature = "faults")]
pub(crate) use armed::{arm, is_broken, point};

/// Nothing to arm.
#[cfg(not(feature = "faults"))]
pub(crate) fn arm() -> bool {
    true
}

/// A fault point; true: the call is to fail.
#[cfg(not(feature = "faults"))]
#[inline]
pub(crate) fn point(_: &'static str) -> bool {
    false
}

/// Whether a promise is broken on purpose.
#[cfg(not(feature = "faults"))]
#[inline]
pub(crate) fn is_broken(_: Promise) -> bool {
    false
}
