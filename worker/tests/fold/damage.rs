//! A state that is damaged, or a source that is another: the shard is not brought back, and the error says what was
//! found.

use faultline_numerics::image::Writer;
use faultline_worker::chain;
use faultline_worker::pipeline::Scratch;
use faultline_worker::state::{RecordKey, read_head, write_head};

use super::batches::stream;
use super::support::Record;
use super::variants::{MORE_FEATURES, variants};
use super::world::{World, anomaly, go_on, keeper};

/// Where the first worker crashes, …
const SWITCH: usize = 500;
/// … and the second, which has another configuration, after the version of what keys share that takes force at 512.
const CRASH: usize = 700;

/// What two workers leave behind, and the source.
struct Stored {
    world: World,
    records: Vec<Record>,
}

impl Stored {
    fn new() -> Self {
        let (configs, mut records) = (variants(0), stream(7, CRASH));
        records[CRASH - 1] = anomaly("u0", "anomaly", &records[CRASH - 1]);
        let mut world = World::new(&configs[0]);
        let mut keeper = keeper();
        keeper.most_part_bytes = 200;
        for (config, until) in [(0, SWITCH), (MORE_FEATURES, CRASH)] {
            world.config = configs[config].clone();
            let mut shard = world.restore(&records, &mut Scratch::new());
            go_on(&mut world, &mut shard, &mut keeper, &records[..until], 6000.0);
        }
        let marker = world.marker().unwrap();
        assert!((256..SWITCH as i64).contains(&marker.low_water.offset), "{}", marker.low_water.offset);
        Self { world, records }
    }

    /// Puts another value into the first part of a key's image.
    fn edit_image(&mut self, edit: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        let keys = self.world.keys();
        let (first, _) = keys.first_key_value().unwrap();
        self.edit(|record| matches!(record, RecordKey::Image { key, part: 0 } if key == first), edit);
    }

    /// Puts another value into the first record that is wanted.
    fn edit(&mut self, is_wanted: impl Fn(&RecordKey<'_>) -> bool, edit: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        let latest = self.world.latest();
        let wanted = |(key, _): &(&[u8], &[u8])| is_wanted(&RecordKey::parse(key).unwrap());
        let (key, value) = latest.into_iter().find(wanted).unwrap();
        let record = (key.to_vec(), edit(value));
        self.world.log.push(record);
    }
}

/// The first half of a value.
fn half(value: &[u8]) -> Option<Vec<u8>> {
    Some(value[..value.len() / 2].to_vec())
}

/// A value of the next format.
fn newer(value: &[u8]) -> Option<Vec<u8>> {
    Some([&[value[0] + 1], &value[1..]].concat())
}

/// A configuration that nobody accepts.
fn nonsense(_: &[u8]) -> Option<Vec<u8>> {
    let mut w = Writer::new();
    w.varint(1);
    w.bytes(b"kind: AnomalyPipeline");
    Some(w.into_bytes())
}

/// Its head as it was, the image behind it of the next format.
fn newer_behind_the_head(value: &[u8]) -> Option<Vec<u8>> {
    let (head, image) = read_head(value).unwrap();
    let mut w = Writer::new();
    write_head(head, &mut w);
    w.raw(&newer(image).unwrap());
    Some(w.into_bytes())
}

/// What is done to the state or the source, and words of the error.
type Damage = (&'static str, fn(&mut Stored), &'static [&'static str]);

const DAMAGES: &[Damage] = &[
    (
        "the marker counts a record too many",
        |stored| stored.world.remark(|marker| marker.records += 1),
        &[
            "the replay of offsets ",
            " to 700 came out differently",
            " after 701 records, found ",
            " after 700; has the source been changed?",
        ],
    ),
    (
        "the marker's watermark is another",
        |stored| stored.world.remark(|marker| *marker.greatest_ms.as_mut().unwrap() = 77),
        &[" to 700 came out differently: expected watermark Some(77) after 700 records, found Some(17", " after 700;"],
    ),
    (
        "the marker's watermark at L is another",
        |stored| stored.world.remark(|marker| *marker.low_water.greatest_ms.as_mut().unwrap() += 3_600_000),
        &["came out differently: expected watermark Some(17", " after 700 records, found Some(17"],
    ),
    (
        "the source has other records",
        |stored| stored.records[SWITCH..].iter_mut().for_each(|record| record.value = Some(b"x".to_vec())),
        &["came out differently", "has the source been changed?"],
    ),
    (
        "the source is partitioned by another key",
        |stored| stored.records[SWITCH..].iter_mut().for_each(|record| record.key = Some(b"another".to_vec())),
        &["the replay stopped at offset 50", "of the last", "records have another key than their entity"],
    ),
    (
        "a part of an image is missing",
        |stored| {
            let keys = stored.world.keys();
            let (key, _) = keys.iter().find(|(_, head)| head.parts > 2).unwrap();
            stored.world.write(RecordKey::Image { key, part: 1 }, None);
        },
        &["a part of the image of a key is missing in the state topic"],
    ),
    (
        "the configuration before the last one is missing",
        |stored| {
            let (_, of) = stored.world.marker().unwrap().configurations[0];
            stored.world.write(RecordKey::Configuration { of }, None);
        },
        &["the configuration ", " under which records have to be replayed is not in the state topic"],
    ),
    (
        "the configuration before the last one is not accepted any more",
        |stored| {
            let (_, first) = stored.world.marker().unwrap().configurations[0];
            stored.edit(|key| matches!(key, RecordKey::Configuration { of } if *of == first), nonsense);
        },
        &["the configuration ", " under which records have to be replayed is not accepted by this version any more"],
    ),
    (
        "a version of what keys share is missing",
        |stored| stored.edit(|key| matches!(key, RecordKey::Version { offset: 512, .. }), |_| None),
        &["version 512 of the shared state ", " is not in the state topic, or cannot be read"],
    ),
    (
        "the version in force at L is cut short",
        |stored| stored.edit(|key| matches!(key, RecordKey::Version { offset: 256, .. }), half),
        &["failed to read shared state in the state topic: the image ends at byte "],
    ),
    (
        "a version that took force since is cut short",
        |stored| stored.edit(|key| matches!(key, RecordKey::Version { offset: 512, .. }), half),
        &["version 512 of the shared state ", " is not in the state topic, or cannot be read"],
    ),
    (
        "counts are cut short",
        |stored| {
            let since = |key: &RecordKey<'_>| matches!(key, RecordKey::Increments { tick_end, .. } if *tick_end > 512);
            stored.edit(since, half);
        },
        &["failed to read counts in the state topic: the image ends at byte "],
    ),
    (
        "ids are cut short",
        |stored| stored.edit(|key| matches!(key, RecordKey::Ids { .. }), half),
        &["failed to read ids in the state topic: the image ends at byte "],
    ),
    (
        "an incident is of a newer format",
        |stored| stored.edit(|key| matches!(key, RecordKey::Decision { .. }), newer),
        &["failed to read an incident in the state topic: the record of an incident has format 2, this build reads 1"],
    ),
    (
        "an image is of a newer format",
        |stored| stored.edit_image(newer),
        &[
            "a record of the state topic cannot be read; was it written by a newer version?: the image of a key has format 2, this build reads 1",
        ],
    ),
    (
        "what an image holds is of a newer format",
        |stored| stored.edit_image(newer_behind_the_head),
        &["failed to read the image of a key in the state topic: the image of a key has format 2, this build reads 1"],
    ),
    (
        "the marker is of a newer format",
        |stored| stored.edit(|key| matches!(key, RecordKey::Marker), newer),
        &[
            "a record of the state topic cannot be read; was it written by a newer version?: the marker has format 2, this build reads 1",
        ],
    ),
    (
        "the marker's window of the last records is of a newer format",
        |stored| stored.world.remark(|marker| marker.trips[0] += 1),
        &["failed to read the marker in the state topic: the window of the trips has format 2, this build reads 1"],
    ),
];

#[test]
fn a_state_that_does_not_lead_back_is_refused_and_the_error_says_why() {
    let Stored { world, records } = Stored::new();
    let intact = world.try_restore(&records, &mut Scratch::new()).unwrap();
    assert_eq!(intact.0.next_offset(), CRASH as i64);
    for (what, damage, words) in DAMAGES {
        let mut stored = Stored { world: world.clone(), records: records.clone() };
        damage(&mut stored);
        let restored = stored.world.try_restore(&stored.records, &mut Scratch::new());
        let error = restored.map(|(shard, _)| shard.keys()).expect_err(what);
        assert_eq!(error.reason(), "StateUnreadable", "{what}");
        let text = chain(&error);
        words.iter().for_each(|words| assert!(text.contains(words), "{what}: expected {words:?} in {text:?}"));
    }
}

#[test]
fn the_error_names_the_configuration_that_is_missing() {
    let Stored { mut world, records } = Stored::new();
    let (_, of) = world.marker().unwrap().configurations[0];
    world.write(RecordKey::Configuration { of }, None);
    let error = world.try_restore(&records, &mut Scratch::new()).unwrap_err();
    assert!(error.to_string().contains(&of.to_string()), "{error}");
}
