//! A configuration as text: what a worker keeps beside its state, to be able to replay what was folded under it.

use faultline_numerics::hash::Fingerprint;
use serde_json::{Value, json};

use super::resolve;
use crate::load::{API_VERSION, Object, read_text};
use crate::problem::Problem;
use crate::worker_config::WorkerConfig;

/// Puts the pipeline and the models that it refers to into the configuration.
pub(super) fn complete(mut config: WorkerConfig, pipeline: &Object, models: &[Object]) -> WorkerConfig {
    let is_bound = |name: &str| config.models.iter().any(|bound| bound.model_ref == name);
    let used = |model: &&Object| model.namespace == pipeline.namespace && is_bound(&model.name);
    let mut texts = vec![text(pipeline)];
    let mut models: Vec<String> = models.iter().filter(used).map(text).collect();
    models.sort_unstable();
    texts.append(&mut models);
    config.content = texts.join("\n---\n");
    config.fingerprint = Fingerprint::of(&config.content);
    config
}

/// An object without labels, annotations and status, members sorted.
fn text(object: &Object) -> String {
    json!({
        "apiVersion": API_VERSION,
        "kind": object.kind.name(),
        "metadata": {"name": object.name, "namespace": object.namespace},
        "spec": object.value.get("spec").unwrap_or(&Value::Null),
    })
    .to_string()
}

/// The configuration that a text stands for, see [`WorkerConfig::content`].
///
/// # Errors
/// The text is none, or this build does not accept it any more.
pub fn resolve_content(content: &str) -> Result<WorkerConfig, Vec<Problem>> {
    let folder = read_text("kept configuration", content)?;
    resolve(folder.pipeline(None).map_err(|problem| vec![problem])?, &folder.models)
}
