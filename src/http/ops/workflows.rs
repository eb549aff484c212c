//! Ending a workflow, and letting one go on. Audited as the caller's act.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sira_domain::operations::workflows;
use utoipa::ToSchema;

use super::jobs::CancelJob;
use crate::http::extract::PathOf;
use crate::http::idempotent::Once;
use crate::http::message::{self, Message};
use crate::http::problem::{ApiError, Problem};
use crate::http::state::App;

/// From where.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RetryWorkflow {
    /// The step whose outcome it goes on from; its last one when left out. What later steps did is not undone.
    #[schema(example = 3)]
    from_step: Option<i32>,
}

/// What was done.
#[derive(Serialize, ToSchema)]
pub struct WorkflowDone {
    id: i64,
    message: Message,
}

/// Ends a workflow that lives. A step that is under way rolls back.
#[utoipa::path(post, path = "/ops/workflows/{id}/cancel", operation_id = "cancel_workflow", tag = "operations", request_body = CancelJob,
    params(("id" = i64, Path, description = "The workflow"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "It takes no further step", body = WorkflowDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such workflow", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It has ended", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The reason is empty or too long", body = Problem, content_type = "application/problem+json"),
))]
pub async fn cancel_workflow(
    State(app): State<App>,
    PathOf(id): PathOf<i64>,
    once: Once<CancelJob>,
) -> Result<Response, ApiError> {
    let reason = &once.body.reason;
    once.run(&app, StatusCode::OK, async |uow| {
        workflows::cancel(uow, id, reason).await?;
        Ok(WorkflowDone { id, message: message::WORKFLOW_CANCELLED })
    })
    .await
}

/// Lets a workflow go on that failed, or was ended from outside.
#[utoipa::path(post, path = "/ops/workflows/{id}/retry", operation_id = "retry_workflow", tag = "operations", request_body = RetryWorkflow,
    params(("id" = i64, Path, description = "The workflow"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "Its next step is due", body = WorkflowDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such workflow", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It lives, came to its own end, or another one of its key lives", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "It has no such step", body = Problem, content_type = "application/problem+json"),
))]
pub async fn retry_workflow(
    State(app): State<App>,
    PathOf(id): PathOf<i64>,
    once: Once<RetryWorkflow>,
) -> Result<Response, ApiError> {
    let from = once.body.from_step;
    once.run(&app, StatusCode::OK, async |uow| {
        workflows::retry(uow, id, from).await?;
        Ok(WorkflowDone { id, message: message::WORKFLOW_RETRIED })
    })
    .await
}
