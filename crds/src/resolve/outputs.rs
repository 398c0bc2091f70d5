//! `spec.outputs` and `spec.delivery`.

use super::{Context, LONGEST, MILLISECOND, SECOND};
use crate::duration::Duration;
use crate::pipeline::outputs as api;
use crate::worker_config::{Alerts, DeadLetter, Delivery, Guarantee, ManagedBy, Outputs, Results, ResultsMode, Topics};

/// Longest name of a topic.
const LONGEST_NAME: usize = 249;

pub(super) fn resolve(context: &mut Context<'_>, outputs: &api::Outputs, source: &str, identity: &str) -> Outputs {
    let pipeline = context.object.name.clone();
    let topic = |given: &Option<String>, suffix: &str| given.clone().unwrap_or_else(|| format!("{pipeline}.{suffix}"));
    let results = topic(&outputs.results.topic, "results");
    let alerts = topic(&outputs.alerts.topic, "alerts");
    let dead_letter = topic(&outputs.dead_letter.topic, "dead-letter");
    let late = topic(&outputs.late.topic, "late");
    let state = format!("{identity}.state");
    different(
        context,
        &[
            ("spec.source.topic", source),
            ("spec.kafka.identity", &state),
            ("spec.outputs.results.topic", &results),
            ("spec.outputs.alerts.topic", &alerts),
            ("spec.outputs.deadLetter.topic", &dead_letter),
            ("spec.outputs.late.topic", &late),
        ],
    );
    let max_event_age = outputs.alerts.max_event_age;
    let retention = outputs.topics.retention;
    Outputs {
        results: Results {
            topic: results,
            mode: match outputs.results.mode {
                api::ResultsMode::All => ResultsMode::All,
                api::ResultsMode::Anomalies => ResultsMode::Anomalies,
                api::ResultsMode::None => ResultsMode::None,
            },
            features_always: outputs.results.features == api::ResultFeatures::Always,
        },
        alerts: Alerts {
            topic: alerts,
            max_event_age_ms: max_event_age
                .map(|age| context.within("spec.outputs.alerts.maxEventAge", age, SECOND, LONGEST)),
            labels: outputs.alerts.labels.clone(),
            runbook_url: outputs.alerts.runbook_url.clone(),
        },
        dead_letter: DeadLetter { topic: dead_letter, max_share: outputs.dead_letter.max_share },
        late_topic: late,
        topics: Topics {
            managed_by: match outputs.topics.managed_by {
                api::ManagedBy::Worker => ManagedBy::Worker,
                api::ManagedBy::None => ManagedBy::None,
            },
            replication_factor: outputs.topics.replication_factor,
            retention_ms: retention.map(|kept| context.within("spec.outputs.topics.retention", kept, SECOND, LONGEST)),
        },
    }
}

/// Every topic has one meaning: a result read back as an event, or an alert among dead letters, helps nobody.
fn different(context: &mut Context<'_>, topics: &[(&str, &str)]) {
    for (i, (path, topic)) in topics.iter().enumerate() {
        if topic.len() > LONGEST_NAME {
            let message = format!("the topic's name has {} characters; expected at most {LONGEST_NAME}", topic.len());
            context.refuse(path, message);
        }
        if let Some((other, _)) = topics[..i].iter().find(|(_, taken)| taken == topic) {
            context.refuse(path, format!("\"{topic}\" is already the topic of {other}; expected a topic of its own"));
        }
    }
}

pub(super) fn delivery(context: &mut Context<'_>, delivery: &api::Delivery) -> Delivery {
    let minute = Duration::from_ms(60_000);
    let interval = delivery.commit_interval;
    let interval_ms = context.within("spec.delivery.commitInterval", interval, MILLISECOND, minute);
    let (second, hour) = (Duration::from_ms(1000), Duration::from_ms(3_600_000));
    let recovery = delivery.max_recovery_time;
    let recovery_ms = context.within("spec.delivery.maxRecoveryTime", recovery, second, hour);
    Delivery {
        guarantee: match delivery.guarantee {
            api::Guarantee::ExactlyOnce => Guarantee::ExactlyOnce,
            api::Guarantee::AtLeastOnce => Guarantee::AtLeastOnce,
        },
        commit_interval_ms: interval_ms.unsigned_abs(),
        max_recovery_ms: recovery_ms.unsigned_abs(),
    }
}
