//! The settings that every Kafka client of a worker shares: where the brokers are, and who we are.

use std::path::{Path, PathBuf};

use faultline_crds::worker_config::{Authentication, Kafka, SecretKey};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// Why a client could not be configured.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A secret that the pipeline names is not there.
    #[error(
        "failed to read secret `{name}`, key `{key}`: expected the file {path}; mount it there or say --secrets DIR"
    )]
    Secret {
        /// Name of the Secret.
        name: String,
        /// Key inside it.
        key: String,
        /// Where it was looked for.
        path: String,
        /// Why reading failed.
        source: std::io::Error,
    },
}

/// Text that does not print.
struct Hidden(String);

/// Settings of the connection: addresses, TLS, authentication.
///
/// `brokers` replaces `spec.kafka.bootstrapServers`; secrets are files `<folder>/<secret>/<key>`, as mounted.
///
/// # Errors
/// A secret that cannot be read.
pub fn client_config(
    kafka: &Kafka,
    brokers: Option<&str>,
    secrets: &Path,
    client_id: &str,
) -> Result<ClientConfig, ClientError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers.unwrap_or(&kafka.bootstrap_servers))
        .set("client.id", client_id)
        // A broker that comes back is noticed within a second, and partitions that are added within half a minute.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "30000")
        .set("topic.metadata.propagation.max.ms", "1000")
        .set("socket.keepalive.enable", "true")
        .set("log.connection.close", "false")
        .set_log_level(RDKafkaLogLevel::Warning);
    let encrypted = kafka.tls.is_some();
    if let Some(ca) = kafka.tls.as_ref().and_then(|tls| tls.ca.as_ref()) {
        config.set("ssl.ca.pem", read(secrets, ca)?.0);
    }
    let protocol = match (&kafka.authentication, encrypted) {
        (None, false) => "plaintext",
        (None, true) => "ssl",
        (Some(_), false) => "sasl_plaintext",
        (Some(_), true) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(authentication) = &kafka.authentication {
        let (mechanism, username, password) = match authentication {
            Authentication::ScramSha512 { username, password } => ("SCRAM-SHA-512", username, password),
            Authentication::Plain { username, password } => ("PLAIN", username, password),
        };
        config.set("sasl.mechanisms", mechanism).set("sasl.username", username);
        config.set("sasl.password", read(secrets, password)?.0.trim_end_matches('\n'));
    }
    Ok(config)
}

fn read(secrets: &Path, secret: &SecretKey) -> Result<Hidden, ClientError> {
    let path: PathBuf = secrets.join(&secret.name).join(&secret.key);
    std::fs::read_to_string(&path).map(Hidden).map_err(|source| ClientError::Secret {
        name: secret.name.clone(),
        key: secret.key.clone(),
        path: path.display().to_string(),
        source,
    })
}
