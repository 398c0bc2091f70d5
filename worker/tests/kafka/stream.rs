//! The input: payments of 2,000 users, and among them every kind of record that must not be scored. How a record has
//! to end stands in its header `expect`; ordinary records have none.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use faultline_numerics::hash::hash64;
use faultline_numerics::random::Random;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// The header.
pub(crate) const EXPECT: &str = "expect";

/// Kinds of bad records: the class of the dead letter, and the value, given a good one's parts.
const FLAWS: [(&str, Flaw); 11] = [
    ("Empty", |_| None),
    ("Empty", |_| Some(Vec::new())),
    ("NotUtf8", |good| Some([good.json().as_bytes(), b"\xff"].concat())),
    ("NotJson", |good| Some(good.json().as_bytes()[..40].to_vec())),
    ("NotJson", |_| Some(b"[1, 2]".to_vec())),
    ("FieldMissing", |good| Some(good.with_amount("null"))),
    ("FieldWrongType", |good| Some(good.with_amount("\"a lot\""))),
    ("FieldNotFinite", |good| Some(good.with_amount("1e999"))),
    ("Key", |good| Some(Payment { user: String::new(), ..good.clone() }.json().into_bytes())),
    ("Timestamp", |good| Some(Payment { time: "\"soon\"".to_owned(), ..good.clone() }.json().into_bytes())),
    ("Future", |good| Some(Payment { time: (now_ms() + 86_400_000).to_string(), ..good.clone() }.json().into_bytes())),
];

type Flaw = fn(&Payment) -> Option<Vec<u8>>;

#[derive(Debug, Clone)]
struct Payment {
    id: String,
    time: String,
    user: String,
    amount: String,
    status: &'static str,
    merchant: &'static str,
}

impl Payment {
    fn json(&self) -> String {
        let Self { id, time, user, amount, status, merchant } = self;
        format!(
            "{{\"eventId\":\"{id}\",\"timestamp\":{time},\"userId\":\"{user}\",\"amount\":{amount},\
             \"merchant\":{{{merchant}}},\"status\":\"{status}\"}}"
        )
    }

    fn with_amount(&self, amount: &str) -> Vec<u8> {
        Self { amount: amount.to_owned(), ..self.clone() }.json().into_bytes()
    }
}

pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// The generator and its producers.
pub(crate) struct Stream {
    random: Random,
    topic: String,
    partitions: u64,
    producer: BaseProducer,
    /// Its transactions are all aborted.
    aborting: BaseProducer,
    start_ms: i64,
    sent: u64,
    /// The last payment of each partition, to be sent twice.
    last: Vec<Option<Payment>>,
}

impl Stream {
    pub(crate) fn new(brokers: &str, topic: &str, partitions: i32, seed: u64) -> Self {
        let client = |id: Option<String>| -> BaseProducer {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("linger.ms", "5");
            config.set("compression.type", "lz4").set("queue.buffering.max.messages", "200000");
            id.map(|id| config.set("transactional.id", id));
            config.create().unwrap()
        };
        let aborting = client(Some(format!("{topic}.aborting")));
        aborting.init_transactions(Duration::from_secs(30)).unwrap();
        Self {
            random: Random::seeded(seed),
            topic: topic.to_owned(),
            partitions: partitions as u64,
            producer: client(None),
            aborting,
            start_ms: now_ms() - 5_400_000,
            sent: 0,
            last: vec![None; partitions as usize],
        }
    }

    /// Sends so many records that will be seen, and, now and then, some that never will: their transaction is aborted.
    pub(crate) fn send(&mut self, count: u64) {
        for _ in 0..count {
            if self.sent % 100_000 == 5_000 {
                self.send_aborted(1_000);
            }
            self.send_one();
        }
        self.producer.flush(Duration::from_secs(60)).unwrap();
    }

    fn send_aborted(&mut self, count: u64) {
        self.aborting.begin_transaction().unwrap();
        for _ in 0..count {
            let payment = self.payment();
            let record =
                BaseRecord::to(&self.topic).partition(self.partition(&payment.user)).key(payment.user.as_str());
            send(&self.aborting, record.payload(payment.json().as_bytes()));
        }
        self.aborting.flush(Duration::from_secs(60)).unwrap();
        self.aborting.abort_transaction(Duration::from_secs(30)).unwrap();
    }

    fn send_one(&mut self) {
        let mut payment = self.payment();
        let partition = self.partition(&payment.user);
        let last = self.last[partition as usize].take();
        // Of 10,000 records 300 must not be scored, 110 of them are dead letters: far below the share that trips.
        let (expect, value) = match self.random.below(10_000) {
            kind @ 0..110 => {
                let (class, flaw) = FLAWS[kind as usize % FLAWS.len()];
                (class, flaw(&payment))
            }
            110..160 => {
                payment.status = "test";
                ("filtered", Some(payment.json().into_bytes()))
            }
            160..210 => {
                payment.merchant = "";
                ("skipped", Some(payment.json().into_bytes()))
            }
            210..260 if self.sent > 200_000.min(self.partitions * 2_000) => {
                payment.time = (self.time_ms() - 120_000).to_string();
                ("late", Some(payment.json().into_bytes()))
            }
            260..300 if last.is_some() => {
                payment = last.clone().unwrap();
                ("duplicate", Some(payment.json().into_bytes()))
            }
            _ => ("", Some(payment.json().into_bytes())),
        };
        if expect.is_empty() {
            self.last[partition as usize] = Some(payment.clone());
        }
        let mut record = BaseRecord::to(&self.topic).partition(partition).key(payment.user.as_str());
        if !expect.is_empty() {
            let header = OwnedHeaders::new().insert(Header { key: EXPECT, value: Some(expect) });
            record = record.headers(header);
        }
        match &value {
            Some(value) => send(&self.producer, record.payload(value.as_slice())),
            None => send(&self.producer, record),
        }
        self.sent += 1;
    }

    /// An ordinary payment; a millisecond later than the one before for the first hour of the stream's own time.
    fn payment(&mut self) -> Payment {
        let user = self.random.below(2_000);
        Payment {
            id: format!("e-{}-{}", self.sent, self.random.next_u64()),
            time: self.time_ms().to_string(),
            user: format!("user-{user:04}"),
            amount: format!("{}.{:02}", self.random.below(1_000), self.random.below(100)),
            status: "approved",
            merchant: "\"id\":\"m-1\"",
        }
    }

    fn time_ms(&self) -> i64 {
        self.start_ms + self.sent as i64
    }

    fn partition(&self, user: &str) -> i32 {
        (hash64(user.as_bytes()) % self.partitions) as i32
    }
}

/// Queues a record; waits while the queue is full.
pub(crate) fn send(producer: &BaseProducer, mut record: BaseRecord<'_, str, [u8]>) {
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                producer.poll(Duration::from_millis(5));
                record = same;
            }
            Err((error, _)) => panic!("failed to send: {error}"),
        }
    }
}
