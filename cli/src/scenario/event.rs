//! One payment, before it becomes JSON.

use faultline_numerics::{math, random::Random};

use super::alias::Alias;
use super::arrivals::Arrival;
use super::profile::{CATEGORIES, COUNTRIES, Profile, RARE_CATEGORY};
use super::season::Moment;

/// Share of payments with the rare category.
const RARE: f64 = 0.000_01;

/// A payment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) time_ms: i64,
    /// Rank.
    pub(super) user: u32,
    /// Unique.
    pub(super) order: u64,
    /// ln(amount); planting changes it.
    pub(super) log_amount: f64,
    pub(super) declined: bool,
    pub(super) merchant: u16,
    pub(super) category: u8,
    pub(super) country: u8,
    /// How much later than its time it arrives.
    pub(super) delay_ms: u32,
    pub(super) flaw: Option<Flaw>,
}

/// What is wrong with a bad record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The JSON ends in the middle.
    Cut,
    /// The amount is a word.
    AmountIsText,
    /// There is no amount.
    NoAmount,
    /// The time is a century ahead.
    FarFuture,
}

impl Flaw {
    pub(super) const ALL: [Self; 4] = [Self::Cut, Self::AmountIsText, Self::NoAmount, Self::FarFuture];
}

impl Event {
    /// An ordinary payment of this user.
    pub(super) fn draw(
        random: &mut Random,
        profile: &Profile,
        moment: &Moment,
        merchants: &Alias,
        arrival: Arrival,
    ) -> Self {
        let Arrival { time_ms, user, order, .. } = arrival;
        let log_amount = profile.median(moment) + profile.noise(random);
        let chance = random.uniform();
        // Mostly one of the user's own merchants, the first ones more often; now and then any.
        let merchant = if chance < 0.85 {
            let favourite = (random.uniform() * random.uniform() * profile.merchants.len() as f64) as usize;
            profile.merchants[favourite]
        } else {
            merchants.draw(random) as u16
        };
        let category = if random.uniform() < RARE { RARE_CATEGORY } else { usual_category(merchant) };
        let abroad = random.uniform() < 0.02;
        let country = if abroad { random.below(COUNTRIES.len() as u64) as u8 } else { profile.country };
        let declined = random.uniform() < profile.declines;
        Self { time_ms, user, order, log_amount, declined, merchant, category, country, delay_ms: 0, flaw: None }
    }

    /// The amount in cents, at least one.
    pub(super) fn cents(&self) -> u64 {
        (math::exp(self.log_amount) * 100.0 + 0.5).max(1.0) as u64
    }
}

/// A merchant is of one category, never of the rare one.
fn usual_category(merchant: u16) -> u8 {
    (merchant % (CATEGORIES.len() as u16 - 1)) as u8
}
