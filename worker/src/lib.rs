//! The streaming engine: takes the records of a source topic, folds them into windows and detectors, scores,
//! decides, and commits results, alerts, dead letters and offsets as one transaction.

pub mod outcome;
pub mod outputs;
pub mod ports;
