//! Images of released formats: old files restore, and what is folded then scores as when they were written.
//!
//! `tests/golden/models.<formats>.txt` holds, per detector, the images of the shared state, of the increments and of a
//! few keys, and the scores of the next events; `combination.<formats>.txt` the same of a combination. A name has the
//! formats of key, shared state and increments. To add one: raise the `…_FORMAT`, teach `restore` to read both, add the
//! formats that were to `OLD_…`, and run this test; it fails and says where it has put the new file. Look at it and
//! commit it. Old files are never rewritten: they stand for what is stored in the topics of running pipelines.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub, reason = "tests")]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use faultline_detectors::{
    Combination, CombinationIncrements, CombinationShared, Combine, DetectorSpec, KeyCombination, LogScale, Maturity,
    Model, version_due,
};
use faultline_numerics::image::{Reader, Writer};
use faultline_numerics::math;
use faultline_numerics::random::Random;

use shard::{Shard, spec};

#[path = "support/shard.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod shard;

/// Formats of key, shared state and increments.
type Formats = [u64; 3];

/// Formats before the present ones.
const OLD_MODELS: &[Formats] = &[];
const OLD_COMBINATIONS: &[Formats] = &[];
/// Key 0 is never seen before the image, key 1 once; the others share the rest.
const KEYS: usize = 5;
/// Events before the image; the last version before it takes force at 1,024.
const BEFORE: u64 = 1_500;
/// Events after it; the version of 2,048 takes force among them, so that increments count.
const AFTER: u64 = 600;
/// Every so many of the scores after it are in the file.
const SHOWN: u64 = 12;
/// Image bytes on a line.
const LINE_BYTES: usize = 60;

fn detectors() -> Vec<(DetectorSpec, usize)> {
    vec![
        (DetectorSpec::Tail { half_life: 50.0, log_scale: LogScale::Auto }, 1),
        (DetectorSpec::Tail { half_life: 50.0, log_scale: LogScale::Yes }, 3),
        (DetectorSpec::Ewma { half_life: 50.0 }, 1),
        (DetectorSpec::Count { every_ms: 10_000, half_life: 20.0 }, 0),
        (DetectorSpec::Threshold { above: Some(60.0), below: None, surprise: 6.0 }, 1),
    ]
}

/// The n-th event: key, inputs, time. One in forty is far off, so that keys are in quarantine.
fn event(number: u64) -> (usize, [f64; 3], i64) {
    let mut random = Random::seeded(number + 77);
    let key = match number {
        9 => 1,
        _ if number < BEFORE => 2 + random.below(KEYS as u64 - 2) as usize,
        _ => random.below(KEYS as u64) as usize,
    };
    let mut value = math::exp(2.0 + key as f64 * 0.3 + 0.5 * random.normal());
    if random.below(40) == 0 {
        value *= 30.0;
    }
    let angle = number as f64 * 0.01;
    (key, [value, math::sin(angle), math::cos(angle)], number as i64 * 700)
}

fn fold(shard: &mut Shard, number: u64) -> String {
    let (key, row, time_ms) = event(number);
    let inputs = shard.model.spec().inputs;
    let score = shard.fold(key, &row[..inputs], time_ms);
    score.map_or_else(String::new, |score| {
        format!("{:016x} {:016x} {}", score.surprise.to_bits(), score.strangeness.to_bits(), score.learned)
    })
}

/// Models of all kinds of learning as one.
fn combination() -> Combination {
    let models: Vec<Model> =
        detectors().into_iter().map(|(detector, inputs)| Model::new(spec(detector, inputs))).collect();
    Combination::new(Combine::Consensus, &models)
}

/// A combination of one shard with one key.
struct Combined {
    combination: Combination,
    shared: CombinationShared,
    increments: CombinationIncrements,
    key: KeyCombination,
}

impl Combined {
    fn new() -> Self {
        let combination = combination();
        let (shared, key) = (combination.new_shared(), combination.new_key());
        Self { combination, shared, increments: CombinationIncrements::default(), key }
    }

    fn fold(&mut self, number: u64) -> String {
        if version_due(number) {
            self.shared = self.combination.next_shared(&self.shared, &self.increments);
            self.increments = CombinationIncrements::default();
        }
        let mut random = Random::seeded(number + 99);
        // An episode is on when the image is written.
        let factor = if number % 300 > 290 || number + 3 > BEFORE && number < BEFORE { 4.0 } else { 0.4 };
        let surprises: Vec<Option<f64>> = (0..detectors().len()).map(|_| Some(factor * random.exponential())).collect();
        let Self { combination, shared, increments, key } = self;
        let surprise = combination.fold(shared, increments, &surprises[..4], Maturity::Mature, key);
        surprise.map_or_else(String::new, |surprise| format!("{:016x}", surprise.to_bits()))
    }
}

/// A shard's models in a file.
trait Imaged {
    fn image(&self) -> Vec<u8>;
    fn restore(&mut self, image: &mut Reader<'_>);
    fn score(&mut self, number: u64) -> String;
}

impl Imaged for Shard {
    fn image(&self) -> Vec<u8> {
        Shard::image(self)
    }

    fn restore(&mut self, image: &mut Reader<'_>) {
        self.shared = self.model.restore_shared(image).unwrap();
        self.increments = self.model.restore_increments(image).unwrap();
        for key in &mut self.keys {
            *key = self.model.restore_key(image).unwrap();
        }
        self.records = BEFORE;
    }

    fn score(&mut self, number: u64) -> String {
        fold(self, number)
    }
}

impl Imaged for Combined {
    fn image(&self) -> Vec<u8> {
        let mut image = Writer::new();
        self.combination.write_shared(&self.shared, &mut image);
        self.combination.write_increments(&self.increments, &mut image);
        self.combination.write_key(&self.key, &mut image);
        image.into_bytes()
    }

    fn restore(&mut self, image: &mut Reader<'_>) {
        self.shared = self.combination.restore_shared(image).unwrap();
        self.increments = self.combination.restore_increments(image).unwrap();
        self.key = self.combination.restore_key(image).unwrap();
    }

    fn score(&mut self, number: u64) -> String {
        self.fold(number)
    }
}

/// States of a file, by name.
type States = Vec<(String, Box<dyn Imaged>)>;

fn models() -> States {
    let names = ["tail", "tail with context", "ewma", "count", "threshold"];
    let model = |(name, (detector, inputs)): (&str, (DetectorSpec, usize))| -> (String, Box<dyn Imaged>) {
        (name.to_owned(), Box::new(Shard::new(spec(detector, inputs), KEYS)))
    };
    names.into_iter().zip(detectors()).map(model).collect()
}

fn combinations() -> States {
    vec![("combination".to_owned(), Box::new(Combined::new()))]
}

fn scores(of: &mut dyn Imaged) -> Vec<String> {
    let scores = (BEFORE..BEFORE + AFTER).map(|number| format!("{number} {}", of.score(number)));
    let scores: Vec<String> = scores.collect();
    scores.into_iter().step_by(SHOWN as usize).collect()
}

fn written(states: States) -> String {
    let mut text = String::new();
    for (name, mut of) in states {
        (0..BEFORE).for_each(|number| drop(of.score(number)));
        writeln!(text, "state {name}").unwrap();
        for bytes in of.image().chunks(LINE_BYTES) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "image {hex}").unwrap();
        }
        for score in scores(&mut *of) {
            writeln!(text, "score {score}").unwrap();
        }
    }
    text
}

fn lines<'t>(text: &'t str, kind: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '))
}

fn check(file: &str, text: &str, expected: States) {
    let found: Vec<&str> = text.split("state ").skip(1).collect();
    assert_eq!(found.len(), expected.len(), "{file}");
    for (state, (name, mut of)) in found.into_iter().zip(expected) {
        let hex: String = lines(state, "image").collect();
        let image: Vec<u8> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        let mut reader = Reader::new(&image);
        of.restore(&mut reader);
        assert!(reader.is_at_end(), "{file}: {name}");
        assert_eq!(scores(&mut *of), lines(state, "score").collect::<Vec<_>>(), "{file}: {name}");
    }
}

fn format(write: impl Fn(&mut Writer)) -> u64 {
    let mut image = Writer::new();
    write(&mut image);
    Reader::new(&image.into_bytes()).varint().unwrap()
}

fn check_all(kind: &str, old: &[Formats], current: Formats, states: fn() -> States) {
    let name = |[key, shared, increments]: Formats| format!("{kind}.{key}.{shared}.{increments}.txt");
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    for &old in old {
        check(&name(old), &fs::read_to_string(folder.join(name(old))).unwrap(), states());
    }
    let file = folder.join(name(current));
    let Ok(text) = fs::read_to_string(&file) else {
        let proposed = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name(current));
        fs::write(&proposed, written(states())).unwrap();
        panic!("look at {} and commit it as {}", proposed.display(), file.display());
    };
    check(&name(current), &text, states());
    let is_same = written(states()) == text;
    assert!(is_same, "the layout of {kind} or a score has changed, but the formats are still {current:?}");
}

#[test]
fn images_of_released_formats_restore_and_go_on_as_when_they_were_written() {
    let shard = Shard::new(spec(DetectorSpec::Ewma { half_life: 50.0 }, 1), 1);
    let current = [
        format(|image| shard.model.write_key(&shard.keys[0], image)),
        format(|image| shard.model.write_shared(&shard.shared, image)),
        format(|image| shard.model.write_increments(&shard.increments, image)),
    ];
    check_all("models", OLD_MODELS, current, models);
}

#[test]
fn images_of_released_combinations_restore_and_go_on_as_when_they_were_written() {
    let Combined { combination, shared, increments, key } = Combined::new();
    let current = [
        format(|image| combination.write_key(&key, image)),
        format(|image| combination.write_shared(&shared, image)),
        format(|image| combination.write_increments(&increments, image)),
    ];
    check_all("combination", OLD_COMBINATIONS, current, combinations);
}

#[test]
fn unknown_formats_are_refused() {
    let shard = Shard::new(spec(DetectorSpec::Ewma { half_life: 50.0 }, 1), 1);
    let Shard { model, .. } = &shard;
    let combination = combination();
    let image = [9; 64];
    let errors = [
        model.restore_key(&mut Reader::new(&image)).unwrap_err(),
        model.restore_shared(&mut Reader::new(&image)).unwrap_err(),
        model.restore_increments(&mut Reader::new(&image)).unwrap_err(),
        combination.restore_key(&mut Reader::new(&image)).unwrap_err(),
        combination.restore_shared(&mut Reader::new(&image)).unwrap_err(),
        combination.restore_increments(&mut Reader::new(&image)).unwrap_err(),
    ];
    let expected = [
        "state of a key under a model",
        "shared state of a model",
        "increments of a model",
        "state of a key under a combination",
        "shared state of a combination",
        "increments of a combination",
    ];
    for (error, what) in errors.iter().zip(expected) {
        assert_eq!(error.to_string(), format!("{what} has format 9, this build reads 1"));
    }
}
