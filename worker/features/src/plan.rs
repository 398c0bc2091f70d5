//! Compiled features: from specs to columns.
//!
//! ```text
//! compile: FieldSpec, FeatureSpec ─► columns, families of windows, rings, memories, expressions in order
//! fold:    Event ─► state of the key ─► one value per column
//! image:   state of the key ◄─► bytes, by fingerprint
//! ```

mod compile;
mod fold;
mod image;
mod layout;
mod step;

use std::ops::Range;

use faultline_numerics::hash::Fingerprint;

use crate::expression::Program;
use crate::key::KeyWindows;
use crate::path::Paths;
use crate::spec::{FeatureSpec, FieldKind, FieldSpec};
use crate::value::Value;
use layout::Layout;
use step::{
    Direct, EwmaStep, LastTime, LastValue, Previous, RingStep, Seasonal, State, Tally, TextRingStep, WindowFamily,
    WindowKind,
};

/// Compiled features of one pipeline. Shared by all keys; changes never.
#[derive(Debug, Clone)]
pub struct Plan {
    columns: Vec<Column>,
    /// Name and columns of each feature.
    features: Vec<(String, Range<usize>)>,
    /// Type of each declared field.
    fields: Vec<FieldKind>,
    previous_numbers: Vec<Previous>,
    previous_texts: Vec<Previous>,
    /// The distinct `where` of all features; a state with filter `i + 1` takes the events for which entry `i` is true.
    filters: Vec<Program>,
    direct: Vec<Direct>,
    seasonal: Vec<Seasonal>,
    /// By [`WindowKind`].
    windows: [Vec<WindowFamily>; WindowKind::ALL.len()],
    tallies: Vec<Tally>,
    rings: Vec<RingStep>,
    timed_rings: Vec<RingStep>,
    text_rings: Vec<TextRingStep>,
    last_values: Vec<LastValue>,
    last_times: Vec<LastTime>,
    ewmas: Vec<EwmaStep>,
    /// Expressions and their columns, each after those that it reads.
    expressions: Vec<(usize, Program)>,
    /// Every state of a key, sorted by fingerprint.
    states: Vec<State>,
    layout: Layout,
    longest_window_ms: i64,
}

/// One value that the plan computes for each event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The feature's name; of a seasonal feature `name.sin` or `name.cos`.
    pub name: String,
    /// Index of the feature.
    pub feature: usize,
    /// Number or text.
    pub kind: FieldKind,
    /// Identity of everything that changes its values; its name is not part of it.
    pub fingerprint: Fingerprint,
}

/// One event, decoded: values in the order of [`Paths`] and of the declared fields.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Event time in milliseconds since the epoch; within ± 2^53, beyond that taken as the limit.
    pub time_ms: i64,
    /// What is at each path.
    pub paths: &'a [Value<'a>],
    /// The declared fields, of their types. A field with `whenMissing: previous` may be absent: the plan fills it in.
    pub fields: &'a [Value<'a>],
}

/// Why a feature does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("features[{feature}].{member}: {message}")]
pub struct PlanProblem {
    /// Index of the feature.
    pub feature: usize,
    /// The member of the feature as written: `field`, `where`, `window`, `lastEvents`, `valuesAgo`, `aggregate`,
    /// `halfLife`, `expression`, `name`.
    pub member: &'static str,
    /// What was expected and what was found.
    pub message: String,
}

/// One piece of a key's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDescription {
    /// Its canonical form.
    pub canonical: String,
    /// Hash of the form, under which it stands in images.
    pub fingerprint: Fingerprint,
    /// The features that read it.
    pub features: Vec<usize>,
    /// Memory when every pane and place is taken, without the spelling of texts.
    pub most_bytes: usize,
}

/// A piece of state that the image of a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldState {
    /// Names of the features that read it. Empty: no feature of this plan does.
    pub features: Vec<String>,
    /// Its length in the image.
    pub bytes: usize,
}

impl Plan {
    /// Compiles features over declared fields; paths that a `where` reads are added to `paths`.
    ///
    /// # Errors
    /// Every problem of every feature.
    pub fn compile(
        paths: &mut Paths,
        fields: &[FieldSpec],
        features: &[FeatureSpec],
    ) -> Result<Self, Vec<PlanProblem>> {
        Self::compile_for("", paths, fields, features)
    }

    /// As [`Plan::compile`]; `source` is the canonical form of what decides outside the plan which events reach it, and
    /// with which key and time. It is part of every fingerprint, so that windows start empty when it changes.
    ///
    /// # Errors
    /// As [`Plan::compile`].
    pub fn compile_for(
        source: &str,
        paths: &mut Paths,
        fields: &[FieldSpec],
        features: &[FeatureSpec],
    ) -> Result<Self, Vec<PlanProblem>> {
        compile::compile(source, paths, fields, features)
    }

    /// What [`Plan::fold`] writes for each event: features in the order of their declaration, two columns for seasonal
    /// ones.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns of a feature.
    #[must_use]
    pub fn columns_of(&self, feature: &str) -> Option<Range<usize>> {
        self.features.iter().find(|(name, _)| name == feature).map(|(_, columns)| columns.clone())
    }

    /// The state of a key that was never seen.
    #[must_use]
    pub fn new_key(&self) -> KeyWindows {
        self.empty_key()
    }

    /// Folds an event into its key, then reads every feature into `out`, which is cleared first. Without allocation
    /// once the key's panes, rings and texts have grown, if `out` keeps its memory ([`recycle`](crate::recycle)).
    ///
    /// Windows end at the key's time, which never moves back: a late event goes to the pane of its own time, if the
    /// window still reaches it, and is read like any other. Rings, `delta`, `ewma` and `secondsSincePrevious` follow
    /// the order of the calls. An event that a `where` leaves out is still compared with those that it took in:
    /// `delta`, `zScore` and `secondsSincePrevious` look from the current event back on the matching ones.
    pub fn fold<'a>(&'a self, key: &'a mut KeyWindows, event: &Event<'a>, out: &mut Vec<Value<'a>>) {
        self.fold_event(key, event, out);
    }

    /// The longest time window; 0 without any.
    #[must_use]
    pub fn longest_window_ms(&self) -> i64 {
        self.longest_window_ms
    }

    /// The pieces of a key's state, in the order in which images hold them.
    #[must_use]
    pub fn describe_state(&self) -> Vec<StateDescription> {
        self.states.iter().map(|state| self.describe(state)).collect()
    }
}
