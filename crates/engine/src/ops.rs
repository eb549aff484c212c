//! What an operator sees: jobs with their attempts, queues, workflows with their steps, processes.
//!
//! Reads only. Payloads and states hold ids and no personal data, so they may be shown.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

use crate::error::EngineError;
use crate::job::JobId;
use crate::store::ops as store;

/// Most rows of one page.
pub const PAGE_MAX: u16 = 200;

/// Which jobs to list. `None` matches all.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// `scheduled`, `ready`, `running`, `dead`, `done`, `cancelled` or `merged`.
    pub state: Option<String>,
    /// The stored kind.
    pub kind: Option<String>,
    /// The queue's name.
    pub queue: Option<String>,
    /// A tag, as in `lead:<id>`.
    pub tag: Option<String>,
    /// Only jobs with a smaller id: the last one of the page before.
    pub before: Option<JobId>,
    /// Rows of the page, at most [`PAGE_MAX`], and one more that tells whether there is another page.
    pub limit: u16,
}

/// One job, live or finished.
#[derive(Debug, Clone, Serialize)]
pub struct JobView {
    /// Stable over all attempts.
    pub id: i64,
    /// The stored kind.
    pub kind: String,
    /// Where it runs.
    pub queue: String,
    /// As in [`JobFilter::state`].
    pub state: String,
    /// When it is due; of live jobs.
    pub run_at: Option<DateTime<Utc>>,
    /// Attempts begun.
    pub attempt: i16,
    /// Attempts in all; of live jobs.
    pub attempts_max: Option<i16>,
    /// Crashes of its own.
    pub crash_count: i16,
    /// Whether it must run alone, because more than one process died while it was claimed.
    pub probing: bool,
    /// At most one job of this kind and key waits.
    pub dedupe_key: Option<String>,
    /// The workflow whose step it takes.
    pub workflow_id: Option<i64>,
    /// Ids, no personal data.
    pub payload: Value,
    /// The last failure, `{code, message, retryable, details}`.
    pub error: Option<Value>,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
    /// When it came to its end.
    pub finished_at: Option<DateTime<Utc>>,
}

/// One attempt that did not simply succeed.
#[derive(Debug, Clone, Serialize)]
pub struct AttemptView {
    /// Its number, from 1. A snoozed or released attempt is repeated under the same number.
    pub attempt: i16,
    /// `snoozed`, `failed`, `panicked`, `timed_out`, `crashed`, `cancelled` or `released`.
    pub outcome: String,
    /// The failure.
    pub error: Option<Value>,
    /// The session that ran it.
    pub session: Option<i64>,
    /// When the handler began; unknown of a process that died.
    pub started_at: Option<DateTime<Utc>>,
    /// When its end was written.
    pub ended_at: DateTime<Utc>,
    /// When the next one is due.
    pub next_at: Option<DateTime<Utc>>,
    /// Why it waits: `backoff`, `probing`, `version`, or what a snooze said.
    pub waits_for: Option<String>,
}

/// One job with all that is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct JobDetails {
    /// The job.
    pub job: JobView,
    /// What it is found by.
    pub tags: Vec<String>,
    /// Oldest first.
    pub attempts: Vec<AttemptView>,
}

/// How many live jobs of a queue are in a state.
#[derive(Debug, Clone, Serialize)]
pub struct QueueCount {
    /// The queue.
    pub queue: String,
    /// `scheduled`, `ready`, `running` or `dead`.
    pub state: String,
    /// How many.
    pub count: i64,
}

/// One running process.
#[derive(Debug, Clone, Serialize)]
pub struct SessionView {
    /// Of this incarnation.
    pub id: i64,
    /// For people.
    pub host: String,
    /// The program's version.
    pub version: String,
    /// What it works on.
    pub queues: Vec<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Until when it need not be renewed.
    pub until: DateTime<Utc>,
}

/// Which workflows to list. `None` matches all.
#[derive(Debug, Clone, Default)]
pub struct WorkflowFilter {
    /// The stored kind.
    pub kind: Option<String>,
    /// `running`, `sleeping`, `waiting`, `done`, `failed`, `cancelled` or `superseded`.
    pub status: Option<String>,
    /// The business key.
    pub key: Option<String>,
    /// Only workflows with a smaller id: the last one of the page before.
    pub before: Option<i64>,
    /// Rows of the page, at most [`PAGE_MAX`], and one more that tells whether there is another page.
    pub limit: u16,
}

/// One workflow.
#[derive(Debug, Clone, Serialize)]
pub struct WorkflowView {
    /// Its id.
    pub id: i64,
    /// The stored kind.
    pub kind: String,
    /// The business key.
    pub key: String,
    /// The version of its state.
    pub version: i16,
    /// As in [`WorkflowFilter::status`].
    pub status: String,
    /// Steps taken.
    pub seq: i32,
    /// When it wakes by itself.
    pub wake_at: Option<DateTime<Utc>>,
    /// The signal it waits for.
    pub waiting_for: Option<String>,
    /// Ids, no personal data.
    pub state: Value,
    /// Why it failed, or was ended.
    pub error: Option<Value>,
    /// When it was started.
    pub created_at: DateTime<Utc>,
    /// When its last step was recorded.
    pub updated_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// One recorded step.
#[derive(Debug, Clone, Serialize)]
pub struct StepView {
    /// Its number, from 1.
    pub seq: i32,
    /// `start`, `timer`, `signal` or `request`.
    pub woken_by: String,
    /// `next`, `wait_until`, `wait_for`, `done`, `failed`, `cancelled` or `superseded`.
    pub decision: String,
    /// The state that it left behind.
    pub state: Value,
    /// The signal, or the reason.
    pub details: Option<Value>,
    /// When it was recorded.
    pub at: DateTime<Utc>,
}

/// One workflow with its history.
#[derive(Debug, Clone, Serialize)]
pub struct WorkflowDetails {
    /// The workflow.
    pub workflow: WorkflowView,
    /// Oldest first.
    pub steps: Vec<StepView>,
}

/// Jobs, newest first.
pub async fn list_jobs(conn: &mut PgConnection, filter: &JobFilter) -> Result<Vec<JobView>, EngineError> {
    Ok(store::list_jobs(conn, filter).await?)
}

/// One job, live or finished, with its attempts.
pub async fn find_job(conn: &mut PgConnection, id: JobId) -> Result<Option<JobDetails>, EngineError> {
    let Some(job) = store::find_job(conn, id.0).await? else { return Ok(None) };
    let tags = store::list_tags(conn, id.0).await?;
    let attempts = store::list_attempts(conn, id.0).await?;
    Ok(Some(JobDetails { job, tags, attempts }))
}

/// Live jobs per queue and state.
pub async fn count_jobs(conn: &mut PgConnection) -> Result<Vec<QueueCount>, EngineError> {
    Ok(store::count_jobs(conn).await?)
}

/// The processes whose sessions live, oldest first.
pub async fn list_sessions(conn: &mut PgConnection) -> Result<Vec<SessionView>, EngineError> {
    Ok(store::list_sessions(conn).await?)
}

/// Workflows, newest first.
pub async fn list_workflows(
    conn: &mut PgConnection,
    filter: &WorkflowFilter,
) -> Result<Vec<WorkflowView>, EngineError> {
    Ok(store::list_workflows(conn, filter).await?)
}

/// When live workflows wake by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// The stored kind.
    pub kind: String,
    /// The business key.
    pub key: String,
    /// When it wakes, unless something comes before.
    pub wake_at: DateTime<Utc>,
}

/// The timers of these live workflows, each given by kind and key, as far as they sleep.
pub async fn list_timers(conn: &mut PgConnection, keys: &[(&str, &str)]) -> Result<Vec<Timer>, sqlx::Error> {
    store::list_timers(conn, keys).await
}

/// One workflow with its steps.
pub async fn find_workflow(conn: &mut PgConnection, id: i64) -> Result<Option<WorkflowDetails>, EngineError> {
    let Some(workflow) = store::find_workflow(conn, id).await? else { return Ok(None) };
    let steps = store::list_steps(conn, id).await?;
    Ok(Some(WorkflowDetails { workflow, steps }))
}
