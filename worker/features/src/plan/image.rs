//! Images of keys.
//!
//! ```text
//! format version · the key's time · number of states · (fingerprint · length · state)*
//! ```
//! States stand in the order of their fingerprints, empty ones are left out: an image is as large as what its key has
//! seen, and equal states give equal bytes. Whatever a plan no longer has is skipped when its image is read; what is new
//! starts empty.

use faultline_numerics::image::{ImageError, Reader, Writer};

use super::step::{Place, State, WindowKind};
use super::{HeldState, Plan, StateDescription};
use crate::ewma::Ewma;
use crate::key::KeyWindows;
use crate::pane::{Count, Extrema, Slope, Spread, Sums};
use crate::ring::{Ring, Timed};
use crate::text::{Text, TextRing};
use crate::window::{FARTHEST_MS, Panes};

/// Raised with every change of the layout.
const FORMAT: u64 = 1;

impl Plan {
    /// Appends the image of a key.
    pub fn write(&self, key: &KeyWindows, image: &mut Writer) {
        image.varint(FORMAT);
        image.bool(key.time_ms != i64::MIN);
        if key.time_ms != i64::MIN {
            image.signed(key.time_ms);
        }
        let held = || self.states.iter().filter(|state| !self.is_empty(key, state.place));
        image.varint(held().count() as u64);
        for state in held() {
            let mut content = Writer::new();
            self.write_state(key, state.place, &mut content);
            image.fingerprint(state.fingerprint);
            image.bytes(&content.into_bytes());
        }
    }

    /// Reads the image of a key, bit for bit.
    ///
    /// # Errors
    /// The image is truncated, of another format, or holds what no key can hold.
    pub fn restore(&self, image: &mut Reader<'_>) -> Result<KeyWindows, ImageError> {
        image.format("the windows of a key", FORMAT)?;
        let mut key = self.new_key();
        if image.bool()? {
            key.time_ms = time(image)?;
        }
        for _ in 0..image.count(17)? {
            let fingerprint = image.fingerprint()?;
            let content = image.bytes()?;
            let Ok(at) = self.states.binary_search_by_key(&fingerprint, |state| state.fingerprint) else { continue };
            let mut content = Reader::new(content);
            self.restore_state(&mut key, self.states[at].place, &mut content)?;
            if !content.is_at_end() {
                return Err(ImageError::Invalid { what: "the rest of a state", found: content.remaining() as u64 });
            }
        }
        Ok(key)
    }

    /// What the image of a key holds, without reading its values.
    ///
    /// # Errors
    /// The image is truncated, or of another format.
    pub fn list_states(&self, image: &mut Reader<'_>) -> Result<Vec<HeldState>, ImageError> {
        image.format("the windows of a key", FORMAT)?;
        if image.bool()? {
            time(image)?;
        }
        let held = |image: &mut Reader<'_>| {
            let (fingerprint, bytes) = (image.fingerprint()?, image.bytes()?.len());
            let known = self.states.binary_search_by_key(&fingerprint, |state| state.fingerprint);
            let features = known.map_or(&[][..], |at| &self.states[at].features);
            let name = |feature: &usize| self.features[*feature].0.clone();
            Ok(HeldState { features: features.iter().map(name).collect(), bytes })
        };
        (0..image.count(17)?).map(|_| held(image)).collect()
    }

    fn write_state(&self, key: &KeyWindows, place: Place, image: &mut Writer) {
        let KeyWindows { memory, .. } = key;
        let word = |at: usize| memory.words[at];
        match place {
            Place::Window(kind, at) => match kind {
                WindowKind::Counts => self.panes::<Count>(kind, at).write(memory, image),
                WindowKind::Sums => self.panes::<Sums>(kind, at).write(memory, image),
                WindowKind::Extrema => self.panes::<Extrema>(kind, at).write(memory, image),
                WindowKind::Spreads => self.panes::<Spread>(kind, at).write(memory, image),
                WindowKind::Slopes => self.panes::<Slope>(kind, at).write(memory, image),
            },
            Place::Tally(at) => image.varint(word(self.layout.tallies + at)),
            Place::Ring(at) => self.ring(at).write(memory, image),
            Place::TimedRing(at) => self.timed_ring(at).write(memory, image),
            Place::TextRing(at) => key.text_rings[at].write(image),
            Place::LastValue(at) => image.u64(word(self.layout.last_values + at)),
            Place::LastTime(at) => image.signed(word(self.layout.last_times + at) as i64),
            Place::Ewma(at) => Ewma::of(&memory.words[self.ewma(at)..]).write(image),
            Place::PreviousNumber(at) => image.u64(word(self.layout.previous_numbers + at)),
            Place::PreviousText(at) => key.previous_texts[at].write(image),
        }
    }

    fn restore_state(&self, key: &mut KeyWindows, place: Place, image: &mut Reader<'_>) -> Result<(), ImageError> {
        let KeyWindows { memory, .. } = key;
        match place {
            Place::Window(kind, at) => match kind {
                WindowKind::Counts => self.panes::<Count>(kind, at).restore(memory, image)?,
                WindowKind::Sums => self.panes::<Sums>(kind, at).restore(memory, image)?,
                WindowKind::Extrema => self.panes::<Extrema>(kind, at).restore(memory, image)?,
                WindowKind::Spreads => self.panes::<Spread>(kind, at).restore(memory, image)?,
                WindowKind::Slopes => self.panes::<Slope>(kind, at).restore(memory, image)?,
            },
            Place::Tally(at) => {
                let most = u64::from(self.tallies[at].capacity);
                memory.words[self.layout.tallies + at] = image.varint()?.min(most);
            }
            Place::Ring(at) => self.ring(at).restore(memory, image)?,
            Place::TimedRing(at) => self.timed_ring(at).restore(memory, image)?,
            Place::TextRing(at) => key.text_rings[at] = TextRing::restore(image, self.text_rings[at].capacity)?,
            Place::LastValue(at) => memory.words[self.layout.last_values + at] = image.u64()?,
            Place::LastTime(at) => memory.words[self.layout.last_times + at] = time(image)? as u64,
            Place::Ewma(at) => Ewma::restore(image)?.put(&mut memory.words[self.ewma(at)..]),
            Place::PreviousNumber(at) => memory.words[self.layout.previous_numbers + at] = image.u64()?,
            Place::PreviousText(at) => key.previous_texts[at] = Text::restore(image)?,
        }
        Ok(())
    }

    /// Whether a state is as in a new key, so that an image may leave it out.
    fn is_empty(&self, key: &KeyWindows, place: Place) -> bool {
        let KeyWindows { memory, .. } = key;
        let is_nan = |at: usize| f64::from_bits(memory.words[at]).is_nan();
        match place {
            Place::Window(kind, at) => match kind {
                WindowKind::Counts => self.panes::<Count>(kind, at).is_empty(memory),
                WindowKind::Sums => self.panes::<Sums>(kind, at).is_empty(memory),
                WindowKind::Extrema => self.panes::<Extrema>(kind, at).is_empty(memory),
                WindowKind::Spreads => self.panes::<Spread>(kind, at).is_empty(memory),
                WindowKind::Slopes => self.panes::<Slope>(kind, at).is_empty(memory),
            },
            Place::Tally(at) => memory.words[self.layout.tallies + at] == 0,
            Place::Ring(at) => self.ring(at).is_empty(memory),
            Place::TimedRing(at) => self.timed_ring(at).is_empty(memory),
            Place::TextRing(at) => key.text_rings[at].is_empty(),
            Place::LastValue(at) => is_nan(self.layout.last_values + at),
            Place::LastTime(at) => memory.words[self.layout.last_times + at] as i64 == i64::MIN,
            Place::Ewma(at) => Ewma::of(&memory.words[self.ewma(at)..]).is_empty(),
            Place::PreviousNumber(at) => is_nan(self.layout.previous_numbers + at),
            Place::PreviousText(at) => key.previous_texts[at].get().is_none(),
        }
    }

    pub(super) fn describe(&self, state: &State) -> StateDescription {
        let most_bytes = match state.place {
            Place::Window(kind, at) => {
                let shape = self.windows[kind as usize][at].shape;
                match kind {
                    WindowKind::Counts => Panes::<Count>::most_bytes(shape),
                    WindowKind::Sums => Panes::<Sums>::most_bytes(shape),
                    WindowKind::Extrema => Panes::<Extrema>::most_bytes(shape),
                    WindowKind::Spreads => Panes::<Spread>::most_bytes(shape),
                    WindowKind::Slopes => Panes::<Slope>::most_bytes(shape),
                }
            }
            Place::Ring(at) => Ring::<f64>::most_bytes(self.rings[at].capacity),
            Place::TimedRing(at) => Ring::<Timed>::most_bytes(self.timed_rings[at].capacity),
            Place::TextRing(at) => size_of::<TextRing>() + self.text_rings[at].capacity * size_of::<Text>(),
            Place::Tally(_) | Place::LastValue(_) | Place::LastTime(_) | Place::PreviousNumber(_) => size_of::<u64>(),
            Place::Ewma(_) => Ewma::WORDS * size_of::<u64>(),
            Place::PreviousText(_) => size_of::<Text>(),
        };
        StateDescription {
            canonical: state.canonical.clone(),
            fingerprint: state.fingerprint,
            features: state.features.clone(),
            most_bytes,
        }
    }
}

/// A time of an event.
fn time(image: &mut Reader<'_>) -> Result<i64, ImageError> {
    let time_ms = image.signed()?;
    if (-FARTHEST_MS..=FARTHEST_MS).contains(&time_ms) {
        return Ok(time_ms);
    }
    Err(ImageError::Invalid { what: "a time", found: time_ms as u64 })
}
