//! The checks of an object against its schema, as the API server makes them: structure and bounds, fields that do not
//! run yet, then the CEL rules. Every problem, not the first.

use std::collections::HashSet;
use std::sync::LazyLock;

use kube_cel::{CompiledSchema, ErrorKind, compile_schema};
use regex::Regex;
use serde_json::{Map, Value};

use crate::classes::{Class, class_of, value_is_not_yet};
use crate::duration::{self, Duration};
use crate::generate;
use crate::load::{Kind, Object};
use crate::problem::{Problem, inside, related};
use crate::schema;
use crate::suggest::did_you_mean;

/// An object after the checks.
pub(crate) struct Checked {
    /// Everything that is wrong.
    pub(crate) problems: Vec<Problem>,
    /// The object without the optional fields that are wrong; `None` when what is left is no object of its kind.
    pub(crate) value: Option<Value>,
}

/// Checks an object against the schema of its kind.
pub(crate) fn check(object: &Object) -> Checked {
    let schema = generate::schema(object.kind);
    let mut walk = Walk { object, problems: Vec::new(), broken: false };
    let mut value = object.value.clone();
    walk.root(&mut value);
    match (schema.pointer("/properties/spec"), value.get_mut("spec")) {
        (Some(schema), Some(spec)) => {
            if !walk.node(schema, spec, "spec", "spec") {
                walk.broken = true;
            }
        }
        _ => walk.refuse("spec", "expected a spec"),
    }
    let Walk { mut problems, broken, .. } = walk;
    if !broken {
        problems.extend(rules(object, &value, &problems));
    }
    Checked { problems, value: (!broken).then_some(value) }
}

static PIPELINE_RULES: LazyLock<CompiledSchema> =
    LazyLock::new(|| compile_schema(generate::schema(Kind::AnomalyPipeline)));
static MODEL_RULES: LazyLock<CompiledSchema> = LazyLock::new(|| compile_schema(generate::schema(Kind::DetectionModel)));

fn rules_of(kind: Kind) -> &'static CompiledSchema {
    match kind {
        Kind::AnomalyPipeline => &PIPELINE_RULES,
        Kind::DetectionModel => &MODEL_RULES,
    }
}

/// The CEL rules, but for objects in which something is already wrong: their answer would only confuse.
fn rules(object: &Object, value: &Value, known: &[Problem]) -> Vec<Problem> {
    let Err(errors) = kube_cel::validate_compiled(rules_of(object.kind), value, None) else { return Vec::new() };
    let news = errors.into_iter().filter(|error| !known.iter().any(|p| related(&p.path, &error.field_path)));
    news.map(|error| match error.kind {
        ErrorKind::ValidationFailure => object.problem(&error.field_path, error.message),
        _ => object
            .problem(&error.field_path, format!("failed to evaluate the rule `{}`: {}", error.rule, error.message)),
    })
    .collect()
}

struct Walk<'a> {
    object: &'a Object,
    problems: Vec<Problem>,
    /// Something required is wrong.
    broken: bool,
}

impl Walk<'_> {
    fn refuse(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(self.object.problem(path, message));
    }

    fn root(&mut self, value: &mut Value) {
        const KNOWN: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
        let Some(members) = value.as_object_mut() else {
            self.broken = true;
            return self.refuse("", "expected an object");
        };
        let unknown: Vec<String> = members.keys().filter(|name| !KNOWN.contains(&name.as_str())).cloned().collect();
        for name in unknown {
            let guess = did_you_mean(&name, KNOWN);
            self.refuse(&name, format!("unknown field; expected one of {}{guess}", KNOWN.join(", ")));
            members.remove(&name);
        }
        if !members.contains_key("spec") {
            self.broken = true;
        }
        for name in ["annotations", "labels"] {
            let Some(Value::Object(entries)) = members.get_mut("metadata").and_then(|m| m.get_mut(name)) else {
                continue;
            };
            let wrong: Vec<String> = entries.iter().filter(|(_, v)| !v.is_string()).map(|(k, _)| k.clone()).collect();
            for key in wrong {
                let found = entries.remove(&key).map(|value| shown(&value)).unwrap_or_default();
                self.refuse(
                    &format!("metadata.{name}.{key}"),
                    format!("expected a text, found {found}; put it in quotes"),
                );
            }
        }
    }

    /// Checks a value; false when it cannot be kept. `leaf` is the path with `[]` in place of indices.
    fn node(&mut self, schema: &Value, value: &mut Value, path: &str, leaf: &str) -> bool {
        if class_of(self.object.kind, leaf) == Some(Class::NotYet) {
            self.refuse(path, format!("`{}` is not supported yet", leaf_name(leaf)));
            return true;
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return self.one_of(values, value, path, leaf);
        }
        if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
            return match value {
                Value::Number(_) => self.number(schema, value, path, "integer"),
                _ => self.text(schema, value, path),
            };
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => self.object(schema, value, path, leaf),
            Some("array") => self.array(schema, value, path, leaf),
            Some("string") => self.text(schema, value, path),
            Some(kind @ ("integer" | "number")) => self.number(schema, value, path, kind),
            Some("boolean") if !value.is_boolean() => self.wrong(path, "true or false", value),
            _ => true,
        }
    }

    fn wrong(&mut self, path: &str, expected: &str, found: &Value) -> bool {
        self.refuse(path, format!("expected {expected}, found {}", shown(found)));
        false
    }

    fn one_of(&mut self, values: &[Value], value: &Value, path: &str, leaf: &str) -> bool {
        let supported = |v: &Value| v.as_str().is_none_or(|text| !value_is_not_yet(self.object.kind, leaf, text));
        if !values.contains(value) {
            let known: Vec<String> = values.iter().filter(|v| supported(v)).map(plain).collect();
            let guess = value.as_str().map_or_else(String::new, |v| did_you_mean(v, known.iter().map(String::as_str)));
            self.refuse(path, format!("expected one of {}; found {}{guess}", known.join(", "), shown(value)));
            return false;
        }
        if !supported(value) {
            self.refuse(path, format!("`{}` is not supported yet", plain(value)));
        }
        true
    }

    fn object(&mut self, schema: &Value, value: &mut Value, path: &str, leaf: &str) -> bool {
        let Some(members) = value.as_object_mut() else {
            let hint = if value.is_null() { "; write {} for all defaults" } else { "" };
            let found = shown(value);
            self.refuse(path, format!("expected an object, found {found}{hint}"));
            return false;
        };
        if let Some(inner) = schema.get("additionalProperties") {
            return self.map(schema, inner, members, path, leaf);
        }
        if schema.get("x-kubernetes-preserve-unknown-fields").is_some() {
            return true;
        }
        let none = Map::new();
        let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let names: Vec<String> = members.keys().cloned().collect();
        for name in names {
            let path = format!("{path}.{name}");
            let Some(schema) = known.get(&name) else {
                self.unknown(&path, &name, known, leaf);
                members.remove(&name);
                continue;
            };
            let leaf = format!("{leaf}.{name}");
            if members.get_mut(&name).is_some_and(|value| !self.node(schema, value, &path, &leaf)) {
                members.remove(&name);
            }
        }
        self.required(schema, members, path)
    }

    fn unknown(&mut self, path: &str, name: &str, known: &Map<String, Value>, leaf: &str) {
        let runs = |name: &&str| class_of(self.object.kind, &format!("{leaf}.{name}")) != Some(Class::NotYet);
        let names: Vec<&str> = known.keys().map(String::as_str).filter(runs).collect();
        let guess = did_you_mean(name, names.iter().copied());
        let message = match names.as_slice() {
            [] => "unknown field; expected none".to_owned(),
            names => format!("unknown field; expected one of {}{guess}", names.join(", ")),
        };
        self.refuse(path, message);
    }

    fn required(&mut self, schema: &Value, members: &Map<String, Value>, path: &str) -> bool {
        let mut complete = true;
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if members.contains_key(name) {
                continue;
            }
            complete = false;
            let field = format!("{path}.{name}");
            // A field that was taken out because of what is in it has been reported.
            if !self.problems.iter().any(|problem| inside(&problem.path, &field)) {
                let takes = generate::in_words(&schema["properties"][name]);
                self.refuse(&field, format!("required, but missing; expected {}", with_article(&takes)));
            }
        }
        complete
    }

    fn map(&mut self, schema: &Value, inner: &Value, members: &mut Map<String, Value>, path: &str, leaf: &str) -> bool {
        if let Some(most) = bound(schema, "maxProperties").filter(|most| members.len() > *most) {
            self.refuse(path, format!("expected at most {most} entries, found {}", members.len()));
        }
        let names: Vec<String> = members.keys().cloned().collect();
        for name in names {
            let path = format!("{path}.{name}");
            if members.get_mut(&name).is_some_and(|value| !self.node(inner, value, &path, leaf)) {
                members.remove(&name);
            }
        }
        true
    }

    fn array(&mut self, schema: &Value, value: &mut Value, path: &str, leaf: &str) -> bool {
        let Some(items) = value.as_array_mut() else { return self.wrong(path, "a list", value) };
        let count = items.len();
        if let Some(most) = bound(schema, "maxItems").filter(|most| count > *most) {
            self.refuse(path, format!("expected at most {most} items, found {count}"));
        }
        if let Some(least) = bound(schema, "minItems").filter(|least| count < *least) {
            self.refuse(path, format!("expected at least {least}, found {count}"));
        }
        let inner = &schema["items"];
        let item_leaf = if inner.get("properties").is_some() { format!("{leaf}[]") } else { leaf.to_owned() };
        let mut whole = true;
        for (i, item) in items.iter_mut().enumerate() {
            whole &= self.node(inner, item, &format!("{path}[{i}]"), &item_leaf);
        }
        self.distinct(schema, items, path);
        whole
    }

    /// Lists of named things: each name once.
    fn distinct(&mut self, schema: &Value, items: &[Value], path: &str) {
        let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
        for key in keys.into_iter().flatten().filter_map(Value::as_str) {
            let mut seen = HashSet::new();
            for (i, item) in items.iter().enumerate() {
                let Some(name) = item.get(key).and_then(Value::as_str) else { continue };
                if !seen.insert(name) {
                    self.refuse(&format!("{path}[{i}].{key}"), format!("\"{name}\" is given twice"));
                }
            }
        }
    }

    fn text(&mut self, schema: &Value, value: &Value, path: &str) -> bool {
        let pattern = schema.get("pattern").and_then(Value::as_str);
        let Some(text) = value.as_str() else {
            if pattern == Some(duration::PATTERN) {
                return self.wrong(path, "a duration with its unit, such as 30s", value);
            }
            let hint = if value.is_number() || value.is_boolean() { "; put it in quotes" } else { "" };
            self.refuse(path, format!("expected a text, found {}{hint}", shown(value)));
            return false;
        };
        if pattern == Some(duration::PATTERN) {
            let Err(refused) = text.parse::<Duration>() else { return true };
            self.refuse(path, refused.to_string());
            return false;
        }
        let length = text.chars().count();
        if let Some(most) = bound(schema, "maxLength").filter(|most| length > *most) {
            self.refuse(path, format!("expected at most {most} characters, found {length}"));
        } else if bound(schema, "minLength").is_some_and(|least| length < least) {
            self.refuse(
                path,
                if length == 0 { "must not be empty".to_owned() } else { format!("\"{text}\" is too short") },
            );
        } else if let Some(pattern) = pattern
            && Regex::new(pattern).is_ok_and(|regex| !regex.is_match(text))
        {
            self.refuse(path, format!("expected {}, found \"{text}\"", pattern_in_words(pattern)));
        }
        true
    }

    fn number(&mut self, schema: &Value, value: &Value, path: &str, kind: &str) -> bool {
        let whole = kind == "integer";
        let Some(number) = value.as_f64().filter(|_| !whole || value.is_i64() || value.is_u64()) else {
            return self.wrong(path, if whole { "an integer" } else { "a number" }, value);
        };
        let least = schema.get("minimum").and_then(Value::as_f64).filter(|least| number < *least);
        let most = schema.get("maximum").and_then(Value::as_f64).filter(|most| number > *most);
        let expected = match (least, most) {
            (None, None) => return true,
            (Some(least), _) => format!("at least {least}"),
            (_, Some(most)) => format!("at most {most}"),
        };
        self.refuse(path, format!("expected {expected}, found {value}"));
        false
    }
}

fn leaf_name(leaf: &str) -> &str {
    leaf.rsplit('.').next().unwrap_or(leaf)
}

fn bound(schema: &Value, name: &str) -> Option<usize> {
    schema.get(name).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok())
}

fn with_article(kind: &str) -> String {
    match kind {
        "text" | "duration" | "object" => format!("{} {kind}", if kind == "object" { "an" } else { "a" }),
        _ if kind.starts_with("list") || kind.starts_with("number") => format!("a {kind}"),
        _ if kind.starts_with("integer") => format!("an {kind}"),
        _ => kind.to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value as a message shows it, never longer than a line.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) if text.chars().count() > 60 => "a long text".to_owned(),
        other => other.to_string(),
    }
}

fn pattern_in_words(pattern: &str) -> String {
    match pattern {
        schema::DNS_NAME => "a name of lower-case letters, digits, - and .".to_owned(),
        schema::IDENTIFIER => "a name of letters, digits and _ that does not begin with a digit".to_owned(),
        schema::TOPIC => "letters, digits, ., _ and -".to_owned(),
        schema::PATH => "names joined by dots".to_owned(),
        schema::TIME_OF_DAY => "a time of day such as \"22:00\"".to_owned(),
        schema::BOOTSTRAP_SERVERS => "host:port, comma separated".to_owned(),
        "^https?://" => "an address that begins with https://".to_owned(),
        "^last$" => "1 to 31 or last".to_owned(),
        other => format!("text that matches {other}"),
    }
}
