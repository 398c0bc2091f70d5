//! From a folder of objects to what a worker runs.

use std::path::Path;

use faultline_crds::{Folder, Object, Problem, WorkerConfig, cluster_only_fields, load_folder, resolve};

use crate::failure::Failure;

/// A pipeline that is ready to run, and what is to be said about it.
pub(crate) struct Ready {
    pub(crate) config: WorkerConfig,
    /// One line each.
    pub(crate) notes: Vec<String>,
}

/// Loads the pipeline of that name, or the only one, from a folder.
pub(crate) fn load(folder: &Path, name: Option<&str>) -> Result<Ready, Failure> {
    let folder = load_folder(folder)?;
    let pipeline = folder.pipeline(name).map_err(|problem| Failure::from(vec![problem]))?;
    let config = resolved(pipeline, &folder)?;
    let mut notes = folder.notes.clone();
    notes.extend(cluster_only_note(pipeline));
    Ok(Ready { config, notes })
}

/// The pipeline with its models.
pub(crate) fn resolved(pipeline: &Object, folder: &Folder) -> Result<WorkerConfig, Vec<Problem>> {
    resolve(pipeline, &folder.models)
}

/// What a cluster would do and this machine does not, in one line.
pub(crate) fn cluster_only_note(pipeline: &Object) -> Option<String> {
    let fields = cluster_only_fields(pipeline);
    (!fields.is_empty()).then(|| format!("{}: only a cluster uses {}", pipeline.name, fields.join(", ")))
}
