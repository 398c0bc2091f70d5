//! What is wrong, and where: `pipeline.yaml:31 spec.features[4].field: no field "merchnt"; …`.

use std::collections::BTreeMap;
use std::fmt;

/// One thing that is wrong with what the user wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as shown to the user; `None` for an object that came from elsewhere.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// Path of the field, such as `spec.features[4].field`; empty when the file itself is wrong.
    pub path: String,
    /// What was expected, what was found, and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            f.write_str(file)?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(if self.path.is_empty() { ": " } else { " " })?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// Where an object was read from: its file, and the line of each of its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The file, as shown to the user.
    pub file: Option<String>,
    /// Line of each path.
    pub(crate) lines: BTreeMap<String, usize>,
}

impl Origin {
    /// The line of a field, or of what surrounds it when the field itself is not there.
    #[must_use]
    pub fn line(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            if path.is_empty() {
                return None;
            }
            path = parent(path);
        }
    }

    /// A problem of a field.
    #[must_use]
    pub fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        Problem { file: self.file.clone(), line: self.line(path), path: path.to_owned(), message: message.into() }
    }
}

/// `spec.features[4].field` → `spec.features[4]` → `spec.features` → `spec` → nothing.
fn parent(path: &str) -> &str {
    path.rfind(['.', '[']).map_or("", |end| &path[..end])
}

/// Whether one of the paths is the other or lies inside it.
pub(crate) fn related(a: &str, b: &str) -> bool {
    inside(a, b) || inside(b, a)
}

/// Whether `inner` is `outer` or lies inside it.
pub(crate) fn inside(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| outer.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_documented() {
        let origin = Origin {
            file: Some("pipeline.yaml".to_owned()),
            lines: BTreeMap::from([(String::new(), 1), ("spec.features[4].field".to_owned(), 31)]),
        };
        let problem = origin.problem("spec.features[4].field", "no field \"merchnt\"");
        assert_eq!(problem.to_string(), "pipeline.yaml:31 spec.features[4].field: no field \"merchnt\"");
    }

    #[test]
    fn a_missing_field_has_the_line_of_what_surrounds_it() {
        let origin = Origin {
            file: None,
            lines: BTreeMap::from([(String::new(), 1), ("spec".to_owned(), 4), ("spec.features[4]".to_owned(), 9)]),
        };
        assert_eq!(origin.line("spec.features[4].field"), Some(9));
        assert_eq!(origin.line("spec.features[5].field"), Some(4));
        assert_eq!(origin.line("metadata.name"), Some(1));
    }

    #[test]
    fn paths_are_compared_by_segment() {
        assert!(related("spec.features[1].field", "spec.features[1]"));
        assert!(related("spec", "spec.features[1]"));
        assert!(!related("spec.features[1]", "spec.features[10]"));
        assert!(!related("spec.source.key", "spec.source.keyExpiry"));
    }
}
