//! What an operator does to schedules.

use sira_engine::JobId;
use sira_engine::ops::{self, ScheduleEdit, ScheduleView};

use super::{OperationError, checked_reason};
use crate::event::OperatorAct;
use crate::uow::Uow;

/// Changes when a schedule fires, and records [`OperatorAct::ScheduleEdited`] of what it is then. Its next slot is the first one
/// after now.
///
/// # Errors
/// [`OperationError::Schedule`] when there is none, or its expression and zone cannot be used.
pub async fn edit(uow: &mut Uow, name: &str, edit: &ScheduleEdit) -> Result<ScheduleView, OperationError> {
    let clock = uow.clock();
    let (schedule, applied) = ops::edit_schedule(uow.conn(), &clock, name, edit).await?;
    uow.made_due(applied);
    uow.record(
        OperatorAct::ScheduleEdited {
            schedule: schedule.name.clone(),
            cron: schedule.cron.clone(),
            time_zone: schedule.time_zone.clone(),
            catch_up: schedule.catch_up.clone(),
        }
        .into(),
    );
    Ok(schedule)
}

/// Stops a schedule, and records [`OperatorAct::SchedulePaused`]. Telephone numbers and addresses in the reason are masked before
/// it is stored.
///
/// # Errors
/// [`OperationError::InvalidReason`]; [`OperationError::Schedule`] when there is none.
pub async fn pause(uow: &mut Uow, name: &str, reason: &str) -> Result<(), OperationError> {
    let reason = checked_reason(reason)?;
    ops::pause_schedule(uow.conn(), name, &reason).await?;
    uow.record(OperatorAct::SchedulePaused { schedule: name.to_owned(), reason }.into());
    Ok(())
}

/// Lets a schedule go on with its first slot from now on, and records [`OperatorAct::ScheduleResumed`] if it was paused.
///
/// # Errors
/// [`OperationError::Schedule`] when there is none, or its expression cannot be read.
pub async fn resume(uow: &mut Uow, name: &str) -> Result<(), OperationError> {
    let clock = uow.clock();
    let (was_paused, applied) = ops::resume_schedule(uow.conn(), &clock, name).await?;
    uow.made_due(applied);
    if was_paused {
        uow.record(OperatorAct::ScheduleResumed { schedule: name.to_owned() }.into());
    }
    Ok(())
}

/// Enqueues a schedule's job now, beside its slots, and records [`OperatorAct::ScheduleRun`].
///
/// # Errors
/// [`OperationError::Schedule`] when there is none.
pub async fn run_now(uow: &mut Uow, name: &str) -> Result<JobId, OperationError> {
    let clock = uow.clock();
    let (job, applied) = ops::run_schedule(uow.conn(), &clock, name).await?;
    uow.made_due(applied);
    uow.record(OperatorAct::ScheduleRun { schedule: name.to_owned(), job }.into());
    Ok(job)
}
