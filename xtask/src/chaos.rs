//! The undisturbed twin: a seeded input goes through worker processes while everything around them is disturbed, and in
//! the end every record that they wrote is compared, in order and byte for byte, with what one thread without Kafka
//! makes of the same input.
//!
//! ```text
//! send ── direct ──► source ──► workers (the release binary) ──► results, alerts, dead letters, late, state
//!   1 in 10 aborted             ▲   │ all their connections         │
//!                     kill, hold,   ▼                               ▼
//!                     join, leave   proxies ◄ cut, drop, delay    oracle ► verify ► report
//!                                   brokers 1–3 ◄ stop, kill      state of a twin left alone ┘
//! ```
//! A run: send and disturb for some minutes ► heal everything ► the workers reach the end ► they leave ► compare.
//! A seed gives the input and the plan of disturbances; how processes interleave it does not give.

mod disturb;
mod input;
mod oracle;
mod pipeline;
mod proxy;
mod send;
mod state;
mod topics;
mod verify;
mod workers;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::services::kafka::cluster::{Cluster, MemberPorts};
use crate::tree;
use disturb::{Choice, Plan};
use input::Input;
use pipeline::Pipeline;
use proxy::Proxy;
use send::Sending;
use topics::Group;
use verify::Report;
use workers::{Crew, Recipe};
use world::World;

/// The worker's program in the folder of the runs.
const PROGRAM: &str = "faultline";
/// How often the harness looks around.
const TURN: Duration = Duration::from_millis(50);
/// How often it says how things are.
const PROGRESS: Duration = Duration::from_secs(5);
/// After the disturbances the workers may stand still for this long at most: beyond session timeouts and a recovery.
const STUCK: Duration = Duration::from_secs(60);
/// The workers may take this long to leave.
const LEAVE: Duration = Duration::from_secs(30);
/// Tombstones go after this long, so that they do within a run …
const GONE: Duration = Duration::from_secs(5);
/// … and after this long where brokers are away meanwhile.
const AWAY: Duration = Duration::from_secs(600);
/// Transactions of dead workers are aborted by the brokers after 5 s, looked for every second.
const HANGING: Duration = Duration::from_secs(20);

/// What to run.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// How long each run is disturbed
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Seed of the first run; the next one's is one greater [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Runs
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// A build that is broken on purpose: the run must fail, and this command fails if it does not
    #[arg(long, value_name = "NAME")]
    broken: Option<String>,
    /// What may happen: all, none, or a list
    #[arg(long, value_name = "LIST")]
    disturb: Option<Choice>,
    /// Fault points, as `point=action;…`; give it several times: a worker is started with one of them now and then
    #[arg(long, value_name = "SPEC")]
    faults: Vec<String>,
    /// Workers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=16))]
    workers: u64,
    /// Partitions of the source
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=64))]
    partitions: i32,
    /// Records per second, those that are aborted included
    #[arg(long, default_value_t = 2_500, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// The worker's program [default: built here]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Leave configurations and logs behind, also after a clean run
    #[arg(long)]
    keep: bool,
}

impl Options {
    /// What a build machine runs: two minutes of everything that can happen to workers and their connections. Brokers are
    /// stopped in longer runs, by hand.
    pub(crate) fn short() -> Self {
        Self {
            minutes: 2.0,
            seed: None,
            runs: 1,
            broken: None,
            disturb: "kill,kill-early,leave,join,hold,pause,cut,drop-answers,delay-answers".parse().ok(),
            faults: Vec::new(),
            workers: 3,
            partitions: 6,
            rate: 2_500,
            binary: None,
            keep: false,
        }
    }

    fn choice(&self) -> Result<Choice> {
        let choice = match (&self.disturb, &self.broken) {
            (Some(choice), _) => choice.clone(),
            (None, Some(name)) => Choice::for_broken(name)?,
            (None, None) => Choice::default(),
        };
        ensure!(!choice.contains(disturb::Kind::Fault) || !self.faults.is_empty(), "say which faults: --faults SPEC");
        Ok(if self.faults.is_empty() { choice } else { choice.with_faults() })
    }
}

/// What all runs of a command share.
struct Stage {
    folder: PathBuf,
    binary: PathBuf,
    proxies: Vec<Proxy>,
    cluster: Cluster,
    interrupted: Arc<AtomicBool>,
}

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<()> {
    let choice = options.choice()?;
    let first = options.seed.map_or_else(seed_of_the_clock, Ok)?;
    let folder = tree::target_folder().join("services").join(format!("chaos-{}", std::process::id()));
    let outcome = run_all(options, &choice, first, &folder);
    clean_up(&folder, options.keep || !matches!(outcome, Ok(0)))?;
    let caught = outcome?;
    match (&options.broken, caught > 0) {
        (None, false) => Ok(()),
        (None, true) => {
            bail!("{caught} of {} runs from seed {first} on were not clean; logs: {}", options.runs, folder.display())
        }
        (Some(name), true) => {
            println!("the broken build `{name}` was caught in {caught} of {} runs", options.runs);
            Ok(())
        }
        (Some(name), false) => bail!("the broken build `{name}` was not caught, from seed {first} on"),
    }
}

/// Returns how many runs were not clean.
fn run_all(options: &Options, choice: &Choice, first: u64, folder: &Path) -> Result<u64> {
    let mut stage = Stage::set_up(options, folder)?;
    let mut caught = 0;
    for run in 0..options.runs {
        caught += u64::from(!stage.run(options, choice, first + run)?.is_clean());
    }
    Ok(caught)
}

fn seed_of_the_clock() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(since.as_secs() % 1_000_000)
}

/// Data goes; what helps to find out stays if it is wanted.
fn clean_up(folder: &Path, keep: bool) -> Result<()> {
    if !keep {
        return fs::remove_dir_all(folder).with_context(|| format!("failed to remove {}", folder.display()));
    }
    // It is built again sooner than looked at.
    let _not_there_yet = fs::remove_file(folder.join(PROGRAM));
    for entry in fs::read_dir(folder).context("failed to look into the folder")? {
        let data = entry.context("failed to look into the folder")?.path().join("data");
        if data.is_dir() {
            fs::remove_dir_all(&data).with_context(|| format!("failed to remove {}", data.display()))?;
        }
    }
    Ok(())
}

impl Stage {
    fn set_up(options: &Options, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
        let folder = folder.canonicalize().context("failed to resolve the folder of the run")?;
        let binary = binary(options, &folder)?;
        let ports = MemberPorts::free()?;
        let proxies: Vec<Proxy> = ports.iter().map(|ports| Proxy::start(ports.behind)).collect::<Result<_>>()?;
        let addresses = [proxies[0].port(), proxies[1].port(), proxies[2].port()];
        let cluster = Cluster::start(&folder, ports, addresses)?;
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("failed to watch for signals")?;
        }
        println!("three brokers at {}", cluster.addresses());
        Ok(Self { folder, binary, proxies, cluster, interrupted })
    }

    /// One run, from an empty topic to the report.
    fn run(&mut self, options: &Options, choice: &Choice, seed: u64) -> Result<Report> {
        let began = Instant::now();
        println!("\nseed {seed}");
        let brokers = self.cluster.addresses();
        let interrupted = Arc::clone(&self.interrupted);
        let interrupted = move || {
            ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
            Ok(())
        };
        let identity = format!("chaos-{seed}");
        let source = format!("{identity}.in");
        let folder = self.folder.join(&identity);
        let pipeline = Pipeline::write(&folder, &identity, &source, seed)?;
        topics::create(&brokers, &source, options.partitions)?;
        let group = Group::of(&brokers, &identity, &source, options.partitions)?;
        let proxied = self.proxies.iter().map(|proxy| format!("127.0.0.1:{}", proxy.port())).collect::<Vec<_>>();
        let recipe = Recipe {
            binary: self.binary.clone(),
            pipeline: folder,
            brokers: proxied.join(","),
            environment: options.broken.iter().map(|name| ("FAULTLINE_BREAK".to_owned(), name.clone())).collect(),
        };
        let input = Input::new(seed, options.partitions, options.rate);
        let sending = Sending::start(&brokers, &source, input, options.partitions, options.rate);
        let mut world = World::new(
            &mut self.cluster,
            &self.proxies,
            Crew::new(recipe),
            (&group, &identity),
            (options.workers as usize, &options.faults),
            &interrupted,
        );
        world.start_all()?;
        let mut plan = Plan::new(seed, choice.clone());
        disturb(&mut world, &mut plan, &sending, Duration::from_secs_f64(options.minutes * 60.0))?;
        println!("healing, then the rest");
        world.heal()?;
        let (sent, aborted) = sending.sent();
        let ends = sending.finish()?;

        let mut report = Report::default();
        drain(&mut world, &ends, &mut report)?;
        world.stop_all(LEAVE)?.into_iter().for_each(|complaint| report.tell(complaint));
        let ended_badly = world.ended_badly;
        drop(world);
        let drained = began.elapsed();
        verify(&brokers, &pipeline, &group, &ends, &mut report)?;
        if topics::partitions(&brokers, &pipeline.state_topic())? > 0 {
            self.compare_with_twin(&pipeline, &ends, seed, &mut report)?;
        }

        let interfered: u64 = self.proxies.iter().map(Proxy::interfered).sum();
        let happened: Vec<String> = plan.counts().iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        println!(
            "seed {seed}: {sent} records and {aborted} aborted ones in, {} records compared, {:.0} s and {:.0} s to verify",
            report.compared(),
            drained.as_secs_f64(),
            (began.elapsed() - drained).as_secs_f64(),
        );
        let happened = if happened.is_empty() { "none".to_owned() } else { happened.join(", ") };
        println!(
            "disturbances: {happened}; answers dropped or delayed so far: {interfered}; workers that ended badly: {ended_badly}"
        );
        match report.is_clean() {
            true => println!("seed {seed}: clean"),
            false => println!("seed {seed}: NOT CLEAN\n{report}"),
        }
        Ok(report)
    }

    /// A worker that nobody disturbs does the same, with other names; then both states must be equal.
    fn compare_with_twin(&self, pipeline: &Pipeline, ends: &[i64], seed: u64, report: &mut Report) -> Result<()> {
        let identity = format!("{}-twin", pipeline.identity);
        let folder = self.folder.join(&identity);
        let brokers = self.cluster.addresses();
        let twin = Pipeline::write(&folder, &identity, &pipeline.source, seed)?;
        let group = Group::of(&brokers, &identity, &twin.source, ends.len() as i32)?;
        let recipe =
            Recipe { binary: self.binary.clone(), pipeline: folder, brokers: brokers.clone(), environment: Vec::new() };
        let mut crew = Crew::new(recipe);
        let number = crew.start(None)?;
        let mut moved = (Vec::new(), Instant::now());
        while moved.0 != ends {
            ensure!(!self.interrupted.load(Ordering::Relaxed), "interrupted");
            ensure!(
                moved.1.elapsed() < STUCK,
                "the twin stands still at {:?} of {ends:?}: {:?}",
                moved.0,
                crew.problems()
            );
            let committed = group.committed(PROGRESS).unwrap_or_default();
            if committed != moved.0 {
                moved = (committed, Instant::now());
            }
            std::thread::park_timeout(TURN);
        }
        crew.tell(number, nix::sys::signal::Signal::SIGTERM)?;
        while crew.len() > 0 {
            ensure!(moved.1.elapsed() < STUCK + LEAVE, "the twin does not leave");
            for ended in crew.ended()? {
                ensure!(ended.status.success(), "the twin ended with {}: {}", ended.status, ended.last_words);
            }
            std::thread::park_timeout(TURN);
        }
        state::compare(&brokers, &pipeline.state_topic(), &twin.state_topic(), ends.len() as i32, report)
    }
}

/// The worker's program, copied, so that a build meanwhile does not change it.
fn binary(options: &Options, folder: &Path) -> Result<PathBuf> {
    let built = match &options.binary {
        Some(binary) => binary.clone(),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--release", "--package", "faultline-cli"]).current_dir(tree::root());
            if options.broken.is_some() || !options.faults.is_empty() {
                cargo.args(["--features", "faults"]);
            }
            let status = cargo.status().context("failed to run cargo")?;
            ensure!(status.success(), "the worker could not be built ({status})");
            tree::target_folder().join("release").join("faultline")
        }
    };
    let copy = folder.join(PROGRAM);
    fs::copy(&built, &copy).with_context(|| format!("failed to copy {}", built.display()))?;
    Ok(copy)
}

/// Disturbs for so long, and says now and then how things are.
fn disturb(world: &mut World<'_>, plan: &mut Plan, sending: &Sending, length: Duration) -> Result<()> {
    // A broker that comes back later than that has missed deletions, and shows what was deleted once it leads.
    let tombstones = if plan.stops_brokers() { AWAY } else { GONE };
    let began = Instant::now();
    let mut next = began + Duration::from_secs(5) + plan.pause();
    let mut told = began;
    let mut compacts = false;
    while began.elapsed() < length {
        world.turn()?;
        ensure!(!sending.has_ended(), "the input has ended by itself");
        if Instant::now() >= next && plan.may_draw() {
            let kind = plan.draw()?;
            world.disturb(kind, plan)?;
            next = Instant::now() + plan.pause();
        }
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            let brokers = world.cluster.addresses();
            if !compacts && topics::partitions(&brokers, &world.state_topic).is_ok_and(|count| count > 0) {
                compacts = topics::compact_often(&brokers, &world.state_topic, tombstones).is_ok();
            }
            tell(world, sending.sent(), plan.counts().values().sum(), began);
        }
        std::thread::park_timeout(TURN);
    }
    Ok(())
}

fn tell(world: &World<'_>, (sent, aborted): (u64, u64), disturbances: u64, began: Instant) {
    // Pending while transactions are: then nobody can say.
    let committed =
        world.group.committed(Duration::from_secs(1)).map(|offsets| offsets.iter().map(|o| o.max(&0)).sum());
    let committed = committed.map_or("not known now".to_owned(), |sum: i64| sum.to_string());
    println!(
        "{:7.1} s  {sent} in and {aborted} aborted, offsets committed {committed}, {} workers, {disturbances} disturbances",
        began.elapsed().as_secs_f64(),
        world.crew.len(),
    );
}

/// Waits until the workers have committed the end of every partition; or tells where they stand still.
fn drain(world: &mut World<'_>, ends: &[i64], report: &mut Report) -> Result<()> {
    let mut moved = (Vec::new(), Instant::now());
    let mut told = Instant::now();
    while moved.0 != ends {
        world.turn()?;
        let committed = world.group.committed(Duration::from_secs(1)).unwrap_or_default();
        if !committed.is_empty() && committed != moved.0 {
            moved = (committed, Instant::now());
        }
        if moved.1.elapsed() > STUCK {
            world.crew.write_statuses()?;
            let problems = world.crew.problems().join("; ");
            report.tell(format!(
                "the workers stand still at {:?}, the input ends at {ends:?}; what they say of themselves lies beside \
                 their logs; {problems}",
                moved.0
            ));
            return Ok(());
        }
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            let left: i64 = ends.iter().zip(&moved.0).map(|(end, at)| end - at).sum();
            println!("           {left} offsets left");
        }
        std::thread::park_timeout(TURN);
    }
    Ok(())
}

/// Everything that can be seen of a run once its workers have left.
fn verify(brokers: &str, pipeline: &Pipeline, group: &Group, ends: &[i64], report: &mut Report) -> Result<()> {
    let committed = group.committed(Duration::from_secs(20))?;
    if committed != ends {
        report.tell(format!("committed offsets {committed:?}, the input ends at {ends:?}"));
    }
    let outputs = &pipeline.config.outputs;
    let state = pipeline.state_topic();
    let names =
        [&outputs.results.topic, &outputs.alerts.topic, &outputs.dead_letter.topic, &outputs.late_topic, &state];
    let names = names.map(String::as_str);
    for open in topics::hanging(brokers, &names, HANGING)? {
        report.tell(format!("a transaction is left open: {open}"));
    }
    oracle::compare(brokers, pipeline, ends, report)
}
