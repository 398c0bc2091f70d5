//! The fold as its callers see it: records in, outcomes, results and alerts out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "fold/support.rs"]
mod support;

#[path = "fold/batches.rs"]
mod batches;
#[path = "fold/damage.rs"]
mod damage;
#[path = "fold/golden.rs"]
mod golden;
#[path = "fold/incidents.rs"]
mod incidents;
#[path = "fold/json.rs"]
mod json;
#[path = "fold/keys.rs"]
mod keys;
#[path = "fold/outcomes.rs"]
mod outcomes;
#[path = "fold/parts.rs"]
mod parts;
#[path = "fold/payloads.rs"]
mod payloads;
#[path = "fold/state.rs"]
mod state;
#[path = "fold/switches.rs"]
mod switches;
#[path = "fold/trips.rs"]
mod trips;
#[path = "fold/upgrades.rs"]
mod upgrades;
#[path = "fold/variants.rs"]
mod variants;
#[path = "fold/world.rs"]
mod world;
