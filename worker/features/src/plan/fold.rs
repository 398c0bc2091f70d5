//! One event into one key: the hot path.
//!
//! During a fold `out` holds the columns, then the fields: the slots that windows and expressions read.

use super::step::{ALL_EVENTS, Read, RingStep, WindowFamily, WindowKind};
use super::{Event, Plan};
use crate::ewma::Ewma;
use crate::key::KeyWindows;
use crate::memory::Memory;
use crate::pane::{Count, Extrema, Pane, Slope, Spread, Sums};
use crate::ring::{Item, Ring, Timed};
use crate::seasonal::sine_and_cosine;
use crate::spec::FieldKind;
use crate::text::Text;
use crate::value::Value;
use crate::window::{FARTHEST_MS, Panes};

/// What all steps of a fold know of the event.
#[derive(Clone, Copy)]
struct Moment {
    /// Time of the event.
    time_ms: i64,
    /// Time of the key.
    now_ms: i64,
    /// Bit by bit, the filters that the event passes.
    passes: u128,
}

impl Moment {
    #[inline]
    fn passes(&self, filter: usize) -> bool {
        self.passes >> filter & 1 == 1
    }
}

impl Plan {
    pub(super) fn fold_event<'a>(&'a self, key: &'a mut KeyWindows, event: &Event<'a>, out: &mut Vec<Value<'a>>) {
        let time_ms = event.time_ms.clamp(-FARTHEST_MS, FARTHEST_MS);
        key.time_ms = key.time_ms.max(time_ms);
        let moment = Moment { time_ms, now_ms: key.time_ms, passes: self.passes(event.paths) };
        self.lay_out(event.fields, out);

        let KeyWindows { memory, previous_texts, text_rings, .. } = key;
        for (step, previous) in self.previous_numbers.iter().zip(&mut memory.words[self.layout.previous_numbers..]) {
            for &slot in &step.slots {
                match out[slot] {
                    Value::Number(number) => *previous = number.to_bits(),
                    _ => out[slot] = Value::number(f64::from_bits(*previous)),
                }
            }
        }
        for (step, previous) in self.previous_texts.iter().zip(previous_texts) {
            if let Some(text) = step.slots.iter().find_map(|slot| out[*slot].as_text()) {
                previous.set(Some(text));
            }
            let previous: &'a Text = previous;
            step.slots.iter().for_each(|slot| out[*slot] = previous.value());
        }
        for (step, ring) in self.text_rings.iter().zip(text_rings) {
            ring.push(out[step.slot].as_text(), step.capacity);
            for &column in &step.columns {
                out[column] = ring.oldest(step.capacity);
            }
        }
        for step in &self.direct {
            out[step.column] = out[step.slot];
        }
        self.fold_windows::<Count>(WindowKind::Counts, memory, &moment, out);
        self.fold_windows::<Sums>(WindowKind::Sums, memory, &moment, out);
        self.fold_windows::<Extrema>(WindowKind::Extrema, memory, &moment, out);
        self.fold_windows::<Spread>(WindowKind::Spreads, memory, &moment, out);
        self.fold_windows::<Slope>(WindowKind::Slopes, memory, &moment, out);
        for (at, step) in self.rings.iter().enumerate() {
            fold_ring(step, self.ring(at), memory, |value| value, &moment, out);
        }
        for (at, step) in self.timed_rings.iter().enumerate() {
            fold_ring(step, self.timed_ring(at), memory, |value| Timed { time_ms, value }, &moment, out);
        }
        let words = &mut memory.words;
        self.fold_tallies(&mut words[self.layout.tallies..], &moment, out);
        self.fold_last_values(&mut words[self.layout.last_values..], &moment, out);
        self.fold_last_times(&mut words[self.layout.last_times..], &moment, out);
        self.fold_ewmas(words, &moment, out);
        for step in &self.seasonal {
            if let Some((sine, cosine)) = sine_and_cosine(step.cycle, step.time_zone, time_ms) {
                out[step.column] = Value::number(sine);
                out[step.column + 1] = Value::number(cosine);
            }
        }
        for (column, program) in &self.expressions {
            out[*column] = match program.evaluate(out) {
                Value::Bool(truth) => Value::Number(f64::from(u8::from(truth))),
                value => value,
            };
        }
        out.truncate(self.columns.len());
    }

    /// Which filters the event passes.
    fn passes(&self, paths: &[Value<'_>]) -> u128 {
        let mut passes = 1 << ALL_EVENTS;
        for (at, filter) in self.filters.iter().enumerate() {
            passes |= u128::from(filter.is_true(paths)) << (at + 1);
        }
        passes
    }

    /// Absent columns, then the fields; a value that is not of its field's type is absent.
    fn lay_out<'a>(&self, fields: &[Value<'a>], out: &mut Vec<Value<'a>>) {
        out.clear();
        out.resize(self.columns.len() + self.fields.len(), Value::Absent);
        let slots = &mut out[self.columns.len()..];
        for ((slot, value), kind) in slots.iter_mut().zip(fields).zip(&self.fields) {
            *slot = match (value, kind) {
                (Value::Number(number), FieldKind::Number) => Value::number(*number),
                (Value::Text(_), FieldKind::Text) => *value,
                _ => Value::Absent,
            };
        }
    }

    #[inline]
    fn fold_windows<P: Pane>(&self, kind: WindowKind, memory: &mut Memory, moment: &Moment, out: &mut [Value<'_>]) {
        for (at, family) in self.windows[kind as usize].iter().enumerate() {
            let panes = self.panes::<P>(kind, at);
            panes.advance(memory, moment.now_ms);
            let value = family.slot.map_or(0.0, |slot| out[slot].number_or_nan());
            if !family.before.is_empty() {
                read_window(family, &family.before, (panes, memory), value, out);
            }
            if !value.is_nan() && moment.passes(family.filter) {
                panes.insert(memory, moment.time_ms, value);
            }
            if !family.after.is_empty() {
                read_window(family, &family.after, (panes, memory), value, out);
            }
        }
    }

    fn fold_tallies(&self, tallies: &mut [u64], moment: &Moment, out: &mut [Value<'_>]) {
        for (step, tally) in self.tallies.iter().zip(tallies) {
            if moment.passes(step.filter) && *tally < u64::from(step.capacity) {
                *tally += 1;
            }
            for &column in &step.columns {
                out[column] = Value::Number(*tally as f64);
            }
        }
    }

    fn fold_last_values(&self, last_values: &mut [u64], moment: &Moment, out: &mut [Value<'_>]) {
        for (step, last) in self.last_values.iter().zip(last_values) {
            let value = out[step.input.slot].number_or_nan();
            for &column in &step.columns {
                out[column] = Value::number(value - f64::from_bits(*last));
            }
            if !value.is_nan() && moment.passes(step.input.filter) {
                *last = value.to_bits();
            }
        }
    }

    fn fold_last_times(&self, last_times: &mut [u64], moment: &Moment, out: &mut [Value<'_>]) {
        for (step, last) in self.last_times.iter().zip(last_times) {
            let last_ms = *last as i64;
            if last_ms != i64::MIN {
                let elapsed_ms = moment.time_ms.saturating_sub(last_ms).max(0);
                for &column in &step.columns {
                    out[column] = Value::Number(elapsed_ms as f64 / 1_000.0);
                }
            }
            if moment.passes(step.filter) {
                *last = moment.time_ms as u64;
            }
        }
    }

    fn fold_ewmas(&self, words: &mut [u64], moment: &Moment, out: &mut [Value<'_>]) {
        for (at, step) in self.ewmas.iter().enumerate() {
            let words = &mut words[self.ewma(at)..];
            let mut ewma = Ewma::of(words);
            let value = out[step.input.slot].number_or_nan();
            if !value.is_nan() && moment.passes(step.input.filter) {
                ewma.add(moment.time_ms, value, step.half_life_ms);
                ewma.put(words);
            }
            for &column in &step.columns {
                out[column] = Value::number(ewma.read());
            }
        }
    }
}

#[inline]
fn read_window<P: Pane>(
    family: &WindowFamily,
    reads: &[Read],
    (panes, memory): (Panes<P>, &Memory),
    value: f64,
    out: &mut [Value<'_>],
) {
    let longest = panes.longest(memory);
    for read in reads {
        let number = if read.panes == family.shape.panes {
            longest.read(read.reading, value)
        } else {
            panes.last(memory, read.panes).read(read.reading, value)
        };
        out[read.column] = Value::number(number);
    }
}

#[inline]
fn fold_ring<T: Item>(
    step: &RingStep,
    ring: Ring<T>,
    memory: &mut Memory,
    item: impl Fn(f64) -> T,
    moment: &Moment,
    out: &mut [Value<'_>],
) {
    let value = out[step.input.slot].number_or_nan();
    let passes = moment.passes(step.input.filter);
    if !step.oldest.is_empty() {
        let oldest = ring.oldest(memory).map_or(f64::NAN, |item| item.event().1);
        for &column in &step.oldest {
            out[column] = Value::number(oldest);
        }
    }
    if !step.before.is_empty() {
        // The event that the current one is about to push out no longer belongs to the window.
        let pushed_out = usize::from(passes && ring.is_full(memory));
        for read in &step.before {
            out[read.column] = Value::number(ring.read(memory, read.reading, pushed_out, value));
        }
    }
    if passes {
        ring.push(memory, item(value));
    }
    for read in &step.after {
        out[read.column] = Value::number(ring.read(memory, read.reading, 0, value));
    }
}
