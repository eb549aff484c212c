//! What an operator does to gates.

use serde_json::json;
use sira_engine::ops::{self, GateEdit};

use super::OperationError;
use crate::event::OperatorAct;
use crate::uow::Uow;

/// Gives a gate these limits in the place of those that it had, and records [`OperatorAct::LimitsEdited`].
///
/// # Errors
/// [`OperationError::Gate`] when there is none, or a limit is none.
pub async fn edit(uow: &mut Uow, name: &str, edit: &GateEdit) -> Result<(), OperationError> {
    let clock = uow.clock();
    let applied = ops::edit_gate(uow.conn(), &clock, name, edit).await?;
    uow.made_due(applied);
    let limits = json!({ "concurrency": edit.concurrency_max, "rate": edit.rate, "breaker": edit.breaker });
    uow.record(OperatorAct::LimitsEdited { of: format!("gate:{name}"), limits }.into());
    Ok(())
}

/// Closes a gate's breaker and forgets the time that its provider named, and records [`OperatorAct::GateReset`].
///
/// # Errors
/// [`OperationError::Gate`] when there is none.
pub async fn reset(uow: &mut Uow, name: &str) -> Result<(), OperationError> {
    let applied = ops::reset_gate(uow.conn(), name).await?;
    uow.made_due(applied);
    uow.record(OperatorAct::GateReset { gate: name.to_owned() }.into());
    Ok(())
}
