//! Texts that a key remembers: `valuesAgo` and `whenMissing: previous` of text fields.

use faultline_numerics::image::{ImageError, Reader, Writer};

use crate::ring::read_items;
use crate::value::Value;

/// The last texts of a key; each place keeps its memory for the next text.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TextRing {
    items: Vec<Text>,
    oldest: usize,
}

/// A text or nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text {
    present: bool,
    spelling: String,
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Text {
    pub(crate) fn set(&mut self, text: Option<&str>) {
        self.present = text.is_some();
        self.spelling.clear();
        self.spelling.push_str(text.unwrap_or_default());
    }

    pub(crate) fn get(&self) -> Option<&str> {
        self.present.then_some(self.spelling.as_str())
    }

    pub(crate) fn value(&self) -> Value<'_> {
        self.get().map_or(Value::Absent, Value::Text)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.spelling.capacity()
    }

    pub(crate) fn write(&self, image: &mut Writer) {
        image.bool(self.present);
        if self.present {
            image.bytes(self.spelling.as_bytes());
        }
    }

    pub(crate) fn restore(image: &mut Reader<'_>) -> Result<Self, ImageError> {
        if !image.bool()? {
            return Ok(Self::default());
        }
        let bytes = image.bytes()?;
        let spelling = std::str::from_utf8(bytes)
            .map_err(|error| ImageError::Invalid { what: "a text", found: error.valid_up_to() as u64 })?;
        Ok(Self { present: true, spelling: spelling.to_owned() })
    }
}

impl TextRing {
    pub(crate) fn push(&mut self, text: Option<&str>, capacity: usize) {
        if self.items.len() < capacity {
            let held = self.items.len();
            if held == self.items.capacity() {
                self.items.reserve_exact(held.max(2).min(capacity - held));
            }
            let mut item = Text::default();
            item.set(text);
            self.items.push(item);
            return;
        }
        self.items[self.oldest].set(text);
        self.oldest = (self.oldest + 1) % capacity;
    }

    /// The oldest text, if the ring is full.
    pub(crate) fn oldest(&self, capacity: usize) -> Value<'_> {
        if self.items.len() < capacity {
            return Value::Absent;
        }
        self.items.get(self.oldest).map_or(Value::Absent, Text::value)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.items.capacity() * size_of::<Text>() + self.items.iter().map(Text::heap_bytes).sum::<usize>()
    }

    pub(crate) fn write(&self, image: &mut Writer) {
        image.varint(self.items.len() as u64);
        let (newer, older) = self.items.split_at(self.oldest);
        older.iter().chain(newer).for_each(|text| text.write(image));
    }

    pub(crate) fn restore(image: &mut Reader<'_>, capacity: usize) -> Result<Self, ImageError> {
        let items = read_items(image, capacity, 1, Text::restore)?;
        Ok(Self { items, oldest: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_text_is_not_an_empty_one() {
        let mut ring = TextRing::default();
        for text in [Some("a"), None, Some("")] {
            ring.push(text, 2);
        }
        assert_eq!(ring.oldest(2), Value::Absent);
        ring.push(None, 2);
        assert_eq!(ring.oldest(2), Value::Text(""));
    }
}
