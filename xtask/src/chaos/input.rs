//! The input: payments, and among them every kind of record that must not be scored. A function of the seed alone.
//!
//! Time in it runs faster than life, so that quiet periods, key expiry and deduplication pass within a run.

use faultline_numerics::hash::hash64;
use faultline_numerics::math;
use faultline_numerics::random::Random;

/// First event time: 2026-06-01T00:00:00Z. Records may lie in the past, never in the brokers' future.
const START_MS: i64 = 1_780_272_000_000;
/// Event seconds per second.
const SPEED: u64 = 60;
/// Users that come again and again; the first of them gets 13 % of their events.
const USERS: usize = 2_000;
/// Ids that are remembered per partition, to be sent again: more than the window of deduplication holds.
const IDS: usize = 8_192;

/// One record to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) value: Option<Vec<u8>>,
    /// The record's own time.
    pub(crate) time_ms: i64,
    /// It is sent in a transaction that is aborted: nobody may take it into account.
    pub(crate) aborted: bool,
}

/// The generator.
pub(crate) struct Input {
    random: Random,
    partitions: u64,
    step_ms: f64,
    sent: u64,
    /// Cumulative weights of the users.
    users: Vec<f64>,
    ids: Vec<Vec<u64>>,
    last: Vec<Option<Payment>>,
}

#[derive(Debug, Clone)]
struct Payment {
    id: u64,
    time: String,
    user: String,
    amount: String,
    items: String,
    status: &'static str,
    merchant: &'static str,
}

/// What is wrong with a dead letter: its value, given a good payment and the time.
type Flaw = fn(&Payment, i64) -> Option<Vec<u8>>;

const FLAWS: [Flaw; 10] = [
    |_, _| None,
    |_, _| Some(Vec::new()),
    |good, _| Some([good.json().as_bytes(), b"\xff"].concat()),
    |good, _| Some(good.json().as_bytes()[..40].to_vec()),
    |_, _| Some(b"[1, 2]".to_vec()),
    |good, _| Some(Payment { amount: "null".to_owned(), ..good.clone() }.json().into_bytes()),
    |good, _| Some(Payment { amount: "\"a lot\"".to_owned(), ..good.clone() }.json().into_bytes()),
    |good, _| Some(Payment { amount: "1e999".to_owned(), ..good.clone() }.json().into_bytes()),
    |good, _| Some(Payment { time: "\"soon\"".to_owned(), ..good.clone() }.json().into_bytes()),
    |good, now| Some(Payment { time: (now + 86_400_000).to_string(), ..good.clone() }.json().into_bytes()),
];

impl Payment {
    fn json(&self) -> String {
        let Self { id, time, user, amount, items, status, merchant } = self;
        format!(
            "{{\"eventId\":\"{id:016x}\",\"timestamp\":{time},\"userId\":\"{user}\",\"amount\":{amount},{items}\
             \"merchant\":{{{merchant}}},\"status\":\"{status}\"}}"
        )
    }
}

impl Input {
    /// The input of a seed, of which so many records a second will be sent.
    pub(crate) fn new(seed: u64, partitions: i32, rate: u64) -> Self {
        let mut total = 0.0;
        let users = (1..=USERS)
            .map(|rank| {
                total += 1.0 / rank as f64;
                total
            })
            .collect();
        Self {
            random: Random::seeded(seed),
            partitions: u64::from(partitions.unsigned_abs()),
            step_ms: (SPEED * 1000) as f64 / rate as f64,
            sent: 0,
            users,
            ids: vec![Vec::new(); partitions as usize],
            last: vec![None; partitions as usize],
        }
    }

    /// The next record.
    pub(crate) fn next(&mut self) -> Record {
        let now_ms = START_MS + (self.sent as f64 * self.step_ms) as i64;
        let user = self.user();
        let partition = (hash64(user.as_bytes()) % self.partitions) as usize;
        let mut payment = self.payment(user, now_ms);
        let aborted = self.random.below(10) == 0;
        let kind = if aborted { u64::MAX } else { self.random.below(1_000) };
        let value = match kind {
            0..10 => {
                let flaw = FLAWS[self.random.below(FLAWS.len() as u64) as usize];
                flaw(&payment, now_ms)
            }
            10..15 => Some(Payment { status: "test", ..payment.clone() }.json().into_bytes()),
            15..20 => Some(Payment { merchant: "", ..payment.clone() }.json().into_bytes()),
            20..30 => {
                payment.time = (now_ms - 60_000 - self.random.below(300_000) as i64).to_string();
                Some(payment.json().into_bytes())
            }
            // The same record again.
            30..40 if self.last[partition].is_some() => self.last[partition].as_ref().map(|p| p.json().into_bytes()),
            // An id of seconds or of many minutes ago, also one that was only seen in an aborted transaction.
            40..60 if !self.ids[partition].is_empty() => {
                let back = self.random.below(self.ids[partition].len() as u64) as usize;
                payment.id = self.ids[partition][back];
                Some(payment.json().into_bytes())
            }
            _ => Some(payment.json().into_bytes()),
        };
        let key = match kind {
            30..40 => self.last[partition].as_ref().map_or_else(|| payment.user.clone(), |last| last.user.clone()),
            _ => payment.user.clone(),
        };
        self.remember(partition, &payment, kind >= 60 && !aborted);
        self.sent += 1;
        Record { partition: partition as i32, key, value, time_ms: now_ms, aborted }
    }

    /// An ordinary record for a partition, to close the input with.
    pub(crate) fn closing(&mut self, partition: i32) -> Record {
        loop {
            let record = self.next();
            if record.partition == partition && !record.aborted {
                return record;
            }
        }
    }

    fn remember(&mut self, partition: usize, payment: &Payment, ordinary: bool) {
        let ids = &mut self.ids[partition];
        if ids.len() < IDS {
            ids.push(payment.id);
        } else {
            ids[(self.sent % IDS as u64) as usize] = payment.id;
        }
        if ordinary {
            self.last[partition] = Some(payment.clone());
        }
    }

    /// Most events are of users that come again; every fifth of a visitor, one of many that come for a while, and then
    /// never again.
    fn user(&mut self) -> String {
        if self.random.below(5) == 0 {
            return format!("visitor-{}-{:03}", self.sent / 10_000, self.random.below(300));
        }
        let total = self.users.last().copied().unwrap_or(1.0);
        let drawn = self.random.uniform() * total;
        format!("user-{:04}", self.users.partition_point(|weight| *weight <= drawn))
    }

    fn payment(&mut self, user: String, now_ms: i64) -> Payment {
        let own = hash64(user.as_bytes());
        let usual = 5.0 + (own % 100) as f64;
        // A minute in which everything that some users do is strange: incidents that open, rise, and close.
        let strange = hash64(format!("{user}/{}", now_ms / 60_000).as_bytes()).is_multiple_of(97);
        let factor = if strange { 10.0 + self.random.below(40) as f64 } else { 1.0 };
        let amount = usual * factor * math::exp(0.3 * self.random.normal());
        let items = 1 + self.random.poisson(2.0) + if strange { 30 } else { 0 };
        // Out of order, within the lateness.
        let time_ms = now_ms - if self.random.below(4) == 0 { self.random.below(20_000) as i64 } else { 0 };
        Payment {
            id: self.random.next_u64(),
            time: time_ms.to_string(),
            user,
            amount: format!("{amount:.2}"),
            items: if self.random.below(20) == 0 { String::new() } else { format!("\"items\":{items},") },
            status: if self.random.below(10) == 0 { "declined" } else { "approved" },
            merchant: "\"id\":\"m-1\"",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(seed: u64, count: usize) -> Vec<Record> {
        let mut input = Input::new(seed, 6, 2_000);
        (0..count).map(|_| input.next()).collect()
    }

    #[test]
    fn a_seed_always_gives_the_same_records() {
        assert_eq!(records(7, 20_000), records(7, 20_000));
        assert_ne!(records(7, 100), records(8, 100));
    }

    #[test]
    fn a_key_stays_in_its_partition_and_every_partition_has_records() {
        let mut seen = std::collections::BTreeMap::new();
        for record in records(1, 20_000) {
            assert_eq!(*seen.entry(record.key.clone()).or_insert(record.partition), record.partition);
        }
        assert_eq!(seen.values().collect::<std::collections::BTreeSet<_>>().len(), 6);
        assert!(seen.len() > 1_000, "{} keys", seen.len());
    }

    #[test]
    fn one_record_in_ten_is_aborted() {
        let aborted = records(3, 20_000).iter().filter(|record| record.aborted).count();
        assert!((1_800..2_200).contains(&aborted), "{aborted}");
    }

    #[test]
    fn an_hour_passes_in_a_minute() {
        let records = records(3, 2_000 * 60 + 1);
        assert_eq!(records[records.len() - 1].time_ms - records[0].time_ms, 3_600_000);
    }

    #[test]
    fn a_partition_is_closed_with_a_record_that_counts() {
        let mut input = Input::new(3, 6, 2_000);
        for partition in 0..6 {
            let closing = input.closing(partition);
            assert!(closing.partition == partition && !closing.aborted);
        }
    }
}
