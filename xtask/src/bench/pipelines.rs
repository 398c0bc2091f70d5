//! `examples/quickstart` on the topics of one measurement, in a folder of its own. What is changed is written here,
//! all of it, and nothing else is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use faultline_crds::WorkerConfig;
use serde_json::{Value, json};

/// Which pipeline is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The quickstart with its own models.
    Quickstart,
    /// The quickstart with one threshold rule in place of its models: the fold without detectors.
    Threshold,
}

impl Variant {
    /// Its name in figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quickstart => "quickstart",
            Self::Threshold => "threshold",
        }
    }
}

/// Names of one measurement.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// Source topic.
    pub(crate) input: String,
    /// Group, and prefix of the output topics.
    pub(crate) identity: String,
}

impl Names {
    /// Topic of the results.
    pub(crate) fn results(&self) -> String {
        format!("{}.results", self.identity)
    }

    /// Topic of the state.
    pub(crate) fn state(&self) -> String {
        format!("{}.state", self.identity)
    }

    /// All output topics.
    pub(crate) fn outputs(&self) -> [String; 4] {
        ["results", "alerts", "dead-letter", "late"].map(|kind| format!("{}.{kind}", self.identity))
    }
}

/// Writes the folder and returns it.
pub(crate) fn write(root: &Path, folder: &Path, variant: Variant, names: &Names) -> Result<PathBuf> {
    let quickstart = root.join("examples/quickstart");
    let folder = folder.join(&names.identity);
    fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let mut pipeline = read(&quickstart.join("pipeline.yaml"))?;
    change(&mut pipeline, variant, names);
    let text = serde_yaml::to_string(&pipeline).context("failed to write the pipeline")?;
    fs::write(folder.join("pipeline.yaml"), text).context("failed to write the pipeline")?;
    match variant {
        Variant::Quickstart => {
            fs::copy(quickstart.join("models.yaml"), folder.join("models.yaml"))
                .context("failed to copy the models")?;
        }
        Variant::Threshold => fs::write(folder.join("models.yaml"), RULE).context("failed to write the model")?,
    }
    Ok(folder)
}

/// Lets a pipeline that was written remember so many amounts of each key, in place of 20: larger images. Returns what
/// its workers get.
pub(crate) fn remember(folder: &Path, amounts: u64) -> Result<Arc<WorkerConfig>> {
    let path = folder.join("pipeline.yaml");
    let mut pipeline = read(&path)?;
    let features = pipeline["spec"]["features"].as_array_mut().context("the quickstart has no features")?;
    let mean = features.iter_mut().find(|feature| feature["lastEvents"].is_number());
    mean.context("the quickstart has no feature over the last events")?["lastEvents"] = json!(amounts);
    let text = serde_yaml::to_string(&pipeline).context("failed to write the pipeline")?;
    fs::write(&path, &text).context("failed to write the pipeline")?;

    let models = folder.join("models.yaml");
    let models = fs::read_to_string(&models).with_context(|| format!("failed to read {}", models.display()))?;
    let refused = |problems: Vec<faultline_crds::Problem>| {
        anyhow!("the pipeline is refused: {}", problems.iter().map(|p| format!("\n  {p}")).collect::<String>())
    };
    let folder = faultline_crds::read_text("pipeline.yaml", &format!("{text}\n---\n{models}")).map_err(refused)?;
    let pipeline = folder.pipeline(None).map_err(|problem| refused(vec![problem]))?;
    Ok(Arc::new(faultline_crds::resolve(pipeline, &folder.models).map_err(refused)?))
}

/// One rule on a feature of the quickstart. One payment in a few thousand is ten times the mean of the last twenty.
const RULE: &str = "apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: rule}
spec:
  version: '1'
  inputs: [ratio]
  detector: {threshold: {above: 10}}
";

fn read(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    serde_yaml::from_str(&text).with_context(|| format!("failed to read {}", path.display()))
}

fn change(pipeline: &mut Value, variant: Variant, names: &Names) {
    let [results, alerts, dead_letter, late] = names.outputs();
    let spec = &mut pipeline["spec"];
    spec["kafka"]["identity"] = json!(names.identity);
    spec["source"]["topic"] = json!(names.input);
    spec["outputs"]["results"]["topic"] = json!(results);
    spec["outputs"]["alerts"]["topic"] = json!(alerts);
    spec["outputs"]["deadLetter"] = json!({ "topic": dead_letter });
    spec["outputs"]["late"] = json!({ "topic": late });
    if variant == Variant::Threshold {
        spec["models"] = json!([{ "name": "rule", "modelRef": { "name": "rule" } }]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    #[test]
    fn both_variants_are_pipelines() {
        let folder = tree::target_folder().join("bench-pipelines-test");
        for variant in [Variant::Quickstart, Variant::Threshold] {
            let names = Names { input: "in".into(), identity: format!("test-{}", variant.name()) };
            let folder = write(&tree::root(), &folder, variant, &names).unwrap();
            let loaded = faultline_crds::load_folder(&folder).unwrap();
            let config = faultline_crds::resolve(loaded.pipeline(None).unwrap(), &loaded.models).unwrap();
            assert_eq!((config.source.topic.as_str(), &config.identity), ("in", &names.identity));
            assert_eq!(config.outputs.results.topic, names.results());
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
