//! What the keys of a shard share, per model and for their combination: the version in force, and what is counted towards
//! the next.
//!
//! ```text
//! fold ─► fresh (this tick) ─► counted (since the version in force) ─► at a due offset: the next version, whole
//!             │ keep writes it            │ in the state topic               │ keep writes it
//! ```
//! Counts are integers: neither their order nor the ticks in which they come show. A replay counts nothing; it takes each
//! version from the state topic at its offset.

use std::collections::BTreeMap;

use faultline_crds::WorkerConfig;
use faultline_crds::worker_config::Severities;
use faultline_detectors::{
    Combination, CombinationIncrements, CombinationShared, Combine, Increments, KeyCombination, KeyModel, Model, Shared,
};
use faultline_numerics::hash::Fingerprint;
use faultline_numerics::image::{ImageError, Reader, Writer};

use super::Calibration;

/// What a shard knows of its models beyond its keys.
#[derive(Debug)]
pub(crate) struct Scoring {
    pub(crate) models: Vec<SharedModel>,
    pub(crate) combination: Combination,
    pub(crate) combined: Pool<Combination>,
    /// While a replay runs: the versions that took force in it.
    history: Option<Versions>,
    /// A version that a replay came to and did not find.
    missing: Option<Missing>,
}

/// What is shared under one model.
#[derive(Debug)]
pub(crate) struct SharedModel {
    pub(crate) pool: Pool<Model>,
    pub(crate) calibration: Calibration,
}

/// Images of frozen versions, by what they belong to and the offset that they are in force from.
pub(crate) type Versions = BTreeMap<Fingerprint, BTreeMap<i64, Vec<u8>>>;

/// What pools hold at one moment between two ticks, by fingerprint.
#[derive(Debug, Default)]
pub(crate) struct SharedImages(BTreeMap<Fingerprint, SharedImage>);

#[derive(Debug)]
struct SharedImage {
    since: i64,
    version: Vec<u8>,
    counted: Vec<u8>,
    written: Vec<i64>,
}

/// A version that is not in the state topic, though it took force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) of: Fingerprint,
    pub(crate) offset: i64,
}

/// What learns from all keys of a shard.
pub(crate) trait Learner {
    /// A frozen version.
    type Shared;
    /// What is counted towards the next.
    type Increments: Default + PartialEq;

    fn learns(&self) -> bool;
    fn new_shared(&self) -> Self::Shared;
    fn next(&self, current: &Self::Shared, counted: &Self::Increments) -> Self::Shared;
    fn merge(into: &mut Self::Increments, from: &Self::Increments);
    fn write_shared(&self, shared: &Self::Shared, w: &mut Writer);
    fn restore_shared(&self, r: &mut Reader<'_>) -> Result<Self::Shared, ImageError>;
    fn write_increments(&self, increments: &Self::Increments, w: &mut Writer);
    fn restore_increments(&self, r: &mut Reader<'_>) -> Result<Self::Increments, ImageError>;
}

/// The version in force, and what is counted towards the next.
#[derive(Debug)]
pub(crate) struct Pool<L: Learner> {
    pub(crate) of: Fingerprint,
    pub(crate) shared: L::Shared,
    /// From which source offset on the version is in force.
    pub(crate) since: i64,
    /// Counted since then, and in the state topic.
    counted: L::Increments,
    /// Counted by this tick.
    pub(crate) fresh: L::Increments,
    /// Ends of the ticks whose counts are in the state topic.
    written: Vec<i64>,
    /// Versions that have taken force in this tick: the offset and the image of each.
    frozen: Vec<(i64, Vec<u8>)>,
}

/// What a tick has to write of a pool.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Versions that took force, by offset.
    pub(crate) versions: Vec<(i64, Vec<u8>)>,
    /// The tick's counts.
    pub(crate) increments: Option<Vec<u8>>,
    /// Offset of the version that the first of `versions` replaces.
    pub(crate) replaced: Option<i64>,
    /// Ends of ticks whose counts went into a version.
    pub(crate) spent: Vec<i64>,
}

impl<L: Learner> Pool<L> {
    fn new(of: Fingerprint, learner: &L) -> Self {
        Self {
            of,
            shared: learner.new_shared(),
            since: i64::MIN,
            counted: Default::default(),
            fresh: Default::default(),
            written: Vec::new(),
            frozen: Vec::new(),
        }
    }

    /// The next version takes force at an offset.
    fn freeze(&mut self, learner: &L, offset: i64, keeps: bool) {
        if !learner.learns() {
            return;
        }
        L::merge(&mut self.counted, &self.fresh);
        self.shared = learner.next(&self.shared, &self.counted);
        self.counted = Default::default();
        self.fresh = Default::default();
        if keeps {
            let mut w = Writer::new();
            learner.write_shared(&self.shared, &mut w);
            self.frozen.push((offset, w.into_bytes()));
        }
    }

    /// What this tick has to write; `tick_end` names its counts.
    pub(crate) fn take_changes(&mut self, learner: &L, tick_end: i64) -> Changes {
        let mut changes = Changes { versions: std::mem::take(&mut self.frozen), ..Changes::default() };
        if let Some((offset, _)) = changes.versions.last() {
            changes.replaced = Some(self.since).filter(|since| *since != i64::MIN);
            changes.spent = std::mem::take(&mut self.written);
            self.since = *offset;
        }
        if self.fresh != L::Increments::default() {
            let mut w = Writer::new();
            learner.write_increments(&self.fresh, &mut w);
            changes.increments = Some(w.into_bytes());
            L::merge(&mut self.counted, &self.fresh);
            self.fresh = Default::default();
            self.written.push(tick_end);
        }
        changes
    }

    /// Puts the version into force that was in force at an offset, if there was one.
    fn begin_replay(&mut self, learner: &L, versions: &Versions, offset: i64) -> Result<(), ImageError> {
        let known = versions.get(&self.of).and_then(|versions| versions.range(..=offset).next_back());
        if let Some((since, image)) = known {
            self.shared = learner.restore_shared(&mut Reader::new(image))?;
            self.since = *since;
        }
        Ok(())
    }

    /// Puts the version of an offset into force.
    fn recall(&mut self, learner: &L, versions: &Versions, offset: i64) -> Result<(), Missing> {
        self.fresh = Default::default();
        if !learner.learns() {
            return Ok(());
        }
        let missing = Missing { of: self.of, offset };
        let image = versions.get(&self.of).and_then(|versions| versions.get(&offset)).ok_or(missing)?;
        self.shared = learner.restore_shared(&mut Reader::new(image)).map_err(|_| missing)?;
        self.since = offset;
        Ok(())
    }

    /// Adds what another configuration's shard needs to go on with this pool.
    fn image(&self, learner: &L, images: &mut SharedImages) {
        let (mut version, mut counted) = (Writer::new(), Writer::new());
        learner.write_shared(&self.shared, &mut version);
        learner.write_increments(&self.counted, &mut counted);
        images.0.insert(
            self.of,
            SharedImage {
                since: self.since,
                version: version.into_bytes(),
                counted: counted.into_bytes(),
                written: self.written.clone(),
            },
        );
    }

    fn adopt(&mut self, learner: &L, images: &SharedImages) -> Result<(), ImageError> {
        let Some(image) = images.0.get(&self.of) else { return Ok(()) };
        self.shared = learner.restore_shared(&mut Reader::new(&image.version))?;
        self.counted = learner.restore_increments(&mut Reader::new(&image.counted))?;
        self.since = image.since;
        self.written.clone_from(&image.written);
        Ok(())
    }

    /// Ends a replay: what was counted since the version in force is what the ticks have written.
    fn end_replay(&mut self, learner: &L, counted: &BTreeMap<i64, Vec<u8>>) -> Result<(), ImageError> {
        self.fresh = Default::default();
        for (tick_end, image) in counted.range(self.since.saturating_add(1)..) {
            L::merge(&mut self.counted, &learner.restore_increments(&mut Reader::new(image))?);
            self.written.push(*tick_end);
        }
        Ok(())
    }
}

impl Scoring {
    pub(crate) fn new(config: &WorkerConfig) -> Self {
        let models: Vec<Model> = config.models.iter().map(|bound| bound.model.clone()).collect();
        let combination = Combination::new(config.decision.combine.clone(), &models);
        Self {
            models: config
                .models
                .iter()
                .map(|bound| SharedModel {
                    pool: Pool::new(bound.model.fingerprint(), &bound.model),
                    calibration: Calibration::new(&bound.name, &config.decision.severities),
                })
                .collect(),
            combined: Pool::new(combination_fingerprint(config), &combination),
            combination,
            history: None,
            missing: None,
        }
    }

    /// State of a key that was never seen.
    pub(crate) fn new_key(&self, config: &WorkerConfig) -> (Box<[KeyModel]>, KeyCombination) {
        (config.models.iter().map(|bound| bound.model.new_key()).collect(), self.combination.new_key())
    }

    /// Puts the next version of everything shared into force. Called at fixed numbers of the shard's records, never at
    /// the end of a tick, so that batches do not show.
    pub(crate) fn take_force(&mut self, config: &WorkerConfig, offset: i64, keeps: bool) {
        let models = config.models.iter().map(|bound| &bound.model).zip(&mut self.models);
        let Some(versions) = &self.history else {
            models.for_each(|(model, own)| own.pool.freeze(model, offset, keeps));
            self.combined.freeze(&self.combination, offset, keeps);
            return;
        };
        for (model, own) in models {
            self.missing = self.missing.or(own.pool.recall(model, versions, offset).err());
        }
        self.missing = self.missing.or(self.combined.recall(&self.combination, versions, offset).err());
    }

    /// Begins a replay at an offset: versions come from the state topic until it ends.
    ///
    /// # Errors
    /// A version's image cannot be read.
    pub(crate) fn begin_replay(
        &mut self,
        config: &WorkerConfig,
        versions: Versions,
        offset: i64,
    ) -> Result<(), ImageError> {
        for (bound, own) in config.models.iter().zip(&mut self.models) {
            own.pool.begin_replay(&bound.model, &versions, offset)?;
        }
        self.combined.begin_replay(&self.combination, &versions, offset)?;
        self.history = Some(versions);
        Ok(())
    }

    /// Takes the versions that a replay goes by: it goes on under another configuration.
    pub(crate) fn take_history(&mut self) -> Option<Versions> {
        self.history.take()
    }

    /// Puts the last versions up to an offset into force without a replay.
    ///
    /// # Errors
    /// A version's image cannot be read.
    pub(crate) fn catch_up(&mut self, config: &WorkerConfig, offset: i64) -> Result<(), ImageError> {
        let versions = self.history.take().unwrap_or_default();
        self.begin_replay(config, versions, offset)
    }

    /// The version that a replay did not find, if there was one.
    pub(crate) fn missing(&self) -> Option<Missing> {
        self.missing
    }

    /// Ends a replay: from now on versions are made here again.
    ///
    /// # Errors
    /// Counts cannot be read.
    pub(crate) fn end_replay(&mut self, config: &WorkerConfig, counted: &Versions) -> Result<Versions, ImageError> {
        let none = BTreeMap::new();
        let of = |of: &Fingerprint| counted.get(of).unwrap_or(&none);
        for (bound, own) in config.models.iter().zip(&mut self.models) {
            own.pool.end_replay(&bound.model, of(&own.pool.of))?;
            own.calibration = Calibration::new(&bound.name, &config.decision.severities);
        }
        let counted = of(&self.combined.of);
        self.combined.end_replay(&self.combination, counted)?;
        Ok(self.history.take().unwrap_or_default())
    }

    /// What is shared, as images: for another configuration.
    pub(crate) fn images(&self, config: &WorkerConfig) -> SharedImages {
        let mut images = SharedImages::default();
        for (bound, own) in config.models.iter().zip(&self.models) {
            own.pool.image(&bound.model, &mut images);
        }
        self.combined.image(&self.combination, &mut images);
        images
    }

    /// Goes on with what another configuration shared, where the fingerprint is the same.
    ///
    /// # Errors
    /// An image cannot be read.
    pub(crate) fn adopt(&mut self, config: &WorkerConfig, images: &SharedImages) -> Result<(), ImageError> {
        for (bound, own) in config.models.iter().zip(&mut self.models) {
            own.pool.adopt(&bound.model, images)?;
        }
        self.combined.adopt(&self.combination, images)
    }

    /// Fingerprints of everything here that learns, and since when its version is in force.
    pub(crate) fn in_force(&self) -> impl Iterator<Item = (Fingerprint, i64)> {
        let models = self.models.iter().map(|own| (own.pool.of, own.pool.since));
        models.chain([(self.combined.of, self.combined.since)])
    }

    /// Observed over nominal rates, per model.
    pub(crate) fn calibration(&self) -> impl Iterator<Item = &Calibration> {
        self.models.iter().map(|own| &own.calibration)
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.models.iter().map(|own| own.pool.shared.bytes() + own.pool.counted.bytes()).sum()
    }
}

/// Identity of what a combination learns: how it combines, and what.
fn combination_fingerprint(config: &WorkerConfig) -> Fingerprint {
    let how = match &config.decision.combine {
        Combine::Any => "any".to_owned(),
        Combine::Consensus => "consensus".to_owned(),
        Combine::Weighted(weights) => {
            weights.iter().fold("weighted".to_owned(), |text, weight| format!("{text} {:016x}", weight.to_bits()))
        }
    };
    let Severities { warning, major, critical } = config.decision.severities;
    let severities = [warning, major, critical].map(|threshold| threshold.map_or(0, f64::to_bits));
    let models = config.models.iter().map(|bound| bound.model.fingerprint().to_string());
    Fingerprint::of(&format!("combination {how} {severities:x?} {}", models.collect::<Vec<_>>().join(" ")))
}

impl Learner for Model {
    type Shared = Shared;
    type Increments = Increments;

    fn learns(&self) -> bool {
        !self.is_rule()
    }

    fn new_shared(&self) -> Shared {
        self.new_shared()
    }

    fn next(&self, current: &Shared, counted: &Increments) -> Shared {
        self.next_shared(current, counted)
    }

    fn merge(into: &mut Increments, from: &Increments) {
        into.merge(from);
    }

    fn write_shared(&self, shared: &Shared, w: &mut Writer) {
        self.write_shared(shared, w);
    }

    fn restore_shared(&self, r: &mut Reader<'_>) -> Result<Shared, ImageError> {
        self.restore_shared(r)
    }

    fn write_increments(&self, increments: &Increments, w: &mut Writer) {
        self.write_increments(increments, w);
    }

    fn restore_increments(&self, r: &mut Reader<'_>) -> Result<Increments, ImageError> {
        self.restore_increments(r)
    }
}

impl Learner for Combination {
    type Shared = CombinationShared;
    type Increments = CombinationIncrements;

    fn learns(&self) -> bool {
        self.learns()
    }

    fn new_shared(&self) -> CombinationShared {
        self.new_shared()
    }

    fn next(&self, current: &CombinationShared, counted: &CombinationIncrements) -> CombinationShared {
        self.next_shared(current, counted)
    }

    fn merge(into: &mut CombinationIncrements, from: &CombinationIncrements) {
        into.merge(from);
    }

    fn write_shared(&self, shared: &CombinationShared, w: &mut Writer) {
        self.write_shared(shared, w);
    }

    fn restore_shared(&self, r: &mut Reader<'_>) -> Result<CombinationShared, ImageError> {
        self.restore_shared(r)
    }

    fn write_increments(&self, increments: &CombinationIncrements, w: &mut Writer) {
        self.write_increments(increments, w);
    }

    fn restore_increments(&self, r: &mut Reader<'_>) -> Result<CombinationIncrements, ImageError> {
        self.restore_increments(r)
    }
}
