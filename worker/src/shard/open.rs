//! A key and what the shard lends it while one of its events is folded.

use faultline_crds::worker_config::WorkerConfig;
use faultline_detectors::{KeyCombination, KeyModel};
use faultline_features::KeyWindows;

use super::expire::make_room;
use super::{Journal, KeyState, Purpose, Shard, Timers};
use crate::decide::Incident;
use crate::decode::Event;
use crate::emit::Encoder;
use crate::outputs::Outputs;
use crate::pipeline::Work;
use crate::score::Scoring;

/// A shard and one of its keys, open for one event.
#[derive(Debug)]
pub(crate) struct Opened<'s> {
    pub(crate) config: &'s WorkerConfig,
    pub(crate) partition: i32,
    /// The shard's clock.
    pub(crate) clock_ms: i64,
    pub(crate) encoder: &'s Encoder,
    pub(crate) scoring: &'s mut Scoring,
    pub(crate) timers: &'s mut Timers,
    pub(crate) journal: &'s mut Journal,
    /// One state of the key per model.
    pub(crate) models: &'s mut [KeyModel],
    pub(crate) combination: &'s mut KeyCombination,
    /// The key's open incident.
    pub(crate) incident: &'s mut Option<Box<Incident>>,
    /// The key's time: the greatest of its events.
    pub(crate) time_ms: i64,
}

/// Opens the key of an event, known or new. Its windows come on their own: columns borrow from them until the event is
/// emitted.
pub(crate) fn open<'s>(
    shard: &'s mut Shard,
    event: &Event<'_>,
    work: &mut Work,
    outputs: &mut Outputs,
) -> (&'s mut KeyWindows, Opened<'s>) {
    let at = match shard.keys.find(event.key) {
        Some(at) => at,
        None => {
            make_room(shard, work, outputs);
            insert(shard, event)
        }
    };
    shard.keys.count_event(at);
    lend(shard, at, event)
}

/// Opens the key of an event that was folded before a restart, unless its image holds the event already. Timers, expiry
/// and eviction are left alone: what they did is in the state topic.
pub(crate) fn reopen<'s>(shard: &'s mut Shard, event: &Event<'_>) -> Option<(&'s mut KeyWindows, Opened<'s>)> {
    let at = match shard.keys.find(event.key) {
        Some(at) if event.raw.offset < shard.keys.at(at).covered => return None,
        Some(at) => at,
        None if shard.is_gone(event.key, event.raw.offset) => return None,
        None => {
            let state = new_key(shard, event);
            shard.keys.insert(state)
        }
    };
    shard.keys.count_event(at);
    Some(lend(shard, at, event))
}

/// Lends a key for an event.
fn lend<'s>(shard: &'s mut Shard, at: usize, event: &Event<'_>) -> (&'s mut KeyWindows, Opened<'s>) {
    let (partition, clock_ms) = (shard.partition, shard.clock_ms());
    let before = shard.before(event.raw.offset);
    let Shard { config, keys, timers, journal, scoring, encoder, .. } = shard;
    let state = keys.at(at);
    journal.touch(state, before);
    let KeyState { windows, models, combination, incident, last_ms, .. } = state;
    *last_ms = (*last_ms).max(event.time_ms);
    let time_ms = *last_ms;
    let opened = Opened {
        config,
        partition,
        clock_ms,
        encoder,
        scoring,
        timers,
        journal,
        models,
        combination,
        incident,
        time_ms,
    };
    (windows, opened)
}

/// Begins a key.
fn insert(shard: &mut Shard, event: &Event<'_>) -> usize {
    let mut state = new_key(shard, event);
    state.expiry_timer_ms = event.time_ms.saturating_add(shard.config.source.key_expiry_ms);
    shard.timers.arm(state.expiry_timer_ms, event.key, Purpose::Expiry);
    shard.keys.insert(state)
}

fn new_key(shard: &Shard, event: &Event<'_>) -> KeyState {
    let (models, combination) = shard.scoring.new_key(&shard.config);
    let mut state = KeyState::new(event.key, shard.config.plan.new_key(), models, combination);
    state.last_ms = event.time_ms;
    state
}
