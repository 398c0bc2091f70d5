//! Rules of the house for the generated schema: what the API server demands, and what keeps rules cheap.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use faultline_crds::model::DetectionModelSpec;
use faultline_crds::pipeline::AnomalyPipelineSpec;
use faultline_crds::{Kind, generate, load_folder};
use serde_json::Value;

fn schema(kind: Kind) -> &'static Value {
    generate::crd(kind).pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap()
}

/// Every schema within a schema, with its path.
fn nodes<'a>(schema: &'a Value, path: &str, visit: &mut dyn FnMut(&str, &'a Value)) {
    visit(path, schema);
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        nodes(inner, &format!("{path}.{name}"), visit);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(name) {
            nodes(inner, &format!("{path}[]"), visit);
        }
    }
}

fn each_node(visit: &mut dyn FnMut(&str, &'static Value)) {
    for kind in Kind::ALL {
        nodes(schema(kind), kind.name(), visit);
    }
}

fn rules() -> Vec<(String, &'static Value, &'static Value)> {
    let mut rules = Vec::new();
    each_node(&mut |path, node| {
        for rule in node.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
            rules.push((path.to_owned(), node, rule));
        }
    });
    assert!(rules.len() > 20);
    rules
}

#[test]
fn every_list_map_and_text_is_bounded() {
    each_node(&mut |path, node| {
        let has = |name: &str| node.get(name).is_some();
        match node.get("type").and_then(Value::as_str) {
            Some("array") => assert!(has("maxItems") && has("x-kubernetes-list-type"), "{path}"),
            Some("string") => assert!(has("maxLength") || has("enum"), "{path}"),
            Some("object") if has("additionalProperties") => assert!(has("maxProperties"), "{path}"),
            _ => {}
        }
    });
}

#[test]
fn the_schema_is_structural() {
    each_node(&mut |path, node| {
        let open = ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"];
        let typed = node.get("type").is_some() || open.iter().any(|name| node.get(name).is_some());
        assert!(typed, "{path} has no type");
        for name in ["nullable", "anyOf", "oneOf", "allOf", "not", "$ref", "uniqueItems", "title"] {
            assert!(node.get(name).is_none(), "{path} has {name}");
        }
        for key in node.get("x-kubernetes-list-map-keys").and_then(Value::as_array).into_iter().flatten() {
            assert!(node["items"]["required"].as_array().unwrap().contains(key), "{path}: {key} is not required");
        }
    });
}

#[test]
fn every_rule_compiles_and_sees_what_it_names() {
    for kind in Kind::ALL {
        let compiled = kube_cel::compile_schema(schema(kind));
        assert!(!compiled.has_errors(), "{:?}", compiled.compilation_errors());
    }
    // The API server does not declare fields without a type to rules.
    let member = regex::Regex::new(r"self\.([a-zA-Z0-9]+)").unwrap();
    for (path, node, rule) in rules() {
        for found in member.captures_iter(rule["rule"].as_str().unwrap()) {
            let property = &node["properties"][&found[1]];
            assert!(property.get("type").is_some(), "{path}: the rule cannot see {}", &found[1]);
        }
    }
}

#[test]
fn every_rule_has_refused_something() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts: String = files
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .map(|p| fs::read_to_string(p).unwrap())
        .collect();
    for (path, _, rule) in rules() {
        let message = rule["message"].as_str().unwrap();
        assert!(texts.contains(message), "{path}: no file in tests/bad is refused with `{message}`");
    }
}

#[test]
fn defaults_of_the_schema_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/good");
    for entry in fs::read_dir(folder).unwrap() {
        let objects = load_folder(&entry.unwrap().path()).unwrap();
        for object in objects.pipelines.iter().chain(&objects.models) {
            let defaulted = kube_cel::apply_defaults(schema(object.kind), &object.value);
            let (plain, defaulted) = (object.value["spec"].clone(), defaulted["spec"].clone());
            match object.kind {
                Kind::AnomalyPipeline => assert_eq!(
                    serde_json::from_value::<AnomalyPipelineSpec>(plain).unwrap(),
                    serde_json::from_value::<AnomalyPipelineSpec>(defaulted).unwrap()
                ),
                Kind::DetectionModel => assert_eq!(
                    serde_json::from_value::<DetectionModelSpec>(plain).unwrap(),
                    serde_json::from_value::<DetectionModelSpec>(defaulted).unwrap()
                ),
            }
        }
    }
}
