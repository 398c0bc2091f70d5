//! Why a transactional call did not work out, and what may be done about it.

use rdkafka::types::RDKafkaErrorCode;

/// What a transactional call answered.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message} ({code:?})")]
pub struct TransactionFailure {
    /// The client's code.
    pub code: RDKafkaErrorCode,
    /// The client's words.
    pub message: String,
    /// The producer cannot be used any more.
    pub fatal: bool,
    /// The same call may be tried again.
    pub retriable: bool,
    /// The transaction has to be aborted.
    pub abort: bool,
}
