//! The topics of a pipeline: the source is checked, the outputs and the state are created, grown and checked.
//!
//! Where `outputs.topics.managedBy` is `worker`, missing topics are created with the worker's own identity, and results
//! and state grow to as many partitions as the source has; partitions never shrink, and settings of topics that exist
//! are left alone. `none` only checks. There is a state topic only where state is durable.

use std::collections::HashMap;
use std::time::Duration;

use faultline_crds::worker_config::{ManagedBy, Outputs, WorkerConfig};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use tracing::{info, warn};

use super::kafka_past::state_topic;
use crate::outputs::Topic;

/// One request may take this long.
const REQUEST: Duration = Duration::from_secs(10);
/// Room for headers on top of the source's largest record.
const HEADROOM: usize = 64 << 10;
/// `max.message.bytes` of a broker that does not tell.
const DEFAULT_LIMIT: usize = 1_048_588;

/// The largest record of state that a worker writes: a part of a key's image, with room to spare.
const STATE_RECORD: usize = 1 << 20;
/// What a state topic is created with, beside `min.insync.replicas`.
const STATE_SETTINGS: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    // A recovery reads the whole topic: what is outdated has to be gone soon. Small segments are closed early, and only
    // closed ones are compacted, once a fifth of them is outdated.
    ("segment.bytes", "67108864"),
    ("segment.ms", "600000"),
    ("min.cleanable.dirty.ratio", "0.2"),
    // A recovery that began before a tombstone was written must still see it, and so must a replica whose broker was
    // away: it would keep what was deleted, and show it once it leads.
    ("delete.retention.ms", "86400000"),
];
/// With so many replicas a write waits for two of them: it survives the loss of a broker, and of one more for reading.
const SAFE_REPLICAS: usize = 3;

/// The topics as they were last seen. Lists are in the order of [`Topic`]; without durable state they end before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Source topic.
    pub(crate) source: String,
    /// Its partitions.
    pub(crate) source_partitions: i32,
    /// Names of the output topics.
    pub(crate) names: Vec<String>,
    /// Their partitions.
    pub(crate) partitions: Vec<i32>,
    /// Their largest records, bytes.
    pub(crate) limits: Vec<usize>,
}

/// Why the topics are not as they must be. All of them may change without a restart, so they are tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopicsError {
    /// No broker answered.
    #[error("no broker answers at `{brokers}`")]
    Unreachable {
        /// Where.
        brokers: String,
        /// The client's words.
        source: KafkaError,
    },
    /// The source is not there.
    #[error("source topic `{topic}` does not exist; create it, or correct `spec.source.topic`")]
    NoSource {
        /// Its name.
        topic: String,
    },
    /// Records of a compacted topic disappear, so its offsets cannot be replayed.
    #[error(
        "source topic `{topic}` is compacted (cleanup.policy={policy}): old events would vanish from under the windows; use a topic with cleanup.policy=delete"
    )]
    Compacted {
        /// Its name.
        topic: String,
        /// What it says.
        policy: String,
    },
    /// An output topic is missing and nobody makes it.
    #[error(
        "output topic `{topic}` does not exist and `spec.outputs.topics.managedBy` is none; create it with {partitions} partitions"
    )]
    NoOutput {
        /// Its name.
        topic: String,
        /// As many as this.
        partitions: i32,
    },
    /// The state topic is missing and nobody makes it.
    #[error(
        "state topic `{topic}` does not exist and `spec.outputs.topics.managedBy` is none; create it with {partitions} partitions and cleanup.policy=compact"
    )]
    NoState {
        /// Its name.
        topic: String,
        /// As many as this.
        partitions: i32,
    },
    /// State would be deleted by age.
    #[error(
        "state topic `{topic}` has cleanup.policy={policy}, which deletes the state of windows and incidents that are still in use; set cleanup.policy=compact on it, or, to give up all state, delete the topic while no worker runs"
    )]
    StateNotCompacted {
        /// Its name.
        topic: String,
        /// What it says.
        policy: String,
    },
    /// State would not fit.
    #[error(
        "state topic `{topic}` has max.message.bytes={found}, and records of state take up to {expected}; raise it"
    )]
    StateLimit {
        /// Its name.
        topic: String,
        /// As it is.
        found: usize,
        /// As it must be.
        expected: usize,
    },
    /// Results and state need a partition for each of the source's.
    #[error(
        "topic `{topic}` has {found} partitions, the source has {expected}, and `spec.outputs.topics.managedBy` is none; add partitions"
    )]
    TooFewPartitions {
        /// Its name.
        topic: String,
        /// As it is.
        found: i32,
        /// As it must be.
        expected: i32,
    },
    /// The broker refused.
    #[error("failed to {action} topic `{topic}`: {code}{hint}")]
    Refused {
        /// `create` or `grow`.
        action: &'static str,
        /// Its name.
        topic: String,
        /// The broker's answer.
        code: RDKafkaErrorCode,
        /// What to do.
        hint: &'static str,
    },
    /// A request failed.
    #[error("failed to {action} topics")]
    Request {
        /// What was asked.
        action: &'static str,
        /// The client's words.
        source: KafkaError,
    },
}

/// Checks and makes topics.
pub(crate) struct KafkaTopics {
    client: ClientConfig,
    brokers: String,
    source: String,
    outputs: Outputs,
    /// Name of the state topic, where state is durable.
    state: Option<String>,
    /// The development broker knows neither configuration nor creation by request: its topics are made beforehand.
    development: bool,
}

impl KafkaTopics {
    /// For a pipeline's topics, with its state topic if state is `durable`.
    #[must_use]
    pub(crate) fn new(config: &WorkerConfig, client: ClientConfig, development: bool, durable: bool) -> Self {
        let brokers = client.get("bootstrap.servers").unwrap_or_default().to_owned();
        Self {
            client,
            brokers,
            source: config.source.topic.clone(),
            outputs: config.outputs.clone(),
            state: durable.then(|| state_topic(&config.identity)),
            development,
        }
    }

    /// Makes the topics what they must be and says what they are.
    ///
    /// # Errors
    /// The first thing that is not as it must be; worth trying again later.
    pub(crate) fn ensure(&self) -> Result<Layout, TopicsError> {
        let consumer: BaseConsumer = self
            .client
            .create()
            .map_err(|source| TopicsError::Unreachable { brokers: self.brokers.clone(), source })?;
        let mut names = vec![
            self.outputs.results.topic.clone(),
            self.outputs.alerts.topic.clone(),
            self.outputs.dead_letter.topic.clone(),
            self.outputs.late_topic.clone(),
        ];
        names.extend(self.state.clone());
        let source_partitions = self.partitions(&consumer, &self.source)?;
        let Some(source_partitions) = source_partitions else {
            return Err(TopicsError::NoSource { topic: self.source.clone() });
        };
        let mut partitions = vec![0; names.len()];
        for (name, partitions) in names.iter().zip(&mut partitions) {
            *partitions = self.partitions(&consumer, name)?.unwrap_or(0);
        }
        if self.development {
            return Ok(Layout {
                source: self.source.clone(),
                source_partitions,
                limits: vec![DEFAULT_LIMIT; names.len()],
                names,
                partitions,
            });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| TopicsError::Request {
            action: "administer",
            source: KafkaError::ClientCreation(e.to_string()),
        })?;
        let admin: Admin =
            self.client.create().map_err(|source| TopicsError::Request { action: "administer", source })?;
        let source = runtime.block_on(describe(&admin, &[&self.source]))?.pop().unwrap_or_default();
        if let Some(policy) = source.cleanup_policy.filter(|policy| policy.contains("compact")) {
            return Err(TopicsError::Compacted { topic: self.source.clone(), policy });
        }
        let source_limit = source.max_message_bytes.unwrap_or(DEFAULT_LIMIT);
        let wanted = Wanted { partitions: source_partitions, source_limit };
        runtime.block_on(self.make(&admin, &names, &mut partitions, wanted))?;
        let names_as_text: Vec<&str> = names.iter().map(String::as_str).collect();
        let described = runtime.block_on(describe(&admin, &names_as_text))?;
        if let (Some(state), Some(found)) = (&self.state, described.get(Topic::State as usize)) {
            check_state(state, found)?;
        }
        let limits = described.iter().map(|found| found.max_message_bytes.unwrap_or(source_limit + HEADROOM)).collect();
        Ok(Layout { source: self.source.clone(), source_partitions, names, partitions, limits })
    }

    fn partitions(&self, consumer: &BaseConsumer, topic: &str) -> Result<Option<i32>, TopicsError> {
        let metadata = consumer
            .fetch_metadata(Some(topic), REQUEST)
            .map_err(|source| TopicsError::Unreachable { brokers: self.brokers.clone(), source })?;
        match metadata.topics().first() {
            Some(found) if found.error() == Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) => {
                Err(TopicsError::Refused {
                    action: "see",
                    topic: topic.to_owned(),
                    code: RDKafkaErrorCode::TopicAuthorizationFailed,
                    hint: "; allow this identity to describe it",
                })
            }
            Some(found) if found.error().is_none() && !found.partitions().is_empty() => {
                Ok(Some(found.partitions().len() as i32))
            }
            _ => Ok(None),
        }
    }

    async fn make(
        &self,
        admin: &Admin,
        names: &[String],
        partitions: &mut [i32],
        wanted: Wanted,
    ) -> Result<(), TopicsError> {
        let managed = self.outputs.topics.managed_by == ManagedBy::Worker;
        for (index, (name, found)) in names.iter().zip(partitions).enumerate() {
            let is_state = index == Topic::State as usize;
            let grows = (is_state || index == Topic::Results as usize) && *found < wanted.partitions;
            match (*found, managed) {
                (0, false) if is_state => {
                    return Err(TopicsError::NoState { topic: name.clone(), partitions: wanted.partitions });
                }
                (0, false) => {
                    return Err(TopicsError::NoOutput { topic: name.clone(), partitions: wanted.partitions });
                }
                (0, true) => self.create(admin, name, is_state, wanted).await?,
                (found, false) if grows => {
                    let expected = wanted.partitions;
                    return Err(TopicsError::TooFewPartitions { topic: name.clone(), found, expected });
                }
                (found, true) if grows => {
                    let grown = NewPartitions::new(name, wanted.partitions as usize);
                    let answer = admin.create_partitions([&grown], &options()).await;
                    settle("grow", name, answer.map_err(|source| TopicsError::Request { action: "grow", source })?)?;
                    info!(topic = name.as_str(), from = found, to = wanted.partitions, "topic grown");
                }
                _ => continue,
            }
            *found = wanted.partitions;
        }
        Ok(())
    }

    async fn create(&self, admin: &Admin, name: &str, is_state: bool, wanted: Wanted) -> Result<(), TopicsError> {
        let limit = if is_state { wanted.source_limit.max(STATE_RECORD) } else { wanted.source_limit } + HEADROOM;
        let limit = limit.to_string();
        let retention = self.outputs.topics.retention_ms.map(|ms| ms.to_string());
        let replicas = self.outputs.topics.replication_factor;
        let mut topic = NewTopic::new(name, wanted.partitions, TopicReplication::Fixed(replicas.unwrap_or(-1)))
            .set("max.message.bytes", &limit);
        if is_state {
            topic = STATE_SETTINGS.iter().fold(topic, |topic, (setting, value)| topic.set(setting, value));
            if replicated(admin, &self.source, replicas).await? >= SAFE_REPLICAS {
                topic = topic.set("min.insync.replicas", "2");
            }
        } else if let Some(retention) = &retention {
            topic = topic.set("retention.ms", retention);
        }
        let answer = admin.create_topics([&topic], &options()).await;
        settle("create", name, answer.map_err(|source| TopicsError::Request { action: "create", source })?)?;
        info!(topic = name, partitions = wanted.partitions, "topic created");
        Ok(())
    }
}

type Admin = AdminClient<DefaultClientContext>;

/// What the outputs have to follow.
#[derive(Clone, Copy)]
struct Wanted {
    partitions: i32,
    source_limit: usize,
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(REQUEST)).request_timeout(Some(REQUEST))
}

fn check_state(topic: &str, found: &Described) -> Result<(), TopicsError> {
    let topic = topic.to_owned();
    if let Some(policy) = found.cleanup_policy.clone().filter(|policy| policy != "compact") {
        return Err(TopicsError::StateNotCompacted { topic, policy });
    }
    match found.max_message_bytes {
        Some(found) if found < STATE_RECORD => Err(TopicsError::StateLimit { topic, found, expected: STATE_RECORD }),
        _ => Ok(()),
    }
}

/// How many replicas a topic will have that is created with so many, or with the broker's default; 1 if nobody says.
async fn replicated(admin: &Admin, source_topic: &str, wanted: Option<i32>) -> Result<usize, TopicsError> {
    let metadata = admin
        .inner()
        .fetch_metadata(Some(source_topic), REQUEST)
        .map_err(|source| TopicsError::Request { action: "look up the brokers of", source })?;
    let brokers = metadata.brokers();
    let wanted = match (wanted, brokers.first()) {
        (Some(wanted), _) => wanted as usize,
        (None, Some(broker)) if brokers.len() >= SAFE_REPLICAS => {
            let default = settings(admin, &[ResourceSpecifier::Broker(broker.id())]).await?.pop();
            default.and_then(|found| found.get("default.replication.factor")?.as_ref()?.parse().ok()).unwrap_or(1)
        }
        _ => 1,
    };
    Ok(wanted.min(brokers.len()))
}

/// Another worker of the pipeline may have been faster: that is no error.
fn settle(
    action: &'static str,
    topic: &str,
    answers: Vec<Result<String, (String, RDKafkaErrorCode)>>,
) -> Result<(), TopicsError> {
    for answer in answers {
        match answer {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, RDKafkaErrorCode::InvalidPartitions)) if action == "grow" => {}
            Err((_, code)) => {
                let hint = match code {
                    RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                        "; allow this identity to create it, or create it yourself and set `spec.outputs.topics.managedBy: none`"
                    }
                    RDKafkaErrorCode::InvalidReplicationFactor => "; see `spec.outputs.topics.replicationFactor`",
                    _ => "",
                };
                return Err(TopicsError::Refused { action, topic: topic.to_owned(), code, hint });
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Described {
    cleanup_policy: Option<String>,
    max_message_bytes: Option<usize>,
}

/// Settings of topics; a broker that does not let us see them costs a warning only.
async fn describe(admin: &Admin, topics: &[&str]) -> Result<Vec<Described>, TopicsError> {
    let resources: Vec<ResourceSpecifier<'_>> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let found = settings(admin, &resources).await?;
    Ok(found
        .into_iter()
        .map(|entries| {
            let text = |name: &str| entries.get(name).cloned().flatten();
            Described {
                cleanup_policy: text("cleanup.policy"),
                max_message_bytes: text("max.message.bytes").and_then(|bytes| bytes.parse().ok()),
            }
        })
        .collect())
}

/// Settings by name, for each resource.
async fn settings(
    admin: &Admin,
    resources: &[ResourceSpecifier<'_>],
) -> Result<Vec<HashMap<String, Option<String>>>, TopicsError> {
    let options = AdminOptions::new().request_timeout(Some(REQUEST));
    let answers = admin
        .describe_configs(resources, &options)
        .await
        .map_err(|source| TopicsError::Request { action: "describe", source })?;
    Ok(answers
        .into_iter()
        .map(|answer| match answer {
            Ok(resource) => resource.entries.into_iter().map(|entry| (entry.name, entry.value)).collect(),
            Err(code) => {
                warn!(%code, "the settings of a topic or broker may not be seen; defaults are assumed");
                HashMap::new()
            }
        })
        .collect())
}
