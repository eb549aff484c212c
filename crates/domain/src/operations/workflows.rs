//! What an operator does to workflows.

use sira_engine::ops;

use super::{OperationError, checked_reason};
use crate::event::OperatorAct;
use crate::uow::Uow;

/// Ends a live workflow as cancelled, and records [`OperatorAct::WorkflowCancelled`]. Telephone numbers and addresses in the
/// reason are masked before it is stored.
///
/// # Errors
/// [`OperationError::InvalidReason`]; [`OperationError::Workflow`] when it is unknown or has ended.
pub async fn cancel(uow: &mut Uow, workflow: i64, reason: &str) -> Result<(), OperationError> {
    let reason = checked_reason(reason)?;
    ops::cancel_workflow(uow.conn(), workflow, &reason).await?;
    uow.record(OperatorAct::WorkflowCancelled { workflow, reason }.into());
    Ok(())
}

/// Lets a workflow go on that failed or was ended, from its last step or from this one, and records
/// [`OperatorAct::WorkflowRetried`].
///
/// # Errors
/// [`OperationError::Workflow`] when it cannot.
pub async fn retry(uow: &mut Uow, workflow: i64, from: Option<i32>) -> Result<(), OperationError> {
    let applied = ops::retry_workflow(uow.conn(), workflow, from).await?;
    uow.made_due(applied);
    uow.record(OperatorAct::WorkflowRetried { workflow, from }.into());
    Ok(())
}
