//! What can go wrong between the engine and its caller.

/// A failure of the engine itself.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The lease was lost: another process may run the job now. The caller's transaction must roll back.
    #[error("the lease on this job was lost; nothing was changed")]
    LeaseLost,
    /// More children than [`crate::workflow::CHILDREN_MAX`].
    #[error("a step enqueues at most {} children", crate::workflow::CHILDREN_MAX)]
    TooManyChildren,
    /// A state or payload could not be written as JSON.
    #[error("could not encode: {0}")]
    Encode(#[from] serde_json::Error),
    /// The database refused or was not there.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}
