//! A worker that is started with another configuration keeps what both have, also when the one before it crashed.

use std::collections::{BTreeMap, BTreeSet};

use faultline_worker::pipeline::Scratch;
use serde_json::Value;

use super::batches::stream;
use super::variants::{A_MODEL_BEFORE, FEWER_MODELS, MORE_FEATURES, OTHER_WINDOWS, variants};
use super::world::{
    CLEAN, Course, Switch, World, anomaly, closings, difference, drain, flush, go_on, keeper, run, write_images,
};

/// Two minutes of lateness: no event of the stream is late.
const NOTHING_IS_LATE: usize = 3;
const RECORDS: usize = 900;
/// Records of a tick.
const EVERY: usize = 45;
/// The tick before which the configuration changes, and the one before which it changes back.
const THERE: usize = 8;
const BACK: usize = 14;

/// A worker that crashes now and then, or is never stopped but to be started with another configuration.
fn course(switches: &[(usize, usize)], images: u32) -> Course {
    let switches = switches.iter().map(|(tick, to)| (*tick, Switch { to: *to, images })).collect();
    let crashes = if images == CLEAN { BTreeMap::new() } else { (0..20).map(|tick| (tick, 1)).collect() };
    let ends = (EVERY..RECORDS).step_by(EVERY).collect();
    Course { ends, crashes, switches, replay: 2000.0, compacts: true, ..Course::default() }
}

/// Everything that became visible but the members of results that only the second configuration has.
fn common(world: &World) -> Vec<String> {
    let lines = world.visible.lines().map(|line| match line.split_once(",\"sum_2m\":") {
        Some((before, rest)) => format!("{before}{}", &rest[rest.find('}').unwrap()..]),
        None => line.to_owned(),
    });
    lines.collect()
}

/// The results from a record on, in the order of the source.
fn results(world: &World, from: usize) -> Vec<Value> {
    let payloads = world.visible.lines().filter_map(|line| {
        let mut words = line.splitn(4, ' ');
        let (topic, offset) = (words.next()?, words.next()?.parse::<usize>().ok()?);
        let is_wanted = topic == "Results" && (from..RECORDS).contains(&offset);
        is_wanted.then(|| serde_json::from_str(words.nth(1)?).ok())?
    });
    payloads.collect()
}

fn of(result: &Value, feature: &str) -> Option<f64> {
    result["features"][feature].as_f64()
}

#[test]
fn what_a_new_configuration_shares_with_the_old_one_goes_on_as_if_nothing_had_changed() {
    let (configs, mut records) = (variants(NOTHING_IS_LATE), stream(7, RECORDS));
    // Ids that were taken in before a configuration came, and come again after it.
    let again = [THERE, BACK].map(|tick| tick * EVERY + 1);
    for at in again {
        records[at - 3] = anomaly("u0", &format!("again-{at}"), &records[at - 3]);
        records[at] = records[at - 3].clone();
    }
    // This shard is never read back, so nothing that is tested here has had a hand in it.
    let never = run(&configs[..1], &records, &course(&[], CLEAN));
    assert!(never.visible.contains(r#""state":"opened""#) && !never.visible.contains("sum_2m"));
    for at in again {
        let is_scored = |at: usize| never.visible.contains(&format!("Results {at} "));
        assert!(is_scored(at - 3) && !is_scored(at), "a duplicate at {at}");
    }
    for images in [0, 1, CLEAN] {
        let found = run(configs, &records, &course(&[(THERE, MORE_FEATURES), (BACK, 0)], images));
        assert_eq!(found.replayed == 0, images == CLEAN, "{} records were replayed", found.replayed);
        assert!(found.visible.contains("sum_2m"));
        let (found, never) = (common(&found), common(&never));
        let differs = found.iter().zip(&never).find(|(found, never)| found != never);
        assert_eq!((found.len(), differs), (never.len(), None));
    }
}

#[test]
fn what_only_a_new_configuration_has_starts_empty_and_is_whole_once_its_window_has_passed() {
    let (configs, records) = (variants(NOTHING_IS_LATE), stream(7, RECORDS));
    let always = run(&configs[MORE_FEATURES..=MORE_FEATURES], &records, &course(&[], CLEAN));
    for images in [0, 1, CLEAN] {
        let found = run(configs, &records, &course(&[(THERE, MORE_FEATURES)], images));
        let (found, always) = (results(&found, THERE * EVERY), results(&always, THERE * EVERY));
        assert_eq!(found.len(), always.len());
        let mut seen = BTreeSet::new();
        let mut differ = 0;
        for (number, (result, expected)) in found.iter().zip(&always).enumerate() {
            if seen.insert(result["key"].as_str()) {
                assert_eq!(of(result, "sum_2m"), of(result, "value"), "{result}");
                assert_eq!(of(result, "pause"), None, "{result}");
            } else {
                assert_eq!(of(result, "pause"), of(expected, "pause"), "{result}");
            }
            differ += usize::from(of(result, "sum_2m") != of(expected, "sum_2m"));
            // 150 events take more than seven minutes: two of the window, and what an event may lie behind.
            assert!(number < 150 || result == expected, "{result}\n{expected}");
        }
        assert!(differ > 5, "{differ} sums began with the configuration");
    }
}

/// What the first event of each key finds from a record on.
fn firsts(world: &World, from: usize) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    results(world, from).into_iter().filter(|result| seen.insert(result["key"].to_string())).collect()
}

#[test]
fn a_configuration_that_comes_back_finds_nothing_of_what_the_one_in_between_did_not_have() {
    let (configs, records) = (variants(NOTHING_IS_LATE), stream(7, RECORDS));
    // Two ticks in between, less than a window; before them a version of what keys share has taken force.
    let (from, until) = (300, 330);
    let ends: Vec<usize> = (0..RECORDS).step_by(15).collect();
    let [there, back] = [from, until].map(|at| at / 15 + 1);
    for to in [OTHER_WINDOWS, FEWER_MODELS] {
        let course = |images, crashes| {
            let switches = [(there, Switch { to, images }), (back, Switch { to: 0, images })].into();
            let crashes = if crashes { (0..60).map(|tick| (tick, 1)).collect() } else { BTreeMap::new() };
            Course { ends: ends.clone(), crashes, switches, replay: 5000.0, ..Course::default() }
        };
        let undisturbed = run(configs, &records, &course(CLEAN, false));
        let firsts = firsts(&undisturbed, until);
        assert!(
            firsts.len() > 10
                && firsts.iter().all(|result| match to {
                    OTHER_WINDOWS =>
                        (of(result, "mean_5m"), of(result, "events_1m")) == (of(result, "value"), Some(1.0)),
                    _ => of(result, "before").is_none(),
                }),
            "{firsts:#?}"
        );
        for images in [0, 1, CLEAN] {
            let disturbed = run(configs, &records, &course(images, true));
            assert_eq!(difference(&disturbed, &undisturbed), None, "variant {to}, {images} ticks of images");
        }
    }
}

#[test]
fn a_configuration_in_between_counts_though_no_record_was_folded_under_it() {
    let (configs, records) = (variants(NOTHING_IS_LATE), stream(7, 500));
    for to in [OTHER_WINDOWS, FEWER_MODELS] {
        let went = |images, crashes: &[usize]| {
            let switches = [(2, Switch { to, images: CLEAN }), (3, Switch { to: 0, images })].into();
            let crashes = crashes.iter().map(|tick| (*tick, 1)).collect();
            // The third and the fourth tick have no records.
            let ends = vec![150, 300, 300, 300, 350, 400, 450];
            run(configs, &records, &Course { ends, switches, crashes, replay: 5000.0, ..Course::default() })
        };
        assert_eq!(difference(&went(0, &[3, 4, 5, 6]), &went(CLEAN, &[])), None, "variant {to}");
    }
}

/// The names of the models in each alert.
fn models(alerts: &BTreeSet<String>) -> Vec<Vec<String>> {
    let of_alert = |alert: &String| {
        let alert: Value = serde_json::from_str(alert).unwrap();
        let models = alert["models"].as_array().unwrap().iter();
        models.map(|model| model["name"].as_str().unwrap().to_owned()).collect()
    };
    alerts.iter().map(of_alert).collect()
}

#[test]
fn an_incident_goes_on_with_the_models_that_opened_it_wherever_they_stand_now() {
    let mut records = stream(7, 300);
    records[299] = anomaly("u0", "anomaly", &records[299]);
    let configs = variants(NOTHING_IS_LATE);
    let (mut world, mut keeper, mut scratch) = (World::new(&configs[0]), keeper(), Scratch::new());
    let mut shard = world.restore(&records, &mut scratch);
    go_on(&mut world, &mut shard, &mut keeper, &records, 5000.0);
    let opened = models(&closings(&mut shard));
    assert!(opened.contains(&vec!["amount".to_owned(), "speed".to_owned(), "limit".to_owned()]), "{opened:?}");
    for (to, gone) in [(A_MODEL_BEFORE, ""), (0, ""), (A_MODEL_BEFORE, ""), (FEWER_MODELS, "speed")] {
        world.config = configs[to].clone();
        let mut shard = world.restore(&records, &mut scratch);
        // What it says is visible, and then it crashes.
        write_images(&mut world, &mut shard, &mut keeper, 1);
        let mut shard = world.restore(&records, &mut scratch);
        let mut expected = opened.clone();
        expected.iter_mut().for_each(|models| models.retain(|name| name != gone));
        assert_eq!(models(&closings(&mut shard)), expected, "under variant {to}");
    }
}

#[test]
fn what_only_the_configuration_before_had_is_deleted_from_the_state_topic() {
    let (configs, records) = (variants(NOTHING_IS_LATE), stream(7, 600));
    for images in [1, CLEAN] {
        let (mut world, mut keeper) = (World::new(&configs[0]), keeper());
        let mut shard = world.restore(&records, &mut Scratch::new());
        go_on(&mut world, &mut shard, &mut keeper, &records[..400], 5000.0);
        write_images(&mut world, &mut shard, &mut keeper, images);
        world.config = configs[FEWER_MODELS].clone();
        let mut shard = world.restore(&records, &mut Scratch::new());
        go_on(&mut world, &mut shard, &mut keeper, &records, 5000.0);
        flush(&mut world, &mut shard, &mut keeper);
        drain(&mut world, &mut shard, &mut keeper);
        assert_eq!(world.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn counts_of_a_model_that_was_gone_do_not_come_back_with_it() {
    let (configs, records) = (variants(NOTHING_IS_LATE), stream(7, 520));
    // More ticks since the last version than records are deleted in a tick.
    let course = |images, crashes| Course {
        ends: (1..520).collect(),
        switches: [(490, Switch { to: FEWER_MODELS, images }), (491, Switch { to: 0, images })].into(),
        crashes,
        replay: 5000.0,
        ..Course::default()
    };
    let undisturbed = run(configs, &records, &course(CLEAN, BTreeMap::new()));
    let disturbed = run(configs, &records, &course(0, [(492, 1)].into()));
    assert_eq!(difference(&disturbed, &undisturbed), None);
}

#[test]
fn what_a_crash_right_after_a_switch_left_in_old_images_does_not_come_back_later() {
    let (configs, records) = (variants(NOTHING_IS_LATE), stream(7, 500));
    // Whether the worker in between dies after its first tick, and comes back.
    let went = |dies: bool| {
        let (mut world, mut keeper, mut scratch) = (World::new(&configs[0]), keeper(), Scratch::new());
        let mut shard = world.restore(&records, &mut scratch);
        go_on(&mut world, &mut shard, &mut keeper, &records[..300], 5000.0);
        flush(&mut world, &mut shard, &mut keeper);
        world.config = configs[FEWER_MODELS].clone();
        let mut shard = world.restore(&records, &mut scratch);
        // A tick that is visible, and no image is written in it: those of the first worker still lie there.
        go_on(&mut world, &mut shard, &mut keeper, &records[..310], 5000.0);
        assert_eq!(world.marker().unwrap().low_water.offset, 300);
        if dies {
            shard = world.restore(&records, &mut scratch);
        }
        flush(&mut world, &mut shard, &mut keeper);
        world.config = configs[0].clone();
        let mut shard = world.restore(&records, &mut scratch);
        go_on(&mut world, &mut shard, &mut keeper, &records[..320], 0.0);
        assert_eq!(world.marker().unwrap().low_water.offset, 320, "nothing is read under the configuration between");
        let mut shard = world.restore(&records, &mut scratch);
        go_on(&mut world, &mut shard, &mut keeper, &records, 0.0);
        world
    };
    let (disturbed, undisturbed) = (went(true), went(false));
    let keys = |offsets: std::ops::Range<usize>| -> BTreeSet<&[u8]> {
        records[offsets].iter().filter_map(|record| record.key.as_deref()).collect()
    };
    let waiting = keys(0..300).difference(&keys(300..320)).filter(|key| keys(320..500).contains(*key)).count();
    assert!(waiting > 2, "{waiting} keys have no event until the last worker, so that only their old images are left");
    assert_eq!(difference(&disturbed, &undisturbed), None);
}
