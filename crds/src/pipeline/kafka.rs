//! `spec.kafka`: how to reach Kafka and who we are there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{BOOTSTRAP_SERVERS, DNS_NAME, NotYet, TOPIC, is_false};

/// Connection to Kafka.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kafka {
    /// `host:port`, comma separated.
    #[schemars(length(min = 1, max = 2048), regex(pattern = BOOTSTRAP_SERVERS))]
    pub bootstrap_servers: String,
    /// The group protocol.
    #[serde(default)]
    pub group_protocol: GroupProtocol,
    /// Group id, prefix of transactional ids and of the state topic; `<namespace>.<name>` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = TOPIC))]
    pub identity: Option<String>,
    /// TLS; absent is plaintext, `{}` trusts the system's roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How we prove who we are; absent: we do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// Read from the nearest replica.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rack_awareness: bool,
}

/// Protocol of the consumer group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GroupProtocol {
    /// Cooperative-sticky, timeouts by the client.
    #[default]
    Classic,
    /// KIP-848, timeouts by the broker. Brokers before Kafka 4.3 can leave partitions without an owner.
    Consumer,
}

/// TLS of the connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Certificates of the authority; absent: the system's roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,
}

/// A key inside a Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub name: String,
    /// Key inside it.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// Authentication at the broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.scramSha512), has(self.plain), has(self.tls), has(self.awsMskIam)].exists_one(x, x)",
        "message": "expected exactly one of scramSha512, plain, tls, awsMskIam"
    }
]))]
pub struct Authentication {
    /// SASL/SCRAM-SHA-512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scram_sha512: Option<Credentials>,
    /// SASL/PLAIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<Credentials>,
    /// A client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<NotYet>,
    /// AWS MSK IAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_msk_iam: Option<NotYet>,
}

/// User name and where the password is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Credentials {
    /// User name.
    #[schemars(length(min = 1, max = 255))]
    pub username: String,
    /// Its password.
    pub password: FromSecret,
}

/// A value that is only given by reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FromSecret {
    /// Where it is.
    pub secret: SecretKey,
}
