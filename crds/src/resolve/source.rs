//! `spec.source`: paths, fields, filter, times.

use chrono::DateTime;
use faultline_features::{EventScope, FieldKind, FieldSpec, Paths, Program, WhenMissing};

use super::{Context, DAY, LONGEST, MILLISECOND, SECOND};
use crate::duration::Duration;
use crate::pipeline::source as api;
use crate::worker_config::{Field, Partitioning, Source, StartFrom, TimeUnit, Timestamp};

pub(super) fn resolve(context: &mut Context<'_>, source: &api::Source, paths: &mut Paths) -> Source {
    let fields = source.fields.iter().map(|declared| field(declared, paths)).collect();
    let nothing = Duration::from_ms(0);
    Source {
        topic: source.topic.clone(),
        start_from: start_from(context, &source.start_from),
        filter: filter(context, source.filter.as_deref(), paths),
        event_id: source.event_id.as_deref().map(|path| paths.intern(path)),
        key: source.key.as_deref().map(|path| paths.intern(path)),
        partitioning: match source.partitioning {
            api::Partitioning::Verified => Partitioning::Verified,
            api::Partitioning::Trusted => Partitioning::Trusted,
        },
        timestamp: source
            .timestamp
            .as_ref()
            .map(|timestamp| Timestamp { path: paths.intern(&timestamp.path), unit: unit(timestamp.unit) }),
        allowed_lateness_ms: context.within("spec.source.allowedLateness", source.allowed_lateness, nothing, DAY),
        max_future_skew_ms: context.within("spec.source.maxFutureSkew", source.max_future_skew, nothing, DAY),
        deduplicate_ms: source.deduplicate.as_ref().map(|deduplicate| {
            context.within("spec.source.deduplicate.window", deduplicate.window, MILLISECOND, LONGEST)
        }),
        key_expiry_ms: context.within("spec.source.keyExpiry", source.key_expiry, SECOND, LONGEST),
        max_keys_per_partition: source.max_keys_per_partition as usize,
        fields,
    }
}

fn field(declared: &api::Field, paths: &mut Paths) -> Field {
    let spec = FieldSpec {
        name: declared.name.clone(),
        path: paths.intern(&declared.path),
        kind: match declared.kind {
            api::FieldType::Number => FieldKind::Number,
            api::FieldType::Text => FieldKind::Text,
        },
        when_missing: match declared.when_missing {
            api::WhenMissing::Reject => WhenMissing::Reject,
            api::WhenMissing::Skip => WhenMissing::Skip,
            api::WhenMissing::Zero => WhenMissing::Zero,
            api::WhenMissing::Previous => WhenMissing::Previous,
        },
        path_name: declared.path.clone(),
    };
    Field { spec, sensitive: declared.sensitive }
}

fn start_from(context: &mut Context<'_>, start: &api::StartFrom) -> StartFrom {
    let Some(time) = &start.time else {
        return if start.earliest.is_some() { StartFrom::Earliest } else { StartFrom::Latest };
    };
    match DateTime::parse_from_rfc3339(time) {
        Ok(at) => StartFrom::Time { at_ms: at.timestamp_millis() },
        Err(_) => {
            let message = format!("expected a time such as 2026-11-01T00:00:00Z, found \"{time}\"");
            context.refuse("spec.source.startFrom.time", message);
            StartFrom::Latest
        }
    }
}

fn filter(context: &mut Context<'_>, text: Option<&str>, paths: &mut Paths) -> Option<Program> {
    const PATH: &str = "spec.source.filter";
    let ast = context.expression(PATH, text?)?;
    match Program::compile_condition(&ast, &mut EventScope(paths)) {
        Ok(program) => Some(program),
        Err(problems) => {
            problems.into_iter().for_each(|problem| context.refuse(PATH, problem.message));
            None
        }
    }
}

fn unit(unit: api::TimeUnit) -> TimeUnit {
    match unit {
        api::TimeUnit::Seconds => TimeUnit::Seconds,
        api::TimeUnit::Milliseconds => TimeUnit::Milliseconds,
        api::TimeUnit::Microseconds => TimeUnit::Microseconds,
        api::TimeUnit::Nanoseconds => TimeUnit::Nanoseconds,
        api::TimeUnit::Rfc3339 => TimeUnit::Rfc3339,
    }
}
