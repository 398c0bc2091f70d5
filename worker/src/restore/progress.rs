//! How far a restoration is.

use std::time::{Duration, Instant};

use serde::Serialize;

/// Progress is told this often.
const OFTEN: Duration = Duration::from_millis(200);

/// A stage of a restoration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// What is being done: `waiting`, `reading state` or `replaying`.
    pub doing: &'static str,
    /// Share of it that is done, percent.
    pub percent: u8,
    /// Seconds left, if it goes on as it has.
    pub seconds_left: Option<u64>,
}

impl Stage {
    /// The partition was assigned, and waits for its committed offset, for another partition, or for its lane.
    pub const WAITING: Self = Self { doing: "waiting", percent: 0, seconds_left: None };
}

/// Tells somebody how far a restoration is, now and then.
pub struct Progress<'a> {
    tell: &'a mut dyn FnMut(Stage),
    doing: &'static str,
    start: i64,
    end: i64,
    began: Instant,
    told: Option<Instant>,
    read: Option<Duration>,
}

impl<'a> Progress<'a> {
    /// Tells `tell`.
    pub fn new(tell: &'a mut dyn FnMut(Stage)) -> Self {
        Self { tell, doing: "", start: 0, end: 0, began: Instant::now(), told: None, read: None }
    }

    /// How long the state was read, if there was any.
    pub(crate) fn read_took(&self) -> Option<Duration> {
        self.read
    }

    pub(super) fn reading(&mut self, at: i64, end: i64) {
        if self.doing != "reading state" {
            self.begin("reading state", at, end);
        }
        self.tell(at);
    }

    /// The state was read to its end; a second reading begins anew.
    pub(super) fn has_read(&mut self) {
        self.read = Some(self.began.elapsed());
        self.doing = "";
    }

    pub(super) fn replaying(&mut self, start: i64, end: i64) {
        self.begin("replaying", start, end);
        self.tell(start);
    }

    pub(super) fn at(&mut self, offset: i64) {
        // The clock is looked at for some records only.
        if offset % 256 == 0 {
            self.tell(offset);
        }
    }

    fn begin(&mut self, doing: &'static str, start: i64, end: i64) {
        (self.doing, self.start, self.end, self.began, self.told) = (doing, start, end, Instant::now(), None);
    }

    fn tell(&mut self, at: i64) {
        if self.told.is_some_and(|told| told.elapsed() < OFTEN) {
            return;
        }
        self.told = Some(Instant::now());
        let (done, all) = ((at - self.start).max(0) as f64, (self.end - self.start).max(1) as f64);
        let share = (done / all).min(1.0);
        let seconds_left =
            (share > 0.0).then(|| (self.began.elapsed().as_secs_f64() * (1.0 - share) / share).ceil() as u64);
        (self.tell)(Stage { doing: self.doing, percent: (share * 100.0) as u8, seconds_left });
    }
}
