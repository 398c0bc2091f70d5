//! Canonical forms: JSON objects with sorted members, without white space, defaults left out.

use std::collections::BTreeMap;

use faultline_numerics::hash::Fingerprint;

/// A canonical object under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Canonical {
    members: BTreeMap<&'static str, String>,
}

impl Canonical {
    /// A member that is a text; an empty one is the default and left out.
    pub(crate) fn text(mut self, name: &'static str, value: &str) -> Self {
        if !value.is_empty() {
            self.members.insert(name, quote(value));
        }
        self
    }

    /// A member that is an integer.
    pub(crate) fn integer(mut self, name: &'static str, value: i64) -> Self {
        self.members.insert(name, value.to_string());
        self
    }

    /// A member that is an object.
    pub(crate) fn object(mut self, name: &'static str, value: &Self) -> Self {
        self.members.insert(name, value.form());
        self
    }

    /// The members of both.
    pub(crate) fn with(mut self, other: &Self) -> Self {
        self.members.extend(other.members.iter().map(|(name, value)| (*name, value.clone())));
        self
    }

    /// The text that is hashed.
    pub(crate) fn form(&self) -> String {
        let members: Vec<String> = self.members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    }

    /// First 128 bits of the SHA-256 of the form.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.form())
    }
}

/// A text in double quotes; quotes, backslashes and control characters escaped as in JSON.
pub(crate) fn quote(text: &str) -> String {
    quote_in(text, '"')
}

/// A text in quotes of either kind.
pub(crate) fn quote_in(text: &str, mark: char) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(mark);
    for character in text.chars() {
        if character == mark || character == '\\' {
            quoted.extend(['\\', character]);
        } else if character < ' ' {
            quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            quoted.push(character);
        }
    }
    quoted.push(mark);
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sorted_and_empty_texts_left_out() {
        let inner = Canonical::default().text("type", "number").text("path", "a\"b\\c\n");
        let form = Canonical::default().integer("window", 5).object("field", &inner).text("where", "").form();
        assert_eq!(form, r#"{"field":{"path":"a\"b\\c\u000a","type":"number"},"window":5}"#);
    }
}
