//! The commands, and what they end with.

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};

use crate::failure::USAGE;
use crate::{forget, generate, state, up, validate, worker};

/// Finds anomalies in Kafka streams.
///
/// Exit codes: 0 fine, 1 failed, 64 wrong usage or configuration (nothing was started).
#[derive(Debug, Parser)]
#[command(name = "faultline", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Arguments),
    Worker(worker::Arguments),
    State(state::Arguments),
    Forget(forget::Arguments),
    Validate(validate::Arguments),
    Generate(generate::Arguments),
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    Text,
    /// For programs: one JSON object per line.
    Json,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nowhere to report to when printing fails.
            let _ = error.print();
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    let ended = match arguments.command {
        Command::Up(arguments) => up::run(&arguments),
        Command::Worker(arguments) => worker::run(&arguments),
        Command::State(arguments) => state::run(&arguments),
        Command::Forget(arguments) => forget::run(&arguments),
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nowhere to report to when printing fails.
            let _ = writeln!(std::io::stderr().lock(), "{failure}");
            failure.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Arguments::command().get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains(&format!("faultline {} ", command.get_name())), "{help}");
        }
    }
}
