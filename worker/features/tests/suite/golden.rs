//! Images of released formats: old files restore, and what is folded then comes out as when they were written.
//!
//! `tests/golden/windows.<format>.txt` holds keys of the plan of [`every_kind_of_state`]: for each the image of its
//! first events, then the columns that its next events gave. To add a format: raise `FORMAT`, teach `restore` to read
//! both, and run this test; it fails and says where it has put the new file. Look at it and commit it. Old files are
//! never rewritten: they stand for what is stored in the topics of running pipelines.

use std::fs;
use std::path::PathBuf;

use faultline_features::{KeyWindows, Plan};
use faultline_numerics::image::{Reader, Writer};
use faultline_numerics::random::Random;

use crate::common::{Raw, compile, every_kind_of_state, fold};

/// Events before the image: none, one, a young key, one whose windows are all full, one that skips panes.
const KEYS: [(u64, usize, i64); 5] = [(1, 0, 500), (2, 1, 500), (3, 12, 500), (4, 400, 500), (5, 150, 9_000)];
/// Events after it.
const AFTER: usize = 12;
/// Image bytes on a line.
const LINE_BYTES: usize = 60;

/// The events of a key: steps of up to `step_ms`, one in eight back in time; any field may be absent.
fn events(seed: u64, count: usize, step_ms: i64) -> Vec<Raw> {
    let mut random = Random::seeded(seed);
    let mut now_ms = 1_700_000_000_000;
    let one = |_| {
        let back = random.below(8) == 0;
        let step = random.below(step_ms as u64) as i64;
        let time_ms = if back { now_ms - 6 * step } else { now_ms + step };
        now_ms = now_ms.max(time_ms);
        Raw {
            time_ms,
            value: (random.below(10) > 0).then(|| 100.0 + 7.0 * random.normal()),
            level: (random.below(10) > 3).then(|| random.uniform() - 0.5),
            merchant: [None, Some(""), Some("a shop"), Some("ü")][random.below(4) as usize],
            status: [None, Some("declined"), Some("approved")][random.below(3) as usize],
        }
    };
    (0..count).map(one).collect()
}

/// The columns of an event by name, absent ones left out.
fn line(plan: &Plan, key: &mut KeyWindows, raw: &Raw) -> String {
    let values = fold(plan, key, raw);
    let held = plan.columns().iter().zip(values).filter_map(|(column, value)| Some((&column.name, value?)));
    held.map(|(name, value)| format!(" {name}={}", value.replace(' ', "_"))).collect()
}

fn written(plan: &Plan) -> String {
    let mut text = String::new();
    for (seed, before, step_ms) in KEYS {
        let events = events(seed, before + AFTER, step_ms);
        let mut key = plan.new_key();
        for raw in &events[..before] {
            fold(plan, &mut key, raw);
        }
        text += &format!("key {seed} after {before}\n");
        let mut image = Writer::new();
        plan.write(&key, &mut image);
        for bytes in image.into_bytes().chunks(LINE_BYTES) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("image {hex}\n");
        }
        for raw in &events[before..] {
            text += &format!("columns{}\n", line(plan, &mut key, raw));
        }
    }
    text
}

/// What a line holds for a column; `None`: nothing.
fn held<'l>(line: &'l str, column: &str) -> Option<&'l str> {
    line.split(' ').find_map(|part| part.strip_prefix(column)?.strip_prefix('='))
}

fn check(plan: &Plan, name: &str, text: &str) {
    let of_keys: Vec<&str> = text.split("key ").skip(1).collect();
    assert_eq!(of_keys.len(), KEYS.len(), "{name}");
    for (of_key, (seed, before, step_ms)) in of_keys.iter().zip(KEYS) {
        let hex: String = of_key.lines().filter_map(|line| line.strip_prefix("image ")).collect();
        let image: Vec<u8> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        let mut reader = Reader::new(&image);
        let mut key = plan.restore(&mut reader).unwrap();
        assert!(reader.is_at_end(), "{name}");
        let columns: Vec<&str> = of_key.lines().filter(|line| line.starts_with("columns")).collect();
        assert_eq!(columns.len(), AFTER, "{name}");
        for (at, (raw, expected)) in events(seed, before + AFTER, step_ms)[before..].iter().zip(columns).enumerate() {
            let found = line(plan, &mut key, raw);
            for column in plan.columns() {
                let (found, expected) = (held(&found, &column.name), held(expected, &column.name));
                assert_eq!(found, expected, "{name}, key {seed}, event {at}: {}", column.name);
            }
        }
    }
}

#[test]
fn images_of_released_formats_restore_and_go_on_as_when_they_were_written() {
    let plan = compile(&every_kind_of_state());
    let mut empty = Writer::new();
    plan.write(&plan.new_key(), &mut empty);
    let format = Reader::new(&empty.into_bytes()).varint().unwrap();
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let file = |format: u64| folder.join(format!("windows.{format}.txt"));
    for old in 1..=format {
        match fs::read_to_string(file(old)) {
            Ok(text) => check(&plan, &format!("windows.{old}.txt"), &text),
            Err(_) if old == format => {
                let proposed = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("windows.{format}.txt"));
                fs::write(&proposed, written(&plan)).unwrap();
                panic!("look at {} and commit it as {}", proposed.display(), file(format).display());
            }
            Err(error) => panic!("{}: {error}; files of released formats stay", file(old).display()),
        }
    }
    let current = fs::read_to_string(file(format)).unwrap();
    assert!(written(&plan) == current, "the layout of images or a value has changed, but `FORMAT` is still {format}");
}
