//! The users: how active they are, what they pay, when, where.

use faultline_numerics::{math, random::Random};

use super::alias::Alias;
use super::season::{COURSES, DAY_MS, HOUR_MS, Moment, START_MS};

/// Users.
pub(super) const USERS: usize = 10_000;

/// Merchants.
const MERCHANTS: usize = 2_000;

/// Offset of the Zipf and Mandelbrot law: the most active user makes 1.3 % of all payments, not 10 %.
const RANK_OFFSET: f64 = 10.0;

/// Users up to this rank are there from the beginning, so that the activity of the busy ones is stationary.
const OLD_RANKS: usize = 500;

/// Where the exponential tail of the noise begins: the upper tenth of the normal law.
const TAIL_FROM: f64 = 1.281_551_565_544_600_4;

/// Scale of that tail in units of the spread; the Pareto index of the amounts is 1 / (scale × spread).
const TAIL_SCALE: f64 = 0.67;

/// Countries, the most frequent first.
pub(super) const COUNTRIES: [&str; 10] = ["DE", "FR", "NL", "AT", "PL", "ES", "IT", "CH", "BE", "GB"];

/// Categories of merchants; the last one is rare (see [`RARE_CATEGORY`]).
pub(super) const CATEGORIES: [&str; 13] = [
    "groceries",
    "restaurants",
    "fuel",
    "transport",
    "clothing",
    "electronics",
    "pharmacy",
    "travel",
    "streaming",
    "sports",
    "furniture",
    "books",
    "quasi-cash",
];

/// Index of the rare category: one payment in 100,000 has it.
pub(super) const RARE_CATEGORY: u8 = (CATEGORIES.len() - 1) as u8;

/// All users, by rank of activity, and where they pay.
#[derive(Debug, Clone)]
pub(super) struct Population {
    /// The most active first.
    pub(super) profiles: Vec<Profile>,
    /// Merchants by popularity.
    pub(super) merchants: Alias,
}

/// One user.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    /// In the name, `user-00042`; says nothing about the rank.
    pub(super) number: u32,
    /// Index of the course.
    pub(super) course: usize,
    /// Share of all arrivals.
    pub(super) weight: f64,
    /// No payment before.
    pub(super) born_ms: i64,
    /// Mean of ln(amount) over a working day.
    level: f64,
    /// Scale of the noise.
    spread: f64,
    /// Whether the amounts have a Pareto tail.
    pareto: bool,
    /// Daily wave of ln(amount).
    day: [f64; 2],
    /// Its second harmonic.
    half_day: [f64; 2],
    /// Added on weekends.
    weekend: f64,
    /// Highest hour of the wave, over the level.
    highest: f64,
    /// Lowest hour of the wave, over the level.
    lowest: f64,
    /// Share of payments that are declined.
    pub(super) declines: f64,
    /// Index of the home country.
    pub(super) country: u8,
    /// Where the user mostly pays.
    pub(super) merchants: [u16; 6],
}

impl Population {
    /// The users of a seed.
    pub(super) fn draw(random: &mut Random) -> Self {
        let weights: Vec<f64> = (0..USERS).map(|rank| 1.0 / (rank as f64 + 1.0 + RANK_OFFSET)).collect();
        let total: f64 = weights.iter().sum();
        let popularity: Vec<f64> = (0..MERCHANTS).map(|rank| 1.0 / (rank as f64 + 5.0)).collect();
        let merchants = Alias::new(&popularity);
        let courses = Alias::new(&COURSES.map(|course| course.share));
        let mut numbers: Vec<u32> = (0..USERS as u32).collect();
        for last in (1..USERS).rev() {
            numbers.swap(last, random.below(last as u64 + 1) as usize);
        }
        let profiles = (0..USERS)
            .map(|rank| {
                let course = courses.draw(random);
                Profile::draw(random, rank, numbers[rank], course, weights[rank] / total, &merchants)
            })
            .collect();
        Self { profiles, merchants }
    }
}

impl Profile {
    fn draw(random: &mut Random, rank: usize, number: u32, course: usize, weight: f64, merchants: &Alias) -> Self {
        let late = random.uniform() < 0.25;
        let born = random.below(21 * DAY_MS as u64) as i64;
        let born_ms = if late && rank >= OLD_RANKS { START_MS + born } else { START_MS };
        let level = math::ln(35.0) + 0.8 * random.normal();
        let strong = random.uniform() < 0.4;
        let (spread, amplitude) = if strong {
            (between(random, 0.22, 0.38), between(random, 3.3, 4.2))
        } else {
            (between(random, 0.25, 0.60), between(random, 0.0, 1.2))
        };
        let pareto = random.uniform() < 0.05;
        // Amounts are highest about when the user is most active.
        let phase = 2.0 * std::f64::consts::PI * (COURSES[course].peak_hour + between(random, -2.0, 2.0)) / 24.0;
        let harmonic = amplitude * between(random, 0.0, 0.15);
        let other_phase = 2.0 * std::f64::consts::PI * random.uniform();
        let wave = |size: f64, phase: f64| [spread * size * math::cos(phase), spread * size * math::sin(phase)];
        let mut profile = Self {
            number,
            course,
            weight,
            born_ms,
            level,
            spread,
            pareto,
            day: wave(amplitude, phase),
            half_day: wave(harmonic, other_phase),
            weekend: between(random, -0.1, 0.2),
            highest: 0.0,
            lowest: 0.0,
            declines: between(random, 0.005, 0.06),
            country: (random.uniform() * random.uniform() * COUNTRIES.len() as f64) as u8,
            merchants: [(); 6].map(|()| merchants.draw(random) as u16),
        };
        let waves: Vec<f64> = (0..24).map(|hour| profile.wave(&Moment::at(START_MS + hour * HOUR_MS))).collect();
        profile.highest = waves.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        profile.lowest = waves.iter().copied().fold(f64::INFINITY, f64::min);
        profile
    }

    /// The median of ln(amount) at this moment.
    pub(super) fn median(&self, moment: &Moment) -> f64 {
        self.level + self.wave(moment) + if moment.weekend { self.weekend } else { 0.0 }
    }

    /// The median of ln(amount) in the highest hour of a working day.
    pub(super) fn highest_median(&self) -> f64 {
        self.level + self.highest
    }

    /// How many σ lie between the lowest and the highest hour.
    pub(super) fn swing(&self) -> f64 {
        (self.highest - self.lowest) / self.sigma()
    }

    /// The robust σ of ln(amount) at a given hour: a third of the distance from the median to the 99.865 % point.
    pub(super) fn sigma(&self) -> f64 {
        // 4.305_103… = ln(0.1 / 0.001_349_9): from the upper tenth to the 99.865 % point of an exponential tail.
        let unit = if self.pareto { (TAIL_FROM + TAIL_SCALE * 4.305_116) / 3.0 } else { 1.0 };
        self.spread * unit
    }

    /// A draw of ln(amount) − median.
    pub(super) fn noise(&self, random: &mut Random) -> f64 {
        let normal = random.normal();
        let heavy = self.pareto && normal > TAIL_FROM;
        self.spread * if heavy { TAIL_FROM + TAIL_SCALE * random.exponential() } else { normal }
    }

    fn wave(&self, moment: &Moment) -> f64 {
        self.day[0] * moment.day[0]
            + self.day[1] * moment.day[1]
            + self.half_day[0] * moment.half_day[0]
            + self.half_day[1] * moment.half_day[1]
    }
}

fn between(random: &mut Random, low: f64, high: f64) -> f64 {
    low + (high - low) * random.uniform()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_sigma_is_the_upper_point_of_the_noise_for_both_laws() {
        let population = Population::draw(&mut Random::seeded(1));
        for pareto in [false, true] {
            let profile = population.profiles.iter().find(|profile| profile.pareto == pareto).unwrap();
            let mut random = Random::seeded(2);
            let draws = 2_000_000;
            let beyond = (0..draws).filter(|_| profile.noise(&mut random) > 3.0 * profile.sigma()).count();
            let above_median = (0..draws).filter(|_| profile.noise(&mut random) > 0.0).count();
            let share = beyond as f64 / f64::from(draws);
            assert!((share / 0.001_349_9 - 1.0).abs() < 0.07, "{share} at pareto {pareto}");
            assert!((above_median as f64 / f64::from(draws) - 0.5).abs() < 0.002);
        }
    }

    #[test]
    fn the_population_is_as_documented() {
        let profiles = Population::draw(&mut Random::seeded(5)).profiles;
        let share = |count: usize| count as f64 / USERS as f64;
        assert!((share(profiles.iter().filter(|p| p.pareto).count()) - 0.05).abs() < 0.01);
        assert!(
            (share(profiles.iter().filter(|p| p.swing() > 5.0 || (p.pareto && p.swing() > 4.0)).count()) - 0.4).abs()
                < 0.02
        );
        assert!((share(profiles.iter().filter(|p| p.born_ms > START_MS).count()) - 0.25 * 0.95).abs() < 0.02);
        assert!(profiles.iter().all(|p| (0.22..0.6).contains(&p.spread)));
        let mut numbers: Vec<u32> = profiles.iter().map(|p| p.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), USERS);
    }
}
