//! Buffers of a lane, reused from record to record. Nothing in here outlives the fold of one record.

use faultline_features::Value;

use crate::decode::Slots;
use crate::score::{Explained, Scores};

/// Buffers for the fold; a lane has one, whatever the number of its shards.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Unescaped texts.
    pub(super) arena: String,
    pub(super) slots: Slots<'static>,
    pub(super) work: Work,
}

/// Buffers of the steps after decoding.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) columns: Vec<Value<'static>>,
    pub(crate) scores: Scores,
    pub(crate) explanation: Vec<Explained>,
    pub(crate) shown_key: String,
}

impl Scratch {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}
