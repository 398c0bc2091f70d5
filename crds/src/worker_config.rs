//! What a worker runs: the outcome of [`resolve`](crate::resolve()), with every reference followed, every default
//! applied and every expression compiled. A value of this type cannot be wrong.

use std::collections::BTreeMap;

use faultline_detectors::{Combine, Model};
use faultline_features::{FieldSpec, PathId, Paths, Plan, Program};
use faultline_numerics::hash::Fingerprint;

/// One pipeline, ready to run.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// `metadata.namespace`, `default` when absent.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Group id and prefix of transactional ids: `spec.kafka.identity`, `<namespace>.<name>` by default.
    pub identity: String,
    /// How to reach Kafka.
    pub kafka: Kafka,
    /// What is read and how a record becomes an event.
    pub source: Source,
    /// Every path into the event that anything below reads.
    pub paths: Paths,
    /// The compiled features.
    pub plan: Plan,
    /// For each column of the plan whether it is the value of a sensitive field, hashed in outputs: a `field` or
    /// `valuesAgo`. Aggregates and expressions are not the value itself, and are shown.
    pub hidden_columns: Vec<bool>,
    /// The models in the order of `spec.models`.
    pub models: Vec<BoundModel>,
    /// How surprises become severities, incidents and alerts.
    pub decision: Decision,
    /// Where results, alerts, dead letters and late records go.
    pub outputs: Outputs,
    /// Guarantee and pace of the commits.
    pub delivery: Delivery,
    /// Everything above as it was written: pipeline and models without what changes nothing, see
    /// [`resolve_content`](crate::resolve_content).
    pub content: String,
    /// Hash of the content.
    pub fingerprint: Fingerprint,
    /// `metadata.annotations`, for the command line (the scenario's name).
    pub annotations: BTreeMap<String, String>,
}

/// Connection to Kafka.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// `host:port`, comma separated.
    pub bootstrap_servers: String,
    /// The group protocol.
    pub group_protocol: GroupProtocol,
    /// TLS; `None` is plaintext.
    pub tls: Option<Tls>,
    /// Who we are.
    pub authentication: Option<Authentication>,
    /// Whether the consumer says in which zone it runs, to read from the nearest replica.
    pub rack_awareness: bool,
}

/// Protocol of the consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// Cooperative-sticky, timeouts by the client.
    Classic,
    /// KIP-848, timeouts by the broker. Brokers before Kafka 4.3 can leave partitions without an owner.
    Consumer,
}

/// A key inside a Secret. Locally: the file `<secrets folder>/<name>/<key>`, as a mounted Secret looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretKey {
    /// Name of the Secret.
    pub name: String,
    /// Key inside it.
    pub key: String,
}

/// TLS of the connection.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Certificates of the authority; `None` means the system's roots.
    pub ca: Option<SecretKey>,
}

/// Authentication at the broker.
#[derive(Debug, Clone)]
pub enum Authentication {
    /// SASL/SCRAM-SHA-512.
    ScramSha512 {
        /// User name.
        username: String,
        /// Where its password is.
        password: SecretKey,
    },
    /// SASL/PLAIN.
    Plain {
        /// User name.
        username: String,
        /// Where its password is.
        password: SecretKey,
    },
}

/// The source topic and the way from a record to an event.
#[derive(Debug, Clone)]
pub struct Source {
    /// Topic.
    pub topic: String,
    /// Where a group without offsets starts.
    pub start_from: StartFrom,
    /// Events for which it is not true are dropped and counted. Slots: all event paths.
    pub filter: Option<Program>,
    /// Path of the event's id; default `topic-partition-offset`.
    pub event_id: Option<PathId>,
    /// Path of the entity key; default: the record's key.
    pub key: Option<PathId>,
    /// Whether the record's key is compared with the entity key.
    pub partitioning: Partitioning,
    /// Path and unit of the event time; default: the record's timestamp.
    pub timestamp: Option<Timestamp>,
    /// How far an event may lie behind the greatest timestamp seen.
    pub allowed_lateness_ms: i64,
    /// How far an event may lie ahead.
    pub max_future_skew_ms: i64,
    /// How long ids are remembered; `None`: no deduplication.
    pub deduplicate_ms: Option<i64>,
    /// Idle keys are forgotten after this long.
    pub key_expiry_ms: i64,
    /// Most keys kept per partition.
    pub max_keys_per_partition: usize,
    /// Declared fields, in order; the slots of `Event::fields`.
    pub fields: Vec<Field>,
}

/// One declared field.
#[derive(Debug, Clone)]
pub struct Field {
    /// Name, path, type and policy.
    pub spec: FieldSpec,
    /// Hashed in outputs, absent from logs; see [`WorkerConfig::hidden_columns`].
    pub sensitive: bool,
}

/// Where a group without offsets starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// At the end.
    Latest,
    /// At the oldest record.
    Earliest,
    /// At the first record at or after this time.
    Time {
        /// Milliseconds since the epoch.
        at_ms: i64,
    },
}

/// Whether the topic's partitioning by the entity key is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioning {
    /// Compared with each record's key.
    Verified,
    /// Not compared.
    Trusted,
}

/// Event time inside the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Where it is.
    pub path: PathId,
    /// What it counts.
    pub unit: TimeUnit,
}

/// Unit of an event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds since the epoch, fractions allowed.
    Seconds,
    /// Milliseconds since the epoch.
    Milliseconds,
    /// Microseconds since the epoch.
    Microseconds,
    /// Nanoseconds since the epoch.
    Nanoseconds,
    /// RFC 3339 text.
    Rfc3339,
}

/// One model of the pipeline.
#[derive(Debug, Clone)]
pub struct BoundModel {
    /// Name within the pipeline.
    pub name: String,
    /// Name of the `DetectionModel`.
    pub model_ref: String,
    /// Its `spec.version`.
    pub version: String,
    /// Hash of what changes scores, as text.
    pub revision: String,
    /// The detector.
    pub model: Model,
    /// Column of the plan behind each of the detector's inputs.
    pub columns: Vec<usize>,
}

/// How surprises become severities, incidents and alerts.
#[derive(Debug, Clone)]
pub struct Decision {
    /// How several models are combined.
    pub combine: Combine,
    /// Lowest surprise of each severity; `None`: that severity is not given.
    pub severities: Severities,
    /// An incident closes after this long without an anomaly.
    pub quiet_period_ms: i64,
    /// An open incident is alerted again when its surprise rises by this much.
    pub escalate_by: f64,
    /// Whether keys that are not mature stay silent.
    pub new_keys: NewKeys,
    /// Mutes, in order.
    pub mutes: Vec<Mute>,
}

/// Lowest surprise (−log10 of a share) of each severity, growing from warning to critical.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Severities {
    /// `warning`.
    pub warning: Option<f64>,
    /// `major`.
    pub major: Option<f64>,
    /// `critical`.
    pub critical: Option<f64>,
}

/// What a key without history gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewKeys {
    /// Judged as new keys of the shard are.
    UsePeers,
    /// No severity until mature.
    Silent,
}

/// When anomalies are recorded but not alerted.
#[derive(Debug, Clone)]
pub struct Mute {
    /// Its name.
    pub name: String,
    /// The condition.
    pub condition: MuteCondition,
}

/// The condition of a mute.
#[derive(Debug, Clone)]
pub enum MuteCondition {
    /// Event times in a calendar's ranges.
    Schedule {
        /// Days of the month that it begins on: 1 to 31, or −1 for the last. Empty: not limited.
        days_of_month: Vec<i8>,
        /// Days of the week that it begins on, 1 = Monday. Empty: not limited.
        days_of_week: Vec<u8>,
        /// Minutes after local midnight at which it begins.
        at_minutes: u16,
        /// The zone of the calendar.
        time_zone: chrono_tz::Tz,
        /// How long it lasts.
        duration_ms: i64,
    },
    /// Slots: the plan's columns (`features.<name>`), then the key, the surprise and the severity's name.
    When(Program),
}

/// Output topics.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Results.
    pub results: Results,
    /// Alerts.
    pub alerts: Alerts,
    /// Dead letters.
    pub dead_letter: DeadLetter,
    /// Topic of late records.
    pub late_topic: String,
    /// Who makes the topics, and how.
    pub topics: Topics,
}

/// Results.
#[derive(Debug, Clone)]
pub struct Results {
    /// Topic.
    pub topic: String,
    /// Which events get one.
    pub mode: ResultsMode,
    /// Features in every result, not only in anomalies'.
    pub features_always: bool,
}

/// Which events get a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultsMode {
    /// Every scored event.
    All,
    /// Those with a severity.
    Anomalies,
    /// None.
    None,
}

/// Alerts.
#[derive(Debug, Clone)]
pub struct Alerts {
    /// Topic.
    pub topic: String,
    /// Older events (a backfill) are marked, not alerted; `None`: no limit.
    pub max_event_age_ms: Option<i64>,
    /// Copied into each alert.
    pub labels: BTreeMap<String, String>,
    /// Copied into each alert.
    pub runbook_url: Option<String>,
}

/// Dead letters.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Topic.
    pub topic: String,
    /// Largest share among the last 1,000 records of a shard before it stops.
    pub max_share: f64,
}

/// Creation of topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Who makes them.
    pub managed_by: ManagedBy,
    /// Replicas; `None`: the broker's default.
    pub replication_factor: Option<i32>,
    /// `retention.ms`; `None`: the broker's default.
    pub retention_ms: Option<i64>,
}

/// Who makes topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagedBy {
    /// The worker creates, grows and configures.
    Worker,
    /// Nobody: the worker only checks.
    None,
}

/// Guarantee and pace of the commits.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The guarantee.
    pub guarantee: Guarantee,
    /// Least time between two commits of a lane.
    pub commit_interval_ms: u64,
    /// Longest replay after a crash.
    pub max_recovery_ms: u64,
}

/// The guarantee of delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// One transaction per tick.
    ExactlyOnce,
    /// Outputs flushed, then offsets committed.
    AtLeastOnce,
}
