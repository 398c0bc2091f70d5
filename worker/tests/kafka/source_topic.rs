//! The source is checked before anything is made or read.

use rdkafka::admin::{NewTopic, TopicReplication};

use crate::broker::{create, partitions, shared};
use crate::pipeline::{self, Names};

#[test]
fn a_compacted_source_is_refused() {
    for policy in ["compact", "compact,delete"] {
        let names = Names::new("source-compacted");
        let input = names.input();
        create(&shared(), &NewTopic::new(&input, 1, TopicReplication::Fixed(1)).set("cleanup.policy", policy));
        let worker = pipeline::start(&pipeline::config(&names, &[]), &shared());
        let message = crate::problem(&worker, "TopicsNotReady");
        assert!(message.contains(&input) && message.contains(&format!("cleanup.policy={policy}")), "{message}");
        assert!(message.contains("use a topic with cleanup.policy=delete"), "{message}");
        let status = worker.stop().unwrap();
        assert!(status.partitions.is_empty() && !status.available, "{status:?}");
        assert_eq!(partitions(&shared(), &names.results()), 0, "nothing is made");
    }
}
