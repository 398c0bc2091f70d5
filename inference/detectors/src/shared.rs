//! State shared by the keys of a shard: read only from a frozen version, learned only through increments.

use faultline_numerics::image::{ImageError, Reader, Writer};

use crate::calibrator::{Calibrator, CalibratorIncrements};
use crate::peers::{CountPeers, Peers, PeersIncrements, ValuePeers};
use crate::scale::Scale;
use crate::spec::{DetectorSpec, LogScale, ModelSpec};

const SHARED_FORMAT: u64 = 1;
const INCREMENTS_FORMAT: u64 = 1;

/// A frozen version of what the keys of a shard share under one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    pub(crate) scale: Scale,
    pub(crate) calibrator: Calibrator,
    peers: Peers,
    /// Taken from `peers`; not in the image.
    pub(crate) value_peers: ValuePeers,
    /// Taken from `peers`; not in the image.
    pub(crate) count_peers: CountPeers,
}

/// What has been counted since the version in force: integers only, so that neither the order nor the batches in
/// which they are added matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Increments {
    pub(crate) calibrator: CalibratorIncrements,
    pub(crate) peers: PeersIncrements,
}

impl Shared {
    pub(crate) fn new(spec: &ModelSpec) -> Self {
        let scale = match wanted_scale(spec) {
            Some(wanted) => Scale::new(wanted),
            None => Scale::Linear,
        };
        Self::from_parts(spec, scale, Calibrator::default(), Peers::default())
    }

    fn from_parts(spec: &ModelSpec, scale: Scale, calibrator: Calibrator, peers: Peers) -> Self {
        let contexts = spec.inputs.saturating_sub(1);
        let value_peers = ValuePeers::of(&peers, scale, contexts);
        let count_peers = CountPeers::of(&peers);
        Self { scale, calibrator, peers, value_peers, count_peers }
    }

    pub(crate) fn next(&self, spec: &ModelSpec, increments: &Increments) -> Self {
        let mut peers = self.peers.next(&increments.peers, true);
        let scale = wanted_scale(spec).map_or(self.scale, |wanted| self.scale.decide(wanted, &peers.levels));
        if scale.is_log() != self.scale.is_log() {
            // What was measured on the scale left behind means nothing on the new one.
            peers = self.peers.next(&increments.peers, false);
            return Self::from_parts(spec, scale, Calibrator::default(), peers);
        }
        Self::from_parts(spec, scale, self.calibrator.next(&increments.calibrator), peers)
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.calibrator.bytes() + self.peers.bytes()
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.varint(SHARED_FORMAT);
        self.scale.write(w);
        self.calibrator.write(w);
        self.peers.write(w);
    }

    pub(crate) fn restore(spec: &ModelSpec, r: &mut Reader<'_>) -> Result<Self, ImageError> {
        r.format("shared state of a model", SHARED_FORMAT)?;
        let scale = Scale::restore(r)?;
        let calibrator = Calibrator::restore(r)?;
        let peers = Peers::restore(r)?;
        Ok(Self::from_parts(spec, scale, calibrator, peers))
    }
}

impl Increments {
    /// Adds what was counted elsewhere since the same version.
    pub fn merge(&mut self, other: &Self) {
        self.calibrator.merge(&other.calibrator);
        self.peers.merge(&other.peers);
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.calibrator.bytes() + self.peers.bytes()
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.varint(INCREMENTS_FORMAT);
        self.calibrator.write(w);
        self.peers.write(w);
    }

    pub(crate) fn restore(r: &mut Reader<'_>) -> Result<Self, ImageError> {
        r.format("increments of a model", INCREMENTS_FORMAT)?;
        Ok(Self { calibrator: CalibratorIncrements::restore(r)?, peers: PeersIncrements::restore(r)? })
    }
}

fn wanted_scale(spec: &ModelSpec) -> Option<LogScale> {
    match spec.detector {
        DetectorSpec::Tail { log_scale, .. } => Some(log_scale),
        _ => None,
    }
}
