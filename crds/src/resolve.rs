//! From the objects as written to a [`WorkerConfig`] that cannot be wrong, or to every problem at once.
//!
//! ```text
//! Object ─► validate (structure, classes, CEL rules) ─► typed spec ─► source ─► features ─► models ─► decision ─► outputs
//!                │                                          each step notes its problems and goes on
//!                └──────────────── what is wrong here is not reported again by a later step ────────────────┘
//! ```

mod content;
mod decision;
mod features;
mod kafka;
mod models;
mod outputs;
mod source;

use std::collections::BTreeMap;

use faultline_features::{Ast, Paths};
use faultline_numerics::hash::Fingerprint;
use serde_json::Value;

use crate::duration::Duration;
use crate::load::{Kind, Object};
use crate::pipeline::AnomalyPipeline;
use crate::problem::{Problem, inside, related};
use crate::suggest::did_you_mean;
use crate::worker_config::WorkerConfig;
use crate::{expression, validate};

pub use content::resolve_content;

/// Follows every reference, applies every default and compiles every expression of a pipeline.
///
/// # Errors
/// Every problem of the pipeline and of the models, in the order of files and lines.
pub fn resolve(pipeline: &Object, models: &[Object]) -> Result<WorkerConfig, Vec<Problem>> {
    let checked = validate::check(pipeline);
    let mut context = Context::new(pipeline, checked.problems);
    let models_given = models;
    let mut models = models::check(models_given);
    let typed = checked.value.and_then(|value| context.typed::<AnomalyPipeline>(value));
    let config = typed.and_then(|typed| build(&mut context, &typed, &mut models));
    let mut problems = context.problems;
    problems.extend(models.into_problems());
    problems.sort_by(|a, b| (&a.file, a.line, &a.path).cmp(&(&b.file, b.line, &b.path)));
    problems.dedup();
    match config {
        Some(config) if problems.is_empty() => Ok(content::complete(config, pipeline, models_given)),
        _ => Err(problems),
    }
}

/// `None` when something is missing without which there is no configuration; the problems say what.
fn build(
    context: &mut Context<'_>,
    pipeline: &AnomalyPipeline,
    models: &mut models::Models<'_>,
) -> Option<WorkerConfig> {
    let spec = &pipeline.spec;
    let object = context.object;
    let identity = spec.kafka.identity.clone().unwrap_or_else(|| format!("{}.{}", object.namespace, object.name));
    let mut paths = Paths::new();
    let source = source::resolve(context, &spec.source, &mut paths);
    let features = features::resolve(context, &spec.features, &source, &mut paths);
    let severities = decision::severities(&spec.decision.severities);
    let bound = models::bind(context, models, &spec.models, &features, &severities);
    let decision = decision::resolve(context, spec, severities, features.plan.as_ref());
    let outputs = outputs::resolve(context, &spec.outputs, &spec.source.topic, &identity);
    let delivery = outputs::delivery(context, &spec.delivery);
    let kafka = kafka::resolve(&spec.kafka);
    let hidden_columns = features.plan.as_ref().map(|plan| features.hidden_columns(plan)).unwrap_or_default();
    let plan = features.plan?;
    if plan.longest_window_ms() > source.key_expiry_ms {
        let (longest, expiry) = (Duration::from_ms(plan.longest_window_ms()), Duration::from_ms(source.key_expiry_ms));
        let message = format!("expected at least the longest window of the features, {longest}; found {expiry}");
        context.refuse("spec.source.keyExpiry", message);
    }
    Some(WorkerConfig {
        namespace: object.namespace.clone(),
        name: object.name.clone(),
        identity,
        kafka,
        source,
        paths,
        plan,
        hidden_columns,
        models: bound,
        decision: decision?,
        outputs,
        delivery,
        content: String::new(),
        fingerprint: Fingerprint([0; 16]),
        annotations: annotations(&object.value),
    })
}

fn annotations(value: &Value) -> BTreeMap<String, String> {
    let entries = value.pointer("/metadata/annotations").and_then(Value::as_object);
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    entries.into_iter().flatten().filter_map(text).collect()
}

/// The object that is resolved, and what is wrong with it.
struct Context<'a> {
    object: &'a Object,
    problems: Vec<Problem>,
    /// Problems of the validation: later steps say nothing about the same fields.
    known: usize,
}

impl<'a> Context<'a> {
    fn new(object: &'a Object, problems: Vec<Problem>) -> Self {
        Self { object, known: problems.len(), problems }
    }

    fn refuse(&mut self, path: &str, message: impl Into<String>) {
        if !self.problems[..self.known].iter().any(|problem| related(&problem.path, path)) {
            self.problems.push(self.object.problem(path, message));
        }
    }

    /// Whether something at or below the path is already known to be wrong.
    fn is_wrong(&self, path: &str) -> bool {
        self.problems.iter().any(|problem| inside(&problem.path, path))
    }

    /// The typed form of a checked object.
    fn typed<T: serde::de::DeserializeOwned>(&mut self, value: Value) -> Option<T> {
        match serde_json::from_value(value) {
            Ok(typed) => Some(typed),
            Err(error) => {
                self.problems.push(self.object.problem("spec", format!("failed to read: {error}")));
                None
            }
        }
    }

    fn expression(&mut self, path: &str, text: &str) -> Option<Ast> {
        match expression::parse(text) {
            Ok(ast) => Some(ast),
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.refuse(path, problem));
                None
            }
        }
    }

    /// A time zone by its IANA name; UTC when none is named.
    fn time_zone(&mut self, path: &str, name: Option<&str>) -> chrono_tz::Tz {
        let name = name.unwrap_or("UTC");
        name.parse().unwrap_or_else(|_| {
            let guess = did_you_mean(name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
            self.refuse(path, format!("no time zone \"{name}\"; expected a name such as Europe/Berlin{guess}"));
            chrono_tz::UTC
        })
    }

    /// A duration within bounds, in milliseconds.
    fn within(&mut self, path: &str, duration: Duration, least: Duration, most: Duration) -> i64 {
        if !(least..=most).contains(&duration) {
            self.refuse(path, format!("expected {least} to {most}, found {duration}"));
        }
        duration.ms()
    }
}

const DAY: Duration = Duration::from_ms(86_400_000);
const MILLISECOND: Duration = Duration::from_ms(1);
const SECOND: Duration = Duration::from_ms(1_000);
/// Ten years: nothing that is kept per key or in a topic lives longer.
const LONGEST: Duration = Duration::from_ms(3_650 * 86_400_000);

/// The name of a kind in a sentence about where objects were looked for.
fn known_names(kind: Kind, names: &[&str]) -> String {
    if names.is_empty() { format!("there is no {kind}") } else { format!("found: {}", names.join(", ")) }
}
