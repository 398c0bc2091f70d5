//! The topics of a pipeline: the source is checked, the outputs are created, grown and checked.
//!
//! Where `outputs.topics.managedBy` is `worker`, missing output topics are created with the worker's own identity and
//! the results grow to as many partitions as the source has; partitions never shrink, and settings of topics that
//! exist are left alone. `none` only checks.

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

/// One request may take this long.
const REQUEST: Duration = Duration::from_secs(10);
/// Room for headers on top of the source's largest record.
const HEADROOM: usize = 64 << 10;
/// `max.message.bytes` of a broker that does not tell.
const DEFAULT_LIMIT: usize = 1_048_588;

/// The topics as they were last seen. Arrays are in the order of [`crate::outputs::Topic`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Source topic.
    pub(crate) source: String,
    /// Its partitions.
    pub(crate) source_partitions: i32,
    /// Names of the output topics.
    pub(crate) names: [String; 4],
    /// Their partitions.
    pub(crate) partitions: [i32; 4],
    /// Their largest records, bytes.
    pub(crate) limits: [usize; 4],
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
    /// The results need a partition for each of the source's.
    #[error(
        "results topic `{topic}` has {found} partitions, the source has {expected}, and `spec.outputs.topics.managedBy` is none; add partitions"
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
    /// The development broker knows neither configuration nor creation by request: its topics are made beforehand.
    development: bool,
}

impl KafkaTopics {
    /// For a pipeline's topics.
    #[must_use]
    pub(crate) fn new(config: &WorkerConfig, client: ClientConfig, development: bool) -> Self {
        let brokers = client.get("bootstrap.servers").unwrap_or_default().to_owned();
        Self { client, brokers, source: config.source.topic.clone(), outputs: config.outputs.clone(), development }
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
        let names = [
            self.outputs.results.topic.clone(),
            self.outputs.alerts.topic.clone(),
            self.outputs.dead_letter.topic.clone(),
            self.outputs.late_topic.clone(),
        ];
        let source_partitions = self.partitions(&consumer, &self.source)?;
        let Some(source_partitions) = source_partitions else {
            return Err(TopicsError::NoSource { topic: self.source.clone() });
        };
        let mut partitions = [0; 4];
        for (name, partitions) in names.iter().zip(&mut partitions) {
            *partitions = self.partitions(&consumer, name)?.unwrap_or(0);
        }
        if self.development {
            return Ok(Layout {
                source: self.source.clone(),
                source_partitions,
                names,
                partitions,
                limits: [DEFAULT_LIMIT; 4],
            });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| TopicsError::Request {
            action: "administer",
            source: KafkaError::ClientCreation(e.to_string()),
        })?;
        let admin: AdminClient<DefaultClientContext> =
            self.client.create().map_err(|source| TopicsError::Request { action: "administer", source })?;
        let source = runtime.block_on(describe(&admin, &[&self.source]))?.pop().unwrap_or_default();
        if let Some(policy) = source.cleanup_policy.filter(|policy| policy.contains("compact")) {
            return Err(TopicsError::Compacted { topic: self.source.clone(), policy });
        }
        let source_limit = source.max_message_bytes.unwrap_or(DEFAULT_LIMIT);
        runtime.block_on(self.make(&admin, &names, &mut partitions, source_partitions, source_limit))?;
        let names_as_text: Vec<&str> = names.iter().map(String::as_str).collect();
        let described = runtime.block_on(describe(&admin, &names_as_text))?;
        let mut limits = [source_limit + HEADROOM; 4];
        for (limit, found) in limits.iter_mut().zip(described) {
            *limit = found.max_message_bytes.unwrap_or(*limit);
        }
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
        admin: &AdminClient<DefaultClientContext>,
        names: &[String; 4],
        partitions: &mut [i32; 4],
        wanted: i32,
        source_limit: usize,
    ) -> Result<(), TopicsError> {
        let managed = self.outputs.topics.managed_by == ManagedBy::Worker;
        let options = AdminOptions::new().operation_timeout(Some(REQUEST)).request_timeout(Some(REQUEST));
        let limit = (source_limit + HEADROOM).to_string();
        let retention = self.outputs.topics.retention_ms.map(|ms| ms.to_string());
        for (index, name) in names.iter().enumerate() {
            let found = partitions[index];
            let grows = index == crate::outputs::Topic::Results as usize && found < wanted;
            if found == 0 && !managed {
                return Err(TopicsError::NoOutput { topic: name.clone(), partitions: wanted });
            }
            if found == 0 {
                let replication = TopicReplication::Fixed(self.outputs.topics.replication_factor.unwrap_or(-1));
                let mut topic = NewTopic::new(name, wanted, replication).set("max.message.bytes", &limit);
                if let Some(retention) = &retention {
                    topic = topic.set("retention.ms", retention);
                }
                let answer = admin.create_topics([&topic], &options).await;
                settle("create", name, answer.map_err(|source| TopicsError::Request { action: "create", source })?)?;
                info!(topic = name.as_str(), partitions = wanted, "topic created");
                partitions[index] = wanted;
            } else if grows && !managed {
                return Err(TopicsError::TooFewPartitions { topic: name.clone(), found, expected: wanted });
            } else if grows {
                let grown = NewPartitions::new(name, wanted as usize);
                let answer = admin.create_partitions([&grown], &options).await;
                settle("grow", name, answer.map_err(|source| TopicsError::Request { action: "grow", source })?)?;
                info!(topic = name.as_str(), from = found, to = wanted, "topic grown");
                partitions[index] = wanted;
            }
        }
        Ok(())
    }
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
async fn describe(admin: &AdminClient<DefaultClientContext>, topics: &[&str]) -> Result<Vec<Described>, TopicsError> {
    let resources: Vec<ResourceSpecifier<'_>> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(REQUEST));
    let answers = admin
        .describe_configs(&resources, &options)
        .await
        .map_err(|source| TopicsError::Request { action: "describe", source })?;
    Ok(answers
        .into_iter()
        .map(|answer| match answer {
            Ok(resource) => {
                let entries: HashMap<String, Option<String>> =
                    resource.entries.into_iter().map(|entry| (entry.name, entry.value)).collect();
                let text = |name: &str| entries.get(name).cloned().flatten();
                Described {
                    cleanup_policy: text("cleanup.policy"),
                    max_message_bytes: text("max.message.bytes").and_then(|bytes| bytes.parse().ok()),
                }
            }
            Err(code) => {
                warn!(%code, "the settings of a topic may not be seen; defaults are assumed");
                Described::default()
            }
        })
        .collect())
}
