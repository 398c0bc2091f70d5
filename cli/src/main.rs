//! `faultline`: see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    faultline_cli::main()
}
