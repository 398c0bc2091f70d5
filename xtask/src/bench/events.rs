//! Card payments in the shape of `examples/quickstart`, from 100,000 users by Zipf's law: many more keys than the
//! quickstart's own scenario has, since memory and caches matter here and anomalies do not.

use std::fmt::Write as _;

use faultline_numerics::random::Random;

/// Users.
pub(crate) const KEYS: usize = 100_000;

const CATEGORIES: [&str; 4] = ["groceries", "fuel", "travel", "clothing"];

/// Draws ranks: rank r (from 0) with weight 1 / (r + 1).
pub(crate) struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    /// Over so many ranks.
    pub(crate) fn new(ranks: usize) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=ranks).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self { cumulative: cumulative.collect() }
    }

    /// The next rank.
    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let total = self.cumulative.last().copied().unwrap_or(1.0);
        let point = random.uniform() * total;
        self.cumulative.partition_point(|sum| *sum <= point).min(self.cumulative.len() - 1)
    }
}

/// The generator; buffers are used again.
pub(crate) struct Events {
    random: Random,
    zipf: Zipf,
    /// Key of the current event: the user.
    pub(crate) key: String,
    /// The current event as JSON.
    pub(crate) value: String,
}

impl Events {
    /// Equal seeds, equal events.
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random::seeded(seed), zipf: Zipf::new(KEYS), key: String::new(), value: String::new() }
    }

    /// Makes event `number`; its id is `e-<number>`. Returns the user's rank.
    pub(crate) fn next(&mut self, number: u64, time_ms: i64) -> usize {
        let user = self.zipf.draw(&mut self.random);
        self.of_user(user, number, time_ms);
        user
    }

    /// Makes an event of this user.
    pub(crate) fn of_user(&mut self, user: usize, number: u64, time_ms: i64) {
        self.key.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.key, "user-{user:05}");
        let level = 2.0 + (user % 97) as f64 / 40.0;
        let amount = (level + 0.4 * self.random.normal()).exp();
        let merchant = self.random.below(2000);
        let category = CATEGORIES[merchant as usize % CATEGORIES.len()];
        let status = if self.random.uniform() < 0.03 { "declined" } else { "approved" };
        self.value.clear();
        let _ = write!(
            self.value,
            "{{\"eventId\":\"e-{number}\",\"timestamp\":{time_ms},\"userId\":\"{}\",\"amount\":{amount:.2},\
             \"merchant\":{{\"id\":\"m-{merchant:04}\",\"category\":\"{category}\"}},\"status\":\"{status}\",\"country\":\"DE\"}}",
            self.key
        );
    }
}

/// The number in an event's or a result's id.
pub(crate) fn number_of(text: &[u8]) -> Option<u64> {
    const MARK: &[u8] = b"\"eventId\":\"e-";
    let start = text.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let digits = text[start..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_events_with_their_number() {
        let (mut one, mut other) = (Events::new(7), Events::new(7));
        for number in 0..100 {
            assert_eq!(one.next(number, 1_000), other.next(number, 1_000));
            assert_eq!(one.value, other.value);
            assert_eq!(number_of(one.value.as_bytes()), Some(number));
        }
        assert_eq!(number_of(b"{}"), None);
    }

    #[test]
    fn events_are_json_with_the_key_inside() {
        let mut events = Events::new(1);
        events.next(3, 1_780_000_000_000);
        let event: serde_json::Value = serde_json::from_str(&events.value).unwrap();
        assert_eq!(event["userId"], events.key.as_str());
        assert_eq!(event["timestamp"], 1_780_000_000_000_u64);
        assert!(event["amount"].as_f64().unwrap() > 0.0);
    }

    #[test]
    fn the_first_rank_comes_twice_as_often_as_the_second() {
        let (zipf, mut random) = (Zipf::new(100), Random::seeded(1));
        let mut counts = [0_u32; 100];
        (0..100_000).for_each(|_| counts[zipf.draw(&mut random)] += 1);
        let ratio = f64::from(counts[0]) / f64::from(counts[1]);
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
        assert!(counts.iter().all(|count| *count > 0));
    }
}
