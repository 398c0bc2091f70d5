//! Events from a file: CSV with a header, or JSON objects line by line, in the order of the file.
//!
//! Columns become members of the event under their own names, or under the paths that `--map` gives them. Times without
//! a zone are UTC; they are written in the unit that the pipeline reads. Without a key the file's name is the key, so a
//! folder of metrics is a set of keys. A row that cannot be an event is named by its line and left out.

mod event_time;
mod members;
mod rows;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use faultline_crds::WorkerConfig;
use faultline_crds::worker_config::TimeUnit;
use faultline_features::{FieldKind, PathId, WhenMissing};
use serde_json::{Map, Value};

use self::members::{get, put};
use self::rows::Rows;
use crate::scenario::Record;

/// Stands for the record's timestamp in `--map` when the pipeline reads no time from the event.
const TIMESTAMP: &str = "timestamp";

/// Stands for the record's key in `--map` when the pipeline reads no key from the event.
const KEY: &str = "key";

/// `--map path=column`: where a member of the event comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Dotted path in the event.
    pub path: String,
    /// Column of the CSV file, or dotted path in the file's objects.
    pub column: String,
}

impl std::str::FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((path, column)) if !path.is_empty() && !column.is_empty() => {
                Ok(Self { path: path.to_owned(), column: column.to_owned() })
            }
            _ => Err(format!("expected field=column, found `{text}`")),
        }
    }
}

/// What a pipeline reads from its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Path and unit of the event time; `None`: the record's timestamp.
    pub time: Option<(String, TimeUnit)>,
    /// Path of the key; `None`: the record's key.
    pub key: Option<String>,
    /// Paths whose values are text, also when they look like numbers.
    pub texts: BTreeSet<String>,
    /// Paths without which an event is a dead letter.
    pub required: BTreeSet<String>,
}

impl Shape {
    /// What this pipeline reads.
    #[must_use]
    pub fn of(config: &WorkerConfig) -> Self {
        let name = |path: PathId| config.paths.names()[usize::from(path.0)].clone();
        let source = &config.source;
        let key = source.key.map(name);
        let fields = || source.fields.iter().map(|field| &field.spec);
        let texts = fields().filter(|field| field.kind == FieldKind::Text).map(|field| name(field.path));
        let required = fields().filter(|field| field.when_missing == WhenMissing::Reject).map(|field| name(field.path));
        Self {
            time: source.timestamp.map(|time| (name(time.path), time.unit)),
            texts: texts.chain(key.clone()).chain(source.event_id.map(name)).collect(),
            required: required.collect(),
            key,
        }
    }

    fn time_path(&self) -> &str {
        self.time.as_ref().map_or(TIMESTAMP, |(path, _)| path)
    }

    fn key_path(&self) -> &str {
        self.key.as_deref().unwrap_or(KEY)
    }
}

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is neither CSV nor NDJSON by its name.
    #[error("expected a file that ends in .csv, .ndjson or .jsonl, found `{}`", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The header is no CSV.
    #[error("failed to read the header of `{}`", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// Why.
        source: csv::Error,
    },
    /// A column that is needed is not there.
    #[error("`{}` has no column `{column}`; its columns are {found}. Name the right one with --map {path_in_event}=COLUMN", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        column: String,
        /// Where it goes in the event.
        path_in_event: String,
        /// What there is.
        found: String,
    },
}

/// A row that cannot be an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {reason}")]
pub struct BadRow {
    /// Name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// What was expected and what was found.
    pub reason: String,
}

/// A file being replayed.
pub struct Replay {
    rows: Rows,
    shape: Shape,
    mappings: Vec<Mapping>,
    file: String,
    /// The file's name without its ending: the key of rows that have none.
    stem: String,
}

impl Replay {
    /// Opens a file and checks that it has what the pipeline needs.
    ///
    /// # Errors
    /// It cannot be read, or a column is missing.
    pub fn open(path: &Path, mappings: &[Mapping], shape: Shape) -> Result<Self, OpenError> {
        let rows = Rows::open(path)?;
        let name = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let replay = Self {
            rows,
            shape,
            mappings: mappings.to_vec(),
            file: name(path.file_name()),
            stem: name(path.file_stem()),
        };
        replay.check_columns(path)?;
        Ok(replay)
    }

    /// The next event, or what is wrong with the next row; `None` at the end of the file.
    pub fn next_into(&mut self, record: &mut Record) -> Option<Result<(), BadRow>> {
        let (line, row) = self.rows.next(&self.shape.texts, &self.mappings)?;
        let built = row.and_then(|event| self.build(event, record));
        Some(built.map_err(|reason| BadRow { file: self.file.clone(), line, reason }))
    }

    /// Name of the file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Whether the pipeline takes the event time from the record's timestamp.
    #[must_use]
    pub fn time_is_in_the_record(&self) -> bool {
        self.shape.time.is_none()
    }

    fn build(&self, row: Map<String, Value>, record: &mut Record) -> Result<(), String> {
        let mut event = self.rename(row)?;
        if let Some(missing) = self.shape.required.iter().find(|path| get(&event, path).is_none()) {
            return Err(format!("expected a value for `{missing}`, found none"));
        }
        record.time_ms = self.settle_time(&mut event)?;
        self.settle_key(&mut event, &mut record.key)?;
        record.value.clear();
        serde_json::to_writer(&mut record.value, &event).map_err(|error| error.to_string())
    }

    /// Moves mapped members to their places.
    fn rename(&self, row: Map<String, Value>) -> Result<Map<String, Value>, String> {
        if self.mappings.is_empty() {
            return Ok(row);
        }
        let mut event = row.clone();
        for mapping in &self.mappings {
            if let Some(value) = get(&row, &mapping.column) {
                put(&mut event, &mapping.path, value.clone())?;
            }
        }
        Ok(event)
    }

    /// The event time, written back in the unit that the pipeline reads.
    fn settle_time(&self, event: &mut Map<String, Value>) -> Result<i64, String> {
        let path = self.shape.time_path();
        let unit = self.shape.time.as_ref().map(|(_, unit)| *unit);
        let value = get(event, path).ok_or_else(|| format!("expected a time in `{path}`, found none"))?;
        let (time_ms, written) = event_time::read(value, unit).map_err(|reason| format!("`{path}`: {reason}"))?;
        if let Some(written) = written {
            put(event, path, written)?;
        }
        Ok(time_ms)
    }

    /// The key, as text; the file's name where the row has none.
    fn settle_key(&self, event: &mut Map<String, Value>, key: &mut Vec<u8>) -> Result<(), String> {
        key.clear();
        let path = self.shape.key_path();
        match get(event, path) {
            Some(Value::String(text)) => key.extend_from_slice(text.as_bytes()),
            Some(Value::Number(number)) => key.extend_from_slice(number.to_string().as_bytes()),
            Some(other) => return Err(format!("expected a text as key in `{path}`, found {other}")),
            None => {
                key.extend_from_slice(self.stem.as_bytes());
                if self.shape.key.is_some() {
                    put(event, path, Value::String(self.stem.clone()))?;
                }
            }
        }
        if key.is_empty() { Err(format!("expected a key in `{path}`, found an empty text")) } else { Ok(()) }
    }

    /// A CSV file tells its columns: what cannot work is refused before anything starts.
    fn check_columns(&self, path: &Path) -> Result<(), OpenError> {
        let Some(columns) = self.rows.columns() else {
            return Ok(());
        };
        let has = |column: &str| columns.iter().any(|known| known == column);
        let mapped = |path: &str| self.mappings.iter().any(|mapping| mapping.path == path);
        let missing = self.mappings.iter().map(|mapping| (mapping.path.as_str(), mapping.column.as_str()));
        let needed = self.shape.required.iter().map(String::as_str).chain([self.shape.time_path()]);
        let needed = needed.filter(|path| !mapped(path)).map(|path| (path, path));
        match missing.chain(needed).find(|(_, column)| !has(column)) {
            None => Ok(()),
            Some((path_in_event, column)) => Err(OpenError::Column {
                path: path.to_owned(),
                column: column.to_owned(),
                path_in_event: path_in_event.to_owned(),
                found: columns.join(", "),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
