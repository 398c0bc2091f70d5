//! A key's own level and scale of one value, decayed; shrunk to its peers' while the key is young.
//!
//! `tail` keeps a robust pair (a Huber location and a mean absolute deviation; Huber 1964), on the working scale
//! and around what the context explains; `ewma` keeps mean and standard deviation as they are.

use faultline_numerics::image::{ImageError, Reader, Writer};
use faultline_numerics::math;

use crate::context::{Context, LONGER_MEMORY, Slopes};
use crate::key_tail::KeyTail;
use crate::peers::{PeersIncrements, ValuePeers};
use crate::scale::Scale;

/// Deviations beyond this many standard deviations pull the location no further.
const LOCATION_CLIP: f64 = 2.5;
/// Deviations beyond this many standard deviations widen the scale no further.
const SPREAD_CLIP: f64 = 5.0;
/// Standard deviation over mean absolute deviation, of a normal distribution.
const MEAN_DEVIATION_TO_SIGMA: f64 = 1.253_314_137_315_5;
/// From here on a key stands for itself, and small-sample corrections are below 1 %.
const OWN: u32 = 100;
/// Resolution: no scale is finer than this share of the level (numbers of that size carry rounding noise) …
const FINEST_OF_LEVEL: f64 = 1e-6;
/// … or than this share of the peers' scale.
const FINEST_OF_PEERS: f64 = 1e-3;

/// How a value detector estimates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ValuePlan {
    /// Robust pair and context, or plain mean and deviation.
    pub(crate) is_robust: bool,
    /// Weight of a row once the memory is full.
    pub(crate) rate: f64,
    /// The same for the slopes of the context, and for the tail.
    pub(crate) context_rate: f64,
    /// Number of context inputs.
    pub(crate) contexts: usize,
}

impl ValuePlan {
    pub(crate) fn new(is_robust: bool, half_life: f64, contexts: usize) -> Self {
        let rate = 1.0 - math::exp2(-1.0 / half_life);
        let context_rate = 1.0 - math::exp2(-1.0 / (half_life * LONGER_MEMORY));
        Self { is_robust, rate, context_rate, contexts }
    }
}

/// State of a key under a value detector.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ValueKey {
    location: f64,
    /// Standard deviation; robust plans take it from the mean absolute deviation.
    spread: f64,
    tail: KeyTail,
    context: Option<Box<Context>>,
    /// The scale on which it was learned.
    is_log: bool,
    /// It has left its old level: where its peers are says nothing any more.
    is_shifted: bool,
}

/// Where a value was expected and how wide, on the working scale.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outlook {
    /// Expected value.
    pub(crate) center: f64,
    /// Standard deviation of what comes next.
    pub(crate) sigma: f64,
    /// The key's own scale, without the doubt about its location.
    own: f64,
    /// What the context adds to the level.
    shift: f64,
    slopes: Slopes,
}

impl ValueKey {
    pub(crate) fn new(plan: &ValuePlan) -> Self {
        let context = (plan.contexts > 0).then(|| Box::new(Context::new(plan.contexts)));
        Self { location: 0.0, spread: 0.0, tail: KeyTail::default(), context, is_log: false, is_shifted: false }
    }

    /// Whether the key has to start over because the scale has changed since it learned.
    #[inline]
    pub(crate) fn is_on_other_scale(&self, scale: Scale) -> bool {
        self.is_log != scale.is_log()
    }

    /// Forgets everything, and learns on this scale from now on.
    pub(crate) fn restart(&mut self, plan: &ValuePlan, scale: Scale) {
        *self = Self { is_log: scale.is_log(), ..Self::new(plan) };
    }

    /// Accepts a new level: location and scale start over from this value. What the context does to a value is
    /// another matter, and stays.
    pub(crate) fn accept_shift(&mut self, working: f64, outlook: Option<&Outlook>) {
        self.location = working - outlook.map_or(0.0, |outlook| outlook.shift);
        self.spread = 0.0;
        self.is_shifted = true;
        if let Some(context) = &mut self.context {
            context.move_to(self.location);
        }
    }

    /// What is expected of the next value; `None` while neither the key nor its peers say anything.
    #[inline]
    pub(crate) fn outlook(&self, learned: u32, peers: &ValuePeers, contexts: &[f64]) -> Option<Outlook> {
        let resolution = if self.is_log { FINEST_OF_LEVEL } else { FINEST_OF_LEVEL * self.location.abs() };
        let finest = resolution.max(FINEST_OF_PEERS * peers.within).max(f64::MIN_POSITIVE);
        if learned >= OWN && self.context.is_none() {
            let own = self.spread.max(finest);
            return Some(Outlook { center: self.location, sigma: own, own, shift: 0.0, slopes: Slopes::default() });
        }
        self.young_outlook(learned, peers, contexts, finest)
    }

    /// The same for a key that still leans on its peers, or has a context.
    fn young_outlook(&self, learned: u32, peers: &ValuePeers, contexts: &[f64], finest: f64) -> Option<Outlook> {
        let events = f64::from(learned);
        let has_peers = peers.within > 0.0;
        if !has_peers && learned < 2 {
            return None;
        }
        let own = if learned >= OWN || !has_peers {
            self.spread.max(finest)
        } else if learned < 2 {
            peers.within
        } else {
            // In logarithms, so that a key far quieter than its peers comes into its own quickly.
            let trust = (events - 1.0) / (events + 1.0);
            math::exp(trust * math::ln(self.spread.max(finest)) + (1.0 - trust) * math::ln(peers.within))
        };
        let (mut center, mut sigma) = (self.location, own);
        if learned < OWN {
            let weight = if has_peers && !self.is_shifted { peers.location_weight } else { 0.0 };
            center = (events * self.location + weight * peers.location) / (events + weight).max(f64::MIN_POSITIVE);
            sigma *= math::sqrt(1.0 + 1.0 / (events + weight).max(1e-3));
        }
        let (slopes, shift) = match &self.context {
            Some(context) => {
                // A key wider than its peers may be so because its slopes are not found yet: taking its own scale
                // for the unit would then widen it further.
                let unit = if has_peers { own.min(peers.within) } else { own };
                let slopes = context.slopes(&peers.slopes, unit);
                (slopes, context.shift(&slopes, contexts))
            }
            None => (Slopes::default(), 0.0),
        };
        Some(Outlook { center: center + shift, sigma, own, shift, slopes })
    }

    /// A strangeness, relieved of what is usual in the tail of this key.
    #[inline]
    pub(crate) fn relieve(&self, plan: &ValuePlan, strangeness: f64) -> f64 {
        if plan.is_robust { self.tail.relieve(strangeness) } else { strangeness }
    }

    /// The strangeness that [`Self::relieve`] turns into this one.
    #[inline]
    pub(crate) fn burden(&self, plan: &ValuePlan, relieved: f64) -> f64 {
        if plan.is_robust { self.tail.burden(relieved) } else { relieved }
    }

    /// Learns how far into its tail the key goes; `strangeness` as it was before relief.
    #[inline]
    pub(crate) fn learn_tail(&mut self, plan: &ValuePlan, strangeness: f64) {
        if plan.is_robust {
            self.tail.learn(plan.context_rate, strangeness);
        }
    }

    /// Learns a value and reports to the peers.
    #[inline]
    pub(crate) fn learn(
        &mut self,
        plan: &ValuePlan,
        learned: u32,
        row: Row<'_>,
        outlook: Option<&Outlook>,
        peers: &mut PeersIncrements,
    ) {
        let shift = outlook.map_or(0.0, |outlook| outlook.shift);
        let deviation = row.working - shift - self.location;
        if PeersIncrements::is_due(learned) {
            self.report(learned, row.raw, deviation, outlook, peers);
        }
        let events = f64::from(learned);
        let rate = if learned >= OWN && events + 1.0 >= 1.0 / plan.rate {
            plan.rate
        } else {
            plan.rate.max(1.0 / (events + 1.0))
        };
        // Without peers the first rows have no scale to be clipped by.
        let clip = outlook.filter(|_| plan.is_robust).map_or(f64::INFINITY, |outlook| outlook.own);
        let clipped = deviation.min(LOCATION_CLIP * clip).max(-LOCATION_CLIP * clip);
        if let Some(context) = &mut self.context {
            // The first row of a key has nothing that it could deviate from.
            let held = if learned == 0 { row.working } else { row.working - deviation + clipped };
            context.learn(plan.context_rate, held, row.contexts);
        }
        if learned == 0 {
            self.location = row.working;
            self.spread = 0.0;
            return;
        }
        self.location += rate * clipped;
        // The first deviation is the first observation of the spread.
        let rate = if learned < OWN { plan.rate.max(1.0 / events) } else { rate };
        let size = deviation.abs() * small_sample(learned);
        if plan.is_robust {
            let size = (size * MEAN_DEVIATION_TO_SIGMA).min(SPREAD_CLIP * clip);
            self.spread += rate * (size - self.spread);
        } else {
            let variance = self.spread * self.spread;
            self.spread = math::sqrt(variance + rate * (size * size - variance));
        }
    }

    fn report(&self, learned: u32, raw: f64, deviation: f64, outlook: Option<&Outlook>, peers: &mut PeersIncrements) {
        peers.level(raw, 1);
        if learned >= 5 {
            peers.spread(deviation.abs() * small_sample(learned));
        }
        if let (Some(context), Some(outlook)) = (&self.context, outlook)
            && context.rows() >= OWN
        {
            for index in 0..context.inputs() {
                peers.slope(index, outlook.slopes[index] / outlook.own);
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.context.as_ref().map_or(0, |context| context.bytes())
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.u8(u8::from(self.is_log) | u8::from(self.is_shifted) << 1);
        w.f64(self.location);
        w.f64(self.spread);
        self.tail.write(w);
        if let Some(context) = &self.context {
            context.write(w);
        }
    }

    pub(crate) fn restore(plan: &ValuePlan, r: &mut Reader<'_>) -> Result<Self, ImageError> {
        let flags = r.u8()?;
        if flags > 3 {
            return Err(ImageError::Invalid { what: "flags of a value", found: u64::from(flags) });
        }
        let (is_log, is_shifted) = (flags & 1 != 0, flags & 2 != 0);
        let location = r.f64()?;
        let spread = r.f64()?;
        if !(location.is_finite() && spread >= 0.0 && spread.is_finite()) {
            return Err(ImageError::Invalid { what: "level or spread of a key", found: spread.to_bits() });
        }
        let tail = KeyTail::restore(r)?;
        let context = match plan.contexts {
            0 => None,
            contexts => Some(Box::new(Context::restore(r, contexts)?)),
        };
        Ok(Self { location, spread, tail, context, is_log, is_shifted })
    }
}

/// A row to learn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    /// The value as it came.
    pub(crate) raw: f64,
    /// The value on the working scale.
    pub(crate) working: f64,
    /// The context inputs.
    pub(crate) contexts: &'a [f64],
}

/// A deviation from the mean of n others is wider than one from the true mean by √(1 + 1/n).
#[inline]
fn small_sample(learned: u32) -> f64 {
    if learned >= OWN { 1.0 } else { 1.0 / math::sqrt(1.0 + 1.0 / f64::from(learned.max(1))) }
}
