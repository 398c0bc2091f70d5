//! One pass over a JSON text that validates all of it and keeps what stands at the needed paths.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::layout::Node;
use super::leaf::{Leaf, hex4};

/// Validates `text` as one JSON object and fills one leaf per path; of a repeated member the last counts.
pub(super) fn read<'a>(
    text: &'a str,
    root: &Node,
    paths: usize,
    leaves: &mut Vec<Leaf<'a>>,
) -> Result<(), serde_json::Error> {
    if object(text, root, paths, leaves, Descent::Direct).is_err() {
        // A number too large for a double where an object is looked for stops the direct descent, though it is JSON.
        object(text, root, paths, leaves, Descent::Twice)?;
    }
    if text.as_bytes().contains(&b'\\') && has_unpaired_surrogate(text) {
        return Err(serde_json::Error::custom("a text holds half of a surrogate pair"));
    }
    Ok(())
}

/// How objects on the way to a path are entered.
#[derive(Clone, Copy)]
enum Descent {
    /// In the same pass.
    Direct,
    /// Validated first, then read again.
    Twice,
}

fn object<'a>(
    text: &'a str,
    root: &Node,
    paths: usize,
    leaves: &mut Vec<Leaf<'a>>,
    descent: Descent,
) -> Result<(), serde_json::Error> {
    leaves.clear();
    leaves.resize(paths, Leaf::Missing);
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Members { node: root, leaves, descent })?;
    json.end()
}

/// Reads the members of one object; anything else is passed over.
struct Members<'n, 'l, 'a> {
    node: &'n Node,
    leaves: &'l mut Vec<Leaf<'a>>,
    descent: Descent,
}

impl<'de> DeserializeSeed<'de> for Members<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Members<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { node, leaves, descent } = self;
        while let Some(known) = map.next_key_seed(MemberName(node))? {
            let Some(child) = known else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let child = &node.children[child].1;
            child.below.iter().for_each(|&slot| leaves[slot] = Leaf::Missing);
            match (child.slot, descent) {
                (None, Descent::Direct) => map.next_value_seed(Members { node: child, leaves, descent })?,
                (slot, _) => {
                    let raw: &'de RawValue = map.next_value()?;
                    if let Some(slot) = slot {
                        leaves[slot] = Leaf::of(raw.get());
                    }
                    if !child.children.is_empty() && raw.get().starts_with('{') {
                        let mut inner = serde_json::Deserializer::from_str(raw.get());
                        inner.deserialize_map(Members { node: child, leaves, descent }).map_err(A::Error::custom)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// Finds a member's name among the needed ones.
struct MemberName<'n>(&'n Node);

impl<'de> DeserializeSeed<'de> for MemberName<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for MemberName<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.child(name))
    }
}

/// True if a text of this valid JSON names half of a surrogate pair, which is no character.
fn has_unpaired_surrogate(json: &str) -> bool {
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at + 1..];
        let Some(digits) = escape.strip_prefix('u') else {
            rest = escape.get(1..).unwrap_or_default();
            continue;
        };
        rest = digits.get(4..).unwrap_or_default();
        match hex4(digits) {
            0xD800..0xDC00 => {
                let low = rest.strip_prefix("\\u").map_or(0, hex4);
                if !(0xDC00..0xE000).contains(&low) {
                    return true;
                }
                rest = rest.get(6..).unwrap_or_default();
            }
            0xDC00..0xE000 => return true,
            _ => {}
        }
    }
    false
}
