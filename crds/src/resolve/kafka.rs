//! `spec.kafka`: the schema has checked all of it.

use crate::pipeline::kafka as api;
use crate::worker_config::{Authentication, GroupProtocol, Kafka, SecretKey, Tls};

pub(super) fn resolve(kafka: &api::Kafka) -> Kafka {
    Kafka {
        bootstrap_servers: kafka.bootstrap_servers.clone(),
        group_protocol: match kafka.group_protocol {
            api::GroupProtocol::Classic => GroupProtocol::Classic,
            api::GroupProtocol::Consumer => GroupProtocol::Consumer,
        },
        tls: kafka.tls.as_ref().map(|tls| Tls { ca: tls.ca_secret.as_ref().map(secret_key) }),
        authentication: kafka.authentication.as_ref().and_then(authentication),
        rack_awareness: kafka.rack_awareness,
    }
}

fn authentication(authentication: &api::Authentication) -> Option<Authentication> {
    let scram = authentication.scram_sha512.as_ref().map(|credentials| Authentication::ScramSha512 {
        username: credentials.username.clone(),
        password: secret_key(&credentials.password.secret),
    });
    let plain = authentication.plain.as_ref().map(|credentials| Authentication::Plain {
        username: credentials.username.clone(),
        password: secret_key(&credentials.password.secret),
    });
    scram.or(plain)
}

fn secret_key(secret: &api::SecretKey) -> SecretKey {
    SecretKey { name: secret.name.clone(), key: secret.key.clone() }
}
