//! What stands at a path, before it has a type.

use std::ops::Range;

use faultline_features::Value;

/// One JSON value at a needed path. Objects and arrays have no value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Leaf<'a> {
    /// No such member.
    Missing,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as written, and the nearest double, which may be infinite.
    Number(&'a str, f64),
    /// A text without escapes.
    Text(&'a str),
    /// A text with escapes, as written, without its quotes.
    Escaped(&'a str),
    /// The same, unescaped into this range of the scratch.
    Unescaped(Range<usize>),
    /// An object or an array.
    Nested,
}

impl<'a> Leaf<'a> {
    /// Unescapes a text into the arena.
    pub(crate) fn unescape(&mut self, arena: &mut String) {
        if let Self::Escaped(text) = *self {
            let start = arena.len();
            unescape(text, arena);
            *self = Self::Unescaped(start..arena.len());
        }
    }

    /// The leaf as a value; numbers that are not finite are absent.
    pub(crate) fn value(&self, arena: &'a str) -> Value<'a> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(_, value) => Value::number(*value),
            Self::Text(_) | Self::Unescaped(_) => self.text(arena).map_or(Value::Absent, Value::Text),
            Self::Missing | Self::Null | Self::Escaped(_) | Self::Nested => Value::Absent,
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self, arena: &'a str) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Unescaped(range) => arena.get(range.clone()),
            _ => None,
        }
    }

    /// The leaf as a key or an id: a text, or a number as written.
    pub(crate) fn identity(&self, arena: &'a str) -> Option<&'a str> {
        match self {
            Self::Number(text, _) => Some(text),
            _ => self.text(arena),
        }
    }

    /// For messages: never the value itself.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "nothing",
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Number(..) => "a number",
            Self::Text(_) | Self::Escaped(_) | Self::Unescaped(_) => "text",
            Self::Nested => "an object or a list",
        }
    }
}

/// Appends a valid JSON text's characters.
pub(super) fn unescape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or_default();
        match escape {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let mut unit = hex4(rest);
                rest = rest.get(4..).unwrap_or_default();
                if (0xD800..0xDC00).contains(&unit) {
                    let low = rest.strip_prefix("\\u").map_or(0, hex4);
                    unit = 0x10000 + ((unit - 0xD800) << 10) + (low & 0x3FF);
                    rest = rest.get(6..).unwrap_or_default();
                }
                out.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            other => out.push(other as char),
        }
    }
    out.push_str(rest);
}

/// The code unit of four hexadecimal digits.
pub(super) fn hex4(text: &str) -> u32 {
    text.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_unescaped_as_json_says() {
        for written in [r#"a\"b\\c\/d\b\f\n\r\t"#, r"\u0041\u00e9\ud83d\ude00 end", "plain", r"\\"] {
            let mut leaf = Leaf::Escaped(written);
            let mut arena = String::from("before");
            leaf.unescape(&mut arena);
            let expected: String = serde_json::from_str(&format!("\"{written}\"")).unwrap();
            assert_eq!(leaf.text(&arena), Some(expected.as_str()), "{written}");
        }
    }

    #[test]
    fn numbers_keep_their_text_and_are_absent_when_too_large() {
        assert_eq!(Leaf::Number("9007199254740993", 9_007_199_254_740_992.0).identity(""), Some("9007199254740993"));
        assert_eq!(Leaf::Number("1.0", 1.0).value(""), Value::Number(1.0));
        assert_eq!(Leaf::Number("1e400", f64::INFINITY).value(""), Value::Absent);
    }
}
