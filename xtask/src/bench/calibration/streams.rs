//! Streams without a single anomaly: keys of Zipf activity, each with its own level and scale.

use faultline_numerics::hash::hash64;
use faultline_numerics::math;
use faultline_numerics::random::Random;

/// A day, in milliseconds.
pub(crate) const DAY_MS: f64 = 86_400_000.0;

/// What the values, or the arrivals, of a stream look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Lognormal amounts.
    Lognormal,
    /// Pareto amounts with tail index 2.5.
    Pareto,
    /// Poisson counts.
    Poisson,
    /// Normal readings.
    Normal,
    /// Normal readings that hang together: first-order autoregression with coefficient 0.9.
    Autoregressive,
    /// Normal readings on a daily wave.
    Seasonal,
    /// Poisson arrivals at a constant rate (the values are normal).
    Arrivals,
    /// Poisson arrivals whose rate follows the day (the values are normal).
    DailyArrivals,
}

/// One event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation {
    /// Its key.
    pub(crate) key: usize,
    /// Its value.
    pub(crate) value: f64,
    /// Sine and cosine of the hour of the day.
    pub(crate) hour: [f64; 2],
    /// Its time.
    pub(crate) time_ms: i64,
}

/// Draws the events of a stream.
pub(crate) struct Generator {
    stream: Stream,
    random: Random,
    /// Cumulative activity of the keys.
    cumulative: Vec<f64>,
    keys: Vec<Key>,
    time_ms: f64,
    mean_gap_ms: f64,
}

struct Key {
    level: f64,
    scale: f64,
    /// Last standardised value of an autoregression.
    last: f64,
}

impl Generator {
    /// A stream of `events` events of `keys` keys over seven days; activity of the n-th key ∝ 1/n.
    pub(crate) fn new(stream: Stream, keys: usize, events: usize, seed: u64) -> Self {
        let mut cumulative = Vec::with_capacity(keys);
        let mut total = 0.0;
        for rank in 1..=keys {
            total += 1.0 / rank as f64;
            cumulative.push(total);
        }
        let keys = (0..keys as u64).map(|key| Key::new(stream, seed, key)).collect();
        let random = Random::seeded(hash64(&seed.to_le_bytes()));
        // 2,016 five-minute buckets after the epoch's start, somewhere in the past.
        Self { stream, random, cumulative, keys, time_ms: 1.7e12, mean_gap_ms: 7.0 * DAY_MS / events as f64 }
    }

    /// The next event.
    pub(crate) fn draw(&mut self) -> Observation {
        self.time_ms += self.random.exponential() * self.mean_gap_ms;
        if self.stream == Stream::DailyArrivals {
            // Thinning: an arrival is kept with the rate of its time over the greatest rate.
            while self.random.uniform() * 1.6 > 1.0 + 0.6 * math::sin(self.angle()) {
                self.time_ms += self.random.exponential() * self.mean_gap_ms;
            }
        }
        let total = self.cumulative[self.cumulative.len() - 1];
        let point = self.random.uniform() * total;
        let key = self.cumulative.partition_point(|&sum| sum <= point).min(self.keys.len() - 1);
        let angle = self.angle();
        let hour = [math::sin(angle), math::cos(angle)];
        let value = self.value(key, hour);
        Observation { key, value, hour, time_ms: self.time_ms as i64 }
    }

    fn angle(&self) -> f64 {
        (self.time_ms % DAY_MS) / DAY_MS * 2.0 * std::f64::consts::PI
    }

    fn value(&mut self, key: usize, hour: [f64; 2]) -> f64 {
        let random = &mut self.random;
        let Key { level, scale, last } = &mut self.keys[key];
        match self.stream {
            Stream::Lognormal => math::exp(*level + *scale * random.normal()),
            Stream::Pareto => math::exp(*level + random.exponential() / 2.5),
            Stream::Poisson => random.poisson(math::exp(*level)) as f64,
            Stream::Normal | Stream::Arrivals | Stream::DailyArrivals => *level + *scale * random.normal(),
            Stream::Autoregressive => {
                *last = 0.9 * *last + math::sqrt(1.0 - 0.81) * random.normal();
                *level + *scale * *last
            }
            Stream::Seasonal => *level + *scale * (random.normal() + 1.5 * hour[0]),
        }
    }
}

impl Key {
    fn new(stream: Stream, seed: u64, key: u64) -> Self {
        let mut random = Random::seeded(hash64(&[seed.to_le_bytes(), key.to_le_bytes()].concat()));
        let (level, scale) = match stream {
            Stream::Lognormal => (3.0 + random.normal(), 0.5 + 0.7 * random.uniform()),
            Stream::Pareto => (3.0 + random.normal(), 1.0),
            Stream::Poisson => ((2.0 + random.normal()).clamp(-1.0, 5.0), 1.0),
            _ => (100.0 + 30.0 * random.normal(), 5.0 * math::exp(0.5 * random.normal())),
        };
        Self { level, scale, last: random.normal() }
    }
}
