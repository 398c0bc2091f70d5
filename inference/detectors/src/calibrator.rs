//! From raw strangeness to surprise, by what normal events of the shard have looked like.
//!
//! Events are pooled over keys by maturity, so that a new key is judged as new keys are. A frozen version holds
//! a decayed histogram per class and, made from it, a table that costs one look-up per event:
//!
//! ```text
//! share of events at least this strange
//! 1 ├───╮
//!   │    ╰──╮  body: the histogram itself, straight lines between the edges of its bins
//!   │        ╰─╮
//! u ├──────────┼─── 2 %, more where a class has seen little
//!   │          ╰──╮  tail: generalised Pareto
//!   │             ╰────╮
//!   └──────────────────┴── capped one decade beyond the observations behind it
//! ```

use faultline_numerics::image::{ImageError, Reader, Writer};
use faultline_numerics::math;

use crate::bins::{Place, STRANGENESS_BINS, edge, place};
use crate::counts::{Counts, Weights};
use crate::quarantine::Verdict;
use crate::tail_fit::TailFit;

/// Classes of maturity, by events behind the key: 0–2, 3–9, 10–29, 30–99, 100 and more.
pub(crate) const CLASSES: usize = 5;

/// Observations that a class stays aware of: long enough for a tail at one in ten thousand, short enough to
/// follow drift within days.
const MEMORY: f64 = 1_000_000.0;
/// Fewer observations than this in a class: it borrows from its neighbours.
const ENOUGH: f64 = 500.0;
/// Nothing is said from fewer observations than this.
const LEAST: f64 = 64.0;
/// Share of events that belongs to the tail.
const TAIL_SHARE: f64 = 0.02;
/// Exceedances that a fit wants …
const TAIL_EXCEEDANCES: f64 = 50.0;
/// … for which it may take up to this share of the events.
const WIDEST_TAIL_SHARE: f64 = 0.2;
/// A bin this many times as heavy as its neighbours is a discrete value, not a piece of a density.
const ATOM: f64 = 6.0;
/// Strange points of one episode that count as events; the rest of a long incident must not raise the rates.
const EPISODE_POINTS: u8 = 16;

/// Strange points of one episode whose size the tail's shape may know of, and its peaks: what hangs together by
/// nature does so for a few points, an incident for long.
const SHAPE_POINTS: u8 = 4;

/// Class of a key with so many rows behind it.
#[inline]
pub(crate) fn class_of(learned: u32) -> usize {
    match learned {
        0..3 => 0,
        3..10 => 1,
        10..30 => 2,
        30..100 => 3,
        _ => 4,
    }
}

/// The calibrator of a frozen version.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Calibrator {
    classes: [Class; CLASSES],
    /// Events behind it; not in the image.
    observations: f64,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Class {
    /// All events.
    events: Weights,
    /// Events whose size the tail's shape may know of: not those inside an episode, but its first.
    shapes: Weights,
    /// Made from the histograms; not in the image.
    table: Table,
}

/// Counts towards the next version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CalibratorIncrements {
    events: [Counts; CLASSES],
    shapes: [Counts; CLASSES],
}

/// A calibrated strangeness.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calibrated {
    pub(crate) surprise: f64,
    class: usize,
    place: Place,
}

impl Calibrated {
    /// The bin of the strangeness.
    pub(crate) fn bin(&self) -> u16 {
        self.place.bin as u16
    }
}

impl Calibrator {
    /// Surprise of a strangeness; 0 while nothing is known.
    #[inline]
    pub(crate) fn judge(&self, class: usize, strangeness: f64) -> Calibrated {
        let place = place(strangeness);
        let surprise = match self.classes[class].table.knots.get(place.bin) {
            Some(&[low, high]) => f64::from(low) + place.share * f64::from(high - low),
            None => 0.0,
        };
        Calibrated { surprise, class, place }
    }

    /// The strangeness that 99 in 100 events of a class stay below.
    #[inline]
    pub(crate) fn usual(&self, class: usize) -> f64 {
        self.classes[class].table.usual
    }

    /// Events behind this version, decayed.
    #[inline]
    pub(crate) fn observations(&self) -> f64 {
        self.observations
    }

    /// The next frozen version.
    pub(crate) fn next(&self, increments: &CalibratorIncrements) -> Self {
        let mut next = Self::default();
        for (index, class) in next.classes.iter_mut().enumerate() {
            class.events = self.classes[index].events.next(&increments.events[index], MEMORY);
            class.shapes = self.classes[index].shapes.next(&increments.shapes[index], MEMORY);
        }
        next.build_tables();
        next
    }

    fn build_tables(&mut self) {
        let totals: Vec<f64> = self.classes.iter().map(|class| class.events.total()).collect();
        self.observations = totals.iter().sum();
        let tables: Vec<Table> = (0..CLASSES)
            .map(|own| {
                let mut events = self.classes[own].events.clone();
                let mut shapes = self.classes[own].shapes.clone();
                // Nearest first, the younger before the older: a younger class is wider, so quieter.
                let neighbours = (1..CLASSES).flat_map(|far| [own.checked_sub(far), own.checked_add(far)]);
                let mut held = totals[own];
                for neighbour in neighbours.flatten().filter(|&neighbour| neighbour < CLASSES) {
                    if held >= ENOUGH {
                        break;
                    }
                    if totals[neighbour] > 0.0 {
                        let factor = ((ENOUGH - held) / totals[neighbour]).min(1.0);
                        events.add(&self.classes[neighbour].events, factor);
                        shapes.add(&self.classes[neighbour].shapes, factor);
                        held += factor * totals[neighbour];
                    }
                }
                Table::of(&events, &shapes)
            })
            .collect();
        for (class, table) in self.classes.iter_mut().zip(tables) {
            class.table = table;
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.classes
            .iter()
            .map(|class| {
                size_of_val(class.events.bins())
                    + size_of_val(class.shapes.bins())
                    + class.table.knots.len() * size_of::<[f32; 2]>()
            })
            .sum()
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        for class in &self.classes {
            class.events.write(w);
            class.shapes.write(w);
        }
    }

    pub(crate) fn restore(r: &mut Reader<'_>) -> Result<Self, ImageError> {
        let mut restored = Self::default();
        for class in &mut restored.classes {
            class.events = Weights::restore(r, STRANGENESS_BINS)?;
            class.shapes = Weights::restore(r, STRANGENESS_BINS)?;
        }
        restored.build_tables();
        Ok(restored)
    }
}

/// What the calibrator is told about a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A point of a key that is not in quarantine, or the one that begins it.
    Free,
    /// A calm point of a quarantined key.
    Calm,
    /// A further strange point of an episode.
    Strange {
        /// Strange points of the episode so far, this one included.
        struck: u8,
        /// Whether it is the strangest of them.
        is_peak: bool,
    },
}

impl From<Verdict> for Standing {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Learn | Verdict::Began | Verdict::Accepted => Self::Free,
            Verdict::Calm => Self::Calm,
            Verdict::Strange { struck, is_peak } => Self::Strange { struck, is_peak },
        }
    }
}

impl CalibratorIncrements {
    /// Counts an event.
    #[inline]
    pub(crate) fn record(&mut self, judged: Calibrated, standing: Standing) {
        let Calibrated { class, place: Place { bin, .. }, .. } = judged;
        if let Standing::Strange { struck, .. } = standing
            && struck > EPISODE_POINTS
        {
            return;
        }
        self.events[class].add(bin, 1, STRANGENESS_BINS);
        let tells_shape = match standing {
            Standing::Free | Standing::Calm => true,
            Standing::Strange { struck, is_peak } => is_peak || struck <= SHAPE_POINTS,
        };
        if tells_shape {
            self.shapes[class].add(bin, 1, STRANGENESS_BINS);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (own, added) in self.events.iter_mut().zip(&other.events) {
            own.merge(added);
        }
        for (own, added) in self.shapes.iter_mut().zip(&other.shapes) {
            own.merge(added);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.events.iter().chain(&self.shapes).map(Counts::bytes).sum()
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        self.events.iter().chain(&self.shapes).for_each(|counts| counts.write(w));
    }

    pub(crate) fn restore(r: &mut Reader<'_>) -> Result<Self, ImageError> {
        let mut restored = Self::default();
        for counts in restored.events.iter_mut().chain(&mut restored.shapes) {
            *counts = Counts::restore(r, STRANGENESS_BINS)?;
        }
        Ok(restored)
    }
}

/// Surprise per bin of strangeness.
#[derive(Debug, Clone, PartialEq, Default)]
struct Table {
    /// Surprise at the lower and at the upper edge of each bin; empty while too little is known.
    knots: Vec<[f32; 2]>,
    /// Strangeness at surprise 2.
    usual: f64,
}

impl Table {
    fn of(events: &Weights, shapes: &Weights) -> Self {
        let total = events.total();
        if total < LEAST {
            return Self::default();
        }
        let weights = events.bins();
        // Share of events at or beyond the lower edge of each bin.
        let mut beyond = vec![0.0; STRANGENESS_BINS + 1];
        for bin in (0..STRANGENESS_BINS).rev() {
            beyond[bin] = beyond[bin + 1] + weights[bin] / total;
        }
        let tail_share = (TAIL_EXCEEDANCES / total).clamp(TAIL_SHARE, WIDEST_TAIL_SHARE);
        let threshold = beyond.iter().position(|&share| share <= tail_share).unwrap_or(STRANGENESS_BINS);
        let excesses = shapes.bins().iter().enumerate().skip(threshold);
        let tail = TailFit::of(
            excesses.map(|(bin, &weight)| (edge(bin) - edge(threshold), edge(bin + 1) - edge(threshold), weight)),
        );
        let cap = math::log10(total) + 1.0;
        let surprise_of = |share: f64| if share > 0.0 { -math::log10(share.min(1.0)) } else { cap };
        let at_threshold = surprise_of(beyond[threshold]);
        let knots: Vec<[f32; 2]> = (0..STRANGENESS_BINS)
            .map(|bin| {
                let ends = if bin < threshold {
                    let around = weights[bin.saturating_sub(1)] + weights.get(bin + 1).copied().unwrap_or(0.0);
                    if weights[bin] > ATOM * (around / 2.0 + 1.0) {
                        [surprise_of((beyond[bin] + beyond[bin + 1]) / 2.0); 2]
                    } else {
                        [surprise_of(beyond[bin]), surprise_of(beyond[bin + 1])]
                    }
                } else {
                    let at = |bin: usize| {
                        let further = tail.map_or(0.0, |tail| tail.surprise(edge(bin) - edge(threshold)));
                        at_threshold + further
                    };
                    [at(bin), at(bin + 1)]
                };
                ends.map(|surprise| surprise.min(cap) as f32)
            })
            .collect();
        let usual = knots.iter().position(|knot| knot[1] >= 2.0).map_or(0.0, |bin| edge(bin + 1));
        Self { knots, usual }
    }
}
