//! What an operator does to queues.

use std::num::NonZeroU16;

use serde_json::json;
use sira_engine::ops;

use super::{OperationError, checked_reason};
use crate::event::OperatorAct;
use crate::uow::Uow;

/// Stops a queue in all processes, and records [`OperatorAct::QueuePaused`]. Telephone numbers and addresses in the reason are
/// masked before it is stored.
///
/// # Errors
/// [`OperationError::InvalidReason`]; [`OperationError::Queue`] when there is none.
pub async fn pause(uow: &mut Uow, name: &str, reason: &str) -> Result<(), OperationError> {
    let (reason, clock) = (checked_reason(reason)?, uow.clock());
    ops::pause_queue(uow.conn(), &clock, name, &reason).await?;
    uow.record(OperatorAct::QueuePaused { queue: name.to_owned(), reason }.into());
    Ok(())
}

/// Lets a queue go on, and records [`OperatorAct::QueueResumed`] if it was stopped.
///
/// # Errors
/// [`OperationError::Queue`] when there is none.
pub async fn resume(uow: &mut Uow, name: &str) -> Result<(), OperationError> {
    let clock = uow.clock();
    let (was_paused, applied) = ops::resume_queue(uow.conn(), &clock, name).await?;
    uow.made_due(applied);
    if was_paused {
        uow.record(OperatorAct::QueueResumed { queue: name.to_owned() }.into());
    }
    Ok(())
}

/// Sets how many jobs of a queue run at a time in all processes, or takes that limit away, and records
/// [`OperatorAct::LimitsEdited`].
///
/// # Errors
/// [`OperationError::Queue`] when there is none.
pub async fn limit(uow: &mut Uow, name: &str, most: Option<NonZeroU16>) -> Result<(), OperationError> {
    let clock = uow.clock();
    let applied = ops::limit_queue(uow.conn(), &clock, name, most).await?;
    uow.made_due(applied);
    uow.record(
        OperatorAct::LimitsEdited { of: format!("queue:{name}"), limits: json!({ "concurrency": most }) }
            .into(),
    );
    Ok(())
}
