//! What can happen to a running pipeline, drawn from a seed: which kinds, how often, and the plan of one run. What a
//! disturbance does is in [`world`](super::world).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use clap::ValueEnum;
use faultline_numerics::random::Random;

/// A kind of disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// A worker is killed and another started
    Kill,
    /// A worker is killed, and the one that takes its place soon after it has started
    KillEarly,
    /// A worker leaves (SIGTERM), another joins later
    Leave,
    /// A worker joins, and leaves later
    Join,
    /// A worker is held beyond its session, then goes on
    Hold,
    /// A worker is held for a moment
    Pause,
    /// A broker is stopped and started
    Broker,
    /// A broker is killed and started
    BrokerKill,
    /// The broker that coordinates the group is stopped and started
    Coordinator,
    /// All connections to a broker are cut
    Cut,
    /// Answers to the ends of transactions do not arrive for a while
    DropAnswers,
    /// They arrive late for a while
    DelayAnswers,
    /// An administrator moves a committed offset while the group is empty, and back later (scripted)
    OffsetMoved,
    /// A worker is held beyond its session right before it writes a tick (scripted)
    HoldItself,
    /// All workers are killed while somebody holds a transaction open on the state topic (scripted)
    OpenTransaction,
}

/// How often each kind comes when nothing is said. Scripted kinds come only when asked for.
const USUAL: [(Kind, u64); 12] = [
    (Kind::Kill, 4),
    (Kind::KillEarly, 3),
    (Kind::Leave, 2),
    (Kind::Join, 2),
    (Kind::Hold, 2),
    (Kind::Pause, 1),
    (Kind::Broker, 1),
    (Kind::BrokerKill, 1),
    (Kind::Coordinator, 1),
    (Kind::Cut, 2),
    (Kind::DropAnswers, 3),
    (Kind::DelayAnswers, 3),
];

/// Those that stop a broker.
const OF_BROKERS: [Kind; 3] = [Kind::Broker, Kind::BrokerKill, Kind::Coordinator];

/// The builds that are broken on purpose, and what shows each most surely.
const BROKEN: [(&str, &[(Kind, u64)]); 6] = [
    (
        "offset-outside-transaction",
        &[(Kind::Kill, 4), (Kind::KillEarly, 2), (Kind::DropAnswers, 3), (Kind::Cut, 2), (Kind::BrokerKill, 1)],
    ),
    ("decisions-dropped", &[(Kind::Kill, 4), (Kind::KillEarly, 2), (Kind::Leave, 1)]),
    ("watermark-at-c", &[(Kind::Kill, 4), (Kind::KillEarly, 2)]),
    ("no-offset-guard", &[(Kind::OffsetMoved, 1)]),
    ("last-stable-offset", &[(Kind::OpenTransaction, 1)]),
    ("fence-not-tied-to-epochs", &[(Kind::HoldItself, 1)]),
];

/// The broken build of this name, or `all` of them, each with what shows it.
pub(crate) fn broken_builds(wanted: &str) -> Result<Vec<(&'static str, Choice)>> {
    let builds = BROKEN.iter().filter(|(name, _)| wanted == "all" || wanted == *name);
    let builds: Vec<_> = builds.map(|(name, kinds)| (*name, Choice(kinds.to_vec()))).collect();
    let known = || BROKEN.map(|(name, _)| name).join(", ");
    ensure!(!builds.is_empty(), "no broken build `{wanted}`; there are {}, or all of them: all", known());
    Ok(builds)
}

/// Which kinds may come: `all`, `none`, or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice(Vec<(Kind, u64)>);

impl Default for Choice {
    fn default() -> Self {
        Self(USUAL.into())
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::default()),
            "none" => Ok(Self(Vec::new())),
            list => {
                let weight = |kind| USUAL.iter().find(|(usual, _)| *usual == kind).map_or(2, |(_, weight)| *weight);
                let kinds =
                    list.split(',').map(|name| Kind::from_str(name.trim(), true).map(|kind| (kind, weight(kind))));
                kinds.collect::<Result<_, _>>().map(Self).map_err(|_| {
                    let names: Vec<String> = Kind::value_variants().iter().map(Kind::to_string).collect();
                    format!("expected all, none, or a list of {}", names.join(", "))
                })
            }
        }
    }
}

impl Choice {
    /// What may come when nothing is said, but no broker is stopped.
    pub(crate) fn without_brokers() -> Self {
        Self(USUAL.into_iter().filter(|(kind, _)| !OF_BROKERS.contains(kind)).collect())
    }

    /// Whether a kind may come.
    pub(crate) fn contains(&self, kind: Kind) -> bool {
        self.0.iter().any(|(chosen, _)| *chosen == kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", clap::builder::PossibleValue::get_name))
    }
}

/// Draws one disturbance after the other.
pub(crate) struct Plan {
    pub(crate) random: Random,
    choice: Choice,
    counts: BTreeMap<Kind, u64>,
}

impl Plan {
    /// Of a seed.
    pub(crate) fn new(seed: u64, choice: Choice) -> Self {
        // Another stream than the input's.
        Self { random: Random::seeded(seed ^ 0x6368_616f_7300_0000), choice, counts: BTreeMap::new() }
    }

    /// Whether anything may happen.
    pub(crate) fn may_draw(&self) -> bool {
        !self.choice.0.is_empty()
    }

    /// Whether a broker may be stopped.
    pub(crate) fn stops_brokers(&self) -> bool {
        OF_BROKERS.into_iter().any(|kind| self.choice.contains(kind))
    }

    /// How long it is quiet, from half a second to seven.
    pub(crate) fn pause(&mut self) -> Duration {
        self.between(500, 7_000)
    }

    /// What comes next.
    pub(crate) fn draw(&mut self) -> Result<Kind> {
        let total: u64 = self.choice.0.iter().map(|(_, weight)| weight).sum();
        let mut at = self.random.below(total);
        for (kind, weight) in &self.choice.0 {
            if at < *weight {
                return Ok(*kind);
            }
            at -= weight;
        }
        Err(anyhow!("no disturbance may be drawn"))
    }

    /// A time between two, in milliseconds.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.random.below(to - from))
    }

    /// One of several; `None` if there is none.
    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.random.below(of.len() as u64) as usize).copied()
    }

    /// It has happened.
    pub(crate) fn count(&mut self, kind: Kind) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// How many have happened.
    pub(crate) fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How often each has happened.
    pub(crate) fn happened(&self) -> String {
        let happened: Vec<String> = self.counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        if happened.is_empty() { "none".to_owned() } else { happened.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_plan() {
        let draws = |seed| {
            let mut plan = Plan::new(seed, Choice::default());
            (0..50).map(|_| (plan.pause(), plan.draw().unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(draws(5), draws(5));
        assert_ne!(draws(5), draws(6));
    }

    #[test]
    fn every_chosen_kind_comes_and_no_other() {
        let mut plan = Plan::new(1, "cut,hold, broker-kill".parse().unwrap());
        let drawn: std::collections::BTreeSet<Kind> = (0..200).map(|_| plan.draw().unwrap()).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [Kind::Hold, Kind::BrokerKill, Kind::Cut]);
    }

    #[test]
    fn a_choice_is_all_none_or_a_list() {
        assert_eq!("all".parse(), Ok(Choice::default()));
        assert_eq!("none".parse(), Ok(Choice(Vec::new())));
        let workers_and_connections = "kill,kill-early,leave,join,hold,pause,cut,drop-answers,delay-answers".parse();
        assert_eq!(workers_and_connections, Ok(Choice::without_brokers()));
        let message = "kill,explode".parse::<Choice>().unwrap_err();
        assert!(message.contains("kill-early") && message.contains("offset-moved"), "{message}");
    }

    #[test]
    fn every_broken_build_has_something_that_shows_it() {
        let builds = broken_builds("all").unwrap();
        assert_eq!(builds.len(), BROKEN.len());
        for (name, choice) in builds {
            assert!(Plan::new(1, choice.clone()).may_draw());
            assert_eq!(broken_builds(name).unwrap(), [(name, choice)]);
        }
        assert!(broken_builds("all-right").unwrap_err().to_string().contains("watermark-at-c"));
    }
}
