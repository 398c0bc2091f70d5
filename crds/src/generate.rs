//! What is generated from the types: the CRDs' YAML and the reference of all fields.

use std::fmt::Write as _;
use std::sync::LazyLock;

use kube::core::CustomResourceExt;
use serde_json::{Map, Value};

use crate::classes::class_of;
use crate::load::Kind;
use crate::model::DetectionModel;
use crate::pipeline::AnomalyPipeline;

/// Every file generated from this crate's types, as (path within the crate, text).
#[must_use]
pub fn generated() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> =
        Kind::ALL.into_iter().map(|kind| (format!("generated/{}.yaml", plural(kind)), crd_yaml(kind))).collect();
    files.push(("reference.md".to_owned(), reference()));
    files
}

fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::AnomalyPipeline => "anomalypipelines.faultline.dev",
        Kind::DetectionModel => "detectionmodels.faultline.dev",
    }
}

fn crd_yaml(kind: Kind) -> String {
    let head = "# Generated from the types in crds/src by `cargo xtask gen`. Do not edit.\n";
    // Maps of text keys always have a YAML form.
    let body = serde_yaml::to_string(crd(kind)).unwrap_or_default();
    format!("{head}{body}")
}

static PIPELINE: LazyLock<Value> = LazyLock::new(|| tidy_crd(AnomalyPipeline::crd()));
static MODEL: LazyLock<Value> = LazyLock::new(|| tidy_crd(DetectionModel::crd()));

/// The CustomResourceDefinition of a kind.
#[must_use]
pub fn crd(kind: Kind) -> &'static Value {
    match kind {
        Kind::AnomalyPipeline => &PIPELINE,
        Kind::DetectionModel => &MODEL,
    }
}

/// The structural schema of a kind.
pub(crate) fn schema(kind: Kind) -> &'static Value {
    crd(kind).pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap_or(&Value::Null)
}

fn tidy_crd(crd: impl serde::Serialize) -> Value {
    let mut crd = serde_json::to_value(crd).unwrap_or_default();
    if let Some(schema) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        tidy(schema);
    }
    crd
}

/// Takes out what the API server does not need: null as a value, titles, formats it does not know, and line breaks in
/// descriptions.
fn tidy(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    members.remove("nullable");
    members.remove("title");
    let known = ["int32", "int64", "float", "double"];
    if members.get("format").and_then(Value::as_str).is_some_and(|format| !known.contains(&format)) {
        members.remove("format");
    }
    if let Some(Value::Array(values)) = members.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::String(text)) = members.get_mut("description") {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.values_mut().for_each(tidy);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = members.get_mut(name) {
            tidy(inner);
        }
    }
}

/// A field without fields of its own.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Its path; `[]` stands for each item of a list.
    pub path: String,
    /// What it takes, in words.
    pub kind: String,
    /// Values it takes, when they are listed.
    pub values: Vec<String>,
    /// What it is when absent.
    pub default: Option<String>,
    /// What it means.
    pub meaning: String,
}

/// Every leaf of a kind's spec, in the order of the schema.
#[must_use]
pub fn leaves(kind: Kind) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    if let Some(spec) = schema(kind).pointer("/properties/spec") {
        walk(spec, "spec", &mut leaves);
    }
    leaves
}

fn walk(schema: &Value, path: &str, leaves: &mut Vec<Leaf>) {
    if let Some(properties) = properties(schema) {
        for (name, schema) in properties {
            walk(schema, &format!("{path}.{name}"), leaves);
        }
    } else if schema.get("items").and_then(properties).is_some() {
        walk(&schema["items"], &format!("{path}[]"), leaves);
    } else {
        leaves.push(leaf(schema, path));
    }
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object).filter(|properties| !properties.is_empty())
}

fn leaf(schema: &Value, path: &str) -> Leaf {
    let values = words(schema.get("enum"));
    let default = schema.get("default").filter(|value| !value.is_null());
    Leaf {
        path: path.to_owned(),
        kind: in_words(schema),
        values,
        default: default.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        meaning: schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
    }
}

fn words(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect()
}

/// What a schema takes, in words.
pub(crate) fn in_words(schema: &Value) -> String {
    if let Some(values) = schema.get("enum") {
        return words(Some(values)).join(" | ");
    }
    if schema.get("pattern").and_then(Value::as_str) == Some(crate::duration::PATTERN) {
        return "duration".to_owned();
    }
    if schema.get("x-kubernetes-int-or-string").is_some() {
        return "integer or text".to_owned();
    }
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let bounds = match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!(" {least} to {most}"),
        (Some(least), None) => format!(" from {least}"),
        (None, Some(most)) => format!(" to {most}"),
        (None, None) => String::new(),
    };
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => "text".to_owned(),
        Some("integer") => format!("integer{bounds}"),
        Some("number") => format!("number{bounds}"),
        Some("array") if properties(&schema["items"]).is_some() || is_open(&schema["items"]) => {
            "list of objects".to_owned()
        }
        Some("array") => format!("list of {}", in_words(&schema["items"])),
        Some("object") if schema.get("additionalProperties").is_some() => "map of text".to_owned(),
        Some("object") if properties(schema).is_none() && !is_open(schema) => "{}".to_owned(),
        Some(other) => other.to_owned(),
        None => "any".to_owned(),
    }
}

fn is_open(schema: &Value) -> bool {
    schema.get("x-kubernetes-preserve-unknown-fields").is_some()
}

/// The reference of all fields: path, what it takes, default, class, meaning.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Reference of all fields\n\nGenerated from the types in `crds/src` by `cargo xtask gen`. Do not edit.\n\n\
         `[]` stands for each item of a list. Class: *runs* does what it says; *cluster only* is acted on by the \
         operator and accepted everywhere; *not yet* is known and refused when set.\n",
    );
    for kind in Kind::ALL {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## {kind}\n\n| field | takes | default | class | meaning |\n|---|---|---|---|---|\n");
        for leaf in leaves(kind) {
            let class = class_of(kind, &leaf.path).map_or("", |class| class.name());
            let default = leaf.default.map_or_else(String::new, |default| format!("`{default}`"));
            let takes = leaf.kind.replace('|', "\\|");
            let _ = writeln!(text, "| `{}` | {takes} | {default} | {class} | {} |", leaf.path, leaf.meaning);
        }
    }
    text
}
