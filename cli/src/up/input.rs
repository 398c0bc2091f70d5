//! What feeds the pipeline.

use std::path::Path;

use faultline_crds::WorkerConfig;

use crate::kafka::Found;
use crate::replay::{BadRow, Mapping, OpenError, Replay, Shape};
use crate::scenario::{CARD_PAYMENTS, CardPayments, Record, Settings};
use crate::text::grouped;

/// Where events come from.
pub(super) enum Input {
    /// The generator.
    Scenario { stream: Box<CardPayments>, settings: Settings },
    /// A file.
    Replay(Box<Replay>),
    /// What others write into the source topic.
    Topic,
}

/// What is to feed it, before the topic has been looked at.
pub(super) enum Wanted {
    /// The user said so.
    Certainly(Input),
    /// Only the annotation says so: nobody's records are added to.
    UnlessFilled(Input),
}

impl Wanted {
    /// What feeds the pipeline, given what is in the topic.
    pub(super) fn settle(self, found: Found) -> Input {
        match self {
            Self::UnlessFilled(_) if found == Found::Filled => Input::Topic,
            Self::Certainly(input) | Self::UnlessFilled(input) => input,
        }
    }
}

/// Opens a file for replay.
pub(super) fn open_replay(file: &Path, mappings: &[Mapping], config: &WorkerConfig) -> Result<Replay, OpenError> {
    Replay::open(file, mappings, Shape::of(config))
}

impl Input {
    pub(super) fn scenario(settings: Settings) -> Self {
        Self::Scenario { stream: Box::new(CardPayments::new(settings)), settings }
    }

    /// Whether records are written by this command.
    pub(super) fn feeds(&self) -> bool {
        !matches!(self, Self::Topic)
    }

    /// How many records it has, if that is known.
    pub(super) fn total(&self) -> Option<u64> {
        match self {
            Self::Scenario { settings, .. } => Some(settings.events),
            Self::Replay(_) | Self::Topic => None,
        }
    }

    /// One line.
    pub(super) fn describe(&self, topic: &str) -> String {
        match self {
            Self::Scenario { settings, .. } => {
                let planted = if settings.planted { "" } else { ", nothing planted" };
                format!("{CARD_PAYMENTS}: {} events, seed {}{planted}", grouped(settings.events), settings.seed)
            }
            Self::Replay(replay) => format!("replaying {}", replay.file()),
            Self::Topic => {
                format!("reading topic `{topic}` as it is; --scenario or --replay would add to it. Ctrl-C stops")
            }
        }
    }

    /// The next event, or what is wrong with the next row; `None` at the end.
    pub(super) fn next_into(&mut self, record: &mut Record) -> Option<Result<(), BadRow>> {
        match self {
            Self::Scenario { stream, .. } => stream.next_into(record).then_some(Ok(())),
            Self::Replay(replay) => replay.next_into(record),
            Self::Topic => None,
        }
    }

    /// Whether the record's own timestamp is the event's time.
    pub(super) fn time_is_in_the_record(&self) -> bool {
        matches!(self, Self::Replay(replay) if replay.time_is_in_the_record())
    }
}
