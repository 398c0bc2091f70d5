//! Images of keys.
//!
//! ```text
//! format version · the key's time · number of states · (fingerprint · length · state)*
//! ```
//! States stand in the order of their fingerprints, empty ones are left out: an image is as large as what its key has
//! seen, and equal states give equal bytes. Whatever a plan no longer has is skipped when its image is read; what is new
//! starts empty.

use faultline_numerics::image::{ImageError, Reader, Writer};

use super::step::{Place, RingStep, State, WindowKind};
use super::{Plan, StateDescription};
use crate::ewma::Ewma;
use crate::key::KeyWindows;
use crate::pane::{Count, Extrema, Slope, Spread, Sums};
use crate::ring::{Ring, Timed};
use crate::text::{Text, TextRing};
use crate::window::{FARTHEST_MS, Panes};

/// Raised with every change of the layout.
const FORMAT: u64 = 1;

impl Plan {
    pub(super) fn empty_key(&self) -> KeyWindows {
        KeyWindows {
            time_ms: i64::MIN,
            counts: empty(&self.windows[WindowKind::Counts as usize]),
            sums: empty(&self.windows[WindowKind::Sums as usize]),
            extrema: empty(&self.windows[WindowKind::Extrema as usize]),
            spreads: empty(&self.windows[WindowKind::Spreads as usize]),
            slopes: empty(&self.windows[WindowKind::Slopes as usize]),
            tallies: empty(&self.tallies),
            rings: empty(&self.rings),
            timed_rings: empty(&self.timed_rings),
            text_rings: empty(&self.text_rings),
            last_values: vec![f64::NAN; self.last_values.len()].into(),
            last_times: vec![i64::MIN; self.last_times.len()].into(),
            ewmas: empty(&self.ewmas),
            previous_numbers: vec![f64::NAN; self.previous_numbers.len()].into(),
            previous_texts: empty(&self.previous_texts),
        }
    }

    /// Appends the image of a key.
    pub fn write(&self, key: &KeyWindows, image: &mut Writer) {
        image.varint(FORMAT);
        image.bool(key.time_ms != i64::MIN);
        if key.time_ms != i64::MIN {
            image.signed(key.time_ms);
        }
        let held = || self.states.iter().filter(|state| !key.is_empty(state.place));
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

    fn write_state(&self, key: &KeyWindows, place: Place, image: &mut Writer) {
        match place {
            Place::Window(kind, at) => {
                let shape = self.windows[kind as usize][at].shape;
                match kind {
                    WindowKind::Counts => key.counts[at].write(image, shape),
                    WindowKind::Sums => key.sums[at].write(image, shape),
                    WindowKind::Extrema => key.extrema[at].write(image, shape),
                    WindowKind::Spreads => key.spreads[at].write(image, shape),
                    WindowKind::Slopes => key.slopes[at].write(image, shape),
                }
            }
            Place::Tally(at) => image.varint(u64::from(key.tallies[at])),
            Place::Ring(at) => key.rings[at].write(image),
            Place::TimedRing(at) => key.timed_rings[at].write(image),
            Place::TextRing(at) => key.text_rings[at].write(image),
            Place::LastValue(at) => image.f64(key.last_values[at]),
            Place::LastTime(at) => image.signed(key.last_times[at]),
            Place::Ewma(at) => key.ewmas[at].write(image),
            Place::PreviousNumber(at) => image.f64(key.previous_numbers[at]),
            Place::PreviousText(at) => key.previous_texts[at].write(image),
        }
    }

    fn restore_state(&self, key: &mut KeyWindows, place: Place, image: &mut Reader<'_>) -> Result<(), ImageError> {
        match place {
            Place::Window(kind, at) => {
                let shape = self.windows[kind as usize][at].shape;
                match kind {
                    WindowKind::Counts => key.counts[at] = Panes::restore(image, shape)?,
                    WindowKind::Sums => key.sums[at] = Panes::restore(image, shape)?,
                    WindowKind::Extrema => key.extrema[at] = Panes::restore(image, shape)?,
                    WindowKind::Spreads => key.spreads[at] = Panes::restore(image, shape)?,
                    WindowKind::Slopes => key.slopes[at] = Panes::restore(image, shape)?,
                }
            }
            Place::Tally(at) => {
                let most = u64::from(self.tallies[at].capacity);
                key.tallies[at] = image.varint()?.min(most) as u16;
            }
            Place::Ring(at) => key.rings[at] = Ring::restore(image, self.rings[at].capacity)?,
            Place::TimedRing(at) => key.timed_rings[at] = Ring::restore(image, self.timed_rings[at].capacity)?,
            Place::TextRing(at) => key.text_rings[at] = TextRing::restore(image, self.text_rings[at].capacity)?,
            Place::LastValue(at) => key.last_values[at] = image.f64()?,
            Place::LastTime(at) => key.last_times[at] = time(image)?,
            Place::Ewma(at) => key.ewmas[at] = Ewma::restore(image)?,
            Place::PreviousNumber(at) => key.previous_numbers[at] = image.f64()?,
            Place::PreviousText(at) => key.previous_texts[at] = Text::restore(image)?,
        }
        Ok(())
    }

    pub(super) fn describe(&self, state: &State) -> StateDescription {
        let ring = |step: &RingStep, item| size_of::<Ring<f64>>() + step.capacity * item;
        let most_bytes = match state.place {
            Place::Window(kind, at) => {
                let panes = usize::try_from(self.windows[kind as usize][at].shape.panes).unwrap_or(usize::MAX);
                match kind {
                    WindowKind::Counts => Panes::<Count>::most_bytes(panes),
                    WindowKind::Sums => Panes::<Sums>::most_bytes(panes),
                    WindowKind::Extrema => Panes::<Extrema>::most_bytes(panes),
                    WindowKind::Spreads => Panes::<Spread>::most_bytes(panes),
                    WindowKind::Slopes => Panes::<Slope>::most_bytes(panes),
                }
            }
            Place::Tally(_) => size_of::<u16>(),
            Place::Ring(at) => ring(&self.rings[at], size_of::<f64>()),
            Place::TimedRing(at) => ring(&self.timed_rings[at], size_of::<Timed>()),
            Place::TextRing(at) => size_of::<TextRing>() + self.text_rings[at].capacity * size_of::<Text>(),
            Place::LastValue(_) | Place::LastTime(_) | Place::PreviousNumber(_) => size_of::<f64>(),
            Place::Ewma(_) => size_of::<Ewma>(),
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

impl KeyWindows {
    /// Whether a state is as in a new key, so that an image may leave it out.
    fn is_empty(&self, place: Place) -> bool {
        match place {
            Place::Window(WindowKind::Counts, at) => self.counts[at].is_empty(),
            Place::Window(WindowKind::Sums, at) => self.sums[at].is_empty(),
            Place::Window(WindowKind::Extrema, at) => self.extrema[at].is_empty(),
            Place::Window(WindowKind::Spreads, at) => self.spreads[at].is_empty(),
            Place::Window(WindowKind::Slopes, at) => self.slopes[at].is_empty(),
            Place::Tally(at) => self.tallies[at] == 0,
            Place::Ring(at) => self.rings[at].is_empty(),
            Place::TimedRing(at) => self.timed_rings[at].is_empty(),
            Place::TextRing(at) => self.text_rings[at].is_empty(),
            Place::LastValue(at) => self.last_values[at].is_nan(),
            Place::LastTime(at) => self.last_times[at] == i64::MIN,
            Place::Ewma(at) => self.ewmas[at].is_empty(),
            Place::PreviousNumber(at) => self.previous_numbers[at].is_nan(),
            Place::PreviousText(at) => self.previous_texts[at].get().is_none(),
        }
    }
}

fn empty<S, T: Default>(steps: &[S]) -> Box<[T]> {
    steps.iter().map(|_| T::default()).collect()
}

/// A time of an event.
fn time(image: &mut Reader<'_>) -> Result<i64, ImageError> {
    let time_ms = image.signed()?;
    if (-FARTHEST_MS..=FARTHEST_MS).contains(&time_ms) {
        return Ok(time_ms);
    }
    Err(ImageError::Invalid { what: "a time", found: time_ms as u64 })
}
