//! The class of every field: whether it runs, only matters in a cluster, or is not supported yet.
//!
//! One table, held against the generated schema by a test: a field without a class, or a class without a field, fails.

use crate::generate;
use crate::load::{Kind, Object};
use serde_json::Value;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It does what it says.
    Runs,
    /// Only the operator acts on it; accepted everywhere.
    ClusterOnly,
    /// Known, and refused by `resolve` when set.
    NotYet,
}

impl Class {
    /// As documents call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::ClusterOnly => "cluster only",
            Self::NotYet => "not yet",
        }
    }
}

/// The class of every leaf of `AnomalyPipeline`; `[]` stands for each item of a list.
const PIPELINE: &[(Class, &[&str])] = &[
    (
        Class::Runs,
        &[
            "spec.kafka.bootstrapServers",
            "spec.kafka.groupProtocol",
            "spec.kafka.identity",
            "spec.kafka.tls.caSecret.name",
            "spec.kafka.tls.caSecret.key",
            "spec.kafka.authentication.scramSha512.username",
            "spec.kafka.authentication.scramSha512.password.secret.name",
            "spec.kafka.authentication.scramSha512.password.secret.key",
            "spec.kafka.authentication.plain.username",
            "spec.kafka.authentication.plain.password.secret.name",
            "spec.kafka.authentication.plain.password.secret.key",
            "spec.kafka.rackAwareness",
            "spec.source.topic",
            "spec.source.format",
            "spec.source.startFrom.latest",
            "spec.source.startFrom.earliest",
            "spec.source.startFrom.time",
            "spec.source.filter",
            "spec.source.eventId",
            "spec.source.key",
            "spec.source.partitioning",
            "spec.source.timestamp.path",
            "spec.source.timestamp.unit",
            "spec.source.allowedLateness",
            "spec.source.maxFutureSkew",
            "spec.source.deduplicate.window",
            "spec.source.keyExpiry",
            "spec.source.maxKeysPerPartition",
            "spec.source.fields[].name",
            "spec.source.fields[].path",
            "spec.source.fields[].type",
            "spec.source.fields[].whenMissing",
            "spec.source.fields[].sensitive",
            "spec.features[].name",
            "spec.features[].field",
            "spec.features[].valuesAgo",
            "spec.features[].aggregate",
            "spec.features[].window",
            "spec.features[].lastEvents",
            "spec.features[].halfLife",
            "spec.features[].where",
            "spec.features[].seasonal",
            "spec.features[].timeZone",
            "spec.features[].expression",
            "spec.scoring.perEvent",
            "spec.models[].name",
            "spec.models[].modelRef.name",
            "spec.models[].features",
            "spec.models[].weight",
            "spec.decision.combine",
            "spec.decision.severities.warning.oneIn",
            "spec.decision.severities.major.oneIn",
            "spec.decision.severities.critical.oneIn",
            "spec.decision.incident.quietPeriod",
            "spec.decision.incident.escalateBy",
            "spec.decision.newKeys",
            "spec.decision.mute[].name",
            "spec.decision.mute[].schedule.daysOfMonth",
            "spec.decision.mute[].schedule.daysOfWeek",
            "spec.decision.mute[].schedule.at",
            "spec.decision.mute[].schedule.timeZone",
            "spec.decision.mute[].duration",
            "spec.decision.mute[].when",
            "spec.outputs.results.topic",
            "spec.outputs.results.mode",
            "spec.outputs.results.features",
            "spec.outputs.alerts.topic",
            "spec.outputs.alerts.maxEventAge",
            "spec.outputs.alerts.labels",
            "spec.outputs.alerts.runbookUrl",
            "spec.outputs.deadLetter.topic",
            "spec.outputs.deadLetter.maxShare",
            "spec.outputs.late.topic",
            "spec.outputs.topics.managedBy",
            "spec.outputs.topics.replicationFactor",
            "spec.outputs.topics.retention",
            "spec.delivery.guarantee",
            "spec.delivery.commitInterval",
            "spec.delivery.maxRecoveryTime",
        ],
    ),
    (
        Class::ClusterOnly,
        &[
            "spec.paused",
            "spec.outputs.topics.deletionPolicy",
            "spec.worker.replicas",
            "spec.worker.autoscaling.minReplicas",
            "spec.worker.autoscaling.maxReplicas",
            "spec.worker.autoscaling.cpuUtilization",
            "spec.worker.autoscaling.lag",
            "spec.worker.autoscaling.engine",
            "spec.worker.autoscaling.dryRun",
            "spec.worker.template",
            "spec.worker.serviceAccount.name",
            "spec.worker.serviceAccount.annotations",
            "spec.objectives.maxLag",
            "spec.objectives.latencyP95",
            "spec.networkPolicy.enabled",
            "spec.networkPolicy.egress",
        ],
    ),
    (
        Class::NotYet,
        &[
            "spec.kafka.authentication.tls",
            "spec.kafka.authentication.awsMskIam",
            "spec.source.startFrom.learnFrom",
            "spec.lookups",
            "spec.features[].percentile",
            "spec.features[].lookup",
            "spec.scoring.perBucket",
            "spec.silence",
            "spec.decision.severities.warning.perDay",
            "spec.decision.severities.major.perDay",
            "spec.decision.severities.critical.perDay",
            "spec.decision.whenModelUnavailable",
            "spec.outputs.topics.strimzi",
            "spec.cache",
            "spec.gateway",
            "spec.notifications",
        ],
    ),
];

/// The class of every leaf of `DetectionModel`.
const MODEL: &[(Class, &[&str])] = &[
    (
        Class::Runs,
        &[
            "spec.version",
            "spec.inputs",
            "spec.detector.tail.halfLife",
            "spec.detector.tail.logScale",
            "spec.detector.count.every",
            "spec.detector.count.halfLife",
            "spec.detector.ewma.halfLife",
            "spec.detector.threshold.above",
            "spec.detector.threshold.below",
            "spec.detector.threshold.surprise",
            "spec.scope",
            "spec.direction",
            "spec.ignoreChangesBelow.absolute",
            "spec.ignoreChangesBelow.relative",
            "spec.quarantine",
        ],
    ),
    (
        Class::ClusterOnly,
        &[
            "spec.serving.autoscaling.minReplicas",
            "spec.serving.autoscaling.maxReplicas",
            "spec.serving.autoscaling.cpuUtilization",
            "spec.serving.batching.maxRows",
            "spec.serving.batching.maxDelay",
            "spec.serving.template",
        ],
    ),
    (
        Class::NotYet,
        &[
            "spec.detector.novelty",
            "spec.detector.halfSpaceTrees",
            "spec.detector.randomCutForest",
            "spec.detector.rareValue",
            "spec.detector.isolationForest",
            "spec.detector.oneClassSvm",
            "spec.detector.gaussianMixture",
            "spec.detector.principalComponents",
            "spec.detector.kMeans",
            "spec.artifact",
            "spec.training",
            "spec.rollout",
            "spec.pinnedRevision",
        ],
    ),
];

/// Values that are known but do not run yet, of fields that run.
const VALUES_NOT_YET: &[(Kind, &str, &[&str])] = &[
    (Kind::AnomalyPipeline, "spec.features[].aggregate", &["percentile", "distinct", "firstSeen", "frequency"]),
    (Kind::DetectionModel, "spec.scope", &["perPartition"]),
];

fn table(kind: Kind) -> &'static [(Class, &'static [&'static str])] {
    match kind {
        Kind::AnomalyPipeline => PIPELINE,
        Kind::DetectionModel => MODEL,
    }
}

/// The class of a leaf, `[]` standing for each item of a list; `None` when there is no such leaf.
#[must_use]
pub fn class_of(kind: Kind, leaf: &str) -> Option<Class> {
    table(kind).iter().find(|(_, leaves)| leaves.contains(&leaf)).map(|(class, _)| *class)
}

/// Whether this value of a field that runs does not run yet.
pub(crate) fn value_is_not_yet(kind: Kind, leaf: &str, value: &str) -> bool {
    VALUES_NOT_YET.iter().any(|(k, field, values)| *k == kind && *field == leaf && values.contains(&value))
}

/// The fields set in an object that only the operator acts on, each named as a whole where all of it is:
/// `spec.worker`, `spec.outputs.topics.deletionPolicy`.
#[must_use]
pub fn cluster_only_fields(object: &Object) -> Vec<String> {
    let schema = generate::schema(object.kind);
    let mut found = Vec::new();
    if let (Some(schema), Some(value)) = (schema.pointer("/properties/spec"), object.value.get("spec")) {
        collect(object.kind, schema, value, "spec", &mut found);
    }
    found
}

fn collect(kind: Kind, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if is_all(kind, path, Class::ClusterOnly) {
        found.push(path.to_owned());
        return;
    }
    let Some(members) = value.as_object() else { return };
    for (name, value) in members {
        if let Some(schema) = schema.pointer(&format!("/properties/{name}")) {
            collect(kind, schema, value, &format!("{path}.{name}"), found);
        }
    }
}

/// Whether every leaf at or below the path has that class.
fn is_all(kind: Kind, path: &str, class: Class) -> bool {
    let below = |leaf: &&str| crate::problem::inside(leaf, path);
    let mut classes = table(kind).iter().filter(|(_, leaves)| leaves.iter().any(below));
    classes.next().is_some_and(|(c, _)| *c == class) && classes.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_leaf_of_the_schema_has_exactly_one_class() {
        for kind in Kind::ALL {
            let in_schema: BTreeSet<String> = generate::leaves(kind).into_iter().map(|leaf| leaf.path).collect();
            let listed: Vec<&str> = table(kind).iter().flat_map(|(_, leaves)| leaves.iter().copied()).collect();
            let in_table: BTreeSet<String> = listed.iter().map(|leaf| (*leaf).to_owned()).collect();
            assert_eq!(listed.len(), in_table.len(), "{kind}: a leaf is listed twice");
            let unclassed: Vec<_> = in_schema.difference(&in_table).collect();
            let unknown: Vec<_> = in_table.difference(&in_schema).collect();
            assert!(unclassed.is_empty() && unknown.is_empty(), "{kind}: no class {unclassed:?}, no field {unknown:?}");
        }
    }

    #[test]
    fn fields_that_do_not_run_have_no_default() {
        for kind in Kind::ALL {
            for leaf in generate::leaves(kind) {
                let runs = class_of(kind, &leaf.path) == Some(Class::Runs);
                assert!(runs || leaf.default.is_none(), "{}", leaf.path);
            }
        }
    }

    #[test]
    fn values_that_do_not_run_are_in_the_schema() {
        for (kind, field, values) in VALUES_NOT_YET {
            let leaf = generate::leaves(*kind).into_iter().find(|leaf| leaf.path == *field).unwrap();
            for value in *values {
                assert!(leaf.values.iter().any(|v| v == value), "{field}: {value}");
            }
        }
    }
}
