//! YAML with positions: each document becomes JSON and a table of the line of every field.
//!
//! Scalars follow the core schema of YAML 1.2. Anchors are followed; merge keys are refused, because tools disagree
//! about them.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Number, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};

/// Most values of a file, aliases unfolded: a bound on what a small file can blow up to.
const MOST_VALUES: usize = 200_000;
/// Deepest nesting of a document.
const DEEPEST: usize = 64;

/// One document of a file.
#[derive(Debug, PartialEq)]
pub(crate) struct Document {
    pub(crate) value: Value,
    /// Line of each path; the document itself has the empty path.
    pub(crate) lines: BTreeMap<String, usize>,
}

/// Why a file cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: usize,
    pub(crate) message: String,
}

/// All documents of a file; empty ones are left out.
pub(crate) fn documents(text: &str) -> Result<Vec<Document>, SyntaxError> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), values: 0 };
    let mut documents = Vec::new();
    loop {
        let (event, _) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentStart(..) => {
                let mut lines = BTreeMap::new();
                let (event, span) = reader.next()?;
                let value = reader.value(event, span, "", 0, &mut lines)?;
                if !value.is_null() {
                    documents.push(Document { value, lines });
                }
            }
            _ => {}
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Value>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Comment(..) | Event::Anchor(..), _))) => {}
                Some(Ok(next)) => return Ok(next),
                Some(Err(error)) => {
                    return Err(SyntaxError {
                        line: error.marker().line(),
                        message: format!("column {}: {}", error.marker().col() + 1, error.info()),
                    });
                }
                None => return Ok((Event::StreamEnd, Span::default())),
            }
        }
    }

    fn value(
        &mut self,
        event: Event<'a>,
        span: Span,
        path: &str,
        depth: usize,
        lines: &mut BTreeMap<String, usize>,
    ) -> Result<Value, SyntaxError> {
        let line = span.start.line();
        let refuse = |message: &str| Err(SyntaxError { line, message: message.to_owned() });
        if depth > DEEPEST {
            return refuse("nested too deeply");
        }
        self.count(1, line)?;
        // A key's line, set before, is nearer to what the user sees than the line on which its value begins.
        lines.entry(path.to_owned()).or_insert(line);
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let quoted =
                    style != ScalarStyle::Plain || tag.as_ref().is_some_and(|t| t.core_suffix() == Some("str"));
                let value = if quoted { Value::String(text.into_owned()) } else { plain(&text, line)? };
                (value, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    let path = format!("{path}[{}]", items.len());
                    items.push(self.value(event, span, &path, depth + 1, lines)?);
                }
                (Value::Array(items), anchor)
            }
            Event::MappingStart(_, anchor, _) => (Value::Object(self.members(path, depth, lines)?), anchor),
            Event::Alias(anchor) => {
                let Some(value) = self.anchors.get(&anchor).cloned() else {
                    return refuse("this alias refers to an anchor that is not complete");
                };
                self.count(values_of(&value), line)?;
                (value, 0)
            }
            _ => return refuse("expected a value"),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn members(
        &mut self,
        path: &str,
        depth: usize,
        lines: &mut BTreeMap<String, usize>,
    ) -> Result<Map<String, Value>, SyntaxError> {
        let mut members = Map::new();
        loop {
            let (event, span) = self.next()?;
            let line = span.start.line();
            let refuse = |message: String| Err(SyntaxError { line, message });
            let name = match event {
                Event::MappingEnd => return Ok(members),
                Event::Scalar(text, style, ..) if text == "<<" && style == ScalarStyle::Plain => {
                    return refuse("merge keys (<<) are not supported; write the fields out".to_owned());
                }
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return refuse("expected a name before the colon".to_owned()),
            };
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if members.contains_key(&name) {
                return refuse(format!("{path}: given twice"));
            }
            lines.insert(path.clone(), line);
            let (event, span) = self.next()?;
            let value = self.value(event, span, &path, depth + 1, lines)?;
            members.insert(name, value);
        }
    }

    fn count(&mut self, values: usize, line: usize) -> Result<(), SyntaxError> {
        self.values += values;
        if self.values > MOST_VALUES {
            return Err(SyntaxError { line, message: format!("more than {MOST_VALUES} values in one file") });
        }
        Ok(())
    }
}

fn values_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(values_of).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(values_of).sum::<usize>(),
        _ => 1,
    }
}

/// A scalar without quotes, by the core schema (YAML 1.2, section 10.3.2).
fn plain(text: &str, line: usize) -> Result<Value, SyntaxError> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "-.inf" | "-.Inf" | "-.INF" | "+.inf" => {
            return Err(SyntaxError { line, message: format!("expected a finite number, found {text}") });
        }
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    })
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok().map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return i64::from_str_radix(digits, 8).ok().map(Number::from);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+');
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !unsigned.chars().all(numeric) {
        return None;
    }
    if let Ok(integer) = text.parse::<i64>() {
        return Some(Number::from(integer));
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_and_lines_are_read() {
        let text = "# head\nkind: A\nspec:\n  list:\n    - {name: x, n: 3}\n    - name: y\n      n: 0.5\n  flow: [1, two, \"3\"]\n";
        let documents = documents(text).unwrap();
        assert_eq!(documents.len(), 1);
        assert_eq!(
            documents[0].value,
            json!({"kind": "A", "spec": {"list": [{"name": "x", "n": 3}, {"name": "y", "n": 0.5}], "flow": [1, "two", "3"]}})
        );
        let line = |path: &str| documents[0].lines.get(path).copied();
        assert_eq!(line("kind"), Some(2));
        assert_eq!(line("spec.list"), Some(4));
        assert_eq!(line("spec.list[0].n"), Some(5));
        assert_eq!(line("spec.list[1]"), Some(6));
        assert_eq!(line("spec.list[1].n"), Some(7));
        assert_eq!(line("spec.flow[2]"), Some(8));
    }

    #[test]
    fn several_documents_keep_their_own_lines() {
        let documents = documents("a: 1\n---\n# nothing\n---\nb: 2\n").unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[1].value, json!({"b": 2}));
        assert_eq!(documents[1].lines.get("b"), Some(&5));
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let check = |text: &str, expected: Value| {
            let document = documents(&format!("v: {text}\n")).unwrap().remove(0);
            assert_eq!(document.value, json!({ "v": expected }), "{text}");
        };
        check("", Value::Null);
        check("~", Value::Null);
        check("true", json!(true));
        check("yes", json!("yes"));
        check("1000", json!(1000));
        check("-1.5", json!(-1.5));
        check("1e3", json!(1000.0));
        check("0x10", json!(16));
        check("5m", json!("5m"));
        check("2026-11-01", json!("2026-11-01"));
        check("e5", json!("e5"));
        check("\"5\"", json!("5"));
        check("!!str 5", json!("5"));
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        let check = |text: &str, line: usize, part: &str| {
            let error = documents(text).unwrap_err();
            assert_eq!(error.line, line, "{error:?}");
            assert!(error.message.contains(part), "{error:?}");
        };
        check("a: 1\nb: [1, 2\n", 2, "unclosed");
        check("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "b.c: given twice");
        check("a: &x {b: 1}\nc:\n  <<: *x\n", 3, "merge keys");
        check("a: .nan\n", 1, "finite");
        check("? [a]\n: 1\n", 1, "expected a name");
    }

    #[test]
    fn aliases_are_followed_but_cannot_explode() {
        let read = documents("a: &x {b: 1}\nc: *x\n").unwrap();
        assert_eq!(read[0].value, json!({"a": {"b": 1}, "c": {"b": 1}}));
        let mut bomb = String::from("a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n");
        for i in 1..8 {
            let list = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb.push_str(&format!("a{i}: &a{i} [{list}]\n"));
        }
        assert!(documents(&bomb).unwrap_err().message.contains("more than"));
    }
}
