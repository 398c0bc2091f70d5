//! When the replay after a crash would take too long: told when it stays so, and taken back when it is well again.
//!
//! The prediction is that of a whole lane, whose shards are replayed one after the other; the pace of images aims below
//! the limit, so a single tick beyond it says little.

/// Beyond the limit in so many ticks in a row: that is no outlier.
const TICKS: u32 = 50;
/// Well again below this share of the limit, so that it is not told and taken back in turns.
const WELL: f64 = 0.9;

/// The predictions of one lane.
#[derive(Debug, Default)]
pub(crate) struct ReplayTime {
    /// Ticks beyond the limit in a row.
    beyond: u32,
    is_exceeded: bool,
}

/// What is to be said after a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing new.
    Unchanged,
    /// It takes too long, now or still.
    Exceeded,
    /// It does not any more.
    WellAgain,
}

impl ReplayTime {
    /// After a tick the replay is predicted to take so many seconds, of `most`.
    pub(crate) fn note(&mut self, seconds: f64, most: f64) -> Verdict {
        self.beyond = if seconds > most { self.beyond.saturating_add(1) } else { 0 };
        if self.beyond >= TICKS {
            self.is_exceeded = true;
            return Verdict::Exceeded;
        }
        if self.is_exceeded && seconds <= WELL * most {
            self.is_exceeded = false;
            return Verdict::WellAgain;
        }
        Verdict::Unchanged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_when_it_lasts_and_taken_back_when_it_is_well_below() {
        let mut time = ReplayTime::default();
        let mut verdicts =
            |seconds: &[f64]| seconds.iter().map(|seconds| time.note(*seconds, 10.0)).collect::<Vec<_>>();
        let last = TICKS as usize - 1;
        let unchanged = |ticks| vec![Verdict::Unchanged; ticks];
        assert_eq!(verdicts(&vec![11.0; last]), unchanged(last));
        assert_eq!(verdicts(&[9.9]), unchanged(1), "begins again");
        assert_eq!(verdicts(&vec![11.0; last]), unchanged(last));
        assert_eq!(verdicts(&[11.0, 12.0]), [Verdict::Exceeded; 2]);
        assert_eq!(verdicts(&[9.9, 10.1, 9.1]), unchanged(3), "about the limit");
        assert_eq!(verdicts(&[8.9, 8.9]), [Verdict::WellAgain, Verdict::Unchanged]);
        assert_eq!(verdicts(&vec![11.0; last]), unchanged(last), "counted anew");
    }
}
