//! Everything that a run can disturb, and how: workers, brokers, the proxies between them. A disturbance acts at once
//! and puts what ends it on an agenda, so that several can be under way together.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::disturb::{Kind, Plan};
use super::proxy::{Proxy, Treatment};
use super::topics::{self, Group};
use super::workers::{Crew, Ended, Standing};
use crate::services::kafka::cluster::{BROKERS, Cluster, offsets_partition};

/// Beyond the workers' session timeout of 10 s.
const HELD_MS: (u64, u64) = (11_000, 14_000);
/// Others have taken the place of one that is held after its session, a rebalance and a recovery; at the latest after this.
const REPLACED: Duration = Duration::from_secs(60);
/// What a worker logs when it comes to a fault point.
const PASSED: &str = "a fault point is passed";
/// A worker that has not come to it is helped by a rebalance, again and again, when the session of a worker that has died,
/// which the group waits for, has been over for this long …
const HELP: Duration = Duration::from_secs(3);
/// … and after this long the point cannot be reached.
const UNREACHED: Duration = Duration::from_secs(180);
/// How often the harness looks.
const TURN: Duration = Duration::from_millis(20);
/// A group of nobody: the brokers take this long at most to notice, plus the time in which a worker ends.
const EMPTY: Duration = Duration::from_secs(40);
/// A broker that was restarted is in sync again within seconds.
const WHOLE: Duration = Duration::from_secs(120);
/// How long workers may look at an offset that was moved.
const MOVED: Duration = Duration::from_secs(10);
/// What a worker logs when it has brought a partition back.
pub(crate) const READY: &str = "shard is ready";
/// How long a transaction of somebody else is open before the workers are killed …
const FOREIGN: Duration = Duration::from_secs(3);
/// … and for how long, at most, while others take their place: beyond the session of the killed ones, which they wait for.
const FOREIGN_STILL: Duration = Duration::from_secs(16);

/// The stage of one run.
pub(crate) struct World<'a> {
    pub(crate) cluster: &'a mut Cluster,
    pub(crate) proxies: &'a [Proxy],
    pub(crate) crew: Crew,
    pub(crate) group: &'a Group,
    /// Group id.
    pub(crate) identity: &'a str,
    pub(crate) state_topic: String,
    /// Workers there should be.
    pub(crate) workers: usize,
    pub(crate) interrupted: &'a dyn Fn() -> Result<()>,
    agenda: Vec<(Instant, Action)>,
    /// Workers that were started with a fault point: they are not replaced when they have ended.
    armed: Vec<usize>,
    /// A broker is away, or its replicas are not in sync yet: no other may go.
    broker_away: bool,
    began: Instant,
    /// Workers that ended without being asked, or badly.
    pub(crate) ended_badly: u64,
}

/// What ends a disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    StartWorker,
    Continue(usize),
    Leave(usize),
    /// Kill the youngest worker, start another.
    KillYoungest,
    /// Once it has ended, start it.
    RestartBroker(usize),
    StartBroker(usize),
    /// Once all replicas are in sync, others may go.
    BrokerBack,
    /// Answers pass again.
    Pass,
}

impl<'a> World<'a> {
    pub(crate) fn new(
        cluster: &'a mut Cluster,
        proxies: &'a [Proxy],
        crew: Crew,
        (group, identity): (&'a Group, &'a str),
        workers: usize,
        interrupted: &'a dyn Fn() -> Result<()>,
    ) -> Self {
        Self {
            cluster,
            proxies,
            crew,
            group,
            identity,
            state_topic: format!("{identity}.state"),
            workers,
            armed: Vec::new(),
            interrupted,
            agenda: Vec::new(),
            broker_away: false,
            began: Instant::now(),
            ended_badly: 0,
        }
    }

    /// Says what happens, with the time.
    pub(crate) fn log(&self, what: &str) {
        println!("{:7.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    fn later(&mut self, after: Duration, action: Action) {
        self.agenda.push((Instant::now() + after, action));
    }

    /// Starts one more worker, with a fault point armed, and waits until it has come to it. How long that took; `None` if it
    /// did not.
    pub(crate) fn visit(&mut self, fault: &str) -> Result<Option<Duration>> {
        let working = self.crew.of(Standing::Working);
        if working.len() > self.workers {
            self.crew.tell(working[0], Signal::SIGTERM)?;
        }
        self.fill_up()?;
        let number = self.crew.start(Some(fault))?;
        self.armed.push(number);
        let (began, mut helped) = (Instant::now(), Instant::now());
        while began.elapsed() < UNREACHED {
            self.turn()?;
            if self.crew.has_said(number, PASSED) {
                let took = began.elapsed();
                if fault.contains("=stop") {
                    self.hold_until_replaced(number)?;
                }
                return Ok(Some(took));
            }
            if helped.elapsed() > self.crew.session() + HELP {
                helped = Instant::now();
                self.help(number)?;
            }
            std::thread::park_timeout(TURN);
        }
        Ok(None)
    }

    /// Holds a worker until others have committed in every partition, its own too; then it goes on.
    fn hold_until_replaced(&mut self, number: usize) -> Result<()> {
        self.crew.tell(number, Signal::SIGSTOP)?;
        self.fill_up()?;
        let held = Instant::now();
        let mut before = Vec::new();
        loop {
            self.turn()?;
            // Nobody can say while the coordinator is away.
            let now = self.group.committed_so_far(Duration::from_secs(1)).unwrap_or_default();
            if before.is_empty() {
                before = now;
            } else if !now.is_empty() && before.iter().zip(&now).all(|(before, now)| now > before) {
                return self.crew.tell(number, Signal::SIGCONT);
            }
            ensure!(
                held.elapsed() < REPLACED,
                "after {} s nobody works in place of worker {number}",
                REPLACED.as_secs()
            );
            std::thread::park_timeout(TURN);
        }
    }

    /// Gives a worker all partitions, with something to replay, by killing all others; or, where it has them, takes some
    /// away, as others join.
    fn help(&mut self, number: usize) -> Result<()> {
        let others: Vec<usize> = self.crew.of(Standing::Working).into_iter().filter(|other| *other != number).collect();
        others.iter().for_each(|other| self.crew.kill(*other));
        if others.is_empty() { self.fill_up() } else { Ok(()) }
    }

    /// Starts workers until there are enough.
    pub(crate) fn fill_up(&mut self) -> Result<()> {
        while self.crew.of(Standing::Working).len() < self.workers {
            self.crew.start(None)?;
        }
        Ok(())
    }

    /// Does one disturbance; nothing if there is nobody to disturb.
    pub(crate) fn disturb(&mut self, kind: Kind, plan: &mut Plan) -> Result<()> {
        let working = self.crew.of(Standing::Working);
        let done = match kind {
            Kind::Kill | Kind::KillEarly | Kind::Leave | Kind::Hold | Kind::Pause => {
                let Some(number) = plan.one_of(&working) else { return Ok(()) };
                self.disturb_worker(kind, number, plan)?
            }
            Kind::Join => {
                let number = self.crew.start(None)?;
                self.later(plan.between(2_000, 12_000), Action::Leave(number));
                format!("worker {number} joins")
            }
            Kind::Broker | Kind::BrokerKill | Kind::Coordinator => {
                if self.broker_away {
                    return Ok(());
                }
                self.disturb_broker(kind, plan)?
            }
            Kind::Cut => {
                let index = plan.random.below(BROKERS as u64) as usize;
                format!("{} connections to broker {} are cut", self.proxies[index].cut(), index + 1)
            }
            Kind::DropAnswers | Kind::DelayAnswers => {
                let lasting = plan.between(300, 5_000);
                let (treatment, word) = match kind {
                    Kind::DropAnswers => (Treatment::Drop, "lost".to_owned()),
                    _ => {
                        let by = plan.between(200, 6_000);
                        (Treatment::Delay(by), format!("{} ms late", by.as_millis()))
                    }
                };
                self.proxies.iter().for_each(|proxy| proxy.treat(treatment));
                self.agenda.retain(|(_, action)| *action != Action::Pass);
                self.later(lasting, Action::Pass);
                format!("answers to EndTxn and TxnOffsetCommit are {word} for {} ms", lasting.as_millis())
            }
            Kind::HoldItself => {
                let fault = format!("tick=stop@{}", 1 + plan.random.below(40));
                match self.visit(&fault)? {
                    Some(_) => format!("a worker was held before it wrote ({fault}), until others had taken its place"),
                    None => format!("no worker came to {fault}"),
                }
            }
            Kind::OffsetMoved => self.move_an_offset(plan)?,
            Kind::OpenTransaction => match self.kill_all_behind_an_open_transaction()? {
                Some(done) => done,
                None => return Ok(()),
            },
        };
        plan.count(kind);
        self.log(&format!("{kind}: {done}"));
        Ok(())
    }

    fn disturb_worker(&mut self, kind: Kind, number: usize, plan: &mut Plan) -> Result<String> {
        Ok(match kind {
            Kind::Hold | Kind::Pause => {
                let (from, to) = if kind == Kind::Hold { HELD_MS } else { (500, 5_000) };
                let by = plan.between(from, to);
                self.crew.tell(number, Signal::SIGSTOP)?;
                self.later(by, Action::Continue(number));
                format!("worker {number} is held for {} ms", by.as_millis())
            }
            Kind::Leave => {
                self.crew.tell(number, Signal::SIGTERM)?;
                self.later(plan.between(0, 8_000), Action::StartWorker);
                format!("worker {number} leaves")
            }
            Kind::KillEarly => {
                self.crew.kill(number);
                let next = self.crew.start(None)?;
                // Joining takes a second or two, then the state is read and replayed.
                self.later(plan.between(500, 5_000), Action::KillYoungest);
                format!("worker {number} is killed, worker {next} starts and will be killed soon")
            }
            _ => {
                self.crew.kill(number);
                self.later(plan.between(0, 3_000), Action::StartWorker);
                format!("worker {number} is killed")
            }
        })
    }

    fn disturb_broker(&mut self, kind: Kind, plan: &mut Plan) -> Result<String> {
        let coordinator = || self.cluster.leader_of("__consumer_offsets", offsets_partition(self.identity));
        let index = match kind {
            Kind::Coordinator => coordinator().unwrap_or(0),
            _ => plan.random.below(BROKERS as u64) as usize,
        };
        self.broker_away = true;
        let name = index + 1;
        Ok(if kind == Kind::BrokerKill {
            self.cluster.kill_member(index);
            self.later(plan.between(0, 6_000), Action::StartBroker(index));
            format!("broker {name} is killed")
        } else {
            self.cluster.ask_to_end(index)?;
            self.later(Duration::ZERO, Action::RestartBroker(index));
            format!("broker {name} is stopped")
        })
    }

    /// Does what is due, and looks after workers that have ended.
    pub(crate) fn turn(&mut self) -> Result<()> {
        (self.interrupted)()?;
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.agenda).into_iter().partition(|(at, _)| *at <= now);
        self.agenda = later;
        let due: Vec<(Instant, Action)> = due;
        due.into_iter().try_for_each(|(_, action)| self.act(action))?;
        for ended in self.crew.ended()? {
            self.look_after(&ended)?;
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<()> {
        match action {
            Action::StartWorker => {
                let number = self.crew.start(None)?;
                self.log(&format!("worker {number} starts"));
            }
            Action::Continue(number) => self.crew.tell(number, Signal::SIGCONT)?,
            Action::Leave(number) => self.crew.tell(number, Signal::SIGTERM)?,
            Action::KillYoungest => {
                if let Some((number, age)) = self.crew.youngest() {
                    self.crew.kill(number);
                    let next = self.crew.start(None)?;
                    let age = age.as_millis();
                    self.log(&format!("worker {number} is killed {age} ms after its start, worker {next} starts"));
                }
            }
            Action::RestartBroker(index) if !self.cluster.has_ended(index)? => {
                self.later(Duration::from_millis(100), action);
            }
            Action::RestartBroker(index) | Action::StartBroker(index) => {
                self.cluster.start_member(index)?;
                self.log(&format!("broker {} starts", index + 1));
                self.later(Duration::from_secs(1), Action::BrokerBack);
            }
            Action::BrokerBack if self.cluster.is_whole() => {
                self.broker_away = false;
                self.log("all replicas are in sync");
            }
            Action::BrokerBack => self.later(Duration::from_millis(500), action),
            Action::Pass => self.proxies.iter().for_each(|proxy| proxy.treat(Treatment::Pass)),
        }
        Ok(())
    }

    /// As a cluster would: a worker that ends by itself is started again.
    fn look_after(&mut self, ended: &Ended) -> Result<()> {
        let Ended { number, asked, status, last_words } = ended;
        if (*asked && status.success()) || self.armed.contains(number) {
            return Ok(());
        }
        self.ended_badly += 1;
        let how = if *asked { "was asked to leave and" } else { "has" };
        self.log(&format!("worker {number} {how} ended with {status}: {last_words}"));
        if !*asked {
            self.later(Duration::from_secs(1), Action::StartWorker);
        }
        Ok(())
    }

    /// Ends every disturbance: answers pass, nobody is held, every broker and worker is there.
    pub(crate) fn heal(&mut self) -> Result<()> {
        self.proxies.iter().for_each(|proxy| proxy.treat(Treatment::Pass));
        let agenda = std::mem::take(&mut self.agenda);
        for (_, action) in agenda {
            match action {
                Action::KillYoungest => {}
                action => self.act(action)?,
            }
        }
        let began = Instant::now();
        while self.broker_away {
            self.turn()?;
            ensure!(began.elapsed() < WHOLE, "the brokers' replicas are not in sync after {} s", WHOLE.as_secs());
            std::thread::park_timeout(Duration::from_millis(100));
        }
        self.turn()?;
        self.fill_up()
    }

    /// Lets every worker leave; what those say that did not end well, or do not end at all.
    pub(crate) fn stop_all(&mut self, limit: Duration) -> Result<Vec<String>> {
        for number in [self.crew.of(Standing::Working), self.crew.of(Standing::Held)].concat() {
            self.crew.tell(number, Signal::SIGCONT)?;
            self.crew.tell(number, Signal::SIGTERM)?;
        }
        let asked = Instant::now();
        let mut complaints = Vec::new();
        while self.crew.len() > 0 {
            (self.interrupted)()?;
            for ended in self.crew.ended()?.iter().filter(|ended| !ended.status.success()) {
                complaints.push(format!("worker {} left with {}: {}", ended.number, ended.status, ended.last_words));
            }
            if asked.elapsed() > limit {
                for number in self.crew.of(Standing::Leaving) {
                    complaints.push(format!("worker {number} did not leave within {} s", limit.as_secs()));
                    self.crew.kill(number);
                }
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(complaints)
    }

    /// All workers leave, an offset is moved back, they come again and may look at it; then it is moved to where it was.
    /// A worker that knows its position does not go on from there.
    fn move_an_offset(&mut self, plan: &mut Plan) -> Result<String> {
        self.heal()?;
        self.stop_all(EMPTY)?;
        let committed = self.stable()?;
        let begun: Vec<usize> = (0..committed.len()).filter(|partition| committed[*partition] > 0).collect();
        let Some(partition) = plan.one_of(&begun) else {
            self.fill_up()?;
            return Ok("there was no offset to move yet".to_owned());
        };
        let was = committed[partition];
        let moved = (was - 1 - plan.random.below(500) as i64).max(0);
        self.move_to(partition, moved)?;
        self.log(&format!("the offset of partition {partition} is moved from {was} to {moved}"));
        self.fill_up()?;
        let began = Instant::now();
        while began.elapsed() < MOVED {
            self.turn()?;
            std::thread::park_timeout(Duration::from_millis(100));
        }
        let problems = self.crew.problems();
        self.stop_all(EMPTY)?;
        let refused = self.stable()?[partition] == moved;
        if refused {
            self.move_to(partition, was)?;
        }
        self.fill_up()?;
        let said = problems.first().map_or("nothing", String::as_str);
        Ok(format!("the workers {}; they said: {said}", if refused { "stood still" } else { "went on from there" }))
    }

    /// Moves an offset. A worker that was stopped while it joined is a member until its session is over, and nobody else may
    /// move the offset until then.
    fn move_to(&self, partition: usize, offset: i64) -> Result<()> {
        let began = Instant::now();
        while let Err(error) = self.group.move_to(partition as i32, offset) {
            (self.interrupted)()?;
            if began.elapsed() > EMPTY {
                return Err(error);
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
        Ok(())
    }

    fn stable(&self) -> Result<Vec<i64>> {
        let began = Instant::now();
        loop {
            match self.group.committed(Duration::from_secs(5)) {
                Ok(committed) => return Ok(committed),
                Err(error) if began.elapsed() > EMPTY => return Err(error),
                Err(_) => (self.interrupted)()?,
            }
        }
    }

    /// Somebody holds a transaction open on every partition of the state topic, while the workers write on; then all of
    /// them are killed. Who reads the state up to the last stable offset only, misses what was committed behind it.
    fn kill_all_behind_an_open_transaction(&mut self) -> Result<Option<String>> {
        let brokers = self.cluster.addresses();
        let partitions = topics::partitions(&brokers, &self.state_topic)?;
        if partitions == 0 {
            return Ok(None);
        }
        let producer: BaseProducer = topics::client(&brokers)
            .set("transactional.id", format!("{}.foreign", self.identity))
            .create()
            .context("failed to make a producer")?;
        let call = Duration::from_secs(20);
        producer.init_transactions(call).context("failed to begin a foreign transaction")?;
        producer.begin_transaction().context("failed to begin a foreign transaction")?;
        for partition in 0..partitions {
            let record = BaseRecord::to(&self.state_topic).partition(partition).key("foreign").payload("aborted");
            if let Err((error, _)) = producer.send(record) {
                bail!("failed to write in a foreign transaction: {error}");
            }
        }
        producer.flush(call).context("failed to write in a foreign transaction")?;
        self.wait(FOREIGN)?;
        for number in self.crew.of(Standing::Working) {
            self.crew.kill(number);
        }
        self.fill_up()?;
        let next = self.crew.of(Standing::Working);
        let began = Instant::now();
        // Who reads the state whole, reads until the transaction is aborted.
        while began.elapsed() < FOREIGN_STILL && !next.iter().any(|number| self.crew.has_said(*number, READY)) {
            self.turn()?;
            std::thread::park_timeout(Duration::from_millis(50));
        }
        producer.abort_transaction(call).context("failed to end a foreign transaction")?;
        Ok(Some(format!("all workers were killed {} s into a foreign transaction on the state", FOREIGN.as_secs())))
    }

    fn wait(&mut self, length: Duration) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < length {
            self.turn()?;
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(())
    }
}
