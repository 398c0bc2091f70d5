//! How a command can end badly.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use faultline_crds::Problem;
use faultline_worker::chain;

/// Exit code of wrong usage and wrong configuration: `EX_USAGE` of sysexits.h.
pub(crate) const USAGE: u8 = 64;

/// Why a command ended badly; printed as it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// What the user gave cannot be run; nothing was started.
    Usage(String),
    /// It was started and did not succeed.
    Failed(String),
}

impl Failure {
    /// What the user gave cannot be run.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// An action did not succeed; the chain of reasons is written out.
    pub(crate) fn of(action: &str, error: &dyn Error) -> Self {
        Self::Failed(format!("{action}: {}", chain(error)))
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(USAGE),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        Self::Usage(lines.join("\n"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(text) | Self::Failed(text)) = self;
        f.write_str(text)
    }
}
