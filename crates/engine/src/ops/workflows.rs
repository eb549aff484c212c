//! What an operator does to workflows.

use sqlx::PgConnection;

use crate::effect::Applied;
use crate::error::EngineError;
use crate::store::{self, Reviving};

/// Why a workflow was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowError {
    /// There is none with this id.
    #[error("there is no such workflow")]
    Unknown,
    /// It has ended.
    #[error("it has ended")]
    Ended,
    /// It lives, or came to its own end.
    #[error("only a workflow that failed or was ended from outside goes on again")]
    NotRetriable,
    /// Another one of its kind and key lives.
    #[error("another workflow of its kind and key lives")]
    KeyTaken,
    /// It has no such step, or that one was its end.
    #[error("there is no such step to go on from")]
    NoSuchStep,
    /// The database refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<sqlx::Error> for WorkflowError {
    fn from(error: sqlx::Error) -> Self {
        Self::Engine(error.into())
    }
}

/// Ends a live workflow as cancelled, with the reason in its history. A step that is under way rolls back. The reason holds
/// no personal data. Call it in a transaction.
///
/// # Errors
/// [`WorkflowError::Unknown`], [`WorkflowError::Ended`].
pub async fn cancel_workflow(tx: &mut PgConnection, id: i64, reason: &str) -> Result<(), WorkflowError> {
    if store::cancel_by_id(tx, id, reason).await? {
        return Ok(());
    }
    let known = store::ops::find_workflow(tx, id).await?;
    Err(known.map_or(WorkflowError::Unknown, |_| WorkflowError::Ended))
}

/// Lets a workflow that failed, or was ended from outside, go on: from what its last step left behind, or from what the step
/// of this number did. The next step is due at once and is woken as it would have been, by its timer where it slept. The
/// history keeps what was and tells that it was retried. Call it in a transaction, and wake the engine after the commit with
/// what comes back.
///
/// # Errors
/// [`WorkflowError::Unknown`], [`WorkflowError::NotRetriable`], [`WorkflowError::KeyTaken`], [`WorkflowError::NoSuchStep`].
pub async fn retry_workflow(
    tx: &mut PgConnection,
    id: i64,
    from: Option<i32>,
) -> Result<Applied, WorkflowError> {
    match store::revive(tx, id, from).await? {
        Reviving::Unknown => Err(WorkflowError::Unknown),
        Reviving::NotRetriable => Err(WorkflowError::NotRetriable),
        Reviving::KeyTaken => Err(WorkflowError::KeyTaken),
        Reviving::NoSuchStep => Err(WorkflowError::NoSuchStep),
        Reviving::Due(applied) => Ok(applied),
    }
}
