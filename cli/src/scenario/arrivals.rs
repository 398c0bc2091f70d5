//! Who pays when: a Poisson process for each course, minute by minute, and the follow-ups.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use faultline_numerics::random::Random;

use super::alias::Alias;
use super::event::Event;
use super::planting::Planting;
use super::profile::{Population, Profile};
use super::season::{COURSES, DAY_MS, MINUTE_MS, Moment, START_MS};
use super::{EVENTS, season};

/// Share of payments that are followed by another one within ten minutes.
const FOLLOWED: f64 = 0.08;

/// Share of declined payments that are tried again within a minute.
const TRIED_AGAIN: f64 = 0.5;

/// Arrivals a minute: the whole scenario in 21 days, follow-ups and duplicates included.
const ARRIVALS_PER_MINUTE: f64 =
    EVENTS as f64 / (21 * DAY_MS / MINUTE_MS) as f64 * (1.0 - FOLLOWED - 0.033 * TRIED_AGAIN);

/// One payment to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) time_ms: i64,
    pub(super) user: u32,
    pub(super) origin: Origin,
    /// Unique; says nothing about time.
    pub(super) order: u64,
}

/// Where a payment comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The user.
    Person,
    /// A planted burst.
    Burst,
}

/// The arrivals by event time.
#[derive(Debug, Clone)]
pub(super) struct Arrivals {
    random: Random,
    moment: Moment,
    /// The rest of the running minute as (time, user), the next one last.
    minute: Vec<(i64, u32)>,
    /// Follow-ups as (time, user).
    follow_ups: BinaryHeap<Reverse<(i64, u32)>>,
    courses: Vec<CourseUsers>,
    persons: u64,
}

/// The users of a course.
#[derive(Debug, Clone)]
struct CourseUsers {
    /// Share of all arrivals.
    weight: f64,
    table: Alias,
    users: Vec<u32>,
}

impl Arrivals {
    pub(super) fn new(population: &Population, random: Random) -> Self {
        let courses = (0..COURSES.len())
            .map(|course| {
                let of_course = |user: &u32| population.profiles[*user as usize].course == course;
                let users: Vec<u32> = (0..population.profiles.len() as u32).filter(of_course).collect();
                let weights: Vec<f64> = users.iter().map(|&user| population.profiles[user as usize].weight).collect();
                CourseUsers { weight: weights.iter().sum(), table: Alias::new(&weights), users }
            })
            .collect();
        let moment = Moment::at(START_MS - MINUTE_MS);
        Self { random, moment, minute: Vec::new(), follow_ups: BinaryHeap::new(), courses, persons: 0 }
    }

    /// The running minute.
    pub(super) fn moment(&self) -> &Moment {
        &self.moment
    }

    /// The stream that payments of persons are drawn from.
    pub(super) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// The next arrival by event time; bursts come from the planting.
    pub(super) fn next(&mut self, population: &Population, planting: &mut Planting) -> Arrival {
        loop {
            let end_ms = self.moment.start_ms + MINUTE_MS;
            let drawn_ms = self.minute.last().map_or(end_ms, |&(time_ms, _)| time_ms);
            let follow_up_ms = self.follow_ups.peek().map_or(end_ms, |&Reverse((time_ms, _))| time_ms);
            let burst_ms = planting.next_burst_ms().unwrap_or(end_ms);
            let time_ms = drawn_ms.min(follow_up_ms).min(burst_ms);
            if time_ms >= end_ms {
                self.begin_minute(end_ms, population, planting);
                continue;
            }
            if burst_ms == time_ms {
                if let Some(arrival) = planting.pop_burst() {
                    return arrival;
                }
                continue;
            }
            let user =
                if drawn_ms == time_ms { self.minute.pop() } else { self.follow_ups.pop().map(|Reverse(at)| at) };
            if let Some((_, user)) = user {
                self.persons += 1;
                return Arrival { time_ms, user, origin: Origin::Person, order: self.persons };
            }
        }
    }

    /// Draws whether this payment is followed by another one.
    pub(super) fn follow_up(&mut self, event: &Event) {
        let chance = self.random.uniform();
        let again = event.declined && chance < TRIED_AGAIN;
        let within_ms = if again { MINUTE_MS } else { 10 * MINUTE_MS };
        if again || chance > 1.0 - FOLLOWED {
            let time_ms = event.time_ms + 1_000 + self.random.below(within_ms as u64) as i64;
            self.follow_ups.push(Reverse((time_ms, event.user)));
        }
    }

    fn begin_minute(&mut self, start_ms: i64, population: &Population, planting: &mut Planting) {
        self.moment = season::Moment::at(start_ms);
        for (course, users) in COURSES.iter().zip(&self.courses) {
            let mean = ARRIVALS_PER_MINUTE * users.weight * course.rate(&self.moment);
            for _ in 0..self.random.poisson(mean) {
                let time_ms = start_ms + self.random.below(MINUTE_MS as u64) as i64;
                self.minute.push((time_ms, users.draw(&mut self.random, &population.profiles, time_ms)));
            }
        }
        self.minute.sort_unstable_by(|left, right| right.cmp(left));
        planting.begin_minute(population, &self.moment);
    }
}

impl CourseUsers {
    /// A user who is born by now: the arrivals of the unborn go to the others.
    fn draw(&self, random: &mut Random, profiles: &[Profile], time_ms: i64) -> u32 {
        for _ in 0..32 {
            let user = self.users[self.table.draw(random)];
            if profiles[user as usize].born_ms <= time_ms {
                return user;
            }
        }
        self.users[0]
    }
}

/// Expected payments of a user in `span_ms` at `rate` times his mean.
pub(super) fn expected(profile: &Profile, rate: f64, span_ms: i64) -> f64 {
    EVENTS as f64 * span_ms as f64 / (21 * DAY_MS) as f64 * profile.weight * rate
}
