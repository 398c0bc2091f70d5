//! Puts a worker together: the one place that names the concrete technologies.
//!
//! ```text
//! supervisor ── topics are as they must be? ─► control thread + starter + lanes ─► stop: lanes commit, group is left
//! ```

mod options;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use faultline_crds::WorkerConfig;
use faultline_crds::worker_config::{self as configured, GroupProtocol};
use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use tracing::{info, warn};

pub use self::options::{ClockKind, Options};
use crate::adapters::http_status::{Server, ServerError};
use crate::adapters::kafka_client::{ClientError, client_config};
use crate::adapters::kafka_ends;
use crate::adapters::kafka_group::{GroupConsumer, GroupContext};
use crate::adapters::kafka_native::{GroupMetadata, LaneQueue};
use crate::adapters::kafka_past::{Erasure, KafkaPast, PastConfig, owner_by_marker, state_topic};
use crate::adapters::kafka_sink::{Guarantee, KafkaSink, SinkConfig};
use crate::adapters::kafka_topics::{KafkaTopics, Layout};
use crate::backoff::Backoff;
use crate::chain::chain;
use crate::clock::{Clock, RecordsClock, WallClock};
use crate::commit::{self, Committer};
use crate::control::Control;
use crate::faults;
use crate::fold_rate::FoldRate;
use crate::forget::{self, forget};
use crate::keep::Keeper;
use crate::lane::{self, Lane};
use crate::outputs::Outputs;
use crate::ownership::{Mail, Ownership, lock};
use crate::pipeline::Scratch;
use crate::replay_time::ReplayTime;
use crate::restore::{self, Crew, Recovery};
use crate::status::{Board, Phase, Status};
use crate::{tick, watchdog};

/// How long a group waits for a silent member, when nothing is said.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// A worker that stops commits its last ticks within this time, or gives them up to the next worker. A cluster waits
/// 30 s for a process to end.
const LAST_TICKS: Duration = Duration::from_secs(10);
/// Most threads that bring shards back; beyond that they wait for the same disks.
const MOST_RESTORERS: usize = 4;
/// With `groupProtocol: consumer`, how long the brokers wait for partitions to be given up, and so how long they stand still
/// when the client has missed that it should: it does not ask again after a heartbeat that was answered late (librdkafka 2.12).
const REBALANCE_MS: &str = "30000";
/// Memory for records that were fetched and not yet taken, per process.
const PREFETCH_KB: &str = "65536";

/// Why a worker did not start. Nothing was opened.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A secret is missing.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The port cannot be had.
    #[error("failed to serve status and metrics")]
    Listen(#[source] ServerError),
    /// A thread cannot be had.
    #[error("failed to start a thread")]
    Thread(#[source] std::io::Error),
}

/// Why a worker did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The client refused its settings.
    #[error("failed to create the Kafka client")]
    Client(#[source] KafkaError),
    /// A thread panicked.
    #[error("the worker's `{0}` thread panicked")]
    Panicked(&'static str),
}

/// A running worker.
pub struct Worker {
    board: Arc<Board>,
    stop: Arc<AtomicBool>,
    supervisor: JoinHandle<Result<(), StopError>>,
    server: Option<Server>,
    // Tells the watchdog, which looks on while the last ticks are committed.
    ended: Arc<AtomicBool>,
    watchdog: Thread,
}

/// Starts a worker. It runs until [`Worker::stop`]; broker and topics may come later, the status says what is missing.
///
/// # Errors
/// What cannot change by waiting: secrets, the port, threads.
pub fn start(config: Arc<WorkerConfig>, options: Options) -> Result<Worker, StartError> {
    if !faults::arm() {
        warn!("FAULTLINE_FAULTS is not understood; nothing more of it is armed");
    }
    let secrets = options.secrets.clone().unwrap_or_else(|| PathBuf::from("/etc/faultline/secrets"));
    let client = client_config(&config.kafka, options.brokers.as_deref(), &secrets, &config.identity)?;
    let lanes = options.lanes.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let board = Arc::new(Board::new(&config.identity, lanes));
    let ownership = Arc::new(Ownership::new(lanes));
    let server = match options.listen {
        Some(address) => {
            let asked = Arc::clone(&ownership);
            let forget = move |key: &str| forget(&asked, key, forget::PATIENCE);
            Some(Server::start(address, Arc::clone(&board), Arc::new(forget)).map_err(StartError::Listen)?)
        }
        None => None,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let running = Running {
        config,
        options,
        client,
        instance: instance(),
        lanes,
        ownership,
        board: Arc::clone(&board),
        stop: Arc::clone(&stop),
    };
    let (watched, ended) = (Arc::clone(&board), Arc::new(AtomicBool::new(false)));
    let has_ended = Arc::clone(&ended);
    let watchdog = std::thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(move || watchdog::watch(|| watched.longest_silence(), &has_ended, || std::process::abort()))
        .map_err(StartError::Thread)?;
    let supervisor = std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || running.supervise())
        .map_err(StartError::Thread)?;
    Ok(Worker { board, stop, supervisor, server, ended, watchdog: watchdog.thread().clone() })
}

impl Worker {
    /// What it says now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.board.status()
    }

    /// Where it serves `/status`, `/health`, `/metrics` and `/forget`.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(Server::address)
    }

    /// True once it has ended by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.supervisor.is_finished()
    }

    /// Lets it finish: the ticks under way are committed, the group is left. A broker that does not answer is waited for
    /// only 10 s; what was not committed by then is read again by the next worker. Returns its last words.
    ///
    /// # Errors
    /// A thread panicked.
    pub fn stop(self) -> Result<Status, StopError> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.supervisor.join().unwrap_or(Err(StopError::Panicked("control")));
        self.ended.store(true, Ordering::Relaxed);
        self.watchdog.unpark();
        self.board.enter(Phase::Stopped);
        drop(self.server);
        ended.map(|()| self.board.status())
    }
}

struct Running {
    config: Arc<WorkerConfig>,
    options: Options,
    client: ClientConfig,
    instance: String,
    lanes: usize,
    ownership: Arc<Ownership<Arc<GroupMetadata>>>,
    board: Arc<Board>,
    stop: Arc<AtomicBool>,
}

impl Running {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The whole life of a worker.
    fn supervise(self) -> Result<(), StopError> {
        let development = self.options.development;
        let durable = self.is_durable();
        let topics = KafkaTopics::new(&self.config, self.client.clone(), development, durable);
        let Some(layout) = self.wait_for(&topics) else { return Ok(()) };
        let partitions = layout.source_partitions as u32;
        let layout = Arc::new(RwLock::new(layout));
        let ownership = Arc::clone(&self.ownership);
        let topic = self.config.source.topic.clone();
        let context = GroupContext::new(&topic, Arc::clone(&ownership), Arc::clone(&self.board));
        let consumer: GroupConsumer = self.group_settings().create_with_context(context).map_err(StopError::Client)?;
        let consumer = Arc::new(consumer);
        let queues: Vec<LaneQueue> = (0..self.lanes).map(|_| LaneQueue::new(&consumer, &topic)).collect();
        consumer.context().set_lanes(queues.iter().map(LaneQueue::target).collect());

        let mut lanes = Vec::new();
        for (index, source) in queues.into_iter().enumerate() {
            let sink =
                KafkaSink::new(self.sink_config(index, &layout), Arc::clone(&consumer)).map_err(StopError::Client)?;
            let (lane, committer) = self.lane(index, source, sink, &ownership, partitions);
            lanes.push(std::thread::spawn(move || lane::run(lane, committer)));
        }
        let crew = Arc::new(self.crew(topics, layout, &ownership));
        let (ready, starts) = channel();
        let mut restorers = Vec::new();
        for _ in 0..self.lanes.min(MOST_RESTORERS) {
            let past = KafkaPast::new(self.past_config()).map_err(StopError::Client)?;
            let mut past = past.erasing(Erasure::of(&ownership, self.own_transactions()));
            let (crew, ready) = (Arc::clone(&crew), ready.clone());
            restorers.push(std::thread::spawn(move || crew.work(&mut past, &ready)));
        }
        let ends = self.watch_ends(&consumer, &ownership);
        consumer.subscribe(&[&topic]).map_err(StopError::Client)?;
        self.board.enter(Phase::Running);
        let control = Control {
            consumer: Arc::clone(&consumer),
            topic,
            ownership: Arc::clone(&ownership),
            board: Arc::clone(&self.board),
            crew,
            starts,
            stop: Arc::clone(&self.stop),
        };
        // All of them end when it is time to stop. One that ends before has panicked: what it did nobody does, and a worker
        // that starts again is better than one that stays so.
        let is_over = |thread: &JoinHandle<()>| thread.is_finished();
        control.run(|| lanes.iter().chain(&restorers).any(is_over) || is_over(&ends));
        self.stop.store(true, Ordering::Relaxed);

        self.board.enter(Phase::Stopping);
        ends.thread().unpark();
        ownership.end_by(Instant::now() + LAST_TICKS);
        for lane in 0..self.lanes {
            ownership.post(lane, Mail::Stop);
        }
        while lanes.iter().any(|lane| !lane.is_finished()) {
            // Heartbeats and rebalances go on while the last ticks are committed.
            control.poll();
            control.refresh();
            self.board.control_turned();
        }
        let lanes_ended = lanes.into_iter().all(|lane| lane.join().is_ok());
        drop(control);
        let restorers_ended = restorers.into_iter().all(|restorer| restorer.join().is_ok());
        let ends_ended = ends.join().is_ok();
        // Dropping the last reference leaves the group.
        drop(consumer);
        info!("stopped");
        let threads = [("lane", lanes_ended), ("restore", restorers_ended), ("ends", ends_ended)];
        match threads.into_iter().find(|(_, has_ended_well)| !has_ended_well) {
            Some((name, _)) => Err(StopError::Panicked(name)),
            None => Ok(()),
        }
    }

    /// Asks where the source ends, on a thread of its own: an answer may take its time.
    fn watch_ends(
        &self,
        consumer: &Arc<GroupConsumer>,
        ownership: &Arc<Ownership<Arc<GroupMetadata>>>,
    ) -> JoinHandle<()> {
        let (consumer, topic) = (Arc::clone(consumer), self.config.source.topic.clone());
        let (ownership, board, stop) = (Arc::clone(ownership), Arc::clone(&self.board), Arc::clone(&self.stop));
        std::thread::spawn(move || {
            let owned = || ownership.snapshot().epochs.keys().copied().collect();
            kafka_ends::watch(&consumer, &topic, owned, &board, &stop);
        })
    }

    /// Whether state survives the process: in a transaction with the outputs, on a broker that keeps anything.
    fn is_durable(&self) -> bool {
        let exactly_once = matches!(self.config.delivery.guarantee, configured::Guarantee::ExactlyOnce);
        exactly_once && !self.options.development && !self.options.forgets_state
    }

    fn owner(&self) -> String {
        restore::owner(&self.config.namespace, &self.config.name)
    }

    fn past_config(&self) -> PastConfig {
        PastConfig {
            client: self.client.clone(),
            group: self.config.identity.clone(),
            source: self.config.source.topic.clone(),
            state: state_topic(&self.config.identity),
            owner_of: owner_by_marker(self.own_transactions()),
        }
    }

    fn crew(
        &self,
        topics: KafkaTopics,
        layout: Arc<RwLock<Layout>>,
        ownership: &Arc<Ownership<Arc<GroupMetadata>>>,
    ) -> Crew {
        let recovery = Recovery {
            config: Arc::clone(&self.config),
            owner: self.owner(),
            durable: self.is_durable(),
            disagreement: self.options.disagreement,
            trusts_record_times: matches!(self.options.clock, ClockKind::Records { .. }),
            first_look: Arc::default(),
        };
        let (owned, stop) = (Arc::clone(ownership), Arc::clone(&self.stop));
        let is_current = move |partition, epoch| {
            let snapshot = owned.snapshot();
            snapshot.epochs.get(&partition) == Some(&epoch) && !snapshot.draining.contains(&partition)
        };
        let topics = Mutex::new(topics);
        let prepare = move |partition| {
            let partitions = || layout.read().unwrap_or_else(PoisonError::into_inner).source_partitions;
            if partition >= partitions() {
                // Results and state go to their source's partition: topics grow before the new partition is read.
                let grown = lock(&topics).ensure().map_err(|error| chain(&error))?;
                *layout.write().unwrap_or_else(PoisonError::into_inner) = grown;
            }
            Ok(partitions())
        };
        let stopping = move || stop.load(Ordering::Relaxed);
        Crew::new(recovery, Arc::clone(&self.board), Box::new(is_current), Box::new(stopping), Box::new(prepare))
    }

    fn wait_for(&self, topics: &KafkaTopics) -> Option<Layout> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        while !self.stopping() {
            match topics.ensure() {
                Ok(layout) => {
                    self.board.clear("topics");
                    return Some(layout);
                }
                Err(error) => {
                    self.board.problem("topics", "TopicsNotReady", &format!("{}; trying again", chain(&error)));
                }
            }
            let until = Instant::now() + backoff.next_pause();
            while Instant::now() < until && !self.stopping() {
                self.alive();
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
        None
    }

    /// Before the lanes exist they count as turning.
    fn alive(&self) {
        self.board.control_turned();
        for lane in 0..self.lanes {
            self.board.fold_turned(lane);
            self.board.commit_turned(lane);
        }
    }

    fn group_settings(&self) -> ClientConfig {
        let mut settings = self.client.clone();
        settings
            .set("group.id", &self.config.identity)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // The start is resolved here, never by the client.
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "10")
            // The default of 1 s would stall a lane whose queue was full.
            .set("fetch.queue.backoff.ms", "2")
            .set("queued.min.messages", "100000")
            .set("queued.max.messages.kbytes", PREFETCH_KB);
        match (self.config.kafka.rack_awareness, &self.options.rack) {
            (true, Some(rack)) => {
                settings.set("client.rack", rack);
            }
            (true, None) => warn!("`rackAwareness` is set and the zone is not known; say it with --rack"),
            (false, _) => {}
        }
        let session = self.options.session_timeout.unwrap_or(SESSION_TIMEOUT);
        match self.config.kafka.group_protocol {
            GroupProtocol::Classic => settings
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", session.as_millis().to_string())
                .set("max.poll.interval.ms", "300000")
                .set("heartbeat.interval.ms", "300"),
            // Assignor and timeouts are the broker's, but for this one.
            GroupProtocol::Consumer => {
                settings.set("group.protocol", "consumer").set("max.poll.interval.ms", REBALANCE_MS)
            }
        };
        settings
    }

    /// How the transactional ids of this process begin, and no other's.
    fn own_transactions(&self) -> String {
        format!("{}.{}.", self.config.identity, self.instance)
    }

    fn transactional_id(&self, lane: usize) -> String {
        format!("{}{lane}", self.own_transactions())
    }

    fn sink_config(&self, lane: usize, layout: &Arc<RwLock<Layout>>) -> SinkConfig {
        SinkConfig {
            client: self.client.clone(),
            transactional_id: self.transactional_id(lane),
            group: self.config.identity.clone(),
            source: self.config.source.topic.clone(),
            pipeline: format!("{}/{}", self.config.namespace, self.config.name),
            guarantee: match self.config.delivery.guarantee {
                configured::Guarantee::ExactlyOnce => Guarantee::ExactlyOnce { development: self.options.development },
                configured::Guarantee::AtLeastOnce => Guarantee::AtLeastOnce,
            },
            layout: Arc::clone(layout),
        }
    }

    fn lane<S: crate::ports::Source, K: crate::ports::Sink>(
        &self,
        index: usize,
        source: S,
        sink: K,
        ownership: &Arc<Ownership<K::Fence>>,
        partitions: u32,
    ) -> (Lane<S, K::Fence>, Committer<K>) {
        let clock = self.options.clock;
        let (commits, fold) = tick::connect();
        let stopping = Arc::new(AtomicBool::new(false));
        let committer = Committer {
            index,
            sink,
            durable: self.is_durable(),
            ownership: Arc::clone(ownership),
            board: Arc::clone(&self.board),
            fold,
            patience: commit::PATIENCE,
            stopping: Arc::clone(&stopping),
        };
        let lane = Lane {
            index,
            config: Arc::clone(&self.config),
            source,
            ownership: Arc::clone(ownership),
            board: Arc::clone(&self.board),
            new_clock: Box::new(move || -> Box<dyn Clock> {
                match clock {
                    ClockKind::Wall => Box::new(WallClock),
                    ClockKind::Records { speed } => Box::new(RecordsClock::new(speed)),
                }
            }),
            shards: std::collections::BTreeMap::new(),
            scratch: Scratch::default(),
            outputs: Outputs::new(),
            keeper: Keeper::new(&self.transactional_id(index), &self.owner(), partitions),
            fold_rate: FoldRate::default(),
            replay_time: ReplayTime::default(),
            commits,
            handed_over: Instant::now(),
            records: 0,
            releases: Vec::new(),
            wishes: Vec::new(),
            stopping,
        };
        (lane, committer)
    }
}

/// Tells this process from any other worker of the pipeline.
fn instance() -> String {
    let started =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{:08x}", faultline_numerics::hash::hash64(format!("{}-{started}", std::process::id()).as_bytes()) as u32)
}
