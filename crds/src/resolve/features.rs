//! `spec.features`: expressions, windows, and the compiled plan.

use faultline_features::{
    Aggregate, Ast, Cycle, Extent, FeatureSource, FeatureSpec, FieldSpec, PathId, Paths, Plan, Program, WhenMissing,
};

use super::Context;
use crate::pipeline::features as api;
use crate::worker_config::Source;

/// The features after this step.
pub(super) struct Features {
    /// Names in the order of the spec.
    pub(super) names: Vec<String>,
    /// Which of them are wrong; they stand in the plan as expressions without a value.
    pub(super) wrong: Vec<bool>,
    /// Which of them are a sensitive field's value.
    hidden: Vec<bool>,
    /// The plan, when it compiles at least with the wrong ones taken out.
    pub(super) plan: Option<Plan>,
}

impl Features {
    /// Which columns of a plan are a sensitive field's value.
    pub(super) fn hidden_columns(&self, plan: &Plan) -> Vec<bool> {
        plan.columns().iter().map(|column| self.hidden[column.feature]).collect()
    }
}

pub(super) fn resolve(
    context: &mut Context<'_>,
    features: &[api::Feature],
    source: &Source,
    paths: &mut Paths,
) -> Features {
    let accepted = canonical_source(source, paths);
    let fields: Vec<FieldSpec> = source.fields.iter().map(|field| field.spec.clone()).collect();
    let mut wrong = vec![false; features.len()];
    let mut specs = Vec::with_capacity(features.len());
    for (i, feature) in features.iter().enumerate() {
        let path = format!("spec.features[{i}]");
        let spec = if context.is_wrong(&path) { None } else { convert(context, feature, &path) };
        wrong[i] = spec.is_none();
        specs.push(spec.unwrap_or_else(|| without_value(&feature.name)));
    }
    let plan = compile(context, paths, (&accepted, &fields), &mut specs, &mut wrong);
    let hidden = hidden(&specs, source);
    Features { names: features.iter().map(|feature| feature.name.clone()).collect(), wrong, hidden, plan }
}

/// Which features are the value of a sensitive field: now, some events ago, or by an expression that only names such a
/// feature or field. What is computed from it, an aggregate or any other expression, is not the value itself.
fn hidden(specs: &[FeatureSpec], source: &Source) -> Vec<bool> {
    let path = |name: &str| source.fields.iter().find(|field| field.spec.name == name).map(|field| field.spec.path);
    let is_sensitive =
        |name: &str| source.fields.iter().any(|field| field.sensitive && Some(field.spec.path) == path(name));
    let mut hidden: Vec<bool> = vec![false; specs.len()];
    // Expressions may name one another in any order.
    for _ in specs {
        let next = specs.iter().map(|spec| match &spec.source {
            FeatureSource::Field { field } | FeatureSource::ValuesAgo { field, .. } => is_sensitive(field),
            FeatureSource::Expression(Ast::Name(name)) => {
                is_sensitive(name) || specs.iter().zip(&hidden).any(|(other, hidden)| *hidden && other.name == *name)
            }
            FeatureSource::Expression(_) | FeatureSource::Aggregate { .. } | FeatureSource::Seasonal { .. } => false,
        });
        hidden = next.collect();
    }
    hidden
}

/// Canonical form of what decides which events reach the features, with which key and time. A change of it makes every
/// window start empty.
fn canonical_source(source: &Source, paths: &Paths) -> String {
    let name = |path: PathId| paths.names().get(usize::from(path.0)).map_or("", String::as_str);
    let filter = source.filter.as_ref().map(Program::canonical).unwrap_or_default();
    let key = source.key.map(name).unwrap_or_default();
    let timestamp = source.timestamp.map(|at| format!("{}:{:?}", name(at.path), at.unit)).unwrap_or_default();
    let refusing = source.fields.iter().map(|field| &field.spec);
    let refusing = refusing.filter(|spec| matches!(spec.when_missing, WhenMissing::Reject | WhenMissing::Skip));
    let mut refusing: Vec<String> =
        refusing.map(|spec| format!("{}:{:?}:{:?}", spec.path_name, spec.kind, spec.when_missing)).collect();
    refusing.sort_unstable();
    format!("filter={filter}\nkey={key}\ntimestamp={timestamp}\nrefusing={}", refusing.join(","))
}

/// Compiles, notes what is wrong, and compiles once more without it, so that later steps can be checked too.
fn compile(
    context: &mut Context<'_>,
    paths: &mut Paths,
    (accepted, fields): (&str, &[FieldSpec]),
    specs: &mut [FeatureSpec],
    wrong: &mut [bool],
) -> Option<Plan> {
    let problems = match Plan::compile_for(accepted, paths, fields, specs) {
        Ok(plan) => return Some(plan),
        Err(problems) => problems,
    };
    for problem in problems {
        let already = wrong.get(problem.feature).copied().unwrap_or(false);
        if !already {
            let path = match problem.member {
                "" => format!("spec.features[{}]", problem.feature),
                member => format!("spec.features[{}].{member}", problem.feature),
            };
            context.refuse(&path, problem.message);
        }
    }
    for (i, spec) in specs.iter_mut().enumerate() {
        if context.is_wrong(&format!("spec.features[{i}]")) {
            wrong[i] = true;
            *spec = without_value(&spec.name);
        }
    }
    Plan::compile_for(accepted, paths, fields, specs).ok()
}

fn without_value(name: &str) -> FeatureSpec {
    FeatureSpec { name: name.to_owned(), source: FeatureSource::Expression(Ast::Null), filter: None }
}

/// `None` when something is wrong with it, which has been noted.
fn convert(context: &mut Context<'_>, feature: &api::Feature, path: &str) -> Option<FeatureSpec> {
    let filter = match &feature.where_true {
        Some(text) => Some(context.expression(&format!("{path}.where"), text)?),
        None => None,
    };
    let source = if let Some(text) = &feature.expression {
        FeatureSource::Expression(context.expression(&format!("{path}.expression"), text)?)
    } else if let Some(seasonal) = feature.seasonal {
        let time_zone = context.time_zone(&format!("{path}.timeZone"), feature.time_zone.as_deref());
        let cycle = match seasonal {
            api::Seasonal::HourOfDay => Cycle::HourOfDay,
            api::Seasonal::DayOfWeek => Cycle::DayOfWeek,
        };
        FeatureSource::Seasonal { cycle, time_zone }
    } else if let Some(aggregate) = feature.aggregate {
        FeatureSource::Aggregate {
            field: feature.field.clone(),
            aggregate: self::aggregate(aggregate, feature)?,
            extent: extent(feature),
        }
    } else {
        let field = feature.field.clone()?;
        match feature.values_ago {
            Some(events) => FeatureSource::ValuesAgo { field, events },
            None => FeatureSource::Field { field },
        }
    };
    Some(FeatureSpec { name: feature.name.clone(), source, filter })
}

fn extent(feature: &api::Feature) -> Option<Extent> {
    let window = feature.window.map(|window| Extent::Time { window_ms: window.ms() });
    window.or(feature.last_events.map(|count| Extent::Events { count }))
}

/// `None` for what does not run yet: the validation has refused it.
fn aggregate(aggregate: api::Aggregate, feature: &api::Feature) -> Option<Aggregate> {
    Some(match aggregate {
        api::Aggregate::Delta => Aggregate::Delta,
        api::Aggregate::SecondsSincePrevious => Aggregate::SecondsSincePrevious,
        api::Aggregate::Count => Aggregate::Count,
        api::Aggregate::Rate => Aggregate::Rate,
        api::Aggregate::Sum => Aggregate::Sum,
        api::Aggregate::Mean => Aggregate::Mean,
        api::Aggregate::Min => Aggregate::Min,
        api::Aggregate::Max => Aggregate::Max,
        api::Aggregate::Range => Aggregate::Range,
        api::Aggregate::Stddev => Aggregate::Stddev,
        api::Aggregate::ZScore => Aggregate::ZScore,
        api::Aggregate::Slope => Aggregate::Slope,
        api::Aggregate::Ewma => Aggregate::Ewma { half_life_ms: feature.half_life?.ms() },
        api::Aggregate::Percentile
        | api::Aggregate::Distinct
        | api::Aggregate::FirstSeen
        | api::Aggregate::Frequency => return None,
    })
}
