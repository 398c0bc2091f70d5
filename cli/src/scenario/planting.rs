//! Plants anomalies, lazily: when one is due, a user with enough history is chosen, and his payments are changed.
//!
//! ```text
//! due ─► choose a user ─► at once: burst, silence, ramp, shift, many keys ─► touch(event) while it lasts
//!                     └─► armed: spikes, contextual, rare category        ─► touch(event): the first payment that fits
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use faultline_numerics::random::Random;

use super::arrivals::{Arrival, Origin, expected};
use super::event::Event;
use super::json;
use super::profile::{Population, Profile, RARE_CATEGORY};
use super::season::{COURSES, DAY_MS, HOUR_MS, MINUTE_MS, Moment, START_MS};
use super::truth::{Kind, Planted};

/// Nothing is planted before: detectors learn. A tenth of the stream.
pub(super) const LEARNING_MS: i64 = 2 * DAY_MS;

/// Days of the scenario in which anomalies are planted; the counts below are for these.
const PLANTING_DAYS: f64 = 18.5;

/// Payments that a user must have behind him.
const HISTORY: u32 = 200;

/// The same for a contextual anomaly, so that the low hours are known too.
const CONTEXTUAL_HISTORY: u32 = 400;

/// Payments that the user must have behind him in this hour of the day.
const HISTORY_OF_HOUR: u16 = 3;

/// Least distance of two anomalies of a user.
pub(super) const APART_MS: i64 = 48 * HOUR_MS;

/// Users of this rank and beyond never reach [`HISTORY`] within the scenario.
const CANDIDATES: u64 = 2_500;

/// How often a user is drawn before the search is put off to the next minute.
const TRIES: usize = 400;

/// How long an armed anomaly waits for a payment that fits.
const ARMED_MS: i64 = 36 * HOUR_MS;

/// Least σ between a contextual amount and the median of its hour.
const CONTEXTUAL_SIGMAS: f64 = 6.0;

/// How long a burst lasts at most; less than a window of five minutes.
const BURST_MS: i64 = 4 * MINUTE_MS;

/// Payments of a burst over the expected payments in five minutes at the user's peak, and the fewest.
const BURST_TIMES: f64 = 8.0;
const BURST_LEAST: f64 = 15.0;

/// Expected payments that a silence swallows, and its greatest length.
const SILENT_PAYMENTS: f64 = 30.0;
const SILENCE_MS: i64 = 12 * HOUR_MS;

/// Height and length of a ramp.
const RAMP_SIGMAS: f64 = 4.0;
const RAMP_MS: i64 = 3 * DAY_MS;

/// Height of a shift, and by when it should have been seen.
const SHIFT_SIGMAS: f64 = 5.0;
const SHIFT_MS: i64 = 12 * HOUR_MS;

/// Ramps and shifts need users with that many payments a day.
const BUSY_PER_DAY: f64 = 24.0;

/// A strike on many keys.
const STRIKE_SIGMAS: f64 = 4.0;
const STRIKE_MS: i64 = 10 * MINUTE_MS;
const STRIKE_KEYS: usize = 40;

/// One payment in this many has the rare category.
const RARE_ONE_IN: f64 = 100_000.0;

/// How many of each type are planted in the scenario.
const COUNTS: [(Kind, f64); 11] = [
    (Kind::Spike10, 90.0),
    (Kind::Spike6, 90.0),
    (Kind::Spike4, 60.0),
    (Kind::Spike3, 60.0),
    (Kind::Contextual, 90.0),
    (Kind::RateBurst, 90.0),
    (Kind::Silence, 20.0),
    (Kind::SlowRamp, 24.0),
    (Kind::LevelShift, 40.0),
    (Kind::RareCategory, 60.0),
    (Kind::ManyKeys, 3.0),
];

/// Plans and truth.
#[derive(Debug, Clone)]
pub(super) struct Planting {
    random: Random,
    schedule: Vec<Due>,
    users: Vec<User>,
    strike: Option<Strike>,
    /// Payments of bursts as (time, number, user).
    bursts: BinaryHeap<Reverse<(i64, u64, u32)>>,
    burst_payments: u64,
    truth: Vec<Planted>,
}

/// When the next anomaly of a type is due.
#[derive(Debug, Clone, Copy)]
struct Due {
    kind: Kind,
    at_ms: i64,
    every_ms: i64,
}

/// What is known about, and planned for, a user.
#[derive(Debug, Clone)]
struct User {
    payments: u32,
    payments_of_hour: [u16; 24],
    /// Nothing new is planted before.
    free_at_ms: i64,
    armed: Option<Armed>,
    silent_until_ms: i64,
    /// From when the level rises, for how long, and by how many σ.
    rise: Option<(i64, i64, f64)>,
}

/// Waits for a payment that fits.
#[derive(Debug, Clone, Copy)]
struct Armed {
    kind: Kind,
    until_ms: i64,
}

/// A running strike on many keys.
#[derive(Debug, Clone)]
struct Strike {
    start_ms: i64,
    users: Vec<u32>,
}

impl Planting {
    pub(super) fn new(population: &Population, mut random: Random, planted: bool) -> Self {
        let first_ms = START_MS + LEARNING_MS;
        let due = |(index, (kind, count)): (usize, &(Kind, f64))| {
            let every_ms = (PLANTING_DAYS * DAY_MS as f64 / count) as i64;
            // The first anomaly of all is one that everybody sees.
            let wait_ms = if index == 0 { 0 } else { (random.uniform() * every_ms as f64) as i64 };
            Due { kind: *kind, at_ms: first_ms + wait_ms, every_ms }
        };
        let schedule = if planted { COUNTS.iter().enumerate().map(due).collect() } else { Vec::new() };
        let user = User {
            payments: 0,
            payments_of_hour: [0; 24],
            free_at_ms: i64::MIN,
            armed: None,
            silent_until_ms: i64::MIN,
            rise: None,
        };
        Self {
            random,
            schedule,
            users: vec![user; population.profiles.len()],
            strike: None,
            bursts: BinaryHeap::new(),
            burst_payments: 0,
            truth: Vec::new(),
        }
    }

    pub(super) fn truth(&self) -> &[Planted] {
        &self.truth
    }

    /// The stream that payments of bursts are drawn from.
    pub(super) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    pub(super) fn next_burst_ms(&self) -> Option<i64> {
        self.bursts.peek().map(|&Reverse((time_ms, ..))| time_ms)
    }

    pub(super) fn pop_burst(&mut self) -> Option<Arrival> {
        let Reverse((time_ms, number, user)) = self.bursts.pop()?;
        Some(Arrival { time_ms, user, origin: Origin::Burst, order: 1 << 63 | number })
    }

    /// Starts what is due in this minute.
    pub(super) fn begin_minute(&mut self, population: &Population, moment: &Moment) {
        self.strike = self.strike.take().filter(|strike| moment.start_ms < strike.start_ms + STRIKE_MS);
        for index in 0..self.schedule.len() {
            let due = self.schedule[index];
            if due.at_ms <= moment.start_ms && self.start(due.kind, population, moment) {
                self.schedule[index].at_ms += due.every_ms;
            }
        }
    }

    /// Changes a payment where something is planned for its user; `Break`: the payment does not happen.
    pub(super) fn touch(&mut self, event: &mut Event, profile: &Profile, moment: &Moment) -> ControlFlow<()> {
        let user = &mut self.users[event.user as usize];
        if event.time_ms < user.silent_until_ms {
            return ControlFlow::Break(());
        }
        if let Some((start_ms, length_ms, sigmas)) = user.rise {
            let risen = ((event.time_ms - start_ms) as f64 / length_ms as f64).min(1.0);
            event.log_amount += sigmas * risen * profile.sigma();
        }
        if let Some(armed) = user.armed
            && let Some(effect) = armed.fits(event.time_ms, user, profile, moment)
        {
            match armed.kind {
                Kind::RareCategory => event.category = RARE_CATEGORY,
                Kind::Contextual => event.log_amount = profile.highest_median(),
                _ => event.log_amount = profile.median(moment) + effect * profile.sigma(),
            }
            user.armed = None;
            user.free_at_ms = event.time_ms + APART_MS;
            self.truth.push(planted(armed.kind, profile, event.time_ms, event.time_ms, effect));
        } else if let Some(strike) = &mut self.strike {
            strike.touch(event, user, profile, moment, &mut self.truth);
        }
        user.payments += 1;
        user.payments_of_hour[moment.hour] = user.payments_of_hour[moment.hour].saturating_add(1);
        ControlFlow::Continue(())
    }

    /// Starts an anomaly of this type now, if a user can be found.
    fn start(&mut self, kind: Kind, population: &Population, moment: &Moment) -> bool {
        let now_ms = moment.start_ms;
        if kind == Kind::ManyKeys {
            self.strike = Some(Strike { start_ms: now_ms, users: Vec::new() });
            return true;
        }
        let Some(rank) = self.choose(kind, population, moment) else {
            return false;
        };
        let profile = &population.profiles[rank];
        let user = &mut self.users[rank];
        match kind {
            Kind::RateBurst => {
                let usual = expected(profile, COURSES[profile.course].peak(), 5 * MINUTE_MS);
                let payments = (BURST_TIMES * usual).max(BURST_LEAST).ceil();
                user.free_at_ms = now_ms + BURST_MS + APART_MS;
                let times: Vec<i64> =
                    (0..payments as u64).map(|_| now_ms + self.random.below(BURST_MS as u64) as i64).collect();
                for &time_ms in &times {
                    self.burst_payments += 1;
                    self.bursts.push(Reverse((time_ms, self.burst_payments, rank as u32)));
                }
                let (first_ms, last_ms) = times.iter().fold((i64::MAX, i64::MIN), |(a, b), &t| (a.min(t), b.max(t)));
                self.truth.push(planted(kind, profile, first_ms, last_ms, payments / usual));
            }
            Kind::Silence => {
                let end_ms = now_ms + silence_ms(profile);
                user.silent_until_ms = end_ms;
                user.free_at_ms = end_ms + APART_MS;
                self.truth.push(planted(kind, profile, now_ms, end_ms, expected(profile, 1.0, end_ms - now_ms)));
            }
            Kind::SlowRamp | Kind::LevelShift => {
                let shift = kind == Kind::LevelShift;
                let (sigmas, length_ms) = if shift { (SHIFT_SIGMAS, 1) } else { (RAMP_SIGMAS, RAMP_MS) };
                user.rise = Some((now_ms - i64::from(shift), length_ms, sigmas));
                // The new level stays, so the user is not used again.
                user.free_at_ms = i64::MAX;
                let end_ms = now_ms + if shift { SHIFT_MS } else { RAMP_MS };
                self.truth.push(planted(kind, profile, now_ms, end_ms, sigmas));
            }
            _ => user.armed = Some(Armed { kind, until_ms: now_ms + ARMED_MS }),
        }
        true
    }

    /// A user with enough history for whom nothing else is planned.
    fn choose(&mut self, kind: Kind, population: &Population, moment: &Moment) -> Option<usize> {
        (0..TRIES).find_map(|_| {
            let rank = self.random.below(CANDIDATES) as usize;
            let user = &mut self.users[rank];
            if user.armed.is_some_and(|armed| armed.until_ms < moment.start_ms) {
                user.armed = None;
            }
            let profile = &population.profiles[rank];
            let per_day = expected(profile, 1.0, DAY_MS);
            let suits = match kind {
                Kind::Contextual => user.payments >= CONTEXTUAL_HISTORY && profile.swing() > CONTEXTUAL_SIGMAS,
                Kind::Silence => silence_ms(profile) <= SILENCE_MS,
                Kind::SlowRamp | Kind::LevelShift => per_day >= BUSY_PER_DAY,
                _ => true,
            };
            (suits && user.is_free(moment)).then_some(rank)
        })
    }
}

impl User {
    fn is_free(&self, moment: &Moment) -> bool {
        self.payments >= HISTORY
            && self.armed.is_none()
            && self.free_at_ms <= moment.start_ms
            && self.payments_of_hour[moment.hour] >= HISTORY_OF_HOUR
    }
}

impl Armed {
    /// The effect size that a payment at this time would get, if the anomaly can be planted on it.
    fn fits(&self, time_ms: i64, user: &User, profile: &Profile, moment: &Moment) -> Option<f64> {
        if time_ms > self.until_ms || user.payments_of_hour[moment.hour] < HISTORY_OF_HOUR {
            return None;
        }
        match self.kind {
            Kind::Spike3 => Some(3.0),
            Kind::Spike4 => Some(4.0),
            Kind::Spike6 => Some(6.0),
            Kind::Spike10 => Some(10.0),
            Kind::RareCategory => Some(RARE_ONE_IN),
            _ => Some((profile.highest_median() - profile.median(moment)) / profile.sigma())
                .filter(|&sigmas| sigmas >= CONTEXTUAL_SIGMAS),
        }
    }
}

impl Strike {
    fn touch(
        &mut self,
        event: &mut Event,
        user: &mut User,
        profile: &Profile,
        moment: &Moment,
        truth: &mut Vec<Planted>,
    ) {
        let struck = self.users.contains(&event.user);
        if !struck && (self.users.len() == STRIKE_KEYS || !user.is_free(moment)) {
            return;
        }
        if !struck {
            self.users.push(event.user);
            user.free_at_ms = self.start_ms + STRIKE_MS + APART_MS;
            let end_ms = self.start_ms + STRIKE_MS;
            truth.push(planted(Kind::ManyKeys, profile, event.time_ms, end_ms, STRIKE_SIGMAS));
        }
        event.log_amount += STRIKE_SIGMAS * profile.sigma();
        event.declined = true;
    }
}

/// How long it takes until enough expected payments are missing, at the mean rate.
fn silence_ms(profile: &Profile) -> i64 {
    (SILENT_PAYMENTS / expected(profile, 1.0, DAY_MS) * DAY_MS as f64) as i64
}

fn planted(kind: Kind, profile: &Profile, start_ms: i64, end_ms: i64, effect: f64) -> Planted {
    let mut key = Vec::new();
    json::write_user(&mut key, profile.number);
    Planted { kind, key: String::from_utf8_lossy(&key).into_owned(), start_ms, end_ms, effect }
}
