//! Aggregates: which state they need, and what they read from it.

use super::{Compiler, Field, bounds, field_form};
use crate::fingerprint::Canonical;
use crate::pane::Reading;
use crate::plan::step::{EwmaStep, Input, LastTime, LastValue, Place, Read, Tally, WindowFamily, WindowKind};
use crate::spec::{Aggregate, Extent, FieldKind};
use crate::window::Shape;

/// Number of a `where`, and its part of canonical forms.
type Filter = (usize, Canonical);

impl<'a> Compiler<'a> {
    pub(super) fn aggregate(
        &mut self,
        feature: usize,
        column: usize,
        (name, aggregate, extent): (Option<&str>, Aggregate, Option<Extent>),
        filter: Filter,
    ) {
        let problems = self.problems.len();
        let field = self.aggregated(feature, name, aggregate);
        self.check_extent(feature, aggregate, extent);
        if self.problems.len() > problems {
            return;
        }
        let form = self.aggregate_form(field, aggregate, extent, &filter.1);
        self.column(column, FieldKind::Number, &form);
        let reading = reading(aggregate, extent);
        match (extent, reading, field) {
            (Some(Extent::Time { window_ms }), Some(reading), field) => {
                self.plan.longest_window_ms = self.plan.longest_window_ms.max(window_ms);
                self.time_window(feature, field, filter, (column, reading, Shape::of_window(window_ms)));
            }
            (Some(Extent::Events { count }), Some(reading), Some(field)) => {
                let at = self.ring(feature, field, filter, usize::from(count), reading == Reading::Slope);
                let timed = reading == Reading::Slope;
                let ring = if timed { &mut self.plan.timed_rings[at] } else { &mut self.plan.rings[at] };
                let reads = if reading == Reading::ZScore { &mut ring.before } else { &mut ring.after };
                reads.push(Read { column, reading, panes: 0 });
            }
            (Some(Extent::Events { count }), _, None) => self.tally(feature, column, count, filter),
            (_, _, field) => self.memory(feature, column, field, aggregate, filter),
        }
    }

    /// The field under an aggregate, `None` if it takes none or after a problem.
    fn aggregated(&mut self, feature: usize, name: Option<&str>, aggregate: Aggregate) -> Option<Field<'a>> {
        let what = aggregate.name();
        let takes_none = matches!(aggregate, Aggregate::Count | Aggregate::Rate | Aggregate::SecondsSincePrevious);
        match (takes_none, name) {
            (true, None) => None,
            (true, Some(_)) => {
                self.problem(feature, "field", format!("`{what}` looks at events, not at a field; leave `field` out"));
                None
            }
            (false, None) => {
                self.problem(feature, "field", format!("`{what}` needs a field"));
                None
            }
            (false, Some(name)) => {
                let field = self.field(feature, name)?;
                if field.spec.kind == FieldKind::Text {
                    self.problem(feature, "field", format!("`{what}` needs a number, \"{name}\" is a text"));
                    return None;
                }
                Some(field)
            }
        }
    }

    fn check_extent(&mut self, feature: usize, aggregate: Aggregate, extent: Option<Extent>) {
        let what = aggregate.name();
        match (aggregate, extent) {
            (Aggregate::Delta | Aggregate::SecondsSincePrevious | Aggregate::Ewma { .. }, Some(extent)) => {
                let member = member(extent);
                self.problem(feature, member, format!("`{what}` has no window; leave `{member}` out"));
            }
            (Aggregate::Ewma { half_life_ms }, None) => {
                bounds::check_half_life(self, feature, half_life_ms);
            }
            (Aggregate::Delta | Aggregate::SecondsSincePrevious, None) => {}
            (Aggregate::Rate, None | Some(Extent::Events { .. })) => {
                self.problem(feature, "window", "`rate` needs a `window`: it is per second of it");
            }
            (_, None) => self.problem(feature, "window", format!("`{what}` needs a `window` or `lastEvents`")),
            (_, Some(Extent::Time { window_ms })) => {
                bounds::check_window(self, feature, window_ms);
            }
            (_, Some(Extent::Events { count })) => {
                // Below that it would be absent for every event.
                let least = match aggregate {
                    Aggregate::Stddev | Aggregate::Slope => 2,
                    Aggregate::ZScore => 3,
                    _ => 1,
                };
                bounds::check_events(self, feature, "lastEvents", count, least);
            }
        }
    }

    fn aggregate_form(
        &self,
        field: Option<Field<'_>>,
        aggregate: Aggregate,
        extent: Option<Extent>,
        filter: &Canonical,
    ) -> Canonical {
        let mut form = self.canonical().text("aggregate", aggregate.name()).with(filter);
        if let Some(field) = field {
            form = form.object("field", &field_form(field.spec));
        }
        if let Aggregate::Ewma { half_life_ms } = aggregate {
            form = form.integer("halfLife", half_life_ms);
        }
        match extent {
            None => form,
            Some(Extent::Time { window_ms }) => form.integer("window", window_ms),
            Some(Extent::Events { count }) => form.integer("lastEvents", i64::from(count)),
        }
    }

    fn time_window(
        &mut self,
        feature: usize,
        field: Option<Field<'_>>,
        (filter, filter_form): Filter,
        (column, reading, shape): (usize, Reading, Shape),
    ) {
        let kind = WindowKind::of(reading);
        let mut canonical =
            self.canonical().text("state", kind.name()).integer("pane", shape.pane_ms).with(&filter_form);
        if let Some(field) = field {
            canonical = canonical.object("field", &field_form(field.spec));
        }
        let next = self.plan.windows[kind as usize].len();
        let at = match self.state(Some(feature), &canonical, Place::Window(kind, next)) {
            Some(Place::Window(_, at)) => at,
            _ => {
                let slot = field.map(|field| field.slot);
                let family = WindowFamily { slot, filter, shape, before: Vec::new(), after: Vec::new() };
                self.plan.windows[kind as usize].push(family);
                next
            }
        };
        let family = &mut self.plan.windows[kind as usize][at];
        family.shape.panes = family.shape.panes.max(shape.panes);
        let reads = if reading == Reading::ZScore { &mut family.before } else { &mut family.after };
        reads.push(Read { column, reading, panes: shape.panes });
    }

    fn tally(&mut self, feature: usize, column: usize, capacity: u16, (filter, filter_form): Filter) {
        let canonical = self.canonical().text("state", "tally").integer("events", i64::from(capacity));
        let next = self.plan.tallies.len();
        let at = match self.state(Some(feature), &canonical.with(&filter_form), Place::Tally(next)) {
            Some(Place::Tally(at)) => at,
            _ => {
                self.plan.tallies.push(Tally { filter, capacity, columns: Vec::new() });
                next
            }
        };
        self.plan.tallies[at].columns.push(column);
    }

    /// `delta`, `ewma`, `secondsSincePrevious`.
    fn memory(
        &mut self,
        feature: usize,
        column: usize,
        field: Option<Field<'_>>,
        aggregate: Aggregate,
        (filter, filter_form): Filter,
    ) {
        let mut canonical = self.canonical().text("state", aggregate.name()).with(&filter_form);
        if let Some(field) = field {
            canonical = canonical.object("field", &field_form(field.spec));
        }
        if let Aggregate::Ewma { half_life_ms } = aggregate {
            canonical = canonical.integer("halfLife", half_life_ms);
        }
        let plan = &self.plan;
        let next = match aggregate {
            Aggregate::Ewma { .. } => Place::Ewma(plan.ewmas.len()),
            Aggregate::Delta => Place::LastValue(plan.last_values.len()),
            _ => Place::LastTime(plan.last_times.len()),
        };
        let known = self.state(Some(feature), &canonical, next);
        let input = field.map(|field| Input { slot: field.slot, filter });
        let plan = &mut self.plan;
        match (known.unwrap_or(next), input, aggregate) {
            (Place::Ewma(at), Some(input), Aggregate::Ewma { half_life_ms }) => {
                if known.is_none() {
                    plan.ewmas.push(EwmaStep { input, half_life_ms, columns: Vec::new() });
                }
                plan.ewmas[at].columns.push(column);
            }
            (Place::LastValue(at), Some(input), _) => {
                if known.is_none() {
                    plan.last_values.push(LastValue { input, columns: Vec::new() });
                }
                plan.last_values[at].columns.push(column);
            }
            (Place::LastTime(at), ..) => {
                if known.is_none() {
                    plan.last_times.push(LastTime { filter, columns: Vec::new() });
                }
                plan.last_times[at].columns.push(column);
            }
            _ => {}
        }
    }
}

/// What an aggregate reads from the statistics of a window.
fn reading(aggregate: Aggregate, extent: Option<Extent>) -> Option<Reading> {
    Some(match aggregate {
        Aggregate::Count => Reading::Count,
        Aggregate::Rate => match extent {
            Some(Extent::Time { window_ms }) => Reading::Rate(window_ms as f64 / 1_000.0),
            _ => return None,
        },
        Aggregate::Sum => Reading::Sum,
        Aggregate::Mean => Reading::Mean,
        Aggregate::Min => Reading::Min,
        Aggregate::Max => Reading::Max,
        Aggregate::Range => Reading::Range,
        Aggregate::Stddev => Reading::Stddev,
        Aggregate::ZScore => Reading::ZScore,
        Aggregate::Slope => Reading::Slope,
        Aggregate::Delta | Aggregate::SecondsSincePrevious | Aggregate::Ewma { .. } => return None,
    })
}

fn member(extent: Extent) -> &'static str {
    match extent {
        Extent::Time { .. } => "window",
        Extent::Events { .. } => "lastEvents",
    }
}
