//! What ends: incidents after their quiet period, keys after their expiry, or early, to make room for others or because a
//! person wants it.

use super::{Purpose, Shard};
use crate::emit::{Closing, close_reason, emit_closing};
use crate::outputs::Outputs;
use crate::pipeline::Work;

/// Closes incidents that have been quiet and forgets keys that have expired, in the order of (time, key). A timer
/// whose key has been heard of since is set again.
pub(crate) fn set_off_timers(shard: &mut Shard, work: &mut Work, outputs: &mut Outputs) {
    let horizon_ms = shard.time.horizon_ms();
    while let Some(timer) = shard.timers.take_due(horizon_ms) {
        let Some(at) = shard.keys.find(&timer.key) else { continue };
        let state = shard.keys.at(at);
        match timer.purpose {
            Purpose::Expiry if state.expiry_timer_ms == timer.at_ms => {
                let expires_ms = state.last_ms.saturating_add(shard.config.source.key_expiry_ms);
                // A timer that was set before the key's last event only sets the right one: when timers were set must
                // not show in the order of what they do.
                if expires_ms == timer.at_ms {
                    drop_key(shard, &timer.key, close_reason::KEY_EXPIRED, work, outputs);
                } else {
                    state.expiry_timer_ms = expires_ms;
                    shard.timers.arm(expires_ms, &timer.key, Purpose::Expiry);
                }
            }
            Purpose::IncidentEnd => {
                let Some(incident) = state.incident.as_mut().filter(|incident| incident.end_timer_ms == timer.at_ms)
                else {
                    continue;
                };
                let ends_ms = incident.last_ms.saturating_add(shard.config.decision.quiet_period_ms);
                if ends_ms == timer.at_ms {
                    close(shard, at, ends_ms, close_reason::QUIET, work, outputs);
                } else {
                    incident.end_timer_ms = ends_ms;
                    shard.timers.arm(ends_ms, &timer.key, Purpose::IncidentEnd);
                }
            }
            Purpose::Expiry => {}
        }
    }
}

/// Forgets the idlest keys if there is no room for one more.
pub(super) fn make_room(shard: &mut Shard, work: &mut Work, outputs: &mut Outputs) {
    let most = shard.config.source.max_keys_per_partition;
    if shard.keys.len() >= most {
        // A sixteenth at a time, so that the search for the idlest is paid by many new keys.
        for key in shard.keys.idlest((most / 16).max(1)) {
            shard.evicted += 1;
            drop_key(shard, &key, close_reason::KEY_EVICTED, work, outputs);
        }
    }
}

/// Forgets a key because a person wants it; false if it is not known.
pub(crate) fn forget_key(shard: &mut Shard, key: &str, work: &mut Work, outputs: &mut Outputs) -> bool {
    let is_known = shard.keys.find(key).is_some();
    if is_known {
        drop_key(shard, key, close_reason::KEY_FORGOTTEN, work, outputs);
    }
    is_known
}

/// Forgets a key; its incident ends with its last event.
fn drop_key(shard: &mut Shard, key: &str, reason: &'static str, work: &mut Work, outputs: &mut Outputs) {
    if let Some(at) = shard.keys.find(key) {
        let last_ms = shard.keys.at(at).last_ms;
        close(shard, at, last_ms, reason, work, outputs);
    }
    let parts = shard.keys.remove(key).map_or(0, |state| state.parts);
    shard.journal.dropped(key, shard.next_offset, parts);
}

/// Ends the incident of a key, if it has one.
fn close(shard: &mut Shard, at: usize, at_ms: i64, reason: &'static str, work: &mut Work, outputs: &mut Outputs) {
    let closing = Closing { at_ms, partition: shard.partition, offset: shard.next_offset, reason };
    let state = shard.keys.at(at);
    let Some(incident) = state.incident.take() else { return };
    shard.journal.decided(state.key());
    let shown_key = shard.encoder.shown_key(state.key(), &mut work.shown_key);
    emit_closing(&shard.encoder, &incident, &closing, shown_key, outputs);
}
