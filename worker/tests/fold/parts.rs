//! Images that lie in the state topic in parts: none of a key that has ended is left behind, or stands in the way.

use std::collections::BTreeSet;

use faultline_worker::keep::{Pace, keep};
use faultline_worker::outputs::Outputs;
use faultline_worker::pipeline::{Scratch, turn};
use faultline_worker::state::{Head, RecordKey};

use super::support::{KEYED, Record, SEVERITIES, START, payment, rules};
use super::world::{World, drain, go_on, keeper};

const KEYS: usize = 60;

fn records() -> Vec<Record> {
    (0..KEYS).map(|user| payment(&format!("u{user}"), user as i64, 1)).collect()
}

/// Keys whose images have more parts than one tick may delete records, all of which end in one tick.
fn ended(most_part_bytes: usize, compacts: bool) -> World {
    let (records, mut outputs, mut keeper) = (records(), Outputs::new(), keeper());
    keeper.most_part_bytes = most_part_bytes;
    let mut world = World::new(&rules(&format!("{KEYED}keyExpiry: 5m"), SEVERITIES));
    let mut shard = world.restore(&records, &mut Scratch::new());
    go_on(&mut world, &mut shard, &mut keeper, &records, 0.0);
    let heads = world.keys();
    assert!(heads.len() == KEYS && heads.values().all(|head| head.parts > 4), "{heads:?}");
    shard.at_end(START + 3600);
    shard.at_end(START + 3600 + 1000);
    turn(&mut shard, &mut Scratch::new(), &mut outputs);
    keep(&mut shard, &mut keeper, Pace { replay: 0.0, folded: 0, most_bytes: 1 << 20, hurry: false }, &mut outputs);
    world.commit(&outputs);
    assert!(shard.keys() == 0 && world.latest().len() > KEYS, "{} records are left", world.latest().len());
    let begun = |(key, head): (&String, &Head)| {
        let parts = (0..head.parts).map(|part| RecordKey::Image { key, part });
        let left = parts.filter(|record| world.latest().keys().any(|key| RecordKey::parse(key) == Some(*record)));
        (1..head.parts as usize).contains(&left.count())
    };
    assert_eq!(heads.iter().filter(|key| begun(*key)).count(), 1, "one key is half deleted");
    if compacts {
        world.compact();
    }
    world
}

#[test]
fn parts_of_keys_that_ended_before_a_crash_do_not_stand_in_the_way_and_are_deleted() {
    // 12, 9 and 7 parts: none divides what is deleted in one tick, so that it ends in the middle of a key.
    for (most_part_bytes, compacts) in [11, 15, 19].into_iter().flat_map(|bytes| [(bytes, false), (bytes, true)]) {
        let mut world = ended(most_part_bytes, compacts);
        let mut keeper = keeper();
        let mut shard = world.restore(&records(), &mut Scratch::new());
        assert_eq!(shard.keys(), 0);
        drain(&mut world, &mut shard, &mut keeper);
        let images = |key: &&[u8]| matches!(RecordKey::parse(key), Some(RecordKey::Image { .. }));
        let left: BTreeSet<&[u8]> = world.latest().into_keys().filter(images).collect();
        assert!(left.is_empty(), "{} parts of {most_part_bytes} bytes are left, compacted: {compacts}", left.len());
    }
}
