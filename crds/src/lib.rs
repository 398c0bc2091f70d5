//! Everything that crosses a process boundary through Kubernetes: the two kinds of object, their generated YAML, loading
//! them from a folder, and [`resolve`], which turns a pipeline and its models into a [`worker_config::WorkerConfig`]
//! that cannot be wrong, or into every problem at once.
//!
//! No network, no clock, no runtime: the operator, the worker and the command line all read objects through this crate.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod duration;
pub mod model;
pub mod pipeline;
mod schema;

pub mod classes;
pub mod generate;

pub mod load;
pub mod problem;
mod suggest;
mod yaml;

mod expression;
mod resolve;
mod validate;
pub mod worker_config;

pub use classes::cluster_only_fields;
pub use generate::generated;
pub use load::{Folder, Kind, Object, load_folder, read_text};
pub use model::DetectionModel;
pub use pipeline::AnomalyPipeline;
pub use problem::Problem;
pub use resolve::{resolve, resolve_content};
pub use schema::{Chosen, NotYet, Opaque};
pub use worker_config::WorkerConfig;
