//! What an operator does to all jobs that match. It is stored, and done in batches by a durable job.
//!
//! **Invariant:** a batch, its audit events and how far the act has come commit together, so that one that was killed goes on
//! where it stopped and acts on no job twice.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sira_engine::JobId;
use sira_engine::ops::{self, JobFilter, PAGE_MAX};
use sira_kernel::mask_contacts;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{OperationError, checked_reason, store};
use super::{cancel_jobs, reschedule_jobs, retry_jobs};
use crate::event::OperatorAct;
use crate::uow::Uow;

/// Matching jobs are counted no further.
pub const COUNT_MAX: u16 = 10_000;

/// How many [`list_latest`] tells of.
const LATEST: i64 = 10;
/// Longest value of a filter, in characters.
pub const VALUE_CHARS_MAX: usize = 100;

/// What is to be done with each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Dead and scheduled ones are due now, with all their attempts before them again.
    Retry,
    /// Those that do not run end as cancelled.
    Cancel {
        /// For their history; no names.
        reason: String,
    },
    /// Those that wait are due at another time.
    Reschedule {
        /// When.
        run_at: DateTime<Utc>,
    },
}

impl Act {
    /// The stored name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel { .. } => "cancel",
            Self::Reschedule { .. } => "reschedule",
        }
    }
}

/// How far an act on many jobs has come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// Its id.
    pub id: i64,
    /// `retry`, `cancel` or `reschedule`.
    pub act: String,
    /// `running`, `done` or `stopped`.
    pub state: String,
    /// Jobs that were acted on.
    pub done: i64,
    /// Jobs that matched, and could not be.
    pub refused: i64,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it came to its end.
    pub finished_at: Option<DateTime<Utc>>,
}

/// How many live jobs match, counted up to [`COUNT_MAX`].
///
/// # Errors
/// [`OperationError::NoFilter`], [`OperationError::InvalidFilter`].
pub async fn count(conn: &mut PgConnection, filter: &JobFilter) -> Result<usize, OperationError> {
    check(filter)?;
    Ok(ops::match_jobs(conn, filter, COUNT_MAX).await?.len())
}

/// A filter is kept, and stands in the audit log: it says which jobs, and names nobody.
fn check(filter: &JobFilter) -> Result<(), OperationError> {
    if filter.is_empty() {
        return Err(OperationError::NoFilter);
    }
    let values = [&filter.state, &filter.kind, &filter.queue, &filter.tag, &filter.error];
    if values.into_iter().flatten().all(|value| is_code(value)) {
        Ok(())
    } else {
        Err(OperationError::InvalidFilter)
    }
}

/// A name or `<name>:<id>`, as the program writes them: it may stand in the audit log.
pub(crate) fn is_code(value: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    let is_id = value.rsplit_once(':').is_some_and(|(_, id)| Uuid::parse_str(id).is_ok());
    value.len() <= VALUE_CHARS_MAX && value.chars().all(allowed) && (is_id || mask_contacts(value) == value)
}

/// Begins to act on all live jobs that match and are there by now, and records [`OperatorAct::BulkStarted`], which enqueues
/// the work. Returns the act's id.
///
/// # Errors
/// [`OperationError::NoFilter`], [`OperationError::InvalidFilter`], [`OperationError::InvalidReason`].
pub async fn start(uow: &mut Uow, act: Act, filter: &JobFilter) -> Result<i64, OperationError> {
    check(filter)?;
    let act = match act {
        Act::Cancel { reason } => Act::Cancel { reason: checked_reason(&reason)? },
        act => act,
    };
    let stored = serde_json::to_value(filter).map_err(sira_engine::EngineError::from)?;
    let id = store::start_bulk(uow.conn(), &act, &stored).await?;
    uow.record(OperatorAct::BulkStarted { bulk: id, act: act.name().to_owned(), filter: stored }.into());
    Ok(id)
}

/// Acts on the next batch. Returns whether it was the last: then [`OperatorAct::BulkEnded`] is recorded.
///
/// # Errors
/// Those of the database.
pub async fn advance(uow: &mut Uow, id: i64) -> Result<bool, OperationError> {
    let Some(bulk) = store::lock_bulk(uow.conn(), id).await? else { return Ok(true) };
    let filter = JobFilter { before: Some(JobId(bulk.position)), ..bulk.filter.0 };
    let jobs = ops::match_jobs(uow.conn(), &filter, PAGE_MAX).await?;
    let verdicts = match (bulk.act.as_str(), bulk.reason, bulk.run_at) {
        ("cancel", Some(reason), _) => cancel_jobs(uow, &jobs, &reason).await?,
        ("reschedule", _, Some(run_at)) => reschedule_jobs(uow, &jobs, run_at).await?,
        _ => retry_jobs(uow, &jobs).await?,
    };
    let done = verdicts.iter().filter(|(_, verdict)| verdict.is_ok()).count() as i64;
    let refused = verdicts.len() as i64 - done;
    let last = jobs.len() < usize::from(PAGE_MAX);
    let position = jobs.last().map_or(0, |job| job.0);
    let ended = store::advance_bulk(uow.conn(), id, position, done, refused, last).await?;
    if last {
        uow.record(OperatorAct::BulkEnded { bulk: id, done: ended.done, refused: ended.refused }.into());
    }
    Ok(last)
}

/// Stops it where it stands, and records [`OperatorAct::BulkStopped`]. What was done stays done.
///
/// # Errors
/// [`OperationError::NoSuchBulk`] when it does not run.
pub async fn stop(uow: &mut Uow, id: i64) -> Result<(), OperationError> {
    if !store::stop_bulk(uow.conn(), id).await? {
        return Err(OperationError::NoSuchBulk);
    }
    uow.record(OperatorAct::BulkStopped { bulk: id }.into());
    Ok(())
}

/// How far it has come.
pub async fn find(conn: &mut PgConnection, id: i64) -> Result<Option<Progress>, sqlx::Error> {
    store::find_bulk(conn, id).await
}

/// The latest ones, newest first.
pub async fn list_latest(conn: &mut PgConnection) -> Result<Vec<Progress>, sqlx::Error> {
    store::list_bulks(conn, LATEST).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_holds_names_and_ids_and_nobodys_contact() {
        for (value, allowed) in [
            ("operations.trim_history", true),
            ("step:sla.timer", true),
            ("lead:01920000-0000-7000-8000-000000000001", true),
            ("bulk:12", true),
            ("ayse@example.com", false),
            ("905550000000", false),
            ("lead:+905550000000", false),
            ("Ayşe", false),
            ("two words", false),
        ] {
            assert_eq!(is_code(value), allowed, "{value}");
        }
        assert!(!is_code(&"x".repeat(VALUE_CHARS_MAX + 1)));
    }
}
