//! What an operator sees and does: jobs with their attempts, queues, workflows with their steps, processes; retrying and
//! cancelling jobs.
//!
//! Payloads and states hold ids and no personal data, so they may be shown. What an operator does takes the rows' locks
//! first, so that it is safe beside running workers: a job is either claimed before, and then left alone, or not at all.

mod counters;
mod gates;
mod queues;
mod schedules;
mod workflows;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sira_kernel::Clock;
use sqlx::PgConnection;

use crate::effect::Applied;
use crate::error::EngineError;
use crate::job::JobId;
use crate::store::ops as store;

pub use counters::{CounterFilter, CounterView, MINUTES_MAX, list_counters};
pub use gates::{GateEdit, GateError, GateView, HELD_MAX, edit_gate, list_gates, reset_gate};
pub use queues::{QueueError, QueueView, READY_MAX};
pub use queues::{count_running, limit_queue, list_queues, pause_queue, resume_queue};
pub use schedules::{ScheduleDetails, ScheduleEdit, ScheduleError, ScheduleView, SlotView};
pub use schedules::{
    edit_schedule, find_schedule, list_schedules, pause_schedule, resume_schedule, run_schedule,
};

pub use workflows::{WorkflowError, cancel_workflow, retry_workflow};

/// Most rows of one page.
pub const PAGE_MAX: u16 = 200;

/// Which jobs to list. `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobFilter {
    /// `scheduled`, `held` (due, and waits for its gate), `ready`, `running`, `dead`, `done`, `cancelled` or `merged`.
    pub state: Option<String>,
    /// The stored kind.
    pub kind: Option<String>,
    /// The queue's name.
    pub queue: Option<String>,
    /// A tag, as in `lead:<id>`.
    pub tag: Option<String>,
    /// The workflow whose steps they take.
    pub workflow: Option<i64>,
    /// The code of their last failure: what equal failures have in common.
    pub error: Option<String>,
    /// At least so many attempts begun.
    pub attempts_min: Option<i16>,
    /// Live ones that were due before this time: what is stuck.
    pub due_before: Option<DateTime<Utc>>,
    /// Only jobs with a smaller id: the last one of the page before.
    #[serde(skip)]
    pub before: Option<JobId>,
    /// Rows of the page, at most [`PAGE_MAX`], and one more that tells whether there is another page.
    #[serde(skip)]
    pub limit: u16,
}

impl JobFilter {
    /// Whether all jobs match.
    pub fn is_empty(&self) -> bool {
        *self == Self { before: self.before, limit: self.limit, ..Self::default() }
    }
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
    /// Why it does not run: `breaker`, `rate_limit` or `concurrency` where its gate holds it, `paused` where its queue is
    /// stopped, else what its last attempt says. `None` when it runs, is through, or waits for nothing but its turn or its
    /// time.
    pub waits_for: Option<String>,
}

/// How many live jobs of a queue are in a state.
#[derive(Debug, Clone, Serialize)]
pub struct QueueCount {
    /// The queue.
    pub queue: String,
    /// `scheduled`, `held`, `ready`, `running` or `dead`.
    pub state: String,
    /// How many.
    pub count: i64,
}

/// One running process.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// `running`, `sleeping`, `waiting`, `joining` (waits for its children), `done`, `failed`, `cancelled` or `superseded`.
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
    /// `start`, `timer`, `signal`, `children` or `request`.
    pub woken_by: String,
    /// `next`, `wait_until`, `wait_for`, `children`, `done`, `failed`, `cancelled`, `superseded` or `retried`.
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
    /// The jobs that it waits for, in their order.
    pub children: Vec<ChildView>,
}

/// A job that a workflow waits for.
#[derive(Debug, Clone, Serialize)]
pub struct ChildView {
    /// The job.
    pub job_id: i64,
    /// `done`, `failed` or `cancelled`, once it has ended.
    pub outcome: Option<String>,
}

/// Why a job was left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none with this id.
    #[error("there is no such job")]
    Unknown,
    /// It came to its end: `done`, `cancelled` or `merged`.
    #[error("it has ended")]
    Ended,
    /// A worker runs it now.
    #[error("it runs now")]
    Running,
    /// It is due, and waits for its gate.
    #[error("it is due already and waits for its gate")]
    Held,
    /// It is ready already.
    #[error("it is ready already: a worker takes it next")]
    Ready,
    /// It is dead.
    #[error("it is dead")]
    Dead,
    /// It takes a step of a workflow that lives and would wait for it for ever.
    #[error("it takes a step of a workflow that lives")]
    LiveWorkflow,
    /// It took a step of a workflow that has ended and takes no further one.
    #[error("it takes a step of a workflow that has ended")]
    EndedWorkflow,
}

/// What was done to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It is ready, or waits for its gate.
    Ready,
    /// It folded into an equal job that waited, and which is ready now.
    Merged,
    /// It ended as cancelled.
    Cancelled,
    /// It is due at the new time.
    Scheduled,
}

/// What became of one job, in the order asked.
pub type Verdict = (JobId, Result<Done, Refused>);

/// What is to be done with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Retry,
    Cancel,
    Reschedule,
}

/// Makes dead and scheduled jobs due now, with as many attempts before them as they had at first; those behind them stay
/// in the history. Crashes are forgiven, but who crashed runs alone. A job whose twin waits folds into it and makes it due.
/// Asked twice, the second time finds it ready. Call it in a transaction, with at most [`PAGE_MAX`] ids, and wake the
/// engine after the commit with what comes back.
pub async fn retry_jobs(
    tx: &mut PgConnection,
    clock: &Clock,
    ids: &[JobId],
) -> Result<(Vec<Verdict>, Applied), EngineError> {
    let judged = judge(tx, Act::Retry, ids).await?;
    let retried = store::retry_jobs(tx, clock.shift_us(), &allowed_of(&judged)).await?;
    let done = |id: JobId| {
        let kept = retried.iter().any(|job| job.id == id.0 && job.kept);
        if kept { Done::Ready } else { Done::Merged }
    };
    let verdicts = judged.into_iter().map(|(id, judged)| (id, judged.map(|()| done(id)))).collect();
    let queues = retried.into_iter().map(|job| job.bell).collect();
    Ok((verdicts, Applied { queues, scheduled: false }))
}

/// Ends jobs that do not run as `cancelled`, with the reason in their history: dead, scheduled and ready ones. The reason
/// holds no personal data. Call it in a transaction, with at most [`PAGE_MAX`] ids.
pub async fn cancel_jobs(
    tx: &mut PgConnection,
    ids: &[JobId],
    reason: &str,
) -> Result<Vec<Verdict>, EngineError> {
    let judged = judge(tx, Act::Cancel, ids).await?;
    store::cancel_jobs(tx, &allowed_of(&judged), reason).await?;
    Ok(judged.into_iter().map(|(id, judged)| (id, judged.map(|()| Done::Cancelled))).collect())
}

/// Makes jobs that wait due at this time, which may have passed. A dead one is retried instead; what runs is left alone. Call
/// it in a transaction, with at most [`PAGE_MAX`] ids, and wake the engine after the commit with what comes back.
pub async fn reschedule_jobs(
    tx: &mut PgConnection,
    ids: &[JobId],
    run_at: DateTime<Utc>,
) -> Result<(Vec<Verdict>, Applied), EngineError> {
    let judged = judge(tx, Act::Reschedule, ids).await?;
    store::reschedule_jobs(tx, &allowed_of(&judged), run_at).await?;
    let verdicts = judged.into_iter().map(|(id, judged)| (id, judged.map(|()| Done::Scheduled))).collect();
    Ok((verdicts, Applied { queues: Vec::new(), scheduled: true }))
}

/// The newest live jobs that match, up to `limit`.
pub async fn match_jobs(
    conn: &mut PgConnection,
    filter: &JobFilter,
    limit: u16,
) -> Result<Vec<JobId>, EngineError> {
    Ok(store::match_jobs(conn, filter, i64::from(limit)).await?.into_iter().map(JobId).collect())
}

type Judged = Vec<(JobId, Result<(), Refused>)>;

/// Locks the jobs and says of each whether this can be done.
async fn judge(tx: &mut PgConnection, act: Act, ids: &[JobId]) -> Result<Judged, EngineError> {
    let asked: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let live = store::lock_jobs(tx, &asked).await?;
    let ended = store::list_ended(tx, &asked).await?;
    let judged = |id: &JobId| match live.iter().find(|job| job.id == id.0) {
        Some(job) => allowed(act, &job.state, job.workflow_lives),
        None if ended.contains(&id.0) => Err(Refused::Ended),
        None => Err(Refused::Unknown),
    };
    Ok(ids.iter().map(|id| (*id, judged(id))).collect())
}

fn allowed_of(judged: &Judged) -> Vec<i64> {
    judged.iter().filter(|(_, judged)| judged.is_ok()).map(|(id, _)| id.0).collect()
}

/// `workflow_lives` is of a job that takes a workflow's step.
fn allowed(act: Act, state: &str, workflow_lives: Option<bool>) -> Result<(), Refused> {
    match (act, state, workflow_lives) {
        (_, "running", _) => Err(Refused::Running),
        (Act::Reschedule, "dead", _) => Err(Refused::Dead),
        (Act::Retry, "held", _) => Err(Refused::Held),
        (Act::Retry, "ready", _) => Err(Refused::Ready),
        (Act::Retry, _, Some(false)) => Err(Refused::EndedWorkflow),
        (Act::Cancel, _, Some(true)) => Err(Refused::LiveWorkflow),
        _ => Ok(()),
    }
}

/// Jobs, newest first.
pub async fn list_jobs(conn: &mut PgConnection, filter: &JobFilter) -> Result<Vec<JobView>, EngineError> {
    Ok(store::list_jobs(conn, filter).await?)
}

/// One job, live or finished, with its attempts.
pub async fn find_job(
    conn: &mut PgConnection,
    clock: &Clock,
    id: JobId,
) -> Result<Option<JobDetails>, EngineError> {
    let Some(job) = store::find_job(conn, id.0).await? else { return Ok(None) };
    let tags = store::list_tags(conn, id.0).await?;
    let attempts = store::list_attempts(conn, id.0).await?;
    let waits_for = match job.state.as_str() {
        "ready" | "scheduled" if store::is_paused(conn, &job.queue).await? => Some("paused".to_owned()),
        "held" => store::why_held(conn, id.0, clock.shift_us()).await?,
        "scheduled" => attempts.last().and_then(|last| last.waits_for.clone()),
        _ => None,
    };
    Ok(Some(JobDetails { job, tags, attempts, waits_for }))
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

/// Takes what is older than this day out of the history: days of finished jobs and attempts by their partitions. Returns how
/// many partitions went. Call it in a transaction; live jobs and workflows are never touched.
///
/// # Errors
/// A lock that was not to be had within half a second: try again later.
pub async fn drop_history(tx: &mut PgConnection, before: NaiveDate) -> Result<usize, EngineError> {
    Ok(crate::store::drop_partitions(tx, before).await?)
}

/// Takes up to `limit` rows a table of what is older out of the history that has no partitions: workflows that ended, with
/// their steps, slots of schedules, tags of jobs that are gone. Returns whether there may be more.
pub async fn trim_history(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
    limit: u32,
) -> Result<bool, EngineError> {
    let limit = i64::from(limit);
    Ok(crate::store::delete_history(conn, before, limit).await? >= limit)
}

/// One workflow with its steps.
pub async fn find_workflow(conn: &mut PgConnection, id: i64) -> Result<Option<WorkflowDetails>, EngineError> {
    let Some(workflow) = store::find_workflow(conn, id).await? else { return Ok(None) };
    let steps = store::list_steps(conn, id).await?;
    let children = store::list_children(conn, id).await?;
    Ok(Some(WorkflowDetails { workflow, steps, children }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_may_do_depends_on_where_a_job_stands() {
        use Refused::{Dead, EndedWorkflow, Held, LiveWorkflow, Ready, Running};
        let moved = ["scheduled", "held", "ready", "running", "dead"]
            .map(|state| allowed(Act::Reschedule, state, None));
        assert_eq!(moved, [Ok(()), Ok(()), Ok(()), Err(Running), Err(Dead)]);
        let table = [
            ("scheduled", None, Ok(()), Ok(())),
            ("held", None, Err(Held), Ok(())),
            ("ready", None, Err(Ready), Ok(())),
            ("running", None, Err(Running), Err(Running)),
            ("dead", None, Ok(()), Ok(())),
            ("scheduled", Some(true), Ok(()), Err(LiveWorkflow)),
            ("running", Some(true), Err(Running), Err(Running)),
            ("dead", Some(false), Err(EndedWorkflow), Ok(())),
        ];
        for (state, workflow, retry, cancel) in table {
            assert_eq!(allowed(Act::Retry, state, workflow), retry, "retry {state} {workflow:?}");
            assert_eq!(allowed(Act::Cancel, state, workflow), cancel, "cancel {state} {workflow:?}");
        }
    }
}
