//! From a judged event to bytes: results, alerts, rejected records.
//!
//! Payloads have a fixed order of members and hold nothing that differs between a run and its replay: no wall clock,
//! no host. Everything that is the same for all events of a pipeline is encoded once, in the [`Encoder`].

mod alert;
mod encoder;
mod json;
mod result;
mod rfc3339;
mod summary;

pub(crate) use alert::{AlertState, Closing, close_reason, write_alert, write_closing};
pub(crate) use encoder::Encoder;
pub(crate) use result::write_result;
pub(crate) use rfc3339::days_from_civil;

use faultline_detectors::{Maturity, Score};
use faultline_features::Value;

use crate::decide::Verdict;
use crate::score::Explained;

/// Everything that outputs say about one event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged<'a> {
    /// The entity key, as outputs show it.
    pub(crate) key: &'a str,
    /// The event's own id, if it has one.
    pub(crate) id: Option<&'a str>,
    /// Source offset.
    pub(crate) offset: i64,
    /// Event time.
    pub(crate) time_ms: i64,
    /// The declared fields.
    pub(crate) fields: &'a [Value<'a>],
    /// One value per column of the plan.
    pub(crate) columns: &'a [Value<'a>],
    /// One score per model.
    pub(crate) scores: &'a [Option<Score>],
    /// What the event's surprise is made of; only for anomalies.
    pub(crate) explanation: &'a [Explained],
    /// What was decided.
    pub(crate) verdict: &'a Verdict,
}

/// How payloads name a maturity.
pub(crate) fn maturity_name(maturity: Maturity) -> &'static str {
    match maturity {
        Maturity::Cold => "cold",
        Maturity::Warming => "warming",
        Maturity::Mature => "mature",
    }
}
