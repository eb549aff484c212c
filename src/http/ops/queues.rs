//! Queues: who works on them, what waits in them, stopping and limiting one. Audited as the caller's act.

use std::num::NonZeroU16;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sira_domain::operations::queues;
use sira_engine::ops::{self, QueueView};
use utoipa::ToSchema;

use crate::http::extract::PathOf;
use crate::http::idempotent::Once;
use crate::http::message::{self, Message};
use crate::http::problem::{ApiError, Problem};
use crate::http::queue::Nothing;
use crate::http::state::App;

/// A queue of jobs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobQueue {
    name: String,
    /// Since when nothing of it is claimed.
    paused_at: Option<DateTime<Utc>>,
    paused_reason: Option<String>,
    /// Most of its jobs that run at a time in all processes; null is without such a limit.
    concurrency_max: Option<i32>,
    /// Jobs that are due and wait, counted up to 1000.
    ready: i64,
    /// How long the next one of them has been due, in seconds.
    oldest_s: Option<f64>,
    /// Processes that work on it.
    workers: i64,
}

/// All of them.
#[derive(Serialize, ToSchema)]
pub struct JobQueues {
    data: Vec<JobQueue>,
}

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseQueue {
    /// For operators and the audit log: 1 to 200 characters, no names; numbers and addresses are masked.
    #[schema(example = "the provider is under maintenance")]
    reason: String,
}

/// How much of it runs at a time.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LimitQueue {
    /// Most of its jobs in all processes together, from 1; null takes the limit away.
    #[schema(value_type = Option<u16>, example = 4, minimum = 1)]
    concurrency_max: Option<NonZeroU16>,
}

/// What was done.
#[derive(Serialize, ToSchema)]
pub struct QueueDone {
    name: String,
    message: Message,
}

/// The queues that somebody works on, that hold jobs which are due, or that are stopped: a handful.
#[utoipa::path(get, path = "/ops/queues", operation_id = "list_job_queues", tag = "operations", responses(
    (status = 200, description = "All of them", body = JobQueues),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_job_queues(State(app): State<App>) -> Result<Json<JobQueues>, ApiError> {
    let found = ops::list_queues(&mut *app.cx.db.read().await?, &app.cx.clock).await?;
    Ok(Json(JobQueues { data: found.into_iter().map(JobQueue::from).collect() }))
}

/// Stops it in all processes, with the reason. What runs comes to its end; what is enqueued waits.
#[utoipa::path(post, path = "/ops/queues/{name}/pause", operation_id = "pause_job_queue", tag = "operations", request_body = PauseQueue,
    params(("name" = String, Path, description = "The queue"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "Nothing more of it is claimed", body = QueueDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such queue", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The reason is empty or too long", body = Problem, content_type = "application/problem+json"),
))]
pub async fn pause_job_queue(
    State(app): State<App>,
    PathOf(name): PathOf<String>,
    once: Once<PauseQueue>,
) -> Result<Response, ApiError> {
    let reason = &once.body.reason;
    once.run(&app, StatusCode::OK, async |uow| {
        queues::pause(uow, &name, reason).await?;
        Ok(QueueDone { name: name.clone(), message: message::QUEUE_PAUSED })
    })
    .await
}

/// Lets it go on.
#[utoipa::path(post, path = "/ops/queues/{name}/resume", operation_id = "resume_job_queue", tag = "operations", request_body = Nothing,
    params(("name" = String, Path, description = "The queue"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "Its jobs run", body = QueueDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such queue", body = Problem, content_type = "application/problem+json"),
))]
pub async fn resume_job_queue(
    State(app): State<App>,
    PathOf(name): PathOf<String>,
    once: Once<Nothing>,
) -> Result<Response, ApiError> {
    once.run(&app, StatusCode::OK, async |uow| {
        queues::resume(uow, &name).await?;
        Ok(QueueDone { name: name.clone(), message: message::QUEUE_RESUMED })
    })
    .await
}

/// Sets how many of its jobs run at a time in all processes. What runs already goes on.
#[utoipa::path(post, path = "/ops/queues/{name}/limit", operation_id = "limit_job_queue", tag = "operations", request_body = LimitQueue,
    params(("name" = String, Path, description = "The queue"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "No more of its jobs are begun than that", body = QueueDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such queue", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The limit is none", body = Problem, content_type = "application/problem+json"),
))]
pub async fn limit_job_queue(
    State(app): State<App>,
    PathOf(name): PathOf<String>,
    once: Once<LimitQueue>,
) -> Result<Response, ApiError> {
    let most = once.body.concurrency_max;
    once.run(&app, StatusCode::OK, async |uow| {
        queues::limit(uow, &name, most).await?;
        Ok(QueueDone { name: name.clone(), message: message::LIMITS_EDITED })
    })
    .await
}

impl From<QueueView> for JobQueue {
    fn from(queue: QueueView) -> Self {
        Self {
            name: queue.name,
            paused_at: queue.paused_at,
            paused_reason: queue.paused_reason,
            concurrency_max: queue.concurrency_max,
            ready: queue.ready,
            oldest_s: queue.oldest_s,
            workers: queue.workers,
        }
    }
}
