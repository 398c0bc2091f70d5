//! Features of keyed event streams: windows, rings and expressions as pure, deterministic state machines.
//!
//! [`Plan::compile`] turns declared fields and features into a [`Plan`]; a [`KeyWindows`] is what the plan remembers
//! of one key; [`Plan::fold`] takes one event into it and reads every feature. No I/O, no clock, no hash map: what a
//! key knows is a function of its events in the order in which they were folded.
//!
//! ```text
//! Event ─► fill fields (whenMissing: previous) ─► where ─► windows, rings, memories ─► expressions ─► columns
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod path;
mod spec;
mod value;

mod expression;

mod plan;

mod key;
mod memory;

mod window;

mod pane;

mod ewma;
mod ring;
mod seasonal;
mod text;

mod fingerprint;
mod suggest;

pub use expression::{
    Ast, BinaryOperator, EventScope, ExpressionProblem, Function, Kind, NameScope, Program, Scope, UnaryOperator,
};
pub use key::KeyWindows;
pub use path::{PathId, Paths};
pub use plan::{Column, Event, HeldState, Plan, PlanProblem, StateDescription};
pub use spec::{Aggregate, Cycle, Extent, FeatureSource, FeatureSpec, FieldKind, FieldSpec, WhenMissing};
pub use suggest::closest;
pub use value::{Value, recycle};
