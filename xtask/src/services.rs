//! Real services for tests, measurements and hand work. Today that is Kafka: Apache's own broker from Maven, one
//! process, on a free port, with data of its own.
//!
//! `start` leaves a broker running in the background until `stop`. `run` keeps it as long as its standard input is
//! open, so that a program which starts it can never leave it behind; tests that need a broker of their own use it.

pub(crate) mod kafka;
pub(crate) mod tools;

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::tree;
use kafka::{Access, Java, Kafka, Setup};
pub(crate) use tools::provide_compiler;

/// What `cargo xtask services` is asked to do.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a broker in the background and print its address
    Start(Place),
    /// Stop the broker that `start` started; its data stays for the next start
    Stop {
        /// Its folder [default: target/services/hand]
        #[arg(long)]
        folder: Option<PathBuf>,
    },
    /// Start a broker, print its address, and stop it when standard input ends or on Ctrl-C
    Run(Place),
}

#[derive(Args)]
struct Place {
    /// Where its configuration, log and data live; data found there is used again [default: target/services/hand]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Port to listen on [default: a free one]
    #[arg(long)]
    port: Option<u16>,
    /// Demand access rights: adds a SASL listener (the second address) with the users worker and reader
    #[arg(long)]
    secure: bool,
}

impl Place {
    fn setup(&self, lasts: bool) -> Setup {
        Setup {
            folder: self.folder.clone().unwrap_or_else(hand_folder),
            port: self.port,
            access: if self.secure { Access::Restricted } else { Access::Open },
            lasts,
            java: Java::Small,
        }
    }
}

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.command {
        Command::Start(place) => start(place),
        Command::Stop { folder } => kafka::stop_by_file(&folder.clone().unwrap_or_else(hand_folder)),
        Command::Run(place) => run_until_input_ends(place),
    }
}

/// A folder for one run, empty.
pub(crate) fn fresh_folder() -> Result<PathBuf> {
    let folder = tree::target_folder().join("services").join(format!("run-{}", std::process::id()));
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("failed to empty {}", folder.display()))?;
    }
    Ok(folder)
}

/// A command whose process is killed when the thread that started it ends, however that comes about, and which Ctrl-C
/// at the terminal does not reach.
pub(crate) fn bound(program: &str) -> Process {
    let mut command = Process::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]).process_group(0).stdin(Stdio::null());
    command
}

fn hand_folder() -> PathBuf {
    tree::target_folder().join("services").join("hand")
}

fn start(place: &Place) -> Result<()> {
    let setup = place.setup(true);
    let folder = setup.folder.clone();
    let kafka = Kafka::start(setup)?;
    println!("{}", kafka.addresses().join("\n"));
    kafka.leave_running()?;
    eprintln!("log: {}", folder.join("log").display());
    let argument = place.folder.as_ref().map(|folder| format!(" --folder {}", folder.display())).unwrap_or_default();
    eprintln!("stop it with: cargo xtask services stop{argument}");
    Ok(())
}

fn run_until_input_ends(place: &Place) -> Result<()> {
    let kafka = Kafka::start(place.setup(false))?;
    println!("{}", kafka.addresses().join(" "));
    let (ended, end) = mpsc::channel();
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("failed to watch for signals")?;
    let by_signal = ended.clone();
    thread::spawn(move || signals.forever().next().map(|_| by_signal.send(())));
    thread::spawn(move || {
        let mut rest = Vec::new();
        let _ended = std::io::stdin().read_to_end(&mut rest);
        ended.send(())
    });
    let _any = end.recv();
    kafka.stop()
}
