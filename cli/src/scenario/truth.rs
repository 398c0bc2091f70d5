//! What was planted.

use serde::Serialize;

/// The type of a planted anomaly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// One amount 3 σ above the median of the hour.
    Spike3,
    /// 4 σ.
    Spike4,
    /// 6 σ.
    Spike6,
    /// 10 σ.
    Spike10,
    /// An amount of the highest hour at a low hour.
    Contextual,
    /// Many payments in a short time.
    RateBurst,
    /// No payments.
    Silence,
    /// A level that rises slowly.
    SlowRamp,
    /// A level that rises at once.
    LevelShift,
    /// A category of merchant that hardly occurs.
    RareCategory,
    /// One event that strikes many users.
    ManyKeys,
}

impl Kind {
    /// All types, in the order of the published table.
    pub const ALL: [Self; 11] = [
        Self::Spike3,
        Self::Spike4,
        Self::Spike6,
        Self::Spike10,
        Self::Contextual,
        Self::RateBurst,
        Self::Silence,
        Self::SlowRamp,
        Self::LevelShift,
        Self::RareCategory,
        Self::ManyKeys,
    ];

    /// The name in labels, summaries and documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Spike3 => "spike3",
            Self::Spike4 => "spike4",
            Self::Spike6 => "spike6",
            Self::Spike10 => "spike10",
            Self::Contextual => "contextual",
            Self::RateBurst => "rateBurst",
            Self::Silence => "silence",
            Self::SlowRamp => "slowRamp",
            Self::LevelShift => "levelShift",
            Self::RareCategory => "rareCategory",
            Self::ManyKeys => "manyKeys",
        }
    }
}

/// One planted anomaly.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Planted {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The user's name, as in the Kafka key.
    pub key: String,
    /// Event time of its begin.
    pub start_ms: i64,
    /// Event time of its end, or by when it should have been seen.
    pub end_ms: i64,
    /// Spikes, contextual, shift, ramp, many keys: σ above the median of the hour. Burst: payments over the user's
    /// expected payments in five minutes at his peak. Silence: expected payments that are missing. Rare category:
    /// one payment in this many has it.
    pub effect: f64,
}
