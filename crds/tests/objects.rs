//! Objects from elsewhere than files, several pipelines, and what only a cluster acts on.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;

use faultline_crds::{AnomalyPipeline, DetectionModel, Object, cluster_only_fields, load_folder, read_text, resolve};

const PIPELINE: &str = "
apiVersion: faultline.dev/v1alpha1
kind: AnomalyPipeline
metadata: {name: NAME}
spec:
  kafka: {bootstrapServers: 'localhost:9092'}
  source: {topic: events, fields: [{name: value, path: value, type: number}]}
  features: [{name: value, field: value}, {name: hour, seasonal: hourOfDay}]
  models: [{name: value, modelRef: {name: value}}]
---
";

const MODEL: &str = "
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: value}
spec: {inputs: [value], detector: {tail: {}}}
";

fn good(folder: &str) -> faultline_crds::Folder {
    load_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/good").join(folder)).unwrap()
}

fn revision(model: &str) -> String {
    let folder = read_text("all.yaml", &format!("{}{model}", PIPELINE.replace("NAME", "one"))).unwrap();
    resolve(&folder.pipelines[0], &folder.models).unwrap().models[0].revision.clone()
}

#[test]
fn what_only_a_cluster_acts_on_is_named_as_a_whole() {
    let folder = good("payments");
    let fields = cluster_only_fields(folder.pipeline(None).unwrap());
    assert_eq!(fields, ["spec.networkPolicy", "spec.outputs.topics.deletionPolicy", "spec.paused", "spec.worker"]);
    assert!(cluster_only_fields(good("smallest").pipeline(None).unwrap()).is_empty());
    assert_eq!(cluster_only_fields(folder.models.last().unwrap()), ["spec.serving"]);
}

#[test]
fn other_kinds_are_left_out_with_a_note() {
    let folder = good("payments");
    assert_eq!(folder.notes, ["models.yml:32 Secret (v1) is not Faultline's and was left out"]);
}

#[test]
fn an_object_without_a_file_is_named_in_its_problems() {
    let folder = good("payments");
    let pipeline: AnomalyPipeline = serde_json::from_value(folder.pipelines[0].value.clone()).unwrap();
    let models: Vec<Object> = folder
        .models
        .iter()
        .map(|model| Object::from(&serde_json::from_value::<DetectionModel>(model.value.clone()).unwrap()))
        .collect();
    let object = Object::from(&pipeline);
    let resolved = resolve(&object, &models).unwrap();
    assert_eq!((resolved.name.as_str(), resolved.identity.as_str()), ("card-payments", "shop.cards"));
    let problems = resolve(&object, &models[1..]).unwrap_err();
    assert_eq!(
        problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "AnomalyPipeline shop/card-payments spec.models[0].modelRef.name: no DetectionModel \"card-amount\" in namespace shop; \
          found: card-rate, card-limit, card-smooth"
        ]
    );
}

#[test]
fn one_of_several_pipelines_is_chosen_by_name() {
    let text = format!("{}{}{MODEL}", PIPELINE.replace("NAME", "one"), PIPELINE.replace("NAME", "three"));
    let folder = read_text("all.yaml", &text).unwrap();
    assert_eq!(folder.pipeline(Some("three")).unwrap().name, "three");
    assert!(folder.pipeline(None).is_err());
    let Err(problem) = folder.pipeline(Some("on")) else { panic!("there is none") };
    assert_eq!(problem.to_string(), "no AnomalyPipeline \"on\"; found: one, three. Did you mean \"one\"?");
}

#[test]
fn a_revision_is_the_hash_of_what_changes_scores() {
    let plain = revision(MODEL);
    let spelled = "inputs: [value], version: '7', direction: both, quarantine: 60m, detector: {tail: {halfLife: 100, logScale: auto}}";
    assert_eq!(revision(&MODEL.replace("inputs: [value], detector: {tail: {}}", spelled)), plain);
    for changed in [
        "inputs: [value], detector: {tail: {halfLife: 101}}",
        "inputs: [value], detector: {tail: {logScale: false}}",
        "inputs: [value], detector: {ewma: {}}",
        "inputs: [value], detector: {tail: {}}, direction: high",
        "inputs: [value], detector: {tail: {}}, quarantine: 2h",
        "inputs: [value], detector: {tail: {}}, ignoreChangesBelow: {relative: 0.1}",
        "inputs: [value, hour], detector: {tail: {}}",
    ] {
        assert_ne!(revision(&MODEL.replace("inputs: [value], detector: {tail: {}}", changed)), plain, "{changed}");
    }
}

#[test]
fn a_seasonal_feature_is_bound_as_two_columns() {
    let text = format!("{}{}", PIPELINE.replace("NAME", "one"), MODEL.replace("[value]", "[value, hour]"));
    let folder = read_text("all.yaml", &text).unwrap();
    let config = resolve(&folder.pipelines[0], &folder.models).unwrap();
    assert_eq!(config.models[0].columns, [0, 1, 2]);
    assert_eq!(config.plan.columns()[2].name, "hour.cos");
}

#[test]
fn a_file_that_ends_early_is_refused_or_read_but_never_a_panic() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/good/payments/pipeline.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let models = good("payments").models;
    let mut resolved = 0;
    for (at, _) in text.char_indices().filter(|(at, _)| at % 7 == 0) {
        if let Ok(folder) = read_text("pipeline.yaml", &text[..at]) {
            resolved += usize::from(resolve(&folder.pipelines[0], &models).is_ok());
        }
    }
    assert!(resolved > 0);
}

#[test]
fn a_place_without_yaml_says_what_was_expected() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (place, expected) in
        [(tests.clone(), "expected .yaml or .yml files"), (tests.join("none"), "expected a folder")]
    {
        let problems = load_folder(&place).unwrap_err();
        let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(text.contains(expected) && text.contains(&place.display().to_string()), "{text}");
    }
}
