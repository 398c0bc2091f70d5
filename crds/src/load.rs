//! Objects from files: every `*.yaml` and `*.yml` of a folder, each with the lines of its fields.

use std::fmt;
use std::fs;
use std::path::Path;

use kube::Resource;
use serde_json::Value;

use crate::model::DetectionModel;
use crate::pipeline::AnomalyPipeline;
use crate::problem::{Origin, Problem};
use crate::suggest::did_you_mean;
use crate::{schema, yaml};

/// A kind of object of this product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `AnomalyPipeline`.
    AnomalyPipeline,
    /// `DetectionModel`.
    DetectionModel,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::AnomalyPipeline, Self::DetectionModel];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AnomalyPipeline => "AnomalyPipeline",
            Self::DetectionModel => "DetectionModel",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Version of the API that this program knows.
pub const API_VERSION: &str = "faultline.dev/v1alpha1";

/// One object as it was written: not yet checked beyond its kind and name.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, `default` when absent.
    pub namespace: String,
    /// The whole object.
    pub value: Value,
    /// Where it was read from.
    pub origin: Origin,
}

impl Object {
    /// A problem of one of its fields; names the object when no file can be named.
    pub(crate) fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        let mut problem = self.origin.problem(path, message);
        if problem.file.is_none() {
            problem.file = Some(format!("{} {}/{}", self.kind, self.namespace, self.name));
        }
        problem
    }

    fn of(kind: Kind, meta: &kube::core::ObjectMeta, value: Value) -> Self {
        Self {
            kind,
            name: meta.name.clone().unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            value,
            origin: Origin::default(),
        }
    }
}

/// A pipeline from the API server or from code, without a file.
impl From<&AnomalyPipeline> for Object {
    fn from(pipeline: &AnomalyPipeline) -> Self {
        Self::of(Kind::AnomalyPipeline, pipeline.meta(), to_value(pipeline))
    }
}

/// A model from the API server or from code, without a file.
impl From<&DetectionModel> for Object {
    fn from(model: &DetectionModel) -> Self {
        Self::of(Kind::DetectionModel, model.meta(), to_value(model))
    }
}

/// Null, which the structural check refuses, if a number is not finite: JSON knows no such numbers.
fn to_value(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// The objects of a folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Folder {
    /// Pipelines in the order of files and documents; at least one.
    pub pipelines: Vec<Object>,
    /// Models in the order of files and documents.
    pub models: Vec<Object>,
    /// What was not read, and why: a line each.
    pub notes: Vec<String>,
}

impl Folder {
    /// The pipeline of that name, or the only one.
    ///
    /// # Errors
    /// No pipeline of that name, or several and no name.
    pub fn pipeline(&self, name: Option<&str>) -> Result<&Object, Problem> {
        let names: Vec<&str> = self.pipelines.iter().map(|p| p.name.as_str()).collect();
        let nowhere = |message: String| Problem { file: None, line: None, path: String::new(), message };
        match (name, self.pipelines.as_slice()) {
            (None, [only]) => Ok(only),
            (None, _) => Err(nowhere(format!(
                "expected one AnomalyPipeline, found {}: {}; choose one by name",
                names.len(),
                names.join(", ")
            ))),
            (Some(name), pipelines) => pipelines.iter().find(|p| p.name == name).ok_or_else(|| {
                let known = names.join(", ");
                nowhere(format!("no AnomalyPipeline \"{name}\"; found: {known}{}", did_you_mean(name, names)))
            }),
        }
    }
}

/// Reads every `*.yaml` and `*.yml` of a folder (not of the folders in it), or one file.
///
/// # Errors
/// Every file that cannot be read, every object without a name or given twice, and a folder without a pipeline.
/// What is inside a `spec` is checked by [`resolve`](crate::resolve()).
pub fn load_folder(path: &Path) -> Result<Folder, Vec<Problem>> {
    let files = files_of(path).map_err(|problem| vec![problem])?;
    let mut reading = Reading::default();
    if files.is_empty() {
        let message = "expected .yaml or .yml files, found none; folders inside it are not read";
        reading.refuse_file(&path.display().to_string(), None, message.to_owned());
    }
    for file in &files {
        let shown = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        match fs::read_to_string(file) {
            Ok(text) => reading.read(&shown, &text),
            Err(error) => reading.refuse_file(&shown, None, format!("failed to read: {error}")),
        }
    }
    reading.finish(&path.display().to_string())
}

/// Reads objects from a text, as if it were the only file of a folder.
///
/// # Errors
/// As [`load_folder`].
pub fn read_text(file: &str, text: &str) -> Result<Folder, Vec<Problem>> {
    let mut reading = Reading::default();
    reading.read(file, text);
    reading.finish(file)
}

fn files_of(path: &Path) -> Result<Vec<std::path::PathBuf>, Problem> {
    let failed = |error: std::io::Error| Problem {
        file: Some(path.display().to_string()),
        line: None,
        path: String::new(),
        message: format!("expected a folder of YAML files, or one such file: {error}"),
    };
    if fs::metadata(path).map_err(failed)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.is_file() && file.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

#[derive(Default)]
struct Reading {
    folder: Folder,
    problems: Vec<Problem>,
}

impl Reading {
    fn refuse_file(&mut self, file: &str, line: Option<usize>, message: String) {
        self.problems.push(Problem { file: Some(file.to_owned()), line, path: String::new(), message });
    }

    fn read(&mut self, file: &str, text: &str) {
        match yaml::documents(text) {
            Ok(documents) => documents.into_iter().for_each(|document| self.take(file, document)),
            Err(error) => self.refuse_file(file, Some(error.line), error.message),
        }
    }

    fn take(&mut self, file: &str, document: yaml::Document) {
        let origin = Origin { file: Some(file.to_owned()), lines: document.lines };
        let value = document.value;
        let (Some(api_version), Some(kind)) = (text(&value, "/apiVersion"), text(&value, "/kind")) else {
            self.problems.push(origin.problem("", "expected an object with apiVersion and kind"));
            return;
        };
        if api_version.split('/').next() != Some("faultline.dev") {
            let line = origin.line("kind").unwrap_or(1);
            self.folder.notes.push(format!("{file}:{line} {kind} ({api_version}) is not Faultline's and was left out"));
            return;
        }
        let Some(known) = Kind::ALL.into_iter().find(|k| k.name() == kind) else {
            let guess = did_you_mean(kind, Kind::ALL.map(Kind::name));
            let message = format!("expected AnomalyPipeline or DetectionModel, found \"{kind}\"{guess}");
            self.problems.push(origin.problem("kind", message));
            return;
        };
        if api_version != API_VERSION {
            self.problems.push(origin.problem("apiVersion", format!("expected {API_VERSION}, found {api_version}")));
        }
        let Some(name) = self.name_of(&value, &origin) else { return };
        let namespace = text(&value, "/metadata/namespace").unwrap_or("default").to_owned();
        let object = Object { kind: known, name, namespace, value, origin };
        self.keep(object);
    }

    fn name_of(&mut self, value: &Value, origin: &Origin) -> Option<String> {
        let Some(name) = text(value, "/metadata/name") else {
            self.problems.push(origin.problem("metadata.name", "expected a name"));
            return None;
        };
        let valid = regex::Regex::new(schema::DNS_NAME).is_ok_and(|pattern| pattern.is_match(name));
        if !valid || name.len() > 253 {
            let message = format!("expected lower-case letters, digits, - and . (at most 253), found \"{name}\"");
            self.problems.push(origin.problem("metadata.name", message));
        }
        Some(name.to_owned())
    }

    fn keep(&mut self, object: Object) {
        let objects = match object.kind {
            Kind::AnomalyPipeline => &mut self.folder.pipelines,
            Kind::DetectionModel => &mut self.folder.models,
        };
        let same = objects.iter().find(|o| o.name == object.name && o.namespace == object.namespace);
        if let Some(first) = same {
            let file = first.origin.file.as_deref().unwrap_or_default();
            let line = first.origin.line("metadata.name").unwrap_or(1);
            let message = format!("{} \"{}\" is already given at {file}:{line}", object.kind, object.name);
            self.problems.push(object.problem("metadata.name", message));
        } else {
            objects.push(object);
        }
    }

    fn finish(mut self, place: &str) -> Result<Folder, Vec<Problem>> {
        if self.folder.pipelines.is_empty() && self.problems.is_empty() {
            let others = self.folder.notes.iter().map(|note| format!("; {note}")).collect::<String>();
            self.refuse_file(place, None, format!("expected an AnomalyPipeline, found none{others}"));
        }
        if self.problems.is_empty() { Ok(self.folder) } else { Err(self.problems) }
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}
