//! `spec.models`: each `DetectionModel` checked once, then bound to the columns of the plan.

use std::collections::BTreeMap;

use faultline_detectors::{DetectorSpec, Direction, LogScale, Model, ModelSpec};
use faultline_features::{FieldKind, Plan};
use faultline_numerics::hash::Fingerprint;

use super::features::Features;
use super::{Context, DAY, LONGEST, SECOND, known_names};
use crate::duration::Duration;
use crate::load::{Kind, Object};
use crate::model::{self as api, DetectionModel, DetectionModelSpec};
use crate::pipeline::PipelineModel;
use crate::problem::Problem;
use crate::suggest::did_you_mean;
use crate::validate;
use crate::worker_config::{BoundModel, Severities};

/// Every model that can be referred to, checked.
pub(super) struct Models<'a> {
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    context: Context<'a>,
    spec: Option<DetectionModelSpec>,
}

impl Models<'_> {
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.entries.into_iter().flat_map(|entry| entry.context.problems).collect()
    }
}

pub(super) fn check(objects: &[Object]) -> Models<'_> {
    Models { entries: objects.iter().map(entry).collect() }
}

fn entry(object: &Object) -> Entry<'_> {
    let checked = validate::check(object);
    let mut context = Context::new(object, checked.problems);
    let spec = checked.value.and_then(|value| context.typed::<DetectionModel>(value)).map(|model| model.spec);
    if let Some(spec) = &spec {
        let nothing = Duration::from_ms(0);
        context.within("spec.quarantine", spec.quarantine, nothing, LONGEST);
        if let Some(every) = spec.detector.count.as_ref().and_then(|count| count.every) {
            let week = Duration::from_ms(7 * DAY.ms());
            context.within("spec.detector.count.every", every, SECOND, week);
        }
    }
    Entry { context, spec }
}

/// Binds every model of the pipeline; those that are wrong are left out and noted.
pub(super) fn bind(
    context: &mut Context<'_>,
    models: &mut Models<'_>,
    bindings: &[PipelineModel],
    features: &Features,
    severities: &Severities,
) -> Vec<BoundModel> {
    let mut bound: Vec<BoundModel> = Vec::new();
    for (i, binding) in bindings.iter().enumerate() {
        let Some(model) = bind_one(context, models, i, binding, features, severities) else { continue };
        // What is learned is kept by fingerprint: the two could not be told apart.
        match bound.iter().find(|other| other.model.fingerprint() == model.model.fingerprint()) {
            Some(other) => {
                let message =
                    format!("is the same detector with the same inputs as model `{}`; leave one out", other.name);
                context.refuse(&format!("spec.models[{i}]"), message);
            }
            None => bound.push(model),
        }
    }
    bound
}

fn bind_one(
    context: &mut Context<'_>,
    models: &mut Models<'_>,
    i: usize,
    binding: &PipelineModel,
    features: &Features,
    severities: &Severities,
) -> Option<BoundModel> {
    let path = format!("spec.models[{i}]");
    let namespace = &context.object.namespace;
    let wanted = &binding.model_ref.name;
    let is_meant = |object: &Object| object.namespace == *namespace && object.name == *wanted;
    let Some(found) = models.entries.iter().position(|entry| is_meant(entry.context.object)) else {
        let message = missing(models, namespace, wanted);
        context.refuse(&format!("{path}.modelRef.name"), message);
        return None;
    };
    let entry = &mut models.entries[found];
    let spec = entry.spec.as_ref()?;
    let columns = columns(context, &path, binding, spec, features)?;
    let plan = features.plan.as_ref()?;
    let model = ModelSpec {
        detector: detector(&spec.detector)?,
        inputs: columns.len(),
        direction: direction(spec.direction),
        ignore_below_absolute: spec.ignore_changes_below.absolute.unwrap_or(0.0),
        ignore_below_relative: spec.ignore_changes_below.relative.unwrap_or(0.0),
        lowest_severity: lowest(severities)?,
        quarantine_ms: spec.quarantine.ms(),
        input_fingerprints: columns.iter().map(|column| plan.columns()[*column].fingerprint).collect(),
    };
    if let Err(problems) = model.check() {
        for problem in problems {
            let (member, message) = problem.split_once(": ").unwrap_or(("", &problem));
            entry.context.refuse(&member_path(member, &spec.detector), message);
        }
        return None;
    }
    Some(BoundModel {
        name: binding.name.clone(),
        model_ref: wanted.clone(),
        version: spec.version.clone(),
        revision: revision(spec),
        model: Model::new(model),
        columns,
    })
}

fn missing(models: &Models<'_>, namespace: &str, wanted: &str) -> String {
    let objects = || models.entries.iter().map(|entry| entry.context.object);
    let names: Vec<&str> = objects().filter(|o| o.namespace == namespace).map(|o| o.name.as_str()).collect();
    let found = known_names(Kind::DetectionModel, &names);
    let hint = match objects().find(|object| object.name == wanted) {
        Some(elsewhere) => format!("; there is one in namespace {}", elsewhere.namespace),
        None => did_you_mean(wanted, names.iter().copied()),
    };
    format!("no DetectionModel \"{wanted}\" in namespace {namespace}; {found}{hint}")
}

/// The columns behind a model's inputs; a seasonal feature has two.
fn columns(
    context: &mut Context<'_>,
    path: &str,
    binding: &PipelineModel,
    spec: &DetectionModelSpec,
    features: &Features,
) -> Option<Vec<usize>> {
    let given = binding.features.as_ref();
    if let Some(given) = given.filter(|given| given.len() != spec.inputs.len()) {
        let wanted = match spec.inputs.as_slice() {
            [] => "none, because the model has no inputs".to_owned(),
            inputs => format!("one for each input of the model ({})", inputs.join(", ")),
        };
        context.refuse(&format!("{path}.features"), format!("expected {wanted}; found {}", given.len()));
        return None;
    }
    let mut columns = Vec::new();
    let mut whole = true;
    for (j, name) in given.unwrap_or(&spec.inputs).iter().enumerate() {
        let place = match given {
            Some(_) => format!("{path}.features[{j}]"),
            None => format!("{path}.modelRef.name"),
        };
        let Some(feature) = features.names.iter().position(|known| known == name) else {
            let declared = features.names.join(", ");
            let guess = did_you_mean(name, features.names.iter().map(String::as_str));
            let what = if given.is_some() { "no feature" } else { "the model's input has no feature" };
            context.refuse(&place, format!("{what} \"{name}\"; declared: {declared}{guess}"));
            whole = false;
            continue;
        };
        let Some(plan) = features.plan.as_ref().filter(|_| !features.wrong[feature]) else {
            whole = false;
            continue;
        };
        whole &= numeric(context, &place, plan, name);
        columns.extend(plan.columns_of(name).into_iter().flatten());
    }
    whole.then_some(columns)
}

fn numeric(context: &mut Context<'_>, place: &str, plan: &Plan, name: &str) -> bool {
    let mut columns = plan.columns_of(name).into_iter().flatten();
    if columns.all(|column| plan.columns()[column].kind == FieldKind::Number) {
        return true;
    }
    context.refuse(place, format!("feature \"{name}\" is a text; expected a number as input of a model"));
    false
}

/// The surprise of the lowest severity that is given.
fn lowest(severities: &Severities) -> Option<f64> {
    severities.warning.or(severities.major).or(severities.critical)
}

/// The detector with its defaults; `None` when it does not run yet.
fn detector(detector: &api::Detector) -> Option<DetectorSpec> {
    let tail = detector.tail.as_ref().map(|tail| DetectorSpec::Tail {
        half_life: tail.half_life.unwrap_or(100.0),
        log_scale: match tail.log_scale {
            None | Some(api::LogScale::Auto) => LogScale::Auto,
            Some(api::LogScale::Yes) => LogScale::Yes,
            Some(api::LogScale::No) => LogScale::No,
        },
    });
    let count = detector.count.as_ref().map(|count| DetectorSpec::Count {
        every_ms: count.every.map_or(300_000, Duration::ms),
        half_life: count.half_life.unwrap_or(288.0),
    });
    let ewma = detector.ewma.as_ref().map(|ewma| DetectorSpec::Ewma { half_life: ewma.half_life.unwrap_or(100.0) });
    let threshold = detector.threshold.as_ref().map(|threshold| DetectorSpec::Threshold {
        above: threshold.above,
        below: threshold.below,
        surprise: threshold.surprise.unwrap_or(6.0),
    });
    tail.or(count).or(ewma).or(threshold)
}

fn direction(direction: api::Direction) -> Direction {
    match direction {
        api::Direction::High => Direction::High,
        api::Direction::Low => Direction::Low,
        api::Direction::Both => Direction::Both,
    }
}

/// Where in a `DetectionModel` a member of [`ModelSpec::check`] was written.
fn member_path(member: &str, detector: &api::Detector) -> String {
    let kind = [
        ("tail", detector.tail.is_some()),
        ("count", detector.count.is_some()),
        ("ewma", detector.ewma.is_some()),
        ("threshold", detector.threshold.is_some()),
    ];
    let kind = kind.iter().find(|(_, chosen)| *chosen).map_or("", |(kind, _)| kind);
    match member.split(' ').next().unwrap_or_default() {
        member @ ("inputs" | "direction" | "quarantine") => format!("spec.{member}"),
        member if member.starts_with("ignoreChangesBelow") => format!("spec.{member}"),
        member @ ("halfLife" | "every" | "above" | "below" | "surprise") => format!("spec.detector.{kind}.{member}"),
        _ => "spec.detector".to_owned(),
    }
}

/// Hash of what changes scores: members sorted, defaults left out.
fn revision(spec: &DetectionModelSpec) -> String {
    let mut members = BTreeMap::from([("inputs", spec.inputs.join(","))]);
    let mut put = |name, value: Option<String>| {
        if let Some(value) = value {
            members.insert(name, value);
        }
    };
    let detector = &spec.detector;
    if let Some(tail) = &detector.tail {
        put("detector", Some("tail".to_owned()));
        put("halfLife", unless(tail.half_life, 100.0));
        put("logScale", tail.log_scale.filter(|scale| *scale != api::LogScale::Auto).map(|scale| format!("{scale:?}")));
    }
    if let Some(count) = &detector.count {
        put("detector", Some("count".to_owned()));
        put("every", count.every.filter(|every| every.ms() != 300_000).map(|every| every.ms().to_string()));
        put("halfLife", unless(count.half_life, 288.0));
    }
    if let Some(ewma) = &detector.ewma {
        put("detector", Some("ewma".to_owned()));
        put("halfLife", unless(ewma.half_life, 100.0));
    }
    if let Some(threshold) = &detector.threshold {
        put("detector", Some("threshold".to_owned()));
        put("above", threshold.above.map(|above| format!("{above:?}")));
        put("below", threshold.below.map(|below| format!("{below:?}")));
        put("surprise", unless(threshold.surprise, 6.0));
    }
    put("direction", Some(spec.direction).filter(|d| *d != api::Direction::Both).map(|d| format!("{d:?}")));
    put("ignoreAbsolute", unless(spec.ignore_changes_below.absolute, 0.0));
    put("ignoreRelative", unless(spec.ignore_changes_below.relative, 0.0));
    put("quarantine", Some(spec.quarantine.ms()).filter(|ms| *ms != 3_600_000).map(|ms| ms.to_string()));
    let canonical: Vec<String> = members.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    // 64 bits tell the revisions of one model apart and can still be read aloud.
    Fingerprint::of(&canonical.join(";")).to_string()[..16].to_owned()
}

fn unless(value: Option<f64>, default: f64) -> Option<String> {
    value.filter(|value| *value != default).map(|value| format!("{value:?}"))
}
