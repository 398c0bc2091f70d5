//! The order of the steps; no other file knows it.
//!
//! ```text
//!            ┌────────── dead letter ──────────┐   skipped   filtered   late   duplicate
//!            │              │           │      │      │          │        │        │
//! record ─► decode ─► key and time ─► future guard ─► trips ─► filter ─► late? ─► duplicate? ─► accepted
//!                                                                                                  │
//!        emit ◄── decide ◄── score ◄── window ◄── the key, new or known ◄── timers due ◄── watermark
//! ```
//! Up to *accepted* nothing but counters changes; only accepted events move the watermark. A record ends in exactly
//! one outcome. A trip is found before the record changes anything, so a shard stops exactly at it.
//!
//! Timers that the watermark has passed go off before the event that moved it is folded into its key; so nothing is
//! left to do at the end of a tick, and where a tick ends never shows. Only silence leaves work to [`turn`].

mod scratch;

use std::mem::take;

use faultline_crds::worker_config::ResultsMode;
use faultline_features::recycle;

use crate::commit::commit;
use crate::decide::{self, Anomaly, ModelSet, MuteFacts, Verdict};
use crate::decode::{self, Decoded, Rejected, Slots, Unfit};
use crate::emit::{self, AlertState, Closing, Judged, close_reason};
use crate::lane::Lane;
use crate::outcome::Outcome;
use crate::outputs::{Output, Outputs, Topic};
use crate::ports::{RawEvent, Sink, Source};
use crate::score;
use crate::shard::{KeyState, Purpose, Shard, Sighting};
use crate::take::take as take_records;
use crate::window;

pub use crate::shard::Trip;
pub use scratch::Scratch;
use scratch::Work;

/// One tick of a lane: take ► fold each record ► timers of silent partitions ► commit.
pub(crate) fn tick<S: Source, K: Sink>(lane: &mut Lane<S, K>) {
    lane.begin_tick();
    take_records(lane, fold);
    lane.turn_silent_shards(turn);
    commit(lane);
}

/// Folds one record: decode ► window ► score ► decide ► emit. Counts the outcome and moves the shard's next offset.
///
/// # Errors
/// The shard must stop before this record: it is not consumed, and everything before it stays valid.
pub fn fold(
    shard: &mut Shard,
    raw: &RawEvent<'_>,
    scratch: &mut Scratch,
    outputs: &mut Outputs,
) -> Result<Outcome, Trip> {
    let mut arena = take(&mut scratch.arena);
    let mut slots = take(&mut scratch.slots).recycle();
    let ended = match decode::read(&shard.layout, raw, &mut slots.leaves, &mut arena) {
        Ok(()) => end(shard, raw, &arena, &mut slots, &mut scratch.work, outputs),
        Err(rejected) => reject(shard, raw, &rejected, Sighting::default(), outputs),
    };
    scratch.slots = slots.recycle();
    scratch.arena = arena;
    let outcome = ended?;
    outputs.count(shard.partition(), outcome);
    shard.consumed(raw.offset);
    Ok(outcome)
}

/// Sets off the timers that are due: at the end of a tick, and when the partition is idle.
pub fn turn(shard: &mut Shard, scratch: &mut Scratch, outputs: &mut Outputs) {
    set_off_timers(shard, &mut scratch.work, outputs);
}

/// Brings a record that is valid JSON to its outcome.
fn end<'a>(
    shard: &mut Shard,
    raw: &RawEvent<'a>,
    arena: &'a str,
    slots: &mut Slots<'a>,
    work: &mut Work,
    outputs: &mut Outputs,
) -> Result<Outcome, Trip> {
    let decoded = match decode::interpret(&shard.layout, raw, arena, slots) {
        Ok(decoded) => decoded,
        Err(Unfit::Skipped) => {
            shard.trips.take_in(&Sighting::default(), raw.offset)?;
            return Ok(Outcome::Skipped);
        }
        Err(Unfit::Rejected(rejected)) => {
            let time_text = shard.layout.time_text(&slots.leaves);
            return reject(shard, raw, &rejected, Sighting { time_text, ..Sighting::default() }, outputs);
        }
    };
    let time_text = shard.layout.time_text(&slots.leaves);
    if let Err(rejected) = window::guard_future(&shard.config, shard.guard(), raw, decoded.time_ms) {
        return reject(shard, raw, &rejected, Sighting { time_text, ..Sighting::default() }, outputs);
    }
    let differs = shard.trips.compares_keys() && raw.key != Some(decoded.key.as_bytes());
    let key = differs.then(|| shard.encoder.shown_key(decoded.key, &mut work.shown_key));
    let sighting = Sighting { dead_letter: None, key_mismatch: key, time_ms: Some(decoded.time_ms), time_text };
    shard.trips.take_in(&sighting, raw.offset)?;

    if shard.config.source.filter.as_ref().is_some_and(|filter| !filter.is_true(&slots.paths)) {
        return Ok(Outcome::Filtered);
    }
    if shard.time.is_late(decoded.time_ms) {
        let behind_ms = shard.time.greatest_ms().unwrap_or_default() - decoded.time_ms;
        let allowed_s = shard.config.source.allowed_lateness_ms / 1000;
        let message =
            format!("expected an event at most {allowed_s} s behind the latest, found {} s", behind_ms / 1000);
        outputs.push_rejected(Topic::Late, raw, "late", None, &message);
        return Ok(Outcome::Late);
    }
    if is_duplicate(shard, &decoded, raw.offset) {
        return Ok(Outcome::Duplicate);
    }
    shard.time.accept(decoded.time_ms);
    set_off_timers(shard, work, outputs);
    fold_accepted(shard, raw, &decoded, slots, work, outputs);
    Ok(Outcome::Scored)
}

/// Ends a record in the dead letters, unless there are too many of them.
fn reject(
    shard: &mut Shard,
    raw: &RawEvent<'_>,
    rejected: &Rejected,
    sighting: Sighting<'_>,
    outputs: &mut Outputs,
) -> Result<Outcome, Trip> {
    let sighting = Sighting { dead_letter: Some((rejected.class, &rejected.message)), ..sighting };
    shard.trips.take_in(&sighting, raw.offset)?;
    outputs.push_rejected(Topic::DeadLetter, raw, rejected.stage, Some(rejected.class), &rejected.message);
    Ok(Outcome::DeadLettered(rejected.class))
}

/// Whether the event's id was taken in before; takes it in if not.
fn is_duplicate(shard: &mut Shard, decoded: &Decoded<'_>, offset: i64) -> bool {
    let Some(duplicates) = &mut shard.duplicates else { return false };
    let watermark_ms =
        shard.time.watermark_ms().unwrap_or(i64::MIN).max(decoded.time_ms - shard.config.source.allowed_lateness_ms);
    duplicates.forget(watermark_ms);
    decoded.id.is_some_and(|id| !duplicates.take_in(id, offset, decoded.time_ms))
}

/// Window ► score ► decide ► emit for an accepted event.
fn fold_accepted(
    shard: &mut Shard,
    raw: &RawEvent<'_>,
    decoded: &Decoded<'_>,
    slots: &Slots<'_>,
    work: &mut Work,
    outputs: &mut Outputs,
) {
    let at = match shard.keys.find(decoded.key) {
        Some(at) => at,
        None => open_key(shard, decoded, work, outputs),
    };
    shard.keys.count_event(at);
    let partition = shard.partition();
    let clock_ms = shard.clock_ms();
    let Shard { config, keys, timers, scoring, encoder, .. } = shard;
    let decision = &config.decision;
    let KeyState { windows, models, combination, incident, last_ms, .. } = keys.at(at);
    *last_ms = (*last_ms).max(decoded.time_ms);

    let mut columns = recycle(take(&mut work.columns));
    window::fold(config, windows, decoded.time_ms, slots, &mut columns);

    let (surprise, maturity) = scoring.fold(config, (models, combination), &columns, *last_ms, &mut work.scores);

    let severity = decide::severity(decision, surprise, maturity);
    let mut verdict = Verdict { surprise, severity, muted: false, maturity };
    let mut alert = None;
    if let (Some(severity), Some(surprise)) = (severity, surprise) {
        outputs.tally(partition).anomalies += 1;
        score::explain(config, &columns, &mut work.scores, &mut work.explanation);
        let too_old =
            config.outputs.alerts.max_event_age_ms.is_some_and(|most| clock_ms.saturating_sub(decoded.time_ms) > most);
        let facts = MuteFacts { time_ms: decoded.time_ms, columns: &columns, key: decoded.key, surprise, severity };
        verdict.muted = too_old || decide::is_muted(&decision.mutes, &facts);
        if !verdict.muted {
            let models = ModelSet::of(&work.scores.models);
            let anomaly = Anomaly { time_ms: decoded.time_ms, surprise, severity, maturity, models };
            alert = decide::advance(incident, decision, &anomaly, || {
                decide::incident_id(&encoder.pipeline, partition, decoded.key, raw.offset)
            });
        }
    }
    if let (Some(AlertState::Opened), Some(incident)) = (alert, incident.as_mut()) {
        incident.end_timer_ms = incident.last_ms + decision.quiet_period_ms;
        timers.arm(incident.end_timer_ms, decoded.key, Purpose::IncidentEnd);
    }

    let wants_result = match config.outputs.results.mode {
        ResultsMode::All => true,
        ResultsMode::Anomalies => severity.is_some(),
        ResultsMode::None => false,
    };
    if wants_result || alert.is_some() {
        if encoder.features_always && severity.is_none() {
            score::explain(config, &columns, &mut work.scores, &mut work.explanation);
        }
        let judged = Judged {
            key: encoder.shown_key(decoded.key, &mut work.shown_key),
            id: decoded.id,
            offset: raw.offset,
            time_ms: decoded.time_ms,
            fields: &slots.fields,
            columns: &columns,
            scores: &work.scores.models,
            explanation: &work.explanation,
            verdict: &verdict,
        };
        let key = Some(outputs.put(judged.key.as_bytes()));
        let traceparent = raw.traceparent.map(|trace| outputs.put(trace));
        let push = |outputs: &mut Outputs, topic, value| {
            let (key, traceparent) = (key.clone(), traceparent.clone());
            let record_time_ms = raw.timestamp.millis().unwrap_or(-1);
            outputs.push(Output {
                topic,
                partition,
                offset: raw.offset,
                record_time_ms,
                key,
                value: Some(value),
                traceparent,
                rejection: None,
            });
        };
        if wants_result {
            let value = outputs.write(|out| emit::write_result(encoder, &judged, out));
            push(outputs, Topic::Results, value);
        }
        if let (Some(state), Some(incident)) = (alert, incident.as_deref()) {
            let value = outputs.write(|out| emit::write_alert(encoder, incident, state, &judged, out));
            push(outputs, Topic::Alerts, value);
            outputs.tally(partition).alerts += 1;
        }
    }
    work.columns = recycle(columns);
}

/// Makes room if there are too many keys, then begins a new one.
fn open_key(shard: &mut Shard, decoded: &Decoded<'_>, work: &mut Work, outputs: &mut Outputs) -> usize {
    let most = shard.config.source.max_keys_per_partition;
    if shard.keys.len() >= most {
        // A sixteenth at a time, so that the search for the idlest is paid by many new keys.
        for key in shard.keys.idlest((most / 16).max(1)) {
            shard.evicted += 1;
            drop_key(shard, &key, close_reason::KEY_EVICTED, work, outputs);
        }
    }
    let (models, combination) = shard.scoring.new_key(&shard.config);
    let mut state = KeyState::new(decoded.key, shard.config.plan.new_key(), models, combination);
    state.last_ms = decoded.time_ms;
    state.expiry_timer_ms = decoded.time_ms.saturating_add(shard.config.source.key_expiry_ms);
    shard.timers.arm(state.expiry_timer_ms, decoded.key, Purpose::Expiry);
    shard.keys.insert(state)
}

/// Closes incidents that have been quiet and forgets keys that have expired, in the order of (time, key). A timer
/// whose key has been heard of since is set again.
fn set_off_timers(shard: &mut Shard, work: &mut Work, outputs: &mut Outputs) {
    let horizon_ms = shard.time.horizon_ms();
    while let Some(timer) = shard.timers.take_due(horizon_ms) {
        let Some(at) = shard.keys.find(&timer.key) else { continue };
        let state = shard.keys.at(at);
        match timer.purpose {
            Purpose::Expiry if state.expiry_timer_ms == timer.at_ms => {
                let expires_ms = state.last_ms.saturating_add(shard.config.source.key_expiry_ms);
                if expires_ms < horizon_ms {
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

/// Forgets a key; its incident ends with its last event.
fn drop_key(shard: &mut Shard, key: &str, reason: &'static str, work: &mut Work, outputs: &mut Outputs) {
    if let Some(at) = shard.keys.find(key) {
        let last_ms = shard.keys.at(at).last_ms;
        close(shard, at, last_ms, reason, work, outputs);
    }
    shard.keys.remove(key);
}

/// Ends the incident of a key, if it has one.
fn close(shard: &mut Shard, at: usize, at_ms: i64, reason: &'static str, work: &mut Work, outputs: &mut Outputs) {
    let (partition, offset) = (shard.partition(), shard.next_offset());
    let state = shard.keys.at(at);
    let Some(incident) = state.incident.take() else { return };
    let shown_key = shard.encoder.shown_key(state.key(), &mut work.shown_key);
    let key = Some(outputs.put(shown_key.as_bytes()));
    let closing = Closing { at_ms, offset, reason };
    let value = Some(outputs.write(|out| emit::write_closing(&shard.encoder, &incident, &closing, shown_key, out)));
    outputs.push(Output {
        topic: Topic::Alerts,
        partition,
        offset,
        record_time_ms: -1,
        key,
        value,
        traceparent: None,
        rejection: None,
    });
    outputs.tally(partition).alerts += 1;
}
