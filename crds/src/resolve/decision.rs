//! `spec.decision`: thresholds, incidents, mutes.

use faultline_detectors::Combine;
use faultline_features::{FieldKind, Kind, NameScope, Plan, Program};
use faultline_numerics::math::log10;

use super::{Context, DAY, LONGEST, SECOND};
use crate::duration::Duration;
use crate::pipeline::AnomalyPipelineSpec;
use crate::pipeline::decision as api;
use crate::worker_config::{Decision, Mute, MuteCondition, NewKeys, Severities};

/// The surprise at which each severity begins.
pub(super) fn severities(severities: &api::Severities) -> Severities {
    let surprise = |severity: &Option<api::Severity>| {
        let one_in = severity.as_ref().and_then(|severity| severity.one_in);
        one_in.map(|one_in| log10(one_in as f64))
    };
    Severities {
        warning: surprise(&severities.warning),
        major: surprise(&severities.major),
        critical: surprise(&severities.critical),
    }
}

/// `None` when a part is missing; the problems say which.
pub(super) fn resolve(
    context: &mut Context<'_>,
    spec: &AnomalyPipelineSpec,
    severities: Severities,
    plan: Option<&Plan>,
) -> Option<Decision> {
    let decision = &spec.decision;
    let quiet_period = decision.incident.quiet_period;
    let quiet_period_ms = context.within("spec.decision.incident.quietPeriod", quiet_period, SECOND, LONGEST);
    let mutes: Vec<Option<Mute>> =
        decision.mute.iter().enumerate().map(|(i, mute)| self::mute(context, i, mute, plan)).collect();
    Some(Decision {
        combine: combine(context, spec),
        severities,
        quiet_period_ms,
        escalate_by: decision.incident.escalate_by,
        new_keys: match decision.new_keys {
            api::NewKeys::UsePeers => NewKeys::UsePeers,
            api::NewKeys::Silent => NewKeys::Silent,
        },
        mutes: mutes.into_iter().collect::<Option<Vec<Mute>>>()?,
    })
}

fn combine(context: &mut Context<'_>, spec: &AnomalyPipelineSpec) -> Combine {
    match spec.decision.combine {
        api::Combine::Any => Combine::Any,
        api::Combine::Consensus => Combine::Consensus,
        api::Combine::Weighted => {
            let weights: Vec<f64> = spec.models.iter().map(|model| model.weight.unwrap_or(1.0)).collect();
            if weights.iter().all(|weight| *weight == 0.0) {
                context.refuse("spec.models", "expected at least one weight above 0");
            }
            Combine::Weighted(weights)
        }
    }
}

fn mute(context: &mut Context<'_>, i: usize, mute: &api::Mute, plan: Option<&Plan>) -> Option<Mute> {
    let path = format!("spec.decision.mute[{i}]");
    let condition = match (&mute.schedule, &mute.when) {
        (Some(schedule), _) => self::schedule(context, &path, schedule, mute.duration?),
        (None, Some(text)) => {
            let path = format!("{path}.when");
            let ast = context.expression(&path, text)?;
            match Program::compile_condition(&ast, &mut scope(plan?)) {
                Ok(program) => MuteCondition::When(program),
                Err(problems) => {
                    problems.into_iter().for_each(|problem| context.refuse(&path, problem.message));
                    return None;
                }
            }
        }
        (None, None) => return None,
    };
    Some(Mute { name: mute.name.clone(), condition })
}

fn schedule(context: &mut Context<'_>, path: &str, schedule: &api::Schedule, duration: Duration) -> MuteCondition {
    let year = Duration::from_ms(365 * DAY.ms());
    let time_zone = context.time_zone(&format!("{path}.schedule.timeZone"), schedule.time_zone.as_deref());
    MuteCondition::Schedule {
        days_of_month: schedule
            .days_of_month
            .iter()
            .map(|day| match day {
                api::DayOfMonth::Day(day) => *day,
                api::DayOfMonth::Last => -1,
            })
            .collect(),
        days_of_week: schedule.days_of_week.iter().map(|day| weekday(*day)).collect(),
        at_minutes: minutes(&schedule.at),
        time_zone,
        duration_ms: context.within(&format!("{path}.duration"), duration, SECOND, year),
    }
}

/// 1 = Monday.
fn weekday(day: api::Weekday) -> u8 {
    match day {
        api::Weekday::Monday => 1,
        api::Weekday::Tuesday => 2,
        api::Weekday::Wednesday => 3,
        api::Weekday::Thursday => 4,
        api::Weekday::Friday => 5,
        api::Weekday::Saturday => 6,
        api::Weekday::Sunday => 7,
    }
}

/// Minutes after midnight of `HH:MM`, whose form the schema has checked.
fn minutes(at: &str) -> u16 {
    let (hours, minutes) = at.split_once(':').unwrap_or((at, "0"));
    let read = |text: &str| text.parse::<u16>().unwrap_or(0);
    read(hours) * 60 + read(minutes)
}

/// What `mute.when` sees: the plan's columns as `features.<name>`, then `key`, `surprise` and `severity`.
fn scope(plan: &Plan) -> NameScope {
    let column = |name: &str, kind| (format!("features.{name}"), kind);
    let columns = plan.columns().iter().map(|c| {
        column(
            &c.name,
            match c.kind {
                FieldKind::Number => Kind::Number,
                FieldKind::Text => Kind::Text,
            },
        )
    });
    let others = [("key", Kind::Text), ("surprise", Kind::Number), ("severity", Kind::Text)];
    let others = others.into_iter().map(|(name, kind)| (name.to_owned(), kind));
    NameScope::new(columns.chain(others).collect())
}
