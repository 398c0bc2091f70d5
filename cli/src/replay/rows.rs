//! Rows of a file as JSON objects, with their lines.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;

use serde_json::{Map, Value};

use super::members::put;
use super::{Mapping, OpenError};

/// A file, row by row.
pub(super) enum Rows {
    Csv { reader: Box<csv::Reader<File>>, columns: Vec<String>, record: csv::StringRecord },
    Ndjson { lines: Lines<BufReader<File>>, line: u64 },
}

/// A row or what is wrong with it, and its line.
pub(super) type Row = (u64, Result<Map<String, Value>, String>);

impl Rows {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if !["csv", "ndjson", "jsonl"].contains(&ending.as_str()) {
            return Err(OpenError::Format { path: path.to_owned() });
        }
        let file = File::open(path).map_err(|source| OpenError::Read { path: path.to_owned(), source })?;
        if ending != "csv" {
            return Ok(Self::Ndjson { lines: BufReader::new(file).lines(), line: 0 });
        }
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(file);
        let header = reader.headers().map_err(|source| OpenError::Header { path: path.to_owned(), source })?;
        let columns = header.iter().map(str::to_owned).collect();
        Ok(Self::Csv { reader: Box::new(reader), columns, record: csv::StringRecord::new() })
    }

    /// The columns, where the file names them.
    pub(super) fn columns(&self) -> Option<&[String]> {
        match self {
            Self::Csv { columns, .. } => Some(columns),
            Self::Ndjson { .. } => None,
        }
    }

    /// The next row. Values at `texts`, also when mapped there, stay text.
    pub(super) fn next(&mut self, texts: &BTreeSet<String>, mappings: &[Mapping]) -> Option<Row> {
        match self {
            Self::Csv { reader, columns, record } => match reader.read_record(record) {
                Ok(false) => None,
                Ok(true) => {
                    Some((record.position().map_or(0, csv::Position::line), object(record, columns, texts, mappings)))
                }
                Err(error) => Some((error.position().map_or(0, csv::Position::line), Err(error.to_string()))),
            },
            Self::Ndjson { lines, line } => loop {
                *line += 1;
                match lines.next()? {
                    Ok(text) if text.trim().is_empty() => {}
                    Ok(text) => {
                        break Some((
                            *line,
                            serde_json::from_str(&text).map_err(|error| format!("expected a JSON object: {error}")),
                        ));
                    }
                    Err(error) => break Some((*line, Err(error.to_string()))),
                }
            },
        }
    }
}

fn object(
    record: &csv::StringRecord,
    columns: &[String],
    texts: &BTreeSet<String>,
    mappings: &[Mapping],
) -> Result<Map<String, Value>, String> {
    if record.len() != columns.len() {
        return Err(format!("expected {} columns, found {}", columns.len(), record.len()));
    }
    let is_text = |column: &String| {
        texts.contains(column)
            || mappings.iter().any(|mapping| mapping.column == *column && texts.contains(&mapping.path))
    };
    let mut event = Map::new();
    for (column, cell) in columns.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        let value = if is_text(column) { Value::String(cell.to_owned()) } else { value_of(cell) };
        put(&mut event, column, value)?;
    }
    Ok(event)
}

/// A number or a boolean where the cell is one, else a text.
fn value_of(cell: &str) -> Value {
    match serde_json::from_str(cell) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::String(cell.to_owned()),
    }
}
