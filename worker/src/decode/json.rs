//! One pass over a JSON text (RFC 8259) that validates all of it and keeps what stands at the needed paths.
//!
//! Written by hand, because with a general parser this is half of the fold's work: nothing is built or copied, and each
//! number is read once. The tests hold it against serde_json, which also says what is wrong with a text.

mod number;
mod text;

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use super::layout::Node;
use super::leaf::{Leaf, unescape};

pub(crate) use text::special_bytes;

/// Validates `text` as one JSON object and fills one leaf per path; of a repeated member the last counts.
///
/// # Errors
/// What is wrong, without a value of the event.
pub(super) fn read<'a>(text: &'a str, root: &Node, paths: usize, leaves: &mut Vec<Leaf<'a>>) -> Result<(), String> {
    leaves.clear();
    leaves.resize(paths, Leaf::Missing);
    Scanner { text, at: 0 }.document(root, leaves).ok_or_else(|| problem(text))
}

#[cold]
fn problem(text: &str) -> String {
    let found = match (Scanner { text, at: 0 }).value() {
        Some(Leaf::Nested) if text.trim_start().starts_with('[') => "a list",
        Some(Leaf::Nested) | None => "",
        Some(leaf) => leaf.kind(),
    };
    match serde_json::from_str::<BTreeMap<String, IgnoredAny>>(text) {
        _ if !found.is_empty() => format!("found {found} in place of an object"),
        Err(error) => error.to_string(),
        Ok(_) => "a text holds half of a surrogate pair".to_owned(),
    }
}

/// A place in a text. Every method takes one piece of JSON from it, or finds that there is none.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn document(&mut self, root: &Node, leaves: &mut [Leaf<'a>]) -> Option<()> {
        self.take(b'{')?;
        self.members(root, leaves)?;
        (self.next() == END && self.at == self.text.len()).then_some(())
    }

    /// The members of an object after its brace, down the tree of needed names.
    fn members(&mut self, node: &Node, leaves: &mut [Leaf<'a>]) -> Option<()> {
        if self.next() == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            match self.name(node)? {
                None => self.pass_value()?,
                Some(child) => {
                    child.below.iter().for_each(|&slot| leaves[slot] = Leaf::Missing);
                    let leaf = if !child.children.is_empty() && self.next() == b'{' {
                        self.at += 1;
                        self.members(child, leaves)?;
                        Leaf::Nested
                    } else {
                        self.value()?
                    };
                    if let Some(slot) = child.slot {
                        leaves[slot] = leaf;
                    }
                }
            }
            match self.next() {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// A member's name and the colon behind it; the node of that name.
    #[inline(always)]
    fn name<'n>(&mut self, node: &'n Node) -> Option<Option<&'n Node>> {
        self.take(b'"')?;
        let name = self.text()?;
        self.take(b':')?;
        if name.has_escapes {
            return Some(node.child(unescaped(self.text.get(name.range)?).as_bytes()));
        }
        Some(node.child(self.text.as_bytes().get(name.range)?))
    }

    /// Any value.
    #[inline]
    fn value(&mut self) -> Option<Leaf<'a>> {
        match self.next() {
            b'"' => {
                self.at += 1;
                let text = self.text()?;
                let written = self.text.get(text.range)?;
                Some(if text.has_escapes { Leaf::Escaped(written) } else { Leaf::Text(written) })
            }
            b'-' | b'0'..=b'9' => self.number().map(|(text, value)| Leaf::Number(text, value)),
            b'{' | b'[' => self.pass_nested().map(|()| Leaf::Nested),
            b't' => self.word("true").map(|()| Leaf::Bool(true)),
            b'f' => self.word("false").map(|()| Leaf::Bool(false)),
            b'n' => self.word("null").map(|()| Leaf::Null),
            _ => None,
        }
    }

    /// Any value, of which nothing is needed.
    #[inline]
    fn pass_value(&mut self) -> Option<()> {
        match self.next() {
            b'"' => {
                self.at += 1;
                self.text().map(|_| ())
            }
            b'-' | b'0'..=b'9' => self.pass_number(),
            b'{' | b'[' => self.pass_nested(),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => None,
        }
    }

    /// An object or an array of any depth, without recursion.
    #[inline(never)]
    fn pass_nested(&mut self) -> Option<()> {
        let mut open = Nesting::default();
        loop {
            match self.next() {
                bracket @ (b'{' | b'[') => {
                    let is_object = bracket == b'{';
                    self.at += 1;
                    if self.next() == closing(is_object) {
                        self.at += 1;
                    } else {
                        open.push(is_object);
                        if is_object {
                            self.pass_name()?;
                        }
                        continue;
                    }
                }
                _ => self.pass_value()?,
            }
            // A value has ended, and maybe what it lies in.
            loop {
                let Some(in_object) = open.last() else { return Some(()) };
                let found = self.next();
                self.at += 1;
                if found == b',' {
                    if in_object {
                        self.pass_name()?;
                    }
                    break;
                }
                if found != closing(in_object) {
                    return None;
                }
                open.pop();
            }
        }
    }

    fn pass_name(&mut self) -> Option<()> {
        self.take(b'"')?;
        self.text()?;
        self.take(b':')
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text.as_bytes()[self.at..].starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    /// The next byte that is not space, without taking it; [`END`] at the end.
    #[inline(always)]
    fn next(&mut self) -> u8 {
        loop {
            match self.peek() {
                b' ' | b'\n' | b'\t' | b'\r' => self.at += 1,
                other => return other,
            }
        }
    }

    /// Takes this byte after any space.
    #[inline(always)]
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next() == byte).then(|| self.at += 1)
    }

    /// The byte at the place; [`END`] at the end.
    #[inline(always)]
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(END)
    }
}

/// No JSON holds this byte outside of texts, and texts hold it only escaped.
const END: u8 = 0;

fn closing(is_object: bool) -> u8 {
    if is_object { b'}' } else { b']' }
}

#[cold]
fn unescaped(name: &str) -> String {
    let mut out = String::new();
    unescape(name, &mut out);
    out
}

/// What is open around a value: a bit per level, set for objects.
#[derive(Default)]
struct Nesting {
    top: u64,
    depth: usize,
    /// The levels below the top ones, 64 to a word.
    spilled: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.spilled.push(self.top);
        }
        self.top = self.top << 1 | u64::from(is_object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.top >>= 1;
        self.depth -= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.top = self.spilled.pop().unwrap_or_default();
        }
    }

    fn last(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.top & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_json(text: &str) -> bool {
        read(text, &Node::default(), 0, &mut Vec::new()).is_ok()
    }

    #[test]
    fn nesting_has_no_limit_and_is_checked_at_every_depth() {
        for depth in [1, 2, 63, 64, 65, 127, 128, 129, 1000, 100_000] {
            // Alternating, so that every level's kind counts.
            let open: String = (0..depth).map(|level| if level % 3 == 0 { "[" } else { r#"{"a":"# }).collect();
            let close: String = (0..depth).rev().map(|level| if level % 3 == 0 { "]" } else { "}" }).collect();
            assert!(is_json(&format!(r#"{{"x":{open}1{close}}}"#)), "{depth}");
            for wrong in [0, depth / 2, depth - 1] {
                let mut other = close.clone().into_bytes();
                other[wrong] = if other[wrong] == b']' { b'}' } else { b']' };
                let other = String::from_utf8(other).unwrap();
                assert!(!is_json(&format!(r#"{{"x":{open}1{other}}}"#)), "{depth} {wrong}");
            }
        }
    }

    #[test]
    fn a_text_of_any_length_ends_at_its_quote() {
        for length in 0..40 {
            let plain = "é".repeat(length / 2) + &"x".repeat(length % 2);
            assert!(is_json(&format!(r#"{{"{plain}":"{plain}"}}"#)));
            for (bad, good) in
                [("\u{1f}", " "), ("\\x", "\\n"), (r"\ud800\u0041", r"\ud83d\ude00"), (r"\udc00", r"\u0000")]
            {
                assert!(!is_json(&format!(r#"{{"a":"{plain}{bad}{plain}"}}"#)), "{length} {bad}");
                assert!(is_json(&format!(r#"{{"a":"{plain}{good}{plain}"}}"#)), "{length} {good}");
            }
            assert!(!is_json(&format!(r#"{{"a":"{plain}"#)));
        }
    }
}
