//! A key and what the shard lends it while one of its events is folded.

use faultline_crds::worker_config::WorkerConfig;
use faultline_detectors::{KeyCombination, KeyModel};
use faultline_features::KeyWindows;

use super::expire::make_room;
use super::{KeyState, Purpose, Shard, Timers};
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
    let (partition, clock_ms) = (shard.partition, shard.clock_ms());
    let Shard { config, keys, timers, scoring, encoder, .. } = shard;
    let KeyState { windows, models, combination, incident, last_ms, .. } = keys.at(at);
    *last_ms = (*last_ms).max(event.time_ms);
    let time_ms = *last_ms;
    let opened =
        Opened { config, partition, clock_ms, encoder, scoring, timers, models, combination, incident, time_ms };
    (windows, opened)
}

/// Begins a key.
fn insert(shard: &mut Shard, event: &Event<'_>) -> usize {
    let (models, combination) = shard.scoring.new_key(&shard.config);
    let mut state = KeyState::new(event.key, shard.config.plan.new_key(), models, combination);
    state.last_ms = event.time_ms;
    state.expiry_timer_ms = event.time_ms.saturating_add(shard.config.source.key_expiry_ms);
    shard.timers.arm(state.expiry_timer_ms, event.key, Purpose::Expiry);
    shard.keys.insert(state)
}
