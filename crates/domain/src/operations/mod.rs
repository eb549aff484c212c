//! What an operator does to the machinery, audited: retrying and cancelling jobs, stopping and limiting queues, changing schedules, backing up and restoring.
//!
//! **Invariant:** what was done to a job and who did it commit together.

pub mod bulk;
pub mod gates;
pub mod queues;
pub mod schedules;
mod store;
pub mod workflows;

use chrono::{DateTime, Utc};
use sira_engine::ops::{self, GateError, QueueError, ScheduleError, Verdict, WorkflowError};
use sira_engine::{EngineError, JobId};
use sira_kernel::mask_contacts;
use sqlx::PgConnection;

use crate::event::OperatorAct;
use crate::uow::Uow;

/// Most jobs of one call.
pub const JOBS_MAX: usize = ops::PAGE_MAX as usize;
/// Longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 200;

/// Why nothing was done at all.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// What is stopped says why.
    #[error("a reason has 1 to {REASON_CHARS_MAX} characters")]
    InvalidReason,
    /// A filter that all jobs match.
    #[error("say which jobs: a filter is missing")]
    NoFilter,
    /// What somebody typed who meant a person.
    #[error(
        "a filter's values are names and ids as the lists show them, of at most {} characters",
        bulk::VALUE_CHARS_MAX
    )]
    InvalidFilter,
    /// It has ended, or never was.
    #[error("there is no such act that still runs")]
    NoSuchBulk,
    /// More jobs than one transaction takes.
    #[error("at most {JOBS_MAX} jobs at once")]
    TooMany,
    /// There is no schedule of this name, or it cannot be what it was to become.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// There is no queue of this name.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// There is no gate of this name, or it cannot have these limits.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// There is no workflow of this id, or it cannot be done to it.
    #[error(transparent)]
    Workflow(#[from] WorkflowError),
    /// The engine or the database refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<sqlx::Error> for OperationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Engine(error.into())
    }
}

/// Makes dead and scheduled jobs due now, with all their attempts before them again, and records [`OperatorAct::JobRetried`] of
/// each. What cannot be retried is left alone and told.
///
/// # Errors
/// [`OperationError::TooMany`]; then nothing was done.
pub async fn retry_jobs(uow: &mut Uow, jobs: &[JobId]) -> Result<Vec<Verdict>, OperationError> {
    if jobs.len() > JOBS_MAX {
        return Err(OperationError::TooMany);
    }
    let clock = uow.clock();
    let (verdicts, applied) = ops::retry_jobs(uow.conn(), &clock, jobs).await?;
    uow.made_due(applied);
    record(uow, &verdicts, |job| OperatorAct::JobRetried { job });
    Ok(verdicts)
}

/// Ends jobs that do not run as cancelled, and records [`OperatorAct::JobCancelled`] of each. What cannot be cancelled is left
/// alone and told. Telephone numbers and addresses in the reason are masked before it is stored.
///
/// # Errors
/// [`OperationError::InvalidReason`], [`OperationError::TooMany`]; then nothing was done.
pub async fn cancel_jobs(
    uow: &mut Uow,
    jobs: &[JobId],
    reason: &str,
) -> Result<Vec<Verdict>, OperationError> {
    let reason = checked_reason(reason)?;
    if jobs.len() > JOBS_MAX {
        return Err(OperationError::TooMany);
    }
    let verdicts = ops::cancel_jobs(uow.conn(), jobs, &reason).await?;
    record(uow, &verdicts, |job| OperatorAct::JobCancelled { job, reason: reason.clone() });
    Ok(verdicts)
}

/// Gives jobs that wait another time, and records [`OperatorAct::JobRescheduled`] of each. What cannot be moved is left alone
/// and told.
///
/// # Errors
/// [`OperationError::TooMany`]; then nothing was done.
pub async fn reschedule_jobs(
    uow: &mut Uow,
    jobs: &[JobId],
    run_at: DateTime<Utc>,
) -> Result<Vec<Verdict>, OperationError> {
    if jobs.len() > JOBS_MAX {
        return Err(OperationError::TooMany);
    }
    let (verdicts, applied) = ops::reschedule_jobs(uow.conn(), jobs, run_at).await?;
    uow.made_due(applied);
    record(uow, &verdicts, |job| OperatorAct::JobRescheduled { job, run_at });
    Ok(verdicts)
}

/// A reason as it is kept.
fn checked_reason(reason: &str) -> Result<String, OperationError> {
    let reason = mask_contacts(reason.trim());
    if !(1..=REASON_CHARS_MAX).contains(&reason.chars().count()) {
        return Err(OperationError::InvalidReason);
    }
    Ok(reason)
}

/// Once for each job, however often it was asked for.
fn record(uow: &mut Uow, verdicts: &[Verdict], act: impl Fn(JobId) -> OperatorAct) {
    let mut done: Vec<JobId> =
        verdicts.iter().filter(|(_, verdict)| verdict.is_ok()).map(|(job, _)| *job).collect();
    done.sort_unstable();
    done.dedup();
    for job in done {
        uow.record(act(job).into());
    }
}

/// Records that a backup was completed: of the snapshot taken then, with a dump of so many bytes.
pub fn note_backup(uow: &mut Uow, at: DateTime<Utc>, bytes: u64) {
    uow.record(OperatorAct::BackupTaken { at, bytes }.into());
}

/// Records that this database was restored from a backup of the snapshot taken then.
pub fn note_restore(uow: &mut Uow, at: DateTime<Utc>) {
    uow.record(OperatorAct::BackupRestored { at }.into());
}

/// When the last backup was completed, as far as this database knows: a restored one does not know of its own.
pub async fn find_last_backup(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    store::find_last_backup(conn).await
}
