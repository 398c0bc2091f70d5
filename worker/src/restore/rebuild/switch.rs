//! A shard goes over to another configuration: where it did so in a replay, or because it is started with another one.
//!
//! What both configurations have, by fingerprint, goes on; everything else begins anew, also where the state topic still
//! holds what an earlier configuration knew of it: what a shard knows must not depend on which images were written when.

use std::collections::BTreeSet;
use std::sync::Arc;

use faultline_crds::WorkerConfig;
use faultline_numerics::image::{ImageError, Writer};

use crate::decide::ModelSet;
use crate::score::Scoring;
use crate::shard::{Shard, read_image, write_image};
use crate::state::{LowWater, RecordKey};

/// The same shard under another configuration, from its next offset on.
///
/// # Errors
/// An image that was just written, or a version, cannot be read.
pub(super) fn carry_over(mut shard: Shard, config: &Arc<WorkerConfig>) -> Result<Shard, ImageError> {
    let before = now(&shard);
    let losing = losing(&mut shard, config)?;
    let known: BTreeSet<_> = shard.scoring.in_force().map(|(of, _)| of).collect();
    let versions = shard.scoring.take_history();
    let old = Arc::clone(&shard.config);
    let mut shard = shard.carry_over(config)?;
    if let Some(mut versions) = versions {
        for (of, versions) in versions.iter_mut().filter(|(of, _)| !known.contains(of)) {
            let since = versions.split_off(&(before.offset + 1));
            for offset in std::mem::replace(versions, since).into_keys() {
                shard.journal.bury(before.offset, &RecordKey::Version { of: *of, offset });
            }
        }
        shard.scoring.begin_replay(config, versions, before.offset)?;
    }
    // Their images hold more than they know from now on.
    for key in losing {
        touch(&mut shard, &key, before);
    }
    rename_models(&mut shard, &old);
    Ok(shard)
}

/// How far the shard is.
pub(super) fn now(shard: &Shard) -> LowWater {
    LowWater { offset: shard.next_offset(), greatest_ms: shard.greatest_timestamp_ms(), records: shard.records() }
}

/// The image of a key has to be written again.
pub(super) fn touch(shard: &mut Shard, key: &str, before: LowWater) {
    if let Some(at) = shard.keys.find(key) {
        shard.journal.touch(shard.keys.at(at), before);
    }
}

/// Keys that know something of which nothing is left once they come back from another configuration.
fn losing(shard: &mut Shard, config: &WorkerConfig) -> Result<Vec<Box<str>>, ImageError> {
    let Shard { config: old, scoring: of_old, keys, .. } = shard;
    let of_new = Scoring::new(config);
    let (mut whole, mut other, mut again, mut part) = (Writer::new(), Writer::new(), Writer::new(), Writer::new());
    let mut losing = Vec::new();
    for state in keys.all() {
        for w in [&mut whole, &mut other, &mut again] {
            w.clear();
        }
        write_image(old, of_old, state, &mut whole, &mut part);
        let there = read_image(config, &of_new, state.key(), whole.as_bytes())?;
        write_image(config, &of_new, &there, &mut other, &mut part);
        let back = read_image(old, of_old, state.key(), other.as_bytes())?;
        write_image(old, of_old, &back, &mut again, &mut part);
        if whole.as_bytes() != again.as_bytes() {
            losing.push(state.key().into());
        }
    }
    Ok(losing)
}

/// Open incidents name models by their places, which may be others now.
fn rename_models(shard: &mut Shard, old: &WorkerConfig) {
    let Shard { config, keys, journal, .. } = shard;
    let place = |name: &str| config.models.iter().take(64).position(|bound| bound.name == name);
    for state in keys.all() {
        let Some(incident) = &mut state.incident else { continue };
        let named = old.models.iter().enumerate().filter(|(at, _)| incident.models.contains(*at));
        let bits = named.filter_map(|(_, bound)| place(&bound.name)).fold(0, |bits, at| bits | 1 << at);
        if bits != incident.models.bits() {
            incident.models = ModelSet::from_bits(bits);
            journal.decided(state.key());
        }
    }
}
