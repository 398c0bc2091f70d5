//! The scenario `card-payments`: a seeded stream of card payments with anomalies planted in it, and the judge.
//!
//! It decides how good the detectors are, so it knows nothing about them. Pure: no I/O, no clock, no environment.
//! Equal settings give equal bytes on every machine, and a shorter stream is a prefix of a longer one.
//!
//! # The stream
//! 3,000,000 records over about 21 simulated days (1.65 a second, from Monday 2026-06-01 00:00 UTC) for 10,000 users.
//!
//! * **Activity** follows Zipf and Mandelbrot: the user of rank r has weight 1 / (r + 10). Arrivals are a Poisson process
//!   whose rate follows one of four daily and weekly courses (office, evening, morning, night), plus follow-ups: one
//!   payment in twelve is followed by another one of the same user within ten minutes, every second declined one is tried
//!   again within a minute.
//! * **Cold users** appear throughout: a quarter of the users beyond rank 500 are born at a uniform time in the 21 days.
//! * **Amounts**: ln(amount) = level of the user + season(hour, weekend) + spread × noise. Levels differ by users (standard
//!   deviation 0.8), spreads lie between 0.22 and 0.6. The noise is normal; for one user in twenty its upper tenth is
//!   exponential, so that the amounts have a Pareto tail. The season is a daily wave with a second harmonic; for four users
//!   in ten it is strong (small amounts by night), for the others weak.
//! * **Imperfections**: 0.3 % of the records arrive up to 25 s after later ones, 0.05 % arrive twice. Bad records
//!   are a switch, off by default.
//!
//! # What is planted
//! From day 2 on, only on users with at least 200 payments (contextual: 400) and at least 3 in that hour of the day;
//! per user at least 48 h apart. About 34 a day, by type:
//!
//! | type | in 21 days | effect |
//! |---|---|---|
//! | `spike3` `spike4` | 60 each | one amount 3, 4 σ above the user's median of that hour |
//! | `spike6` `spike10` | 90 each | the same at 6, 10 σ |
//! | `contextual` | 90 | at a low hour, the user's median of his highest hour: at least 6 σ for that hour, ordinary for the day |
//! | `rateBurst` | 90 | within 4 min, 8 times what the user makes in 5 min at his peak, at least 15, ordinary amounts |
//! | `silence` | 20 | nothing from a user until 30 expected payments are missing |
//! | `slowRamp` | 24 | the level rises by 4 σ in 3 days, and stays |
//! | `levelShift` | 40 | the level rises by 5 σ at once, and stays; to be found within 12 h |
//! | `rareCategory` | 60 | a category of merchant that has one payment in 100,000 |
//! | `manyKeys` | 3 strikes on ≤ 40 users | for 10 min all payments are 4 σ too high and declined |
//!
//! **σ** is the user's own robust σ on the log scale at that hour: a third of the distance from the median to the
//! 99.865 % point of ln(amount). For a log-normal amount that is its standard deviation; for a Pareto tail it is larger, so
//! that an effect size means about the same rarity for every user.
//!
//! The null scenario is the same stream with nothing planted: bit for bit, up to the first planted anomaly.
//!
//! Sources: B. Mandelbrot, "An informational theory of the statistical structure of language", 1953 (activity);
//! M. D. Vose, "A linear algorithm for generating random numbers with a given distribution", IEEE TSE 17 (1991), 972–975
//! (choice of users).

mod alias;
mod profile;
mod season;

mod arrivals;
mod planting;

mod event;
mod json;

pub mod judge;
pub mod truth;

use faultline_numerics::random::Random;

use self::arrivals::{Arrivals, Origin};
use self::event::{Event, Flaw};
use self::planting::Planting;
use self::profile::Population;
use self::truth::Planted;

/// The one scenario there is.
pub const CARD_PAYMENTS: &str = "card-payments";

/// Records of the scenario.
pub const EVENTS: u64 = 3_000_000;

/// Records of the null scenario: seven days.
pub const NULL_EVENTS: u64 = 1_000_000;

/// Most milliseconds that a record arrives after records with later times.
pub const MAX_DELAY_MS: i64 = 25_000;

/// Share of records that arrive after later ones.
const DELAYED: f64 = 0.003;

/// Share of records that arrive twice.
const DUPLICATED: f64 = 0.0005;

/// What is generated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Equal seeds, equal streams.
    pub seed: u64,
    /// Records, duplicates included.
    pub events: u64,
    /// Whether anomalies are planted; `false` is the null scenario.
    pub planted: bool,
    /// Share of records that are broken: cut JSON, an amount that is no number, no amount, a time in the far future.
    pub bad_share: f64,
}

impl Settings {
    /// The whole scenario.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, events: EVENTS, planted: true, bad_share: 0.0 }
    }

    /// The null scenario.
    #[must_use]
    pub fn null(seed: u64) -> Self {
        Self { seed, events: NULL_EVENTS, planted: false, bad_share: 0.0 }
    }
}

/// One record; its buffers are used again for the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The Kafka key: the user's name.
    pub key: Vec<u8>,
    /// JSON.
    pub value: Vec<u8>,
    /// Event time, as it also is in the JSON.
    pub time_ms: i64,
}

/// The generator.
#[derive(Debug, Clone)]
pub struct CardPayments {
    settings: Settings,
    population: Population,
    arrivals: Arrivals,
    planting: Planting,
    /// Seed of delays, duplicates and flaws: drawn per payment, so that they change no other payment.
    transport: u64,
    /// Events on their way that will arrive after later ones.
    delayed: std::collections::BinaryHeap<std::cmp::Reverse<Delayed>>,
    /// Drawn, but delayed events come before it.
    waiting: Option<Event>,
    delivered: u64,
    latest_ms: i64,
}

/// An event that arrives at `deliver_ms`; ties in the order of drawing.
#[derive(Debug, Clone, Copy)]
struct Delayed {
    deliver_ms: i64,
    order: u64,
    event: Event,
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Delayed {}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delayed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.deliver_ms, self.order).cmp(&(other.deliver_ms, other.order))
    }
}

impl CardPayments {
    /// The stream of these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        // Independent streams: planting and transport never change what users pay.
        let mut seeds = Random::seeded(settings.seed);
        let population = Population::draw(&mut Random::seeded(seeds.next_u64()));
        let arrivals = Arrivals::new(&population, Random::seeded(seeds.next_u64()));
        let planting = Planting::new(&population, Random::seeded(seeds.next_u64()), settings.planted);
        let transport = seeds.next_u64();
        Self {
            settings,
            population,
            arrivals,
            planting,
            transport,
            delayed: std::collections::BinaryHeap::new(),
            waiting: None,
            delivered: 0,
            latest_ms: season::START_MS,
        }
    }

    /// Writes the next record; `false` at the end of the stream.
    pub fn next_into(&mut self, record: &mut Record) -> bool {
        let Some(event) = self.next_event() else {
            return false;
        };
        let profile = &self.population.profiles[event.user as usize];
        record.time_ms = event.time_ms;
        record.key.clear();
        json::write_user(&mut record.key, profile.number);
        record.value.clear();
        json::write_event(&mut record.value, &event, profile, self.settings.seed);
        true
    }

    /// What has been planted so far, in the order of planting.
    #[must_use]
    pub fn truth(&self) -> &[Planted] {
        self.planting.truth()
    }

    /// The latest event time so far.
    #[must_use]
    pub fn latest_ms(&self) -> i64 {
        self.latest_ms
    }

    fn next_event(&mut self) -> Option<Event> {
        if self.delivered == self.settings.events {
            return None;
        }
        let event = self.next_delivery();
        self.delivered += 1;
        self.latest_ms = self.latest_ms.max(event.time_ms);
        Some(event)
    }

    /// The next event by time of arrival.
    fn next_delivery(&mut self) -> Event {
        loop {
            let event = match self.waiting.take() {
                Some(event) => event,
                None => self.draw(),
            };
            if self.delayed.peek().is_some_and(|std::cmp::Reverse(first)| first.deliver_ms <= event.time_ms) {
                self.waiting = Some(event);
                if let Some(std::cmp::Reverse(first)) = self.delayed.pop() {
                    return first.event;
                }
                continue;
            }
            // An event waits only in front of delayed ones, and its own fate was drawn with it.
            match self.delay_of(&event) {
                Some(deliver_ms) => self.push_delayed(deliver_ms, event),
                None => return event,
            }
        }
    }

    /// The next event by event time, with its fate on the way.
    fn draw(&mut self) -> Event {
        loop {
            let arrival = self.arrivals.next(&self.population, &mut self.planting);
            let profile = &self.population.profiles[arrival.user as usize];
            let moment = *self.arrivals.moment();
            let random = match arrival.origin {
                Origin::Person => self.arrivals.random(),
                Origin::Burst => self.planting.random(),
            };
            let mut event = Event::draw(random, profile, &moment, &self.population.merchants, arrival);
            if arrival.origin == Origin::Person {
                self.arrivals.follow_up(&event);
                if self.planting.touch(&mut event, profile, &moment).is_break() {
                    continue;
                }
            }
            self.send(&mut event);
            return event;
        }
    }

    /// Draws what happens to the payment on its way.
    fn send(&mut self, event: &mut Event) {
        let mut random = Random::seeded(self.transport ^ event.order.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let flaw = Flaw::ALL[random.below(Flaw::ALL.len() as u64) as usize];
        event.flaw = (random.uniform() < self.settings.bad_share).then_some(flaw);
        let fate = random.uniform();
        let late_ms = 1 + random.below(MAX_DELAY_MS as u64) as u32;
        if fate < DELAYED {
            event.delay_ms = late_ms;
        } else if fate < DELAYED + DUPLICATED {
            self.push_delayed(event.time_ms + i64::from(late_ms), *event);
        }
    }

    fn delay_of(&self, event: &Event) -> Option<i64> {
        (event.delay_ms > 0).then(|| event.time_ms + i64::from(event.delay_ms))
    }

    fn push_delayed(&mut self, deliver_ms: i64, event: Event) {
        let event = Event { delay_ms: 0, ..event };
        self.delayed.push(std::cmp::Reverse(Delayed { deliver_ms, order: event.order, event }));
    }
}

#[cfg(test)]
mod tests;
