//! Quarantine: a model learns nothing from points of a key while its own surprise is high.
//!
//! ```text
//!            strange                     10 calm points in a row, or a calm point after the limit
//! learning ───────────► quarantined ──────────────────────────────────────────────► learning
//!                            │  still strange after the limit
//!                            └──────────► the level shift is accepted: the key's model starts over
//! ```
//! Points held back are dropped, never learned later.

use faultline_numerics::image::{ImageError, Reader, Writer};

/// Calm points in a row that end a quarantine.
const CALM_POINTS: u8 = 10;
/// Strange points that a shift needs to be accepted: two lone spikes hours apart are no new level.
const SHIFT_POINTS: u8 = 3;

/// A key's quarantine under one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Quarantine {
    since_ms: i64,
    /// Strange points of this episode, saturating; 0 means that there is no quarantine.
    struck: u8,
    /// Calm points since the last strange one.
    calm: u8,
    /// Bin of the strangest point of this episode.
    peak: u16,
}

/// What a point means for learning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A normal point: learn.
    Learn,
    /// The first strange point of an episode: not learned, but the tail's shape may know of it.
    Began,
    /// A calm point of an episode: dropped.
    Calm,
    /// A further strange point of an episode: dropped.
    Strange {
        /// Strange points of the episode so far, this one included.
        struck: u8,
        /// Whether it is stranger than all before it.
        is_peak: bool,
    },
    /// A shift that has lasted: start over from this point.
    Accepted,
}

impl Quarantine {
    /// Takes note of a point (its bin of strangeness if it is strange) and says what may be learned from it.
    pub(crate) fn observe(&mut self, strange: Option<u16>, time_ms: i64, limit_ms: i64) -> Verdict {
        if self.struck == 0 {
            let Some(peak) = strange else {
                return Verdict::Learn;
            };
            *self = Self { since_ms: time_ms, struck: 1, calm: 0, peak };
            return Verdict::Began;
        }
        let over = time_ms.saturating_sub(self.since_ms) >= limit_ms;
        if let Some(bin) = strange {
            if over && self.struck >= SHIFT_POINTS {
                *self = Self::default();
                return Verdict::Accepted;
            }
            self.struck = self.struck.saturating_add(1);
            self.calm = 0;
            let is_peak = bin > self.peak;
            self.peak = self.peak.max(bin);
            return Verdict::Strange { struck: self.struck, is_peak };
        }
        if over {
            *self = Self::default();
            return Verdict::Learn;
        }
        self.calm += 1;
        if self.calm >= CALM_POINTS {
            *self = Self::default();
        }
        Verdict::Calm
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.u8(self.struck);
        if self.struck > 0 {
            w.signed(self.since_ms);
            w.u8(self.calm);
            w.varint(u64::from(self.peak));
        }
    }

    pub(crate) fn restore(r: &mut Reader<'_>) -> Result<Self, ImageError> {
        let struck = r.u8()?;
        if struck == 0 {
            return Ok(Self::default());
        }
        let since_ms = r.signed()?;
        let calm = r.u8()?;
        if calm >= CALM_POINTS {
            return Err(ImageError::Invalid { what: "calm points of a quarantine", found: u64::from(calm) });
        }
        let found = r.varint()?;
        let peak = u16::try_from(found).map_err(|_| ImageError::Invalid { what: "a bin", found })?;
        Ok(Self { since_ms, struck, calm, peak })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn ten_calm_points_end_it_and_are_dropped() {
        let mut quarantine = Quarantine::default();
        assert_eq!(quarantine.observe(Some(7), 0, HOUR), Verdict::Began);
        for at in 1..=10 {
            assert_eq!(quarantine.observe(None, at, HOUR), Verdict::Calm);
        }
        assert_eq!(quarantine.observe(None, 11, HOUR), Verdict::Learn);
    }

    #[test]
    fn a_shift_is_accepted_after_the_limit_and_two_lone_spikes_are_not() {
        let mut quarantine = Quarantine::default();
        assert_eq!(quarantine.observe(Some(7), 0, HOUR), Verdict::Began);
        assert_eq!(quarantine.observe(Some(7), 2 * HOUR, HOUR), Verdict::Strange { struck: 2, is_peak: false });
        assert_eq!(quarantine.observe(Some(7), 3 * HOUR, HOUR), Verdict::Strange { struck: 3, is_peak: false });
        assert_eq!(quarantine.observe(Some(7), 4 * HOUR, HOUR), Verdict::Accepted);
        assert_eq!(quarantine.observe(None, 4 * HOUR, HOUR), Verdict::Learn);
    }

    #[test]
    fn a_calm_point_after_the_limit_is_learned() {
        let mut quarantine = Quarantine::default();
        quarantine.observe(Some(7), 0, HOUR);
        assert_eq!(quarantine.observe(None, HOUR, HOUR), Verdict::Learn);
    }
}
