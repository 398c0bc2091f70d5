//! The least that a pipeline needs, for tests: one model that finds values above 10 strange, all results.

use faultline_crds::WorkerConfig;

const PIPELINE: &str = "
apiVersion: faultline.dev/v1alpha1
kind: AnomalyPipeline
metadata: {name: p}
spec:
  kafka: {bootstrapServers: unused:9092}
  source: {topic: in, fields: [{name: value, path: value, type: number}]}
  features: [{name: value, field: value}]
  models: [{name: m, modelRef: {name: m}}]
  outputs: {results: {mode: all}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: m}
spec: {inputs: [value], detector: {threshold: {above: 10}}}
";

pub(crate) fn config() -> WorkerConfig {
    let folder = faultline_crds::read_text("pipeline.yaml", PIPELINE).expect("valid YAML");
    let pipeline = folder.pipeline(None).expect("one pipeline");
    faultline_crds::resolve(pipeline, &folder.models).expect("a valid pipeline")
}
