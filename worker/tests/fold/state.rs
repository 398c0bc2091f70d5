//! What is kept of a shard brings it back: no crash, at any record, shows in what comes out.

use std::collections::BTreeMap;
use std::slice::from_ref;

use faultline_numerics::random::Random;
use faultline_worker::pipeline::Scratch;
use proptest::prelude::*;

use super::batches::{busy, stream};
use super::variants::{self, variants};
use super::world::{CLEAN, Course, Switch, World, difference, flush, go_on, keeper, run};

fn courses(records: usize) -> impl Strategy<Value = Course> {
    let ends = prop::collection::btree_set(0..records, 0..40);
    let crashes = prop::collection::btree_map(0..60_usize, 1..3_u32, 0..10);
    let empty = prop::collection::vec(0..records, 0..4);
    let idle = prop::collection::vec(0..41_usize, 0..3);
    // Users come the more often the smaller their number is.
    let forgotten = prop::collection::btree_map(0..records, 0..20_u64, 0..20);
    let forgotten_last = prop::collection::btree_map(0..45_usize, 0..20_u64, 0..10);
    let replay = prop_oneof![0.0..20.0, 0.0..2000.0];
    let switch = (variants::ALL, prop_oneof![Just(0), Just(1), Just(CLEAN)]);
    let switch = switch.prop_map(|(to, images)| Switch { to, images });
    let switches = prop::collection::btree_map(0..41_usize, switch, 0..4);
    // Images of this pipeline have some hundred bytes.
    let part_bytes =
        prop_oneof![Just(vec![]), prop::collection::vec(prop_oneof![16..128_usize, 128..1024_usize], 1..4)];
    (ends, empty, crashes, replay, idle, any::<bool>(), forgotten, forgotten_last, switches, part_bytes).prop_map(
        |(ends, empty, crashes, replay, idle, compacts, forgotten, forgotten_last, switches, part_bytes)| {
            // A tick that ends where the one before it ended has no records.
            let mut ends: Vec<usize> =
                ends.into_iter().flat_map(|end| [end].repeat(1 + usize::from(empty.contains(&end)))).collect();
            ends.extend(empty);
            ends.sort_unstable();
            Course { ends, crashes, switches, replay, idle, compacts, forgotten, forgotten_last, part_bytes }
        },
    )
}

/// Cases of the property; more by `FAULTLINE_CASES`.
fn cases() -> u32 {
    std::env::var("FAULTLINE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_crash_shows(seed in any::<u64>(), lateness in variants::LATENESSES, course in courses(500)) {
        let configs = variants(lateness);
        let records = stream(seed, 500);
        let undisturbed = run(configs, &records, &calm(&course));
        let disturbed = run(configs, &records, &course);
        prop_assert_eq!(difference(&disturbed, &undisturbed), None);
    }
}

/// The same ticks and configurations without a crash.
fn calm(course: &Course) -> Course {
    let mut calm = Course { crashes: BTreeMap::new(), ..course.clone() };
    calm.switches.values_mut().for_each(|switch| switch.images = CLEAN);
    calm
}

/// Records of a tick, where ticks are equally long.
const EVERY: usize = 37;

/// A crash after every tick.
fn crashing(records: usize, replay: f64) -> Course {
    let ends: Vec<usize> = (0..records).step_by(EVERY).collect();
    let crashes = (0..ends.len() + 1).map(|tick| (tick, 1)).collect();
    Course { ends, crashes, replay, compacts: true, ..Course::default() }
}

#[test]
fn a_crash_after_every_tick_replays_and_shows_nothing() {
    let config = busy();
    let records = stream(7, 1500);
    let course = Course { idle: vec![20], ..crashing(1500, 200.0) };
    let disturbed = run(from_ref(&config), &records, &course);
    let undisturbed = run(from_ref(&config), &records, &calm(&course));
    assert!(disturbed.replayed > 1000, "{} records were replayed", disturbed.replayed);
    assert!(undisturbed.visible.contains("closed"));
    assert_eq!(difference(&disturbed, &undisturbed), None);
}

/// The results of a user, by offset: whether the event was the first that was known of him.
fn was_new(world: &World, user: &str) -> BTreeMap<usize, bool> {
    let results = world.visible.lines().filter_map(|line| {
        let mut words = line.splitn(4, ' ');
        let (topic, offset, key) = (words.next()?, words.next()?, words.next()?);
        let payload: serde_json::Value = serde_json::from_str(words.next()?).ok()?;
        let is_new = payload["features"]["before"].is_null();
        (topic == "Results" && key == user).then(|| (offset.parse().unwrap(), is_new))
    });
    results.collect()
}

#[test]
fn a_key_that_was_forgotten_does_not_come_back_with_a_crash() {
    let config = busy();
    let records = stream(7, 1500);
    let remembered = crashing(1500, 2000.0);
    let known = run(from_ref(&config), &records, &remembered);
    // A user in an incident, whose next event comes after the next crash.
    let next_of = |user: &str, at: usize| was_new(&known, user).into_iter().find(|(offset, _)| *offset > at);
    let is_apart = |at: usize, next: usize| at > 300 && next / EVERY > (at + 1) / EVERY;
    let is_fit = |(at, user): &(usize, &str)| matches!(next_of(user, *at), Some((next, false)) if is_apart(*at, next));
    let mut opened = known.visible.lines().filter(|line| line.contains(r#""state":"opened""#)).map(|line| {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        (words[1].parse::<usize>().unwrap(), words[2])
    });
    let (at, user) = opened.find(is_fit).unwrap();
    let number = user.trim_start_matches('u').parse().unwrap();
    let course = Course { forgotten: [(at + 1, number)].into(), ..remembered };
    let disturbed = run(from_ref(&config), &records, &course);
    assert!(disturbed.replayed > 1000, "{} records were replayed", disturbed.replayed);
    assert_eq!(disturbed.visible.matches("keyForgotten").count(), 1, "its incident is closed, once");
    let (next, _) = next_of(user, at).unwrap();
    let (known, found) = (was_new(&known, user), was_new(&disturbed, user));
    let differ: Vec<_> = found.iter().filter(|(offset, is_new)| known[*offset] != **is_new).collect();
    assert_eq!(differ, [(&next, &true)], "exactly the next event is the first of a new key");
    let undisturbed = run(from_ref(&config), &records, &calm(&course));
    assert_eq!(difference(&disturbed, &undisturbed), None);
}

#[test]
fn a_clean_stop_leaves_nothing_to_replay_and_the_pace_bounds_the_rest() {
    let config = busy();
    let mut random = Random::seeded(3);
    let records = stream(random.below(1000), 1500);
    let (mut world, mut keeper) = (World::new(&config), keeper());
    let mut shard = world.restore(&records, &mut Scratch::new());
    let most = go_on(&mut world, &mut shard, &mut keeper, &records, 300.0);
    assert!((50..=300).contains(&most.replay), "{most:?}");
    flush(&mut world, &mut shard, &mut keeper);
    world.restore(&records, &mut Scratch::new());
    assert_eq!(world.replayed, 0);
}
