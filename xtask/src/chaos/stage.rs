//! The stage of all runs of a command, brokers and proxies, and the course of one run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::disturb::{Choice, Kind, Plan};
use super::input::Input;
use super::pipeline::Pipeline;
use super::points::{self, Point};
use super::proxy::Proxy;
use super::send::Sending;
use super::topics::{self, Group};
use super::verify::Report;
use super::workers::{Crew, Recipe};
use super::world::{READY, World};
use super::{Options, oracle, state};
use crate::services::kafka::cluster::{Cluster, MemberPorts};
use crate::tree;

/// The worker's program in the folder of the runs.
pub(super) const PROGRAM: &str = "faultline";
/// How often the harness looks around.
const TURN: Duration = Duration::from_millis(50);
/// How often it says how things are.
const PROGRESS: Duration = Duration::from_secs(5);
/// After the disturbances the workers may stand still for this long at most: beyond session timeouts and a recovery.
const STUCK: Duration = Duration::from_secs(60);
/// … and for so long where they are expected to.
const STUCK_AS_EXPECTED: Duration = Duration::from_secs(25);
/// The workers may take this long to leave.
const LEAVE: Duration = Duration::from_secs(30);
/// Tombstones go after this long, so that they do within a run …
const GONE: Duration = Duration::from_secs(5);
/// … and after this long where brokers are away meanwhile.
const AWAY: Duration = Duration::from_secs(600);
/// A worker's session, as it is when nothing is said …
const SESSION: Duration = Duration::from_secs(10);
/// … and where one worker after the other dies, which takes as long as the group waits for each. It is shorter than their
/// transactions may be open, so that whoever comes after them has to end these.
const SHORT_SESSION: Duration = Duration::from_secs(4);
/// What a thread says that ends by a mistake of ours, even if the worker is started again and all comes out right.
const PANIC: &str = "panicked at";
/// What a worker logs that is not a member of the group any more.
const GIVEN_UP: &str = "partitions lost: ";
/// Transactions of dead workers are aborted by the brokers after 5 s, looked for every second.
const HANGING: Duration = Duration::from_secs(20);

/// The worker's program.
pub(super) enum Build {
    /// One that is there already.
    There(PathBuf),
    AsReleased,
    /// With fault points, and with promises that can be broken.
    WithFaults,
}

/// What happens in a run while the input comes.
pub(super) enum Course {
    /// What is drawn from these kinds, for some minutes.
    Disturbed(Choice),
    /// A worker dies, or fails, at one fault point after the other.
    FaultPoints(Vec<Point>),
}

impl Course {
    fn session(&self) -> Duration {
        match self {
            Self::Disturbed(_) => SESSION,
            Self::FaultPoints(_) => SHORT_SESSION,
        }
    }

    /// Every third run that is disturbed has the protocol of KIP-848, where the brokers decide on assignments and sessions.
    /// Fault points need the short session, broken builds what is known to catch them.
    fn group_protocol(&self, seed: u64, broken: Option<&str>) -> &'static str {
        match self {
            Self::Disturbed(_) if broken.is_none() && seed % 3 == 1 => "consumer",
            _ => "classic",
        }
    }

    /// Reasons of a worker that finds its state or its source in disorder. Nobody has touched either, but for an offset
    /// that may have been moved.
    fn alarms(&self) -> Vec<&'static str> {
        let mut alarms = vec!["StateUnreadable", "StateOwnedByAnother", "SourceRetentionPassed"];
        if !matches!(self, Self::Disturbed(choice) if choice.contains(Kind::OffsetMoved)) {
            alarms.push("StateDisagrees");
        }
        alarms
    }
}

/// What all runs of a command share.
pub(super) struct Stage {
    folder: PathBuf,
    binary: PathBuf,
    proxies: Vec<Proxy>,
    cluster: Cluster,
    interrupted: Arc<AtomicBool>,
}

impl Stage {
    /// Builds the worker and starts the brokers.
    pub(super) fn set_up(build: &Build, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
        let folder = folder.canonicalize().context("failed to resolve the folder of the run")?;
        let binary = binary(build, &folder)?;
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
    pub(super) fn run(
        &mut self,
        options: &Options,
        course: &Course,
        broken: Option<&str>,
        seed: u64,
    ) -> Result<Report> {
        let began = Instant::now();
        let protocol = course.group_protocol(seed, broken);
        let breaks = broken.map(|name| format!(", broken on purpose: {name}")).unwrap_or_default();
        println!("\nseed {seed}, group protocol {protocol}{breaks}");
        let brokers = self.cluster.addresses();
        let interrupted = Arc::clone(&self.interrupted);
        let interrupted = move || {
            ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
            Ok(())
        };
        let identity = format!("chaos-{seed}");
        let source = format!("{identity}.in");
        let folder = self.folder.join(&identity);
        let pipeline = Pipeline::write(&folder, &identity, &source, protocol, seed)?;
        topics::create(&brokers, &source, options.partitions)?;
        let group = Group::of(&brokers, &identity, &source, options.partitions)?;
        let proxied = self.proxies.iter().map(|proxy| format!("127.0.0.1:{}", proxy.port())).collect::<Vec<_>>();
        let recipe = Recipe {
            binary: self.binary.clone(),
            pipeline: folder,
            brokers: proxied.join(","),
            session: course.session(),
            environment: broken.map(|name| ("FAULTLINE_BREAK".to_owned(), name.to_owned())).into_iter().collect(),
        };
        let input = Input::new(seed, options.partitions, options.rate);
        let sending = Sending::start(&brokers, &source, input, options.partitions, options.rate);
        let mut world = World::new(
            &mut self.cluster,
            &self.proxies,
            Crew::new(recipe),
            (&group, &identity),
            options.workers as usize,
            &interrupted,
        );
        world.fill_up()?;
        let mut report = Report::default();
        let happened = match course {
            Course::Disturbed(choice) => {
                let mut plan = Plan::new(seed, choice.clone());
                disturb(&mut world, &mut plan, &sending, Duration::from_secs_f64(options.minutes() * 60.0))?;
                plan.happened()
            }
            Course::FaultPoints(tour) => points::visit_all(&mut world, tour, seed, &mut report)?,
        };
        println!("healing, then the rest");
        world.heal()?;
        let (sent, aborted) = sending.sent();
        let ends = sending.finish()?;

        drain(&mut world, &ends, if broken.is_some() { STUCK_AS_EXPECTED } else { STUCK }, &mut report)?;
        leave(&mut world, options.partitions, &mut report)?;
        world.crew.lines_with(&course.alarms()).into_iter().for_each(|line| report.tell_of_state(line));
        world.crew.lines_with(&[PANIC]).into_iter().for_each(|line| report.tell(line));
        let ended_badly = world.ended_badly;
        drop(world);
        let drained = began.elapsed();
        verify(&brokers, &pipeline, &group, &ends, &mut report)?;
        let is_caught = broken.is_some() && report.shows_a_broken_promise();
        if !is_caught && !report.stands_still() && topics::partitions(&brokers, &pipeline.state_topic())? > 0 {
            self.compare_with_twin(&pipeline, &ends, seed, &mut report)?;
        }

        let interfered: u64 = self.proxies.iter().map(Proxy::interfered).sum();
        println!(
            "seed {seed}: {sent} records and {aborted} aborted ones in, {} records compared, {:.0} s and {:.0} s to verify",
            report.compared(),
            drained.as_secs_f64(),
            (began.elapsed() - drained).as_secs_f64(),
        );
        println!(
            "disturbances: {happened}; answers dropped or delayed so far: {interfered}; workers that ended badly: {ended_badly}"
        );
        match report.is_clean() {
            true => {
                println!("seed {seed}: clean");
                // Later runs find brokers that carry no more than the first one did.
                topics::delete_all(&brokers, &[format!("{identity}."), format!("{identity}-twin.")])?;
            }
            false => println!("seed {seed}: NOT CLEAN\n{report}"),
        }
        Ok(report)
    }

    /// A worker that nobody disturbs does the same, with other names; then both states must be equal.
    fn compare_with_twin(&self, pipeline: &Pipeline, ends: &[i64], seed: u64, report: &mut Report) -> Result<()> {
        let identity = format!("{}-twin", pipeline.identity);
        let folder = self.folder.join(&identity);
        let brokers = self.cluster.addresses();
        let twin = Pipeline::write(&folder, &identity, &pipeline.source, "classic", seed)?;
        let group = Group::of(&brokers, &identity, &twin.source, ends.len() as i32)?;
        let recipe = Recipe {
            binary: self.binary.clone(),
            pipeline: folder,
            brokers: brokers.clone(),
            session: SESSION,
            environment: Vec::new(),
        };
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
            let committed = group.committed_so_far(PROGRESS).unwrap_or_default();
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
fn binary(build: &Build, folder: &Path) -> Result<PathBuf> {
    let copy = folder.join(PROGRAM);
    match build {
        Build::There(binary) => copy_to(&copy, binary)?,
        Build::AsReleased => copy_to(&copy, &compile(&[])?)?,
        Build::WithFaults => {
            copy_to(&copy, &compile(&["--features", "faults"])?)?;
            // What others find there afterwards is the program as it is released.
            compile(&[])?;
        }
    }
    Ok(copy)
}

fn copy_to(copy: &Path, program: &Path) -> Result<()> {
    fs::copy(program, copy).map(drop).with_context(|| format!("failed to copy {}", program.display()))
}

fn compile(features: &[&str]) -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--package", "faultline-cli"]).args(features).current_dir(tree::root());
    let status = cargo.status().context("failed to run cargo")?;
    ensure!(status.success(), "the worker could not be built ({status})");
    Ok(tree::target_folder().join("release").join(PROGRAM))
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
            tell(world, sending.sent(), plan.total(), began);
        }
        std::thread::park_timeout(TURN);
    }
    Ok(())
}

fn tell(world: &World<'_>, (sent, aborted): (u64, u64), disturbances: u64, began: Instant) {
    // Nobody can say while the coordinator is away.
    let committed =
        world.group.committed_so_far(Duration::from_secs(1)).map(|offsets| offsets.iter().map(|o| o.max(&0)).sum());
    let committed = committed.map_or("not known now".to_owned(), |sum: i64| sum.to_string());
    println!(
        "{:7.1} s  {sent} in and {aborted} aborted, offsets committed {committed}, {} workers, {disturbances} disturbances",
        began.elapsed().as_secs_f64(),
        world.crew.len(),
    );
}

/// Waits until the workers have committed the end of every partition; or tells where they stand still.
fn drain(world: &mut World<'_>, ends: &[i64], patience: Duration, report: &mut Report) -> Result<()> {
    let mut moved = (Vec::new(), Instant::now());
    let mut told = Instant::now();
    while moved.0 != ends {
        world.turn()?;
        let committed = world.group.committed_so_far(Duration::from_secs(1)).unwrap_or_default();
        if !committed.is_empty() && committed != moved.0 {
            moved = (committed, Instant::now());
        }
        if moved.1.elapsed() > patience {
            world.crew.write_statuses()?;
            let problems = world.crew.problems().join("; ");
            report.stand_still(format!(
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

/// Lets the workers leave, so that the state holds everything that was read. One that the group gives up meanwhile ends as
/// if it had crashed: then one more worker brings everything back, and leaves.
fn leave(world: &mut World<'_>, partitions: i32, report: &mut Report) -> Result<()> {
    let given_up = world.crew.times_said(GIVEN_UP);
    let mut complaints = world.stop_all(LEAVE)?;
    if !report.stands_still() && world.crew.times_said(GIVEN_UP) > given_up {
        world.log("the group gave up a worker that was leaving; one more brings everything back");
        bring_back(world, partitions, report)?;
        complaints.extend(world.stop_all(LEAVE)?);
    }
    complaints.into_iter().for_each(|complaint| report.tell(complaint));
    Ok(())
}

/// Starts a worker and waits until it has brought back every partition; or tells that it does not.
fn bring_back(world: &mut World<'_>, partitions: i32, report: &mut Report) -> Result<()> {
    let number = world.crew.start(None)?;
    let are_ready = |log: &str| (0..partitions).all(|number| log.contains(&format!("{READY} partition={number} ")));
    let began = Instant::now();
    while !are_ready(&world.crew.log(number)) {
        world.turn()?;
        if began.elapsed() > STUCK {
            let problems = world.crew.problems().join("; ");
            report.stand_still(format!("worker {number} does not bring back all partitions; {problems}"));
            break;
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
