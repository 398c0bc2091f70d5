//! From specs to a plan: every feature in turn, expressions last, every problem at once.

mod aggregate;
mod bounds;
mod expressions;

use faultline_numerics::hash::Fingerprint;

use super::layout::Layout;
use super::step::{ALL_EVENTS, Direct, Input, MOST_FILTERS, Place, Previous, RingStep, Seasonal, State, TextRingStep};
use super::{Column, Plan, PlanProblem};
use crate::expression::{Ast, EventScope, Program};
use crate::fingerprint::Canonical;
use crate::path::{PathId, Paths};
use crate::spec::{Cycle, FeatureSource, FeatureSpec, FieldKind, FieldSpec, WhenMissing};
use crate::suggest::closest;

pub(super) fn compile(
    source: &str,
    paths: &mut Paths,
    fields: &[FieldSpec],
    features: &[FeatureSpec],
) -> Result<Plan, Vec<PlanProblem>> {
    let mut compiler = Compiler {
        source,
        paths,
        fields,
        features,
        plan: Plan::laid_out(fields, features),
        fingerprinted: Vec::new(),
        problems: Vec::new(),
    };
    compiler.check_names();
    compiler.remember_previous();
    for (feature, spec) in features.iter().enumerate() {
        compiler.feature(feature, spec);
    }
    compiler.expressions();
    let Compiler { mut plan, mut problems, .. } = compiler;
    if problems.is_empty() {
        plan.states.sort_by_key(|state| state.fingerprint);
        plan.lay_out_memory();
        return Ok(plan);
    }
    problems.sort_by_key(|problem| problem.feature);
    Err(problems)
}

/// A field as a feature reads it.
#[derive(Clone, Copy)]
struct Field<'a> {
    spec: &'a FieldSpec,
    slot: usize,
}

struct Compiler<'a> {
    source: &'a str,
    paths: &'a mut Paths,
    fields: &'a [FieldSpec],
    features: &'a [FeatureSpec],
    plan: Plan,
    /// Columns that have got their type and fingerprint.
    fingerprinted: Vec<usize>,
    problems: Vec<PlanProblem>,
}

impl Plan {
    /// A plan without steps, whose columns have their names and places only.
    fn laid_out(fields: &[FieldSpec], features: &[FeatureSpec]) -> Self {
        let mut columns = Vec::new();
        let mut ranges = Vec::new();
        for (feature, spec) in features.iter().enumerate() {
            let from = columns.len();
            let names = match spec.source {
                FeatureSource::Seasonal { .. } => vec![format!("{}.sin", spec.name), format!("{}.cos", spec.name)],
                _ => vec![spec.name.clone()],
            };
            columns.extend(names.into_iter().map(|name| Column {
                name,
                feature,
                kind: FieldKind::Number,
                fingerprint: Fingerprint([0; 16]),
            }));
            ranges.push((spec.name.clone(), from..columns.len()));
        }
        Self {
            columns,
            features: ranges,
            fields: fields.iter().map(|field| field.kind).collect(),
            previous_numbers: Vec::new(),
            previous_texts: Vec::new(),
            filters: Vec::new(),
            direct: Vec::new(),
            seasonal: Vec::new(),
            windows: Default::default(),
            tallies: Vec::new(),
            rings: Vec::new(),
            timed_rings: Vec::new(),
            text_rings: Vec::new(),
            last_values: Vec::new(),
            last_times: Vec::new(),
            ewmas: Vec::new(),
            expressions: Vec::new(),
            states: Vec::new(),
            layout: Layout::default(),
            longest_window_ms: 0,
        }
    }
}

impl<'a> Compiler<'a> {
    fn problem(&mut self, feature: usize, member: &'static str, message: impl Into<String>) {
        self.problems.push(PlanProblem { feature, member, message: message.into() });
    }

    fn check_names(&mut self) {
        for at in 0..self.plan.columns.len() {
            let Column { name, feature, .. } = &self.plan.columns[at];
            if let Some(first) = self.plan.columns[..at].iter().find(|column| column.name == *name) {
                let message = format!("\"{name}\" is already the name of a column of features[{}]", first.feature);
                self.problem(*feature, "name", message);
            }
        }
    }

    fn remember_previous(&mut self) {
        for (at, field) in self.fields.iter().enumerate() {
            if field.when_missing != WhenMissing::Previous {
                continue;
            }
            let slot = self.plan.columns.len() + at;
            let canonical = self.canonical().text("state", "previous").object("field", &field_form(field));
            let place = match field.kind {
                FieldKind::Number => Place::PreviousNumber(self.plan.previous_numbers.len()),
                FieldKind::Text => Place::PreviousText(self.plan.previous_texts.len()),
            };
            let known = self.state(None, &canonical, place);
            let (steps, at) = match known.unwrap_or(place) {
                Place::PreviousText(at) => (&mut self.plan.previous_texts, at),
                Place::PreviousNumber(at) => (&mut self.plan.previous_numbers, at),
                _ => continue,
            };
            if known.is_none() {
                steps.push(Previous { slots: Vec::new() });
            }
            steps[at].slots.push(slot);
        }
    }

    fn feature(&mut self, feature: usize, spec: &'a FeatureSpec) {
        let column = self.plan.features[feature].1.start;
        if spec.filter.is_some() && !matches!(spec.source, FeatureSource::Aggregate { .. }) {
            self.problem(feature, "where", "`where` limits an aggregate, and this feature has none");
        }
        match &spec.source {
            FeatureSource::Field { field } => self.direct(feature, column, field),
            FeatureSource::ValuesAgo { field, events } => self.values_ago(feature, column, field, *events),
            FeatureSource::Aggregate { field, aggregate, extent } => {
                let filter = self.filter(feature, spec.filter.as_ref());
                self.aggregate(feature, column, (field.as_deref(), *aggregate, *extent), filter);
            }
            FeatureSource::Seasonal { cycle, time_zone } => self.seasonal(column, *cycle, *time_zone),
            FeatureSource::Expression(_) => {}
        }
    }

    fn direct(&mut self, feature: usize, column: usize, field: &str) {
        let Some(field) = self.field(feature, field) else { return };
        self.plan.direct.push(Direct { column, slot: field.slot });
        let form = self.canonical().object("field", &field_form(field.spec));
        self.column(column, field.spec.kind, &form);
    }

    fn values_ago(&mut self, feature: usize, column: usize, field: &str, events: u16) {
        bounds::check_events(self, feature, "valuesAgo", events, 1);
        let Some(field) = self.field(feature, field) else { return };
        let form = self.canonical().object("field", &field_form(field.spec)).integer("valuesAgo", i64::from(events));
        self.column(column, field.spec.kind, &form);
        let capacity = usize::from(events);
        match field.spec.kind {
            FieldKind::Number => {
                let at = self.ring(feature, field, (ALL_EVENTS, Canonical::default()), capacity, false);
                self.plan.rings[at].oldest.push(column);
            }
            FieldKind::Text => {
                let canonical = self.ring_form("texts", field, &Canonical::default(), capacity);
                let at = match self.state(Some(feature), &canonical, Place::TextRing(self.plan.text_rings.len())) {
                    Some(Place::TextRing(at)) => at,
                    _ => {
                        let step = TextRingStep { slot: field.slot, capacity: capacity + 1, columns: Vec::new() };
                        self.plan.text_rings.push(step);
                        self.plan.text_rings.len() - 1
                    }
                };
                self.plan.text_rings[at].columns.push(column);
            }
        }
    }

    fn seasonal(&mut self, column: usize, cycle: Cycle, time_zone: chrono_tz::Tz) {
        self.plan.seasonal.push(Seasonal { column, cycle, time_zone });
        let cycle = match cycle {
            Cycle::HourOfDay => "hourOfDay",
            Cycle::DayOfWeek => "dayOfWeek",
        };
        for (offset, part) in ["sin", "cos"].into_iter().enumerate() {
            let form = self.canonical().text("seasonal", cycle).text("timeZone", time_zone.name()).text("part", part);
            self.column(column + offset, FieldKind::Number, &form);
        }
    }

    /// What every canonical form holds.
    fn canonical(&self) -> Canonical {
        Canonical::default().text("source", self.source)
    }

    fn column(&mut self, column: usize, kind: FieldKind, form: &Canonical) {
        self.plan.columns[column].kind = kind;
        self.plan.columns[column].fingerprint = form.fingerprint();
        self.fingerprinted.push(column);
    }

    fn field(&mut self, feature: usize, name: &str) -> Option<Field<'a>> {
        let fields = self.fields;
        if let Some(at) = fields.iter().position(|field| field.name == name) {
            if fields[at].path == PathId(u16::MAX) {
                self.problem(feature, "field", format!("\"{name}\" has no path: there are more than {}", Paths::MOST));
                return None;
            }
            return Some(Field { spec: &fields[at], slot: self.plan.columns.len() + at });
        }
        let declared: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let guess = closest(name, declared.iter().copied());
        let guess = guess.map(|guess| format!(". Did you mean \"{guess}\"?")).unwrap_or_default();
        self.problem(feature, "field", format!("no field \"{name}\"; declared: {}{guess}", declared.join(", ")));
        None
    }

    /// The number of a `where`, and its part of canonical forms.
    fn filter(&mut self, feature: usize, ast: Option<&Ast>) -> (usize, Canonical) {
        let Some(ast) = ast else { return (ALL_EVENTS, Canonical::default()) };
        let program = match Program::compile_condition(ast, &mut EventScope(self.paths)) {
            Ok(program) => program,
            Err(problems) => {
                for problem in problems {
                    self.problem(feature, "where", problem.message);
                }
                return (ALL_EVENTS, Canonical::default());
            }
        };
        let form = Canonical::default().text("where", &program.canonical());
        if let Some(known) = self.plan.filters.iter().position(|known| *known == program) {
            return (known + 1, form);
        }
        if self.plan.filters.len() == MOST_FILTERS {
            self.problem(feature, "where", format!("more than {MOST_FILTERS} different conditions in one pipeline"));
            return (ALL_EVENTS, form);
        }
        self.plan.filters.push(program);
        (self.plan.filters.len(), form)
    }

    /// The place of a state that is known already; else notes that it will be at `place`.
    fn state(&mut self, feature: Option<usize>, canonical: &Canonical, place: Place) -> Option<Place> {
        let fingerprint = canonical.fingerprint();
        if let Some(known) = self.plan.states.iter_mut().find(|state| state.fingerprint == fingerprint) {
            known.features.extend(feature.filter(|feature| known.features.last() != Some(feature)));
            return Some(known.place);
        }
        let features = feature.into_iter().collect();
        self.plan.states.push(State { fingerprint, canonical: canonical.form(), place, features });
        None
    }

    fn ring_form(&self, state: &str, field: Field<'_>, filter: &Canonical, capacity: usize) -> Canonical {
        let form = self.canonical().text("state", state).object("field", &field_form(field.spec));
        form.integer("events", capacity as i64).with(filter)
    }

    /// The ring of the last `capacity` numbers, made if it is new.
    fn ring(
        &mut self,
        feature: usize,
        field: Field<'_>,
        (filter, filter_form): (usize, Canonical),
        capacity: usize,
        timed: bool,
    ) -> usize {
        let canonical = self.ring_form(if timed { "timedRing" } else { "ring" }, field, &filter_form, capacity);
        let rings = if timed { self.plan.timed_rings.len() } else { self.plan.rings.len() };
        let place = if timed { Place::TimedRing(rings) } else { Place::Ring(rings) };
        if let Some(Place::Ring(at) | Place::TimedRing(at)) = self.state(Some(feature), &canonical, place) {
            return at;
        }
        let step = RingStep {
            input: Input { slot: field.slot, filter },
            capacity,
            before: Vec::new(),
            after: Vec::new(),
            oldest: Vec::new(),
        };
        if timed {
            self.plan.timed_rings.push(step)
        } else {
            self.plan.rings.push(step)
        }
        rings
    }
}

/// What of a field changes values.
fn field_form(field: &FieldSpec) -> Canonical {
    let kind = match field.kind {
        FieldKind::Number => "number",
        FieldKind::Text => "text",
    };
    let when_missing = match field.when_missing {
        WhenMissing::Reject => "",
        WhenMissing::Skip => "skip",
        WhenMissing::Zero => "zero",
        WhenMissing::Previous => "previous",
    };
    Canonical::default().text("path", &field.path_name).text("type", kind).text("whenMissing", when_missing)
}
