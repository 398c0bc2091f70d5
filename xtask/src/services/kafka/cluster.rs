//! Three brokers in combined mode, everything replicated three times. Each can be stopped, killed and started alone;
//! none outlives the thread that started it.
//!
//! A broker has two listeners for clients: a direct one, and one whose advertised address is that of a proxy, so that
//! whoever bootstraps through the proxies stays behind them.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{class_path, configuration, free_port, java, provide_libraries, succeeded};
use crate::services::bound;

/// Brokers of a cluster.
pub(crate) const BROKERS: usize = 3;
/// Three brokers start side by side on few processors.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Ports of one broker, all on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberPorts {
    /// Clients that come straight to it, and the other brokers.
    pub(crate) open: u16,
    /// Where the proxy connects to.
    pub(crate) behind: u16,
    /// The quorum of controllers.
    controller: u16,
}

impl MemberPorts {
    /// Free ports for all brokers.
    pub(crate) fn free() -> Result<[Self; BROKERS]> {
        let one =
            || -> Result<Self> { Ok(Self { open: free_port()?, behind: free_port()?, controller: free_port()? }) };
        Ok([one()?, one()?, one()?])
    }
}

/// One broker.
struct Member {
    folder: PathBuf,
    child: Option<Child>,
}

/// Three brokers. Dropping it kills them.
pub(crate) struct Cluster {
    libraries: PathBuf,
    ports: [MemberPorts; BROKERS],
    members: Vec<Member>,
    client: BaseConsumer,
}

impl Cluster {
    /// Starts the brokers in a folder, `proxies` being the ports that their second listener advertises, and waits until
    /// all of them answer.
    pub(crate) fn start(folder: &Path, ports: [MemberPorts; BROKERS], proxies: [u16; BROKERS]) -> Result<Self> {
        let libraries = provide_libraries()?;
        let mut members = Vec::new();
        for (index, proxy) in proxies.into_iter().enumerate() {
            let folder = folder.join(format!("broker-{}", index + 1));
            fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
            let properties = configuration_of(&folder, &ports, index, proxy);
            fs::write(folder.join("server.properties"), properties).context("failed to write server.properties")?;
            members.push(Member { folder, child: None });
        }
        format_all(&libraries, &members)?;
        let client = ClientConfig::new()
            .set("bootstrap.servers", addresses(&ports))
            .set("reconnect.backoff.max.ms", "200")
            .set("topic.metadata.refresh.interval.ms", "-1")
            .set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg)
            .create()
            .context("failed to make a Kafka client")?;
        let mut cluster = Self { libraries, ports, members, client };
        (0..BROKERS).try_for_each(|index| cluster.start_member(index))?;
        cluster.wait_for_all()?;
        Ok(cluster)
    }

    /// `host:port` of all brokers, past the proxies.
    pub(crate) fn addresses(&self) -> String {
        addresses(&self.ports)
    }

    /// Starts a broker that does not run; returns at once.
    pub(crate) fn start_member(&mut self, index: usize) -> Result<()> {
        let member = &mut self.members[index];
        if member.child.is_none() {
            member.child = Some(spawn(&self.libraries, &member.folder)?);
        }
        Ok(())
    }

    /// Asks a broker to end; returns at once, [`Cluster::has_ended`] tells.
    pub(crate) fn ask_to_end(&self, index: usize) -> Result<()> {
        match &self.members[index].child {
            Some(child) => kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).context("failed to stop a broker"),
            None => Ok(()),
        }
    }

    /// Kills a broker.
    pub(crate) fn kill_member(&mut self, index: usize) {
        if let Some(mut child) = self.members[index].child.take() {
            let _gone_already = child.kill();
            let _status = child.wait();
        }
    }

    /// Whether a broker does not run (any more).
    pub(crate) fn has_ended(&mut self, index: usize) -> Result<bool> {
        let member = &mut self.members[index];
        if let Some(child) = &mut member.child
            && child.try_wait().context("failed to look after a broker")?.is_some()
        {
            member.child = None;
        }
        Ok(member.child.is_none())
    }

    /// Whether every broker is there and every partition has all its replicas in sync.
    pub(crate) fn is_whole(&self) -> bool {
        // A broker opens its port once it knows what happened meanwhile; what the others say before that is old.
        let is_open = |ports: &MemberPorts| TcpStream::connect(("127.0.0.1", ports.open)).is_ok();
        if !self.ports.iter().all(is_open) {
            return false;
        }
        let Ok(metadata) = self.client.fetch_metadata(None, Duration::from_secs(2)) else { return false };
        let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        metadata.brokers().len() == BROKERS
            && partitions
                .all(|partition| partition.leader() >= 0 && partition.isr().len() == partition.replicas().len())
    }

    /// The broker that leads a partition of an internal topic.
    pub(crate) fn leader_of(&self, topic: &str, partition: i32) -> Option<usize> {
        let metadata = self.client.fetch_metadata(Some(topic), Duration::from_secs(2)).ok()?;
        let partitions = metadata.topics().first()?.partitions();
        let leader = partitions.iter().find(|found| found.id() == partition)?.leader();
        usize::try_from(leader - 1).ok().filter(|index| *index < BROKERS)
    }

    fn wait_for_all(&mut self) -> Result<()> {
        let began = Instant::now();
        while !self.is_whole() {
            for index in 0..BROKERS {
                if self.has_ended(index)? {
                    bail!("a broker ended while it started; see {}", self.members[index].folder.join("log").display());
                }
            }
            ensure!(began.elapsed() < START_LIMIT, "the brokers did not answer within {} s", START_LIMIT.as_secs());
            std::thread::park_timeout(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..BROKERS).for_each(|index| self.kill_member(index));
    }
}

fn addresses(ports: &[MemberPorts; BROKERS]) -> String {
    ports.map(|ports| format!("127.0.0.1:{}", ports.open)).join(",")
}

fn format_all(libraries: &Path, members: &[Member]) -> Result<()> {
    let calls: Vec<Child> = members
        .iter()
        .map(|member| {
            let mut java = java(libraries);
            java.args(["kafka.tools.StorageTool", "format", "-t", configuration::CLUSTER_ID, "-c"]);
            java.arg(member.folder.join("server.properties"));
            java.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            java.spawn().context("failed to start java")
        })
        .collect::<Result<_>>()?;
    calls.into_iter().try_for_each(|call| {
        let output = call.wait_with_output().context("failed to wait for java")?;
        succeeded(&output, "failed to format Kafka's storage")
    })
}

fn spawn(libraries: &Path, folder: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(folder.join("log"));
    let log = log.context("failed to open a broker's log")?;
    bound("java")
        .args(["-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dlog4j2.level=WARN"])
        .args(["-cp", &class_path(libraries), "kafka.Kafka"])
        .arg(folder.join("server.properties"))
        .current_dir(folder)
        .stdout(log.try_clone().context("failed to share a broker's log")?)
        .stderr(log)
        .spawn()
        .context("failed to start java through setpriv (of util-linux)")
}

/// `server.properties` of one broker of three.
fn configuration_of(folder: &Path, ports: &[MemberPorts; BROKERS], index: usize, proxy: u16) -> String {
    let MemberPorts { open, behind, controller } = ports[index];
    let voters: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(other, ports)| format!("{}@127.0.0.1:{}", other + 1, ports.controller))
        .collect();
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{open},PROXIED://127.0.0.1:{behind},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{open},PROXIED://127.0.0.1:{proxy}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
num.network.threads=2
num.io.threads=4
broker.session.timeout.ms=6000
leader.imbalance.check.interval.seconds=5
log.initial.task.delay.ms=1000
log.cleaner.backoff.ms=500
log.retention.check.interval.ms=5000
offsets.topic.replication.factor=3
offsets.topic.num.partitions={OFFSETS_PARTITIONS}
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=2000
group.consumer.min.session.timeout.ms=3000
group.consumer.session.timeout.ms=10000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1000
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
share.coordinator.state.topic.num.partitions=4
",
        id = index + 1,
        voters = voters.join(","),
        folder = folder.display(),
    )
}

/// Partitions of `__consumer_offsets`.
const OFFSETS_PARTITIONS: i32 = 4;

/// The partition of `__consumer_offsets` whose leader coordinates a group: Java's hash of its name.
pub(crate) fn offsets_partition(group: &str) -> i32 {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) % OFFSETS_PARTITIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: [MemberPorts; BROKERS] = [
        MemberPorts { open: 11, behind: 12, controller: 13 },
        MemberPorts { open: 21, behind: 22, controller: 23 },
        MemberPorts { open: 31, behind: 32, controller: 33 },
    ];

    #[test]
    fn a_broker_knows_the_quorum_and_advertises_its_proxy() {
        let text = configuration_of(Path::new("/f"), &PORTS, 1, 99);
        for line in [
            "node.id=2",
            "controller.quorum.voters=1@127.0.0.1:13,2@127.0.0.1:23,3@127.0.0.1:33",
            "listeners=PLAINTEXT://127.0.0.1:21,PROXIED://127.0.0.1:22,CONTROLLER://127.0.0.1:23",
            "advertised.listeners=PLAINTEXT://127.0.0.1:21,PROXIED://127.0.0.1:99",
            "log.dirs=/f/data",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
        }
    }

    #[test]
    fn a_group_is_coordinated_where_java_says() {
        // "abc".hashCode() is 96354.
        assert_eq!(offsets_partition("abc"), 96354 % OFFSETS_PARTITIONS);
        assert!((0..OFFSETS_PARTITIONS).contains(&offsets_partition("a longer name whose hash is negative, perhaps")));
    }
}
