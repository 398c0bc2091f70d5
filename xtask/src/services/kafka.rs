//! One Kafka broker: fetched once into a cache, configured, started, waited for, stopped by its process id.

pub(crate) mod cluster;
mod configuration;

use std::fs::{self, File};
use std::net::TcpListener;
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::services::{bound, fresh_folder, tools};
use crate::tree;
use configuration::Ports;
pub(crate) use configuration::{Access, VERSION};

/// A start takes 3 to 8 s here; a machine that needs longer than this is stuck.
const START_LIMIT: Duration = Duration::from_secs(90);
/// A clean shutdown takes about a second.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// Lines of the broker's log that an error shows.
const LOG_TAIL: usize = 25;

/// Below those that the system gives to outgoing connections, one of which could take the port of a broker that is away for
/// a moment.
const PORTS: Range<u16> = 12_000..28_000;

/// What Java gets for a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Java {
    /// Half a GiB: enough to be correct, also when several run side by side.
    Small,
    /// 3 GiB, and what Kafka's documentation advises besides. In a small heap each large batch starts a collection, and
    /// what is measured is the collector.
    Measured,
}

impl Java {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Small => &["-Xmx512m"],
            Self::Measured => &[
                "-Xms3g",
                "-Xmx3g",
                "-XX:+UseG1GC",
                "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35",
                "-XX:G1HeapRegionSize=16M",
                "-XX:MetaspaceSize=96m",
                "-XX:MinMetaspaceFreeRatio=50",
                "-XX:MaxMetaspaceFreeRatio=80",
                "-XX:+ExplicitGCInvokesConcurrent",
            ],
        }
    }
}

/// What broker to start.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Configuration, log and data live here; data found there is used again.
    pub(crate) folder: PathBuf,
    /// `None`: a free port.
    pub(crate) port: Option<u16>,
    /// Who may do what.
    pub(crate) access: Access,
    /// It runs on when this program ends, however that comes about.
    pub(crate) lasts: bool,
    /// Its memory.
    pub(crate) java: Java,
}

/// A running broker. Dropping it kills the process.
pub(crate) struct Kafka {
    child: Option<Child>,
    folder: PathBuf,
    addresses: Vec<String>,
}

impl Kafka {
    /// One for a single run: in a fresh folder, without rights, and gone with this program at the latest.
    pub(crate) fn fresh(java: Java) -> Result<Self> {
        Self::start(Setup { folder: fresh_folder()?, port: None, access: Access::Open, lasts: false, java })
    }

    /// Starts a broker and waits until it answers.
    pub(crate) fn start(setup: Setup) -> Result<Self> {
        let libraries = provide_libraries()?;
        fs::create_dir_all(&setup.folder).with_context(|| format!("failed to create {}", setup.folder.display()))?;
        let folder = setup.folder.canonicalize().context("failed to resolve the broker's folder")?;
        ensure!(running_process(&folder).is_none(), "a broker is already running in {}", folder.display());

        let ports =
            Ports { open: setup.port.map_or_else(free_port, Ok)?, controller: free_port()?, sasl: free_port()? };
        let properties = folder.join("server.properties");
        fs::write(&properties, configuration::properties(&folder, &ports, setup.access))
            .context("failed to write server.properties")?;
        if !folder.join("data/meta.properties").exists() {
            format_storage(&libraries, &properties, setup.access)?;
        }
        let child = spawn(&libraries, &folder, &properties, &setup)?;
        let kafka = Self { child: Some(child), addresses: ports.addresses(setup.access), folder };
        kafka.wait_for_answer()?;
        if setup.access == Access::Restricted {
            grant_rights(&libraries, &kafka.addresses[0])?;
        }
        Ok(kafka)
    }

    /// `host:port` without rights; where rights are demanded, a second one for SASL.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Its process, while it runs.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Stops it cleanly.
    pub(crate) fn stop(mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        terminate(Pid::from_raw(child.id() as i32))?;
        child.wait().context("failed to wait for the broker")?;
        Ok(())
    }

    /// Kills it and removes its data.
    pub(crate) fn discard(self) -> Result<()> {
        let folder = self.folder.clone();
        drop(self);
        fs::remove_dir_all(&folder).with_context(|| format!("failed to remove {}", folder.display()))
    }

    /// Lets it run on after this program; [`stop_by_file`] finds it again.
    pub(crate) fn leave_running(mut self) -> Result<()> {
        if let Some(child) = self.child.take() {
            fs::write(pid_file(&self.folder), child.id().to_string())
                .context("failed to write the broker's process id")?;
        }
        Ok(())
    }

    /// The port opens long before the broker can serve: only a metadata answer counts.
    fn wait_for_answer(&self) -> Result<()> {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.addresses[0])
            .set("reconnect.backoff.max.ms", "200")
            .create()
            .context("failed to make a Kafka client")?;
        let began = Instant::now();
        loop {
            if client.fetch_metadata(None, Duration::from_millis(500)).is_ok_and(|answer| !answer.brokers().is_empty())
            {
                return Ok(());
            }
            if !self.is_alive() {
                bail!("Kafka ended while it started; {}", self.log_tail());
            }
            if began.elapsed() > START_LIMIT {
                bail!("Kafka did not answer within {} s; {}", START_LIMIT.as_secs(), self.log_tail());
            }
        }
    }

    fn is_alive(&self) -> bool {
        self.child.as_ref().is_some_and(|child| is_process_of(child.id() as i32, &self.folder))
    }

    fn log_tail(&self) -> String {
        let path = self.folder.join("log");
        let log = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n  ");
        format!("the end of {}:\n  {tail}", path.display())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _gone_already = child.kill();
            let _status = child.wait();
        }
    }
}

/// Stops the broker that was left running in a folder.
pub(crate) fn stop_by_file(folder: &Path) -> Result<()> {
    let folder = folder.canonicalize().with_context(|| format!("no broker was started in {}", folder.display()))?;
    let process = running_process(&folder).with_context(|| format!("no broker runs in {}", folder.display()))?;
    terminate(process)?;
    fs::remove_file(pid_file(&folder)).context("failed to remove the file of the process id")
}

/// Asks the process to end, then insists.
fn terminate(process: Pid) -> Result<()> {
    kill(process, Signal::SIGTERM).context("failed to stop the broker")?;
    let began = Instant::now();
    while is_running(process) {
        if began.elapsed() > STOP_LIMIT {
            return kill(process, Signal::SIGKILL).context("failed to kill the broker");
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

/// A zombie that nobody has waited for yet does not run any more.
fn is_running(process: Pid) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

fn pid_file(folder: &Path) -> PathBuf {
    folder.join("pid")
}

fn running_process(folder: &Path) -> Option<Pid> {
    let id = fs::read_to_string(pid_file(folder)).ok()?.trim().parse().ok()?;
    is_process_of(id, folder).then(|| Pid::from_raw(id))
}

/// Process ids are used again: it is ours only if its command line names our folder.
fn is_process_of(id: i32, folder: &Path) -> bool {
    fs::read(format!("/proc/{id}/cmdline"))
        .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*folder.to_string_lossy()))
}

/// A port that nobody listens on, each time another one.
pub(crate) fn free_port() -> Result<u16> {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(PORTS.end - PORTS.start);
    // Processes begin at different places.
    let begin = std::process::id().wrapping_mul(101);
    let next = || PORTS.start + (begin.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % count) as u16;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..count).map(|_| next()).find(is_free).with_context(|| format!("no port in {PORTS:?} is free"))
}

/// The broker's libraries: fetched by Maven once, kept in `$FAULTLINE_CACHE` or `target/services`.
pub(crate) fn provide_libraries() -> Result<PathBuf> {
    let cache = std::env::var_os("FAULTLINE_CACHE")
        .map_or_else(|| tree::target_folder().join("services"), PathBuf::from)
        .join("kafka");
    let (libraries, pom) = (cache.join("libs"), cache.join("pom.xml"));
    tools::provide(&tools::BROKER)?;
    if libraries.is_dir() && fs::read_to_string(&pom).is_ok_and(|text| text == configuration::POM) {
        return Ok(libraries);
    }
    eprintln!("fetching Kafka {} with Maven into {} (once)", VERSION, cache.display());
    let part = cache.join("libs.part");
    for stale in [&libraries, &part] {
        if stale.exists() {
            fs::remove_dir_all(stale).with_context(|| format!("failed to remove {}", stale.display()))?;
        }
    }
    fs::create_dir_all(&cache).with_context(|| format!("failed to create {}", cache.display()))?;
    fs::write(&pom, configuration::POM).context("failed to write the pom")?;
    let status = Command::new("mvn")
        .args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "-DoutputDirectory=libs.part"])
        .current_dir(&cache)
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .context("failed to run mvn")?;
    ensure!(status.success(), "Maven could not fetch Kafka ({status}); its words are above. Is the network reachable?");
    fs::rename(&part, &libraries).context("failed to move the libraries into place")?;
    Ok(libraries)
}

fn java(libraries: &Path) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN", "-cp", &class_path(libraries)]);
    java
}

fn class_path(libraries: &Path) -> String {
    format!("{}/*", libraries.display())
}

fn format_storage(libraries: &Path, properties: &Path, access: Access) -> Result<()> {
    let mut java = java(libraries);
    java.args(["kafka.tools.StorageTool", "format", "--standalone", "-t", configuration::CLUSTER_ID, "-c"])
        .arg(properties);
    if access == Access::Restricted {
        for user in configuration::USERS {
            java.args(["--add-scram", &user.scram()]);
        }
    }
    let output = java.stdin(Stdio::null()).output().context("failed to start java")?;
    succeeded(&output, "failed to format Kafka's storage")
}

/// Rights are records of the cluster: they can only be given to a running one. The calls run side by side, since
/// each starts a JVM.
fn grant_rights(libraries: &Path, address: &str) -> Result<()> {
    let calls: Vec<Child> = configuration::rights(address)
        .into_iter()
        .map(|rights| {
            let mut java = java(libraries);
            java.arg("org.apache.kafka.tools.AclCommand").args(rights);
            java.stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .context("failed to start java")
        })
        .collect::<Result<_>>()?;
    calls.into_iter().try_for_each(|call| {
        let output = call.wait_with_output().context("failed to wait for java")?;
        succeeded(&output, "failed to grant the users' rights")
    })
}

fn succeeded(output: &Output, failure: &'static str) -> Result<()> {
    let words = [&output.stdout, &output.stderr].map(|stream| String::from_utf8_lossy(stream)).concat();
    ensure!(output.status.success(), "{failure}: {words}");
    Ok(())
}

/// In a process group of its own, so that Ctrl-C reaches us and not the broker.
fn spawn(libraries: &Path, folder: &Path, properties: &Path, setup: &Setup) -> Result<Child> {
    let log = File::create(folder.join("log")).context("failed to create the broker's log")?;
    let mut java = if setup.lasts { Command::new("java") } else { bound("java") };
    java.args(setup.java.arguments())
        .args(["-Dlog4j2.level=WARN", "-cp", &class_path(libraries), "kafka.Kafka"])
        .arg(properties)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("failed to share the broker's log")?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("failed to start java")
}
