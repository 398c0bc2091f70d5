//! `DetectionModel`: what scores.

use std::borrow::Cow;

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::duration::Duration;
use crate::pipeline::cluster::Serving;
use crate::schema::{IDENTIFIER, NotYet, unset};

/// What is wanted of one model.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "faultline.dev",
    version = "v1alpha1",
    kind = "DetectionModel",
    plural = "detectionmodels",
    shortname = "dm",
    category = "faultline",
    namespaced,
    derive = "PartialEq",
    doc = "A model that scores events. It only scores; only a pipeline's decision decides."
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.detector.count) || self.direction != 'low'",
        "message": "a count of the running bucket is judged on the high side; expected direction: high or both"
    }
]))]
pub struct DetectionModelSpec {
    /// What people call it. What changes scores is named by a hash, the revision.
    #[serde(default = "default_version")]
    #[schemars(length(min = 1, max = 63))]
    pub version: String,
    /// The ordered contract: what it is given. Empty for a count of events.
    #[serde(default)]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = IDENTIFIER)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub inputs: Vec<String>,
    /// How it scores.
    pub detector: Detector,
    /// Whether each key has its own memory.
    #[serde(default)]
    pub scope: Scope,
    /// Which side is strange.
    #[serde(default)]
    pub direction: Direction,
    /// Changes smaller than this are not strange.
    #[serde(default, skip_serializing_if = "IgnoreChangesBelow::is_unset")]
    pub ignore_changes_below: IgnoreChangesBelow,
    /// After this long of strange events the new level is accepted.
    #[serde(default = "default_quarantine")]
    pub quarantine: Duration,
    /// A trained model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<NotYet>,
    /// How it is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<NotYet>,
    /// How a new version takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<NotYet>,
    /// Run this retained revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text_not_yet")]
    pub pinned_revision: Option<NotYet>,
    /// Scaling and batching of the servers of trained models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
}

fn default_version() -> String {
    "1".to_owned()
}

fn default_quarantine() -> Duration {
    Duration::from_ms(3_600_000)
}

/// How a model scores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.tail), has(self.count), has(self.ewma), has(self.threshold), has(self.novelty), has(self.halfSpaceTrees), has(self.randomCutForest), has(self.rareValue), has(self.isolationForest), has(self.oneClassSvm), has(self.gaussianMixture), has(self.principalComponents), has(self.kMeans)].exists_one(x, x)",
        "message": "expected exactly one detector: tail, count, ewma, threshold"
    }
]))]
pub struct Detector {
    /// How far the first input is from what is usual for its key; further inputs are its context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    /// How many events of a key come in a bucket of time, against what is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    /// Distance from an exponentially weighted mean, in deviations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ewma: Option<Ewma>,
    /// A fixed rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// Distance to the nearest remembered value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novelty: Option<NotYet>,
    /// Half-space trees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_space_trees: Option<NotYet>,
    /// A random cut forest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_cut_forest: Option<NotYet>,
    /// How rare a text is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rare_value: Option<NotYet>,
    /// An isolation forest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation_forest: Option<NotYet>,
    /// A one-class support vector machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_class_svm: Option<NotYet>,
    /// A Gaussian mixture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gaussian_mixture: Option<NotYet>,
    /// Distance from the principal components.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal_components: Option<NotYet>,
    /// Distance from the nearest cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k_means: Option<NotYet>,
}

/// A robust, decayed distribution of the value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tail {
    /// After this many events a value counts half; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10.0, max = 100_000.0))]
    pub half_life: Option<f64>,
    /// Whether values are judged on a log scale; `auto` looks at their sign and skew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_scale: Option<LogScale>,
}

/// A decayed distribution of events per bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    /// Length of a bucket; 5m when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    /// After this many buckets a bucket counts half; 288 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0, max = 100_000.0))]
    pub half_life: Option<f64>,
}

/// An exponentially weighted mean and deviation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ewma {
    /// After this many events a value counts half; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10.0, max = 100_000.0))]
    pub half_life: Option<f64>,
}

/// A fixed rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.above) || has(self.below)", "message": "expected at least one of above, below"},
    {
        "rule": "!has(self.above) || !has(self.below) || self.below <= self.above",
        "message": "below must not exceed above"
    }
]))]
pub struct Threshold {
    /// Greater values are strange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Smaller values are strange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// How strange; 6 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 20.0))]
    pub surprise: Option<f64>,
}

/// Whether values are judged on a log scale: `auto`, `true` or `false`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogScale {
    /// By the sign and skew of the values.
    Auto,
    /// Always.
    Yes,
    /// Never.
    No,
}

impl Serialize for LogScale {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Yes => serializer.serialize_bool(true),
            Self::No => serializer.serialize_bool(false),
        }
    }
}

impl<'de> Deserialize<'de> for LogScale {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Decided(bool),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Decided(true) => Ok(Self::Yes),
            Either::Decided(false) => Ok(Self::No),
            Either::Text(text) if text == "auto" => Ok(Self::Auto),
            Either::Text(text) => {
                Err(serde::de::Error::custom(format!("expected auto, true or false, found `{text}`")))
            }
        }
    }
}

impl JsonSchema for LogScale {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "LogScale".into()
    }

    /// A word or a boolean: no `type` covers both, so the values are listed.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-preserve-unknown-fields": true, "enum": ["auto", true, false]})
    }
}

/// Whose memory a streaming detector keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// Each key has its own.
    #[default]
    PerKey,
    /// The keys of a source partition share one.
    PerPartition,
}

/// Which side is strange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// Above what is expected.
    High,
    /// Below what is expected.
    Low,
    /// Both.
    #[default]
    Both,
}

/// Changes that are too small to be strange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IgnoreChangesBelow {
    /// In units of the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub absolute: Option<f64>,
    /// As a share of the expected value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub relative: Option<f64>,
}

impl Default for IgnoreChangesBelow {
    fn default() -> Self {
        unset()
    }
}

impl IgnoreChangesBelow {
    fn is_unset(&self) -> bool {
        self.absolute.is_none() && self.relative.is_none()
    }
}
