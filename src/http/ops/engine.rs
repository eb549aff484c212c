//! Jobs with their attempts, workflows with their steps.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sira_engine::JobId;
use sira_engine::ops::{
    self, AttemptView, ChildView, JobFilter, JobView, StepView, WorkflowFilter, WorkflowView,
};
use utoipa::{IntoParams, ToSchema};

use crate::http::catalogue::{Code, Text};
use crate::http::cursor::ListId;
use crate::http::extract::{ApiQuery, Original, PathOf};
use crate::http::page::{self, Page, PageRequest};
use crate::http::problem::{ApiError, FieldError, Problem};
use crate::http::state::App;

/// The states of [`JobQuery`].
const JOB_STATES: [&str; 8] =
    ["scheduled", "held", "ready", "running", "dead", "done", "cancelled", "merged"];
/// The statuses of [`WorkflowQuery`].
const WORKFLOW_STATUSES: [&str; 8] =
    ["running", "sleeping", "waiting", "joining", "done", "failed", "cancelled", "superseded"];
const UNKNOWN_VALUE: Text = Text {
    tr: "Böyle bir değer yok. allowed alanına bakın.",
    en: "There is no such value. See allowed.",
};

/// Which jobs to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobQuery {
    /// `scheduled`, `held`, `ready`, `running`, `dead`, `done`, `cancelled` or `merged`.
    #[serde(rename = "filter[state]")]
    state: Option<String>,
    /// The stored kind.
    #[serde(rename = "filter[kind]")]
    kind: Option<String>,
    /// The queue.
    #[serde(rename = "filter[queue]")]
    queue: Option<String>,
    /// A tag, as in `lead:<id>`.
    #[serde(rename = "filter[tag]")]
    tag: Option<String>,
    /// The workflow whose steps they take.
    #[serde(rename = "filter[workflowId]")]
    workflow: Option<i64>,
    /// The code of the last failure, as in `provider_down`.
    #[serde(rename = "filter[error]")]
    error: Option<String>,
    /// At least so many attempts begun: what is being retried.
    #[serde(rename = "filter[attemptsMin]")]
    attempts_min: Option<i16>,
    /// Live ones that have been due for longer than so many seconds.
    #[serde(rename = "filter[stuckFor]")]
    stuck_for: Option<u32>,
    /// Rows of a page: 1 to 200; 50 when not given.
    limit: Option<u16>,
    /// From `nextCursor` of a page with the same filters.
    cursor: Option<String>,
}

/// Which workflows to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WorkflowQuery {
    /// `running`, `sleeping`, `waiting`, `joining` (waits for the jobs that it enqueued), `done`, `failed`, `cancelled` or `superseded`.
    #[serde(rename = "filter[status]")]
    status: Option<String>,
    /// The stored kind.
    #[serde(rename = "filter[kind]")]
    kind: Option<String>,
    /// The business key.
    #[serde(rename = "filter[key]")]
    key: Option<String>,
    /// Rows of a page: 1 to 200; 50 when not given.
    limit: Option<u16>,
    /// From `nextCursor` of a page with the same filters.
    cursor: Option<String>,
}

/// A job, live or finished.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Stable over all attempts.
    id: i64,
    kind: String,
    queue: String,
    /// `scheduled`, `held`, `ready`, `running`, `dead`, `done`, `cancelled` or `merged`.
    state: String,
    /// When it is due; of live jobs.
    run_at: Option<DateTime<Utc>>,
    /// Attempts begun.
    attempt: i16,
    /// Attempts in all; of live jobs.
    attempts_max: Option<i16>,
    crash_count: i16,
    /// Runs alone, because its process died while it ran.
    probing: bool,
    dedupe_key: Option<String>,
    workflow_id: Option<i64>,
    /// Ids; no personal data.
    payload: Value,
    /// The last failure.
    error: Option<Value>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

/// An attempt that did not simply succeed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobAttempt {
    attempt: i16,
    outcome: String,
    error: Option<Value>,
    started_at: Option<DateTime<Utc>>,
    ended_at: DateTime<Utc>,
    /// When the next one is due.
    next_at: Option<DateTime<Utc>>,
    waits_for: Option<String>,
}

/// A job with all that is known of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobDetail {
    #[serde(flatten)]
    job: Job,
    /// What it is found by.
    tags: Vec<String>,
    /// Oldest first.
    attempts: Vec<JobAttempt>,
    /// Why it does not run: `paused` where its queue is stopped, else `backoff`, `provider` and the like. Null when it runs, is
    /// through, or waits for its turn or its time alone.
    waits_for: Option<String>,
}

/// A durable workflow.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workflow {
    id: i64,
    kind: String,
    /// The business key.
    key: String,
    version: i16,
    status: String,
    /// Steps taken.
    seq: i32,
    /// When it wakes by itself.
    wake_at: Option<DateTime<Utc>>,
    /// The signal it waits for.
    waiting_for: Option<String>,
    /// Ids; no personal data.
    state: Value,
    error: Option<Value>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

/// A recorded step of a workflow.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    seq: i32,
    woken_by: String,
    decision: String,
    /// The state that it left behind.
    state: Value,
    details: Option<Value>,
    at: DateTime<Utc>,
}

/// A workflow with its history.
#[derive(Serialize, ToSchema)]
pub struct WorkflowDetail {
    #[serde(flatten)]
    workflow: Workflow,
    /// Oldest first.
    steps: Vec<Step>,
    /// The jobs that it waits for.
    children: Vec<Child>,
}

/// A job that a workflow waits for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Child {
    job_id: i64,
    /// `done`, `failed` or `cancelled`; null while it has not ended.
    outcome: Option<String>,
}

/// Jobs, newest first.
#[utoipa::path(get, path = "/ops/jobs", operation_id = "list_jobs", tag = "operations", params(JobQuery), responses(
    (status = 200, description = "A page", body = Page<Job>),
    (status = 400, description = "A parameter or the cursor is not valid", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_jobs(
    State(app): State<App>,
    Original(address): Original,
    ApiQuery(query): ApiQuery<JobQuery>,
) -> Result<Response, ApiError> {
    check_known("filter[state]", query.state.as_deref(), &JOB_STATES)?;
    let (more, stuck_for) = ((query.workflow, &query.error, query.attempts_min), query.stuck_for);
    let filters = format!("{:?}", (&query.state, &query.kind, &query.queue, &query.tag, more, stuck_for));
    let list = ListId::of(&["/ops/jobs", &filters]);
    let request = PageRequest::new(&app.cursors, list, query.limit, query.cursor.as_deref())?;
    let filter = JobFilter {
        state: query.state,
        kind: query.kind,
        queue: query.queue,
        tag: query.tag,
        workflow: query.workflow,
        error: query.error,
        attempts_min: query.attempts_min,
        due_before: stuck_for.map(|seconds| app.cx.clock.now() - TimeDelta::seconds(seconds.into())),
        before: before(&request)?.map(JobId),
        limit: request.limit + 1,
    };
    let mut conn = app.cx.db.read().await?;
    let rows = ops::list_jobs(&mut conn, &filter).await?;
    let (rows, info) = request.onwards(&app.cursors, rows, |row| row.id.to_be_bytes().to_vec());
    Ok(page::reply(&address, rows.into_iter().map(Job::from).collect(), info))
}

/// One job, live or finished, with the attempts that did not simply succeed.
#[utoipa::path(get, path = "/ops/jobs/{id}", operation_id = "get_job", tag = "operations",
    params(("id" = i64, Path, description = "The job")), responses(
    (status = 200, description = "The job", body = JobDetail),
    (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_job(State(app): State<App>, PathOf(id): PathOf<i64>) -> Result<Json<JobDetail>, ApiError> {
    let mut conn = app.cx.db.read().await?;
    let found = ops::find_job(&mut conn, &app.cx.clock, JobId(id)).await?.ok_or(Code::NotFound)?;
    let attempts = found.attempts.into_iter().map(JobAttempt::from).collect();
    Ok(Json(JobDetail { job: found.job.into(), tags: found.tags, attempts, waits_for: found.waits_for }))
}

/// Workflows, newest first.
#[utoipa::path(get, path = "/ops/workflows", operation_id = "list_workflows", tag = "operations", params(WorkflowQuery), responses(
    (status = 200, description = "A page", body = Page<Workflow>),
    (status = 400, description = "A parameter or the cursor is not valid", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_workflows(
    State(app): State<App>,
    Original(address): Original,
    ApiQuery(query): ApiQuery<WorkflowQuery>,
) -> Result<Response, ApiError> {
    check_known("filter[status]", query.status.as_deref(), &WORKFLOW_STATUSES)?;
    let filters = format!("{:?}", (&query.status, &query.kind, &query.key));
    let list = ListId::of(&["/ops/workflows", &filters]);
    let request = PageRequest::new(&app.cursors, list, query.limit, query.cursor.as_deref())?;
    let filter = WorkflowFilter {
        kind: query.kind,
        status: query.status,
        key: query.key,
        before: before(&request)?,
        limit: request.limit + 1,
    };
    let mut conn = app.cx.db.read().await?;
    let rows = ops::list_workflows(&mut conn, &filter).await?;
    let (rows, info) = request.onwards(&app.cursors, rows, |row| row.id.to_be_bytes().to_vec());
    Ok(page::reply(&address, rows.into_iter().map(Workflow::from).collect(), info))
}

/// One workflow with its steps.
#[utoipa::path(get, path = "/ops/workflows/{id}", operation_id = "get_workflow", tag = "operations",
    params(("id" = i64, Path, description = "The workflow")), responses(
    (status = 200, description = "The workflow", body = WorkflowDetail),
    (status = 404, description = "No such workflow", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_workflow(
    State(app): State<App>,
    PathOf(id): PathOf<i64>,
) -> Result<Json<WorkflowDetail>, ApiError> {
    let mut conn = app.cx.db.read().await?;
    let found = ops::find_workflow(&mut conn, id).await?.ok_or(Code::NotFound)?;
    let steps = found.steps.into_iter().map(Step::from).collect();
    let child = |ChildView { job_id, outcome }| Child { job_id, outcome };
    let children = found.children.into_iter().map(child).collect();
    Ok(Json(WorkflowDetail { workflow: found.workflow.into(), steps, children }))
}

/// Refuses a filter's value that is none of the allowed ones.
fn check_known(name: &str, value: Option<&str>, allowed: &[&str]) -> Result<(), ApiError> {
    if value.is_none_or(|value| allowed.contains(&value)) {
        return Ok(());
    }
    let error = FieldError::query(name, "unknown_value", UNKNOWN_VALUE).allowing(allowed.iter().copied());
    Err(ApiError::new(Code::InvalidQuery).with(error))
}

/// The id that a cursor of these lists holds.
fn before(request: &PageRequest) -> Result<Option<i64>, ApiError> {
    Ok(request.position()?.map(i64::from_be_bytes))
}

impl From<JobView> for Job {
    fn from(job: JobView) -> Self {
        Self {
            id: job.id,
            kind: job.kind,
            queue: job.queue,
            state: job.state,
            run_at: job.run_at,
            attempt: job.attempt,
            attempts_max: job.attempts_max,
            crash_count: job.crash_count,
            probing: job.probing,
            dedupe_key: job.dedupe_key,
            workflow_id: job.workflow_id,
            payload: job.payload,
            error: job.error,
            created_at: job.created_at,
            finished_at: job.finished_at,
        }
    }
}

impl From<AttemptView> for JobAttempt {
    fn from(attempt: AttemptView) -> Self {
        Self {
            attempt: attempt.attempt,
            outcome: attempt.outcome,
            error: attempt.error,
            started_at: attempt.started_at,
            ended_at: attempt.ended_at,
            next_at: attempt.next_at,
            waits_for: attempt.waits_for,
        }
    }
}

impl From<WorkflowView> for Workflow {
    fn from(workflow: WorkflowView) -> Self {
        Self {
            id: workflow.id,
            kind: workflow.kind,
            key: workflow.key,
            version: workflow.version,
            status: workflow.status,
            seq: workflow.seq,
            wake_at: workflow.wake_at,
            waiting_for: workflow.waiting_for,
            state: workflow.state,
            error: workflow.error,
            created_at: workflow.created_at,
            updated_at: workflow.updated_at,
            finished_at: workflow.finished_at,
        }
    }
}

impl From<StepView> for Step {
    fn from(step: StepView) -> Self {
        Self {
            seq: step.seq,
            woken_by: step.woken_by,
            decision: step.decision,
            state: step.state,
            details: step.details,
            at: step.at,
        }
    }
}
