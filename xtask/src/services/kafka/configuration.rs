//! What a broker is told: version, properties, users and their rights.

use std::path::Path;

/// Version of Kafka.
pub(crate) const VERSION: &str = "4.3.1";

/// What Maven fetches: the broker, a logger for it, and the command-line tools.
pub(crate) const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>faultline</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.3.1</version></dependency>
<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version></dependency>
<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>2.24.3</version></dependency>
</dependencies></project>
"#;

/// 22 characters, as Kafka wants it; every broker here is a cluster of its own, so they may share it.
pub(crate) const CLUSTER_ID: &str = "RmF1bHRsaW5lVGVzdEJyaw";

/// Whether a broker asks who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// No.
    Open,
    /// The plain listener stays open to everybody (the administrator of a test); the SASL one knows [`USERS`].
    Restricted,
}

/// Ports of one broker, all on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    /// Clients without authentication.
    pub(crate) open: u16,
    /// The controller quorum of one.
    pub(crate) controller: u16,
    /// Clients with SASL, where access is restricted.
    pub(crate) sasl: u16,
}

impl Ports {
    /// Addresses for clients.
    pub(crate) fn addresses(&self, access: Access) -> Vec<String> {
        match access {
            Access::Open => vec![format!("127.0.0.1:{}", self.open)],
            Access::Restricted => vec![format!("127.0.0.1:{}", self.open), format!("127.0.0.1:{}", self.sasl)],
        }
    }
}

/// A user of the restricted broker, known to PLAIN and SCRAM-SHA-512 alike.
pub(crate) struct User {
    name: &'static str,
    password: &'static str,
}

/// `worker` may do all that a worker needs; `reader` the same but create topics.
pub(crate) const USERS: [User; 2] =
    [User { name: "worker", password: "worker-secret" }, User { name: "reader", password: "reader-secret" }];

impl User {
    /// The argument of `--add-scram`.
    pub(crate) fn scram(&self) -> String {
        format!("SCRAM-SHA-512=[name={},password={}]", self.name, self.password)
    }
}

/// `server.properties`: broker and controller in one process, everything with one replica, quick group joins.
pub(crate) fn properties(folder: &Path, ports: &Ports, access: Access) -> String {
    let Ports { open, controller, sasl } = ports;
    let (listener, advertised, security) = match access {
        Access::Open => (String::new(), String::new(), String::new()),
        Access::Restricted => {
            let users: String = USERS.iter().map(|user| format!(" user_{}=\"{}\"", user.name, user.password)).collect();
            (
                format!(",SASL://127.0.0.1:{sasl}"),
                format!(",SASL://127.0.0.1:{sasl}"),
                format!(
                    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required{users};
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"
                ),
            )
        }
    };
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{open},CONTROLLER://127.0.0.1:{controller}{listener}
advertised.listeners=PLAINTEXT://127.0.0.1:{open}{advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT
log.dirs={}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
log.cleaner.backoff.ms=500
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.consumer.min.session.timeout.ms=3000
group.consumer.session.timeout.ms=10000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
{security}",
        folder.join("data").display()
    )
}

/// Who may do what on which resource: users, operations, the option that names the resource.
const RIGHTS: [(&[&str], &[&str], &str); 4] = [
    (&["worker", "reader"], &["Read", "Write", "Describe", "DescribeConfigs"], "--topic"),
    (&["worker", "reader"], &["Read", "Describe"], "--group"),
    (&["worker", "reader"], &["Write", "Describe"], "--transactional-id"),
    (&["worker"], &["Create", "Alter", "AlterConfigs"], "--topic"),
];

/// Arguments for the calls of Kafka's own tool for access rights; a call takes one set of operations.
pub(crate) fn rights(address: &str) -> Vec<Vec<String>> {
    RIGHTS
        .iter()
        .map(|(users, operations, resource)| {
            let mut call: Vec<String> =
                ["--bootstrap-server", address, "--add", "--force", resource, "*"].map(str::to_owned).into();
            call.extend(users.iter().flat_map(|user| ["--allow-principal".to_owned(), format!("User:{user}")]));
            call.extend(operations.iter().flat_map(|operation| ["--operation", operation].map(str::to_owned)));
            call
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports { open: 1, controller: 2, sasl: 3 };

    #[test]
    fn an_open_broker_has_neither_users_nor_rights() {
        let properties = properties(Path::new("/data of the run"), &PORTS, Access::Open);
        assert!(properties.contains("log.dirs=/data of the run/data\n"));
        assert!(!properties.contains("sasl") && !properties.contains("authorizer"));
    }

    #[test]
    fn a_restricted_broker_knows_every_user_that_has_rights() {
        let properties = properties(Path::new("/f"), &PORTS, Access::Restricted);
        for user in RIGHTS.iter().flat_map(|(users, _, _)| *users) {
            assert!(properties.contains(&format!("user_{user}=")), "{user} has rights but no password");
        }
        assert_eq!(PORTS.addresses(Access::Restricted), ["127.0.0.1:1", "127.0.0.1:3"]);
    }

    #[test]
    fn only_the_worker_may_create_topics() {
        let creators: Vec<&str> = RIGHTS
            .iter()
            .filter(|(_, operations, resource)| {
                *resource == "--topic" && operations.iter().any(|o| ["Create", "All"].contains(o))
            })
            .flat_map(|(users, _, _)| users.iter().copied())
            .collect();
        assert_eq!(creators, ["worker"]);
    }

    #[test]
    fn the_pom_and_the_version_agree() {
        assert_eq!(POM.matches(&format!("<version>{VERSION}</version>")).count(), 2);
    }
}
