//! What a shard knows of a few users with a long past, as records of its state topic: made by the worker's own fold.

use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use faultline_crds::WorkerConfig;
use faultline_worker::keep::{Keeper, Pace, keep};
use faultline_worker::outputs::{Outputs, Topic};
use faultline_worker::pipeline::{Scratch, fold};
use faultline_worker::ports::{RawEvent, RecordTime};
use faultline_worker::restore::owner;
use faultline_worker::shard::Shard;
use faultline_worker::state::{RecordKey, read_head};

use crate::bench::events::Events;

/// Event time between two events of a user.
const STEP_MS: i64 = 60_000;

/// A record of the state topic.
pub(super) type Record = (Vec<u8>, Vec<u8>);

/// What a partition has seen.
pub(super) struct Past {
    /// Its source, from offset 0 on: key and value.
    pub(super) events: Vec<(String, String)>,
    /// The users' images, without their heads.
    pub(super) images: Vec<Vec<u8>>,
    /// Everything else, in order; the marker comes last.
    pub(super) rest: Vec<Record>,
}

/// Who was there how often.
pub(super) struct Habits {
    pub(super) partition: i32,
    pub(super) partitions: i32,
    pub(super) users: u64,
    /// Events of each.
    pub(super) each: u64,
    /// When the last ones came.
    pub(super) until_ms: i64,
}

impl Past {
    /// Folds it, up to a clean stop.
    pub(super) fn make(config: &Arc<WorkerConfig>, habits: &Habits, seed: u64) -> Result<Self> {
        let Habits { partition, partitions, users, each, until_ms } = *habits;
        let mut generator = Events::new(seed.wrapping_add(partition as u64));
        let mut shard = Shard::new(Arc::clone(config), partition, 0).keeping_state();
        let (mut scratch, mut outputs) = (Scratch::new(), Outputs::new());
        let mut events = Vec::new();
        shard.begin_tick(until_ms.div_euclid(1000));
        for step in 0..each {
            let time_ms = until_ms - (each - step) as i64 * STEP_MS;
            for user in 0..users {
                let user = user * partitions as u64 + partition as u64;
                let number = events.len() as u64 * partitions as u64 + partition as u64;
                generator.of_user(user as usize, number, time_ms);
                let raw = RawEvent {
                    partition,
                    offset: events.len() as i64,
                    timestamp: RecordTime::Created(time_ms),
                    key: Some(generator.key.as_bytes()),
                    value: Some(generator.value.as_bytes()),
                    traceparent: None,
                };
                fold(&mut shard, &raw, &mut scratch, &mut outputs)
                    .map_err(|trip| anyhow!("the fold stops: {trip:?}"))?;
                outputs.clear();
                events.push((generator.key.clone(), generator.value.clone()));
            }
        }
        ensure!(shard.keys() as u64 == users, "the fold knows {} of {users} users", shard.keys());
        let (images, rest) = stop(config, &mut shard, partitions)?;
        ensure!(images.len() as u64 == users, "{} images of {users} users", images.len());
        Ok(Self { events, images, rest })
    }
}

/// Writes everything, as a worker does that is told to end.
fn stop(config: &WorkerConfig, shard: &mut Shard, partitions: i32) -> Result<(Vec<Vec<u8>>, Vec<Record>)> {
    let owner = owner(&config.namespace, &config.name);
    let mut keeper = Keeper::new(&format!("{}.bulk.0", config.identity), &owner, partitions as u32);
    let mut outputs = Outputs::new();
    let (mut images, mut rest) = (Vec::new(), Vec::new());
    let mut marker = None;
    loop {
        let pace = Pace { replay: 0.0, folded: 0, most_bytes: 8 << 20, hurry: true };
        let backlog = keep(shard, &mut keeper, pace, &mut outputs);
        for output in outputs.records().iter().filter(|output| output.topic == Topic::State) {
            let (Some(key), Some(value)) = (&output.key, &output.value) else { continue };
            let (key, value) = (outputs.bytes(key), outputs.bytes(value));
            match RecordKey::parse(key) {
                Some(RecordKey::Image { .. }) => {
                    let (head, image) = read_head(value)?;
                    ensure!(head.parts == 1, "an image has {} parts", head.parts);
                    images.push(image.to_vec());
                }
                Some(RecordKey::Marker) => marker = Some((key.to_vec(), value.to_vec())),
                _ => rest.push((key.to_vec(), value.to_vec())),
            }
        }
        outputs.clear();
        if backlog.replay == 0 {
            break;
        }
    }
    rest.extend(marker);
    Ok((images, rest))
}

#[cfg(test)]
mod tests {
    use faultline_worker::restore::{Found, Rebuild};
    use faultline_worker::state::Marker;

    use super::*;
    use crate::bench::pipelines::{self, Names, Variant};
    use crate::tree;

    #[test]
    fn a_worker_goes_on_with_it() {
        let names = Names { input: "in".into(), identity: "past".into() };
        let folder = tree::target_folder().join("bench-past-test");
        let folder = pipelines::write(&tree::root(), &folder, Variant::Quickstart, &names).unwrap();
        let config = pipelines::remember(&folder, 30).unwrap();
        let habits = Habits { partition: 1, partitions: 2, users: 5, each: 8, until_ms: 1_793_000_000_000 };
        let past = Past::make(&config, &habits, 7).unwrap();
        assert_eq!((past.events.len(), past.images.len()), (40, 5));

        let mut found = Found::default();
        past.rest.iter().for_each(|(key, value)| found.take_in(key, Some(value)).unwrap());
        let (key, value) = past.rest.last().unwrap();
        assert_eq!(key, b"m");
        let marker = Marker::read(value).unwrap();
        assert_eq!((marker.next_offset, marker.low_water.offset), (40, 40));
        for key in ["user-00001", "anyone"] {
            let (key, value) = super::super::fill::image(key, 40, &past.images[0]);
            found.take_in(&key, Some(&value)).unwrap();
        }
        let shard = Rebuild::begin(found, marker, &config, 1, false).unwrap().finish().unwrap();
        assert_eq!((shard.keys(), shard.next_offset()), (2, 40));
    }
}
