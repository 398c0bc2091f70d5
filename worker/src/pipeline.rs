//! The order of the steps; no other file knows it.
//!
//! ```text
//! fold thread:    forget keys ► take ► fold each record ► set off the timers of silent partitions ► hand over ─┐
//! commit thread:                                                           commit the tick before it … this one ◄┘
//!
//! fold:  take ─► decode ────────► window ─────────► score ─► decide ─► emit ─► commit
//!                  ├ dead letter    ├ late            │        │         └ result, alert
//!                  ├ skipped        ├ duplicate       │        └ severity, incident
//!                  ├ filtered       └ timers due      └ one surprise of all models
//!                  └ the shard stops
//! ```
//! A record ends in exactly one outcome. Until `window` has admitted it nothing but counters changes, and only
//! admitted events move the watermark. That the shard must stop is found before the record changes anything, so it
//! stops exactly there.
//!
//! Timers that the watermark has passed go off before the event that moved it is folded into its key; so nothing is
//! left to do at the end of a tick, and where a tick ends never shows. Only silence leaves work to [`turn`].

mod scratch;

use std::mem::take;
use std::time::Instant;

use faultline_features::recycle;

use crate::decide::decide;
use crate::decode::{Slots, decode};
use crate::emit::emit;
use crate::keep::keep;
use crate::lane::Lane;
use crate::outcome::{Ended, Outcome};
use crate::outputs::Outputs;
use crate::ports::{RawEvent, Source};
use crate::score::score;
use crate::shard::{Shard, forget_key, open, reopen, set_off_timers};
use crate::take::take as take_records;
use crate::window::{admit, window};

pub use crate::shard::Trip;
pub use scratch::Scratch;
pub(crate) use scratch::Work;

/// One tick of a lane, up to its hand-over: the commit thread does the rest while the next one is folded.
pub(crate) fn tick<S: Source, F>(lane: &mut Lane<S, F>) {
    lane.begin_tick(Instant::now());

    lane.forget_keys(forget);

    take_records(lane, fold);

    lane.turn_silent_shards(turn);

    lane.keep(keep);

    lane.hand_over();
}

/// Folds one record into its shard: all `steps` between take and commit. Counts the outcome and moves the shard's
/// next offset.
///
/// # Errors
/// The shard must stop before this record: it is not consumed, and everything before it stays valid.
pub fn fold(
    shard: &mut Shard,
    raw: &RawEvent<'_>,
    scratch: &mut Scratch,
    outputs: &mut Outputs,
) -> Result<Outcome, Trip> {
    let Scratch { arena, slots: buffers, work } = scratch;
    let mut slots = take(buffers).recycle();
    let ended = steps(shard, raw, arena, &mut slots, work, outputs);
    *buffers = slots.recycle();
    let outcome = ended.or_else(Ended::outcome)?;
    outputs.count(shard.partition(), outcome);
    shard.consumed(raw.offset);
    Ok(outcome)
}

/// Folds a record again that was folded before a restart: into windows and models only. What it wrote, decided and counted
/// is in the state topic, and so is what timers did since.
///
/// # Errors
/// The shard would have stopped here, which it did not: state and source do not belong together.
pub fn replay(shard: &mut Shard, raw: &RawEvent<'_>, scratch: &mut Scratch, nowhere: &mut Outputs) -> Result<(), Trip> {
    let Scratch { arena, slots: buffers, work } = scratch;
    let mut slots = take(buffers).recycle();
    let ended = silent_steps(shard, raw, arena, &mut slots, work, nowhere);
    *buffers = slots.recycle();
    nowhere.clear();
    if let Err(ended) = ended {
        ended.outcome()?;
    }
    shard.consumed(raw.offset);
    Ok(())
}

/// Sets off the timers that are due: at the end of a tick, and when the partition is idle.
pub fn turn(shard: &mut Shard, scratch: &mut Scratch, outputs: &mut Outputs) {
    set_off_timers(shard, &mut scratch.work, outputs);
}

/// Forgets a key between two records, as if it had never been seen: its incident is closed, its state is dropped. False if
/// the shard does not know it.
pub fn forget(shard: &mut Shard, key: &str, scratch: &mut Scratch, outputs: &mut Outputs) -> bool {
    forget_key(shard, key, &mut scratch.work, outputs)
}

/// The steps of one record.
fn steps<'a>(
    shard: &mut Shard,
    raw: &RawEvent<'a>,
    arena: &'a mut String,
    slots: &mut Slots<'a>,
    work: &mut Work,
    outputs: &mut Outputs,
) -> Result<Outcome, Ended> {
    let event = decode(shard, raw, arena, slots, outputs)?;

    admit(shard, &event, outputs)?;
    set_off_timers(shard, work, outputs);
    let (windows, mut key) = open(shard, &event, work, outputs);
    let columns = window(key.config, windows, &event, recycle(take(&mut work.columns)));

    let scored = score(&mut key, &columns, &mut work.scores);

    let verdict = decide(&mut key, &event, &columns, scored, &work.scores);

    emit(&key, &event, &columns, &verdict, work, outputs);

    work.columns = recycle(columns);
    Ok(Outcome::Scored)
}

/// The steps of one record that is folded again.
fn silent_steps<'a>(
    shard: &mut Shard,
    raw: &RawEvent<'a>,
    arena: &'a mut String,
    slots: &mut Slots<'a>,
    work: &mut Work,
    nowhere: &mut Outputs,
) -> Result<(), Ended> {
    let event = decode(shard, raw, arena, slots, nowhere)?;
    admit(shard, &event, nowhere)?;
    if let Some((windows, mut key)) = reopen(shard, &event) {
        let columns = window(key.config, windows, &event, recycle(take(&mut work.columns)));
        score(&mut key, &columns, &mut work.scores);
        work.columns = recycle(columns);
    }
    Ok(())
}
