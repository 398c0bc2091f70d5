//! `AnomalyPipeline`: what to read, which features, which models, where alerts go.
//!
//! One file per section of the spec. Unions are structs of optional members with a CEL rule; fields that do not run
//! yet are [`NotYet`], so that the API server keeps them and `resolve` can refuse them by name.

pub mod cluster;
pub mod decision;
pub mod features;
pub mod kafka;
pub mod outputs;
pub mod source;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{Chosen, DNS_NAME, IDENTIFIER, NotYet};
use cluster::{NetworkPolicy, Objectives, Worker};
use decision::Decision;
use features::Feature;
use kafka::Kafka;
use outputs::{Delivery, Outputs};
use source::Source;

/// What is wanted of one pipeline.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "faultline.dev",
    version = "v1alpha1",
    kind = "AnomalyPipeline",
    plural = "anomalypipelines",
    shortname = "apl",
    category = "faultline",
    namespaced,
    derive = "PartialEq",
    doc = "A stream in Kafka that is watched for anomalies."
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.models.all(m, !has(m.weight)) || (has(self.decision) && self.decision.combine == 'weighted')",
        "message": "models[].weight needs decision.combine: weighted"
    }
]))]
pub struct AnomalyPipelineSpec {
    /// No workers; state, topics and group stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// How to reach Kafka.
    pub kafka: Kafka,
    /// What is read and how a record becomes an event.
    pub source: Source,
    /// Slow facts, joined when scoring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::list_not_yet")]
    pub lookups: Option<NotYet>,
    /// What is computed for each event.
    #[schemars(length(min = 1, max = 128), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub features: Vec<Feature>,
    /// What is scored: each event, or closed buckets.
    #[serde(default)]
    pub scoring: Scoring,
    /// Alerts for what does not happen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::list_not_yet")]
    pub silence: Option<NotYet>,
    /// What judges the features.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub models: Vec<PipelineModel>,
    /// How surprises become severities, incidents and alerts.
    #[serde(default)]
    pub decision: Decision,
    /// Where results, alerts, dead letters and late records go.
    #[serde(default)]
    pub outputs: Outputs,
    /// Guarantee and pace of the commits.
    #[serde(default)]
    pub delivery: Delivery,
    /// Online answers from Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<NotYet>,
    /// The worker's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Worker>,
    /// REST, GraphQL and the live page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<NotYet>,
    /// Who is told about alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::list_not_yet")]
    pub notifications: Option<NotYet>,
    /// What the pipeline is measured against in its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Objectives>,
    /// Who may talk to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,
}

/// What is scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.perEvent) != has(self.perBucket)", "message": "expected exactly one of perEvent, perBucket"}
]))]
pub struct Scoring {
    /// Each event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_event: Option<Chosen>,
    /// Closed buckets, so that silence shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_bucket: Option<NotYet>,
}

impl Default for Scoring {
    fn default() -> Self {
        Self { per_event: Some(Chosen {}), per_bucket: None }
    }
}

/// One model of the pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineModel {
    /// Its name within the pipeline.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_NAME))]
    pub name: String,
    /// The `DetectionModel` in the same namespace.
    pub model_ref: ObjectReference,
    /// Features behind the model's inputs, in the order of its inputs; absent: features of the same names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 63), regex(pattern = IDENTIFIER)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub features: Option<Vec<String>>,
    /// Its share under `decision.combine: weighted`; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub weight: Option<f64>,
}

/// Another object of the same namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub name: String,
}
