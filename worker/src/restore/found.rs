//! What the state topic holds of a shard: the latest record of each key.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use faultline_numerics::hash::Fingerprint;
use faultline_numerics::image::ImageError;

use crate::score::Versions;
use crate::state::{Head, Marker, RecordKey, read_head, read_text};

/// The latest records of a state partition.
#[derive(Debug, Default)]
pub struct Found {
    pub(crate) marker: Option<Marker>,
    pub(crate) owner: Option<String>,
    pub(crate) images: HashMap<Box<str>, Image>,
    pub(crate) decisions: BTreeMap<Box<str>, Vec<u8>>,
    /// By minute and end of the tick.
    pub(crate) ids: BTreeMap<(i64, i64), Vec<u8>>,
    pub(crate) versions: Versions,
    pub(crate) increments: Versions,
    pub(crate) configurations: BTreeMap<Fingerprint, String>,
    /// Records read.
    pub(crate) records: u64,
    /// Bytes read, keys and values.
    pub(crate) bytes: u64,
    /// Keys that this build does not know.
    pub(crate) unknown: u64,
}

/// A key's image as it is found: its parts.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) head: Head,
    /// Further parts that lie in the topic, also those that the image does not need any more.
    pub(crate) lying: BTreeSet<u32>,
    parts: Vec<Option<Box<[u8]>>>,
}

impl Image {
    fn new(head: Head) -> Self {
        Self { head, lying: BTreeSet::new(), parts: vec![None; head.parts.min(MOST_PARTS) as usize] }
    }

    /// The whole image; `None` if a part is missing.
    pub(crate) fn bytes(mut self) -> Option<Vec<u8>> {
        match self.parts.as_mut_slice() {
            [Some(only)] => Some(std::mem::take(only).into_vec()),
            parts => parts.iter().map(|part| part.as_deref()).collect::<Option<Vec<_>>>().map(|parts| parts.concat()),
        }
    }
}

/// No image has more parts: 512 MiB.
const MOST_PARTS: u32 = 1024;

impl Found {
    /// Takes the next record of the partition in; `None` deletes.
    ///
    /// # Errors
    /// A value cannot be read.
    pub fn take_in(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), ImageError> {
        self.records += 1;
        self.bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
        match RecordKey::parse(key) {
            Some(RecordKey::Image { key, part }) => self.image(key, part, value)?,
            Some(RecordKey::Decision { key }) => match value {
                Some(value) => drop(self.decisions.insert(key.into(), value.to_vec())),
                None => drop(self.decisions.remove(key)),
            },
            Some(RecordKey::Ids { minute, tick_end }) => match value {
                Some(value) => drop(self.ids.insert((minute, tick_end), value.to_vec())),
                None => drop(self.ids.remove(&(minute, tick_end))),
            },
            Some(RecordKey::Version { of, offset }) => put(&mut self.versions, of, offset, value),
            Some(RecordKey::Increments { of, tick_end }) => put(&mut self.increments, of, tick_end, value),
            Some(RecordKey::Configuration { of }) => match value {
                Some(value) => drop(self.configurations.insert(of, read_text(value)?)),
                None => drop(self.configurations.remove(&of)),
            },
            Some(RecordKey::Owner) => self.owner = value.map(read_text).transpose()?,
            Some(RecordKey::Marker) => self.marker = value.map(Marker::read).transpose()?,
            None => self.unknown += 1,
        }
        Ok(())
    }

    /// Whether there is anything beside the marker and the owner.
    pub(crate) fn holds_state(&self) -> bool {
        let any = |versions: &Versions| versions.values().any(|versions| !versions.is_empty());
        !(self.images.is_empty() && self.decisions.is_empty() && self.ids.is_empty() && self.configurations.is_empty())
            || any(&self.versions)
            || any(&self.increments)
    }

    /// The keys of all records that were found, but for the marker. An image's first part comes last: as long as it is
    /// there, the others are found.
    pub(crate) fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let mut add = |key: RecordKey<'_>| {
            let mut bytes = Vec::new();
            key.write(&mut bytes);
            keys.push(bytes);
        };
        for (key, image) in &self.images {
            image.lying.iter().for_each(|part| add(RecordKey::Image { key, part: *part }));
            add(RecordKey::Image { key, part: 0 });
        }
        self.decisions.keys().for_each(|key| add(RecordKey::Decision { key }));
        self.ids.keys().for_each(|(minute, tick_end)| add(RecordKey::Ids { minute: *minute, tick_end: *tick_end }));
        for (of, versions) in &self.versions {
            versions.keys().for_each(|offset| add(RecordKey::Version { of: *of, offset: *offset }));
        }
        for (of, increments) in &self.increments {
            increments.keys().for_each(|tick_end| add(RecordKey::Increments { of: *of, tick_end: *tick_end }));
        }
        self.configurations.keys().for_each(|of| add(RecordKey::Configuration { of: *of }));
        if self.owner.is_some() {
            add(RecordKey::Owner);
        }
        keys
    }

    fn image(&mut self, key: &str, part: u32, value: Option<&[u8]>) -> Result<(), ImageError> {
        let Some(value) = value else {
            if part == 0 {
                self.images.remove(key);
            } else if let Some(image) = self.images.get_mut(key) {
                image.lying.remove(&part);
                image.parts.get_mut(part as usize).into_iter().for_each(|place| *place = None);
            }
            return Ok(());
        };
        let (head, bytes) = read_head(value)?;
        let image = match self.images.get_mut(key) {
            Some(image) => image,
            None => self.images.entry(key.into()).or_insert_with(|| Image::new(head)),
        };
        // Parts of one image come together, part 0 first.
        if image.head != head {
            let lying = std::mem::take(&mut image.lying);
            *image = Image { lying, ..Image::new(head) };
        }
        if part > 0 {
            image.lying.insert(part);
        }
        if let Some(place) = image.parts.get_mut(part as usize) {
            *place = Some(bytes.into());
        }
        Ok(())
    }
}

fn put(versions: &mut Versions, of: Fingerprint, at: i64, value: Option<&[u8]>) {
    match value {
        Some(value) => drop(versions.entry(of).or_default().insert(at, value.to_vec())),
        None => {
            if let Some(known) = versions.get_mut(&of) {
                known.remove(&at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use faultline_numerics::image::Writer;

    use super::*;
    use crate::state::write_head;

    fn part(number: u32, head: Head, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut key, mut w) = (Vec::new(), Writer::new());
        RecordKey::Image { key: "a", part: number }.write(&mut key);
        write_head(head, &mut w);
        w.raw(bytes);
        (key, w.into_bytes())
    }

    #[test]
    fn the_latest_image_counts_and_needs_all_its_parts() {
        let mut found = Found::default();
        let (old, new) = (Head { applied_upto: 5, parts: 3 }, Head { applied_upto: 9, parts: 2 });
        for (number, head, bytes) in [(0, old, b"aa"), (1, old, b"bb"), (2, old, b"cc"), (0, new, b"dd")] {
            let (key, value) = part(number, head, bytes);
            found.take_in(&key, Some(&value)).unwrap();
        }
        assert_eq!(found.images.remove("a").unwrap().bytes(), None, "a part is missing");
        for (number, head, bytes) in [(2, old, b"cc"), (0, new, b"dd"), (1, new, b"ee")] {
            let (key, value) = part(number, head, bytes);
            found.take_in(&key, Some(&value)).unwrap();
        }
        let image = found.images.remove("a").unwrap();
        assert_eq!(image.lying, BTreeSet::from([1, 2]));
        assert_eq!(image.bytes().unwrap(), b"ddee");
    }

    #[test]
    fn a_deletion_that_is_cut_short_hides_no_part() {
        let head = Head { applied_upto: 5, parts: 3 };
        let written: Vec<_> = (0..3).map(|number| part(number, head, b"aa")).collect();
        let found = |deleted: &[Vec<u8>]| {
            let mut found = Found::default();
            written.iter().for_each(|(key, value)| found.take_in(key, Some(value)).unwrap());
            deleted.iter().for_each(|key| found.take_in(key, None).unwrap());
            found
        };
        let keys = found(&[]).keys();
        for cut in 0..=keys.len() {
            let left = found(&keys[..cut]);
            assert_eq!((left.keys(), left.holds_state()), (keys[cut..].to_vec(), cut < keys.len()));
        }
    }
}
