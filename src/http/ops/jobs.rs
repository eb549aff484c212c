//! Retrying, cancelling and rescheduling one job. Audited as the caller's act.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sira_domain::operations::{self, OperationError, REASON_CHARS_MAX};
use sira_engine::JobId;
use sira_engine::ops::{Done, GateError, QueueError, Refused, Verdict, WorkflowError};
use utoipa::ToSchema;

use crate::http::catalogue::{Code, Text};
use crate::http::extract::PathOf;
use crate::http::idempotent::Once;
use crate::http::message::{self, Message};
use crate::http::problem::{ApiError, FieldError, Problem};
use crate::http::queue::Nothing;
use crate::http::state::App;

const REASON: Text = Text {
    tr: "1 ile 200 karakter arasında bir gerekçe yazın.",
    en: "Write a reason of 1 to 200 characters.",
};
const NO_SUCH_STEP: Text = Text {
    tr: "Akışın böyle bir adımı yok, ya da o adım sonuydu.",
    en: "The workflow has no such step, or that one was its end.",
};
// The texts above say the number.
const _: () = assert!(REASON_CHARS_MAX == 200);

/// What was done.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobDone {
    id: i64,
    /// `ready`, `merged`, `cancelled` or `scheduled`.
    state: &'static str,
    message: Message,
}

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelJob {
    /// For the job's history and the audit log: 1 to 200 characters, no names; numbers and addresses are masked.
    #[schema(example = "the form was deleted")]
    pub(super) reason: String,
}

/// Makes a dead or scheduled job due now, with all its attempts before it again.
#[utoipa::path(post, path = "/ops/jobs/{id}/retry", operation_id = "retry_job", tag = "operations", request_body = Nothing,
    params(("id" = i64, Path, description = "The job"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "It is due", body = JobDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It runs, is ready or has ended, or its workflow has", body = Problem, content_type = "application/problem+json"),
))]
pub async fn retry_job(
    State(app): State<App>,
    PathOf(id): PathOf<i64>,
    once: Once<Nothing>,
) -> Result<Response, ApiError> {
    once.run(&app, StatusCode::OK, async |uow| done(operations::retry_jobs(uow, &[JobId(id)]).await?)).await
}

/// Ends a job that does not run.
#[utoipa::path(post, path = "/ops/jobs/{id}/cancel", operation_id = "cancel_job", tag = "operations", request_body = CancelJob,
    params(("id" = i64, Path, description = "The job"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "It has ended", body = JobDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It runs or has ended, or a workflow that lives waits for it", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The reason is empty or too long", body = Problem, content_type = "application/problem+json"),
))]
pub async fn cancel_job(
    State(app): State<App>,
    PathOf(id): PathOf<i64>,
    once: Once<CancelJob>,
) -> Result<Response, ApiError> {
    let reason = &once.body.reason;
    once.run(&app, StatusCode::OK, async |uow| {
        done(operations::cancel_jobs(uow, &[JobId(id)], reason).await?)
    })
    .await
}

/// When.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RescheduleJob {
    /// When it is due; a time that has passed is now.
    run_at: DateTime<Utc>,
}

/// Gives a job that waits another time.
#[utoipa::path(post, path = "/ops/jobs/{id}/reschedule", operation_id = "reschedule_job", tag = "operations", request_body = RescheduleJob,
    params(("id" = i64, Path, description = "The job"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "It is due then", body = JobDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It runs, is dead or has ended", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "No time", body = Problem, content_type = "application/problem+json"),
))]
pub async fn reschedule_job(
    State(app): State<App>,
    PathOf(id): PathOf<i64>,
    once: Once<RescheduleJob>,
) -> Result<Response, ApiError> {
    let run_at = once.body.run_at;
    once.run(&app, StatusCode::OK, async |uow| {
        done(operations::reschedule_jobs(uow, &[JobId(id)], run_at).await?)
    })
    .await
}

fn done(verdicts: Vec<Verdict>) -> Result<JobDone, ApiError> {
    let (job, verdict) =
        verdicts.into_iter().next().ok_or_else(|| ApiError::internal("a job without a verdict"))?;
    let (state, message) = match verdict.map_err(code_of)? {
        Done::Ready => ("ready", message::JOB_RETRIED),
        Done::Merged => ("merged", message::JOB_MERGED),
        Done::Cancelled => ("cancelled", message::JOB_CANCELLED),
        Done::Scheduled => ("scheduled", message::JOB_RESCHEDULED),
    };
    Ok(JobDone { id: job.0, state, message })
}

fn code_of(refused: Refused) -> Code {
    match refused {
        Refused::Unknown => Code::NotFound,
        Refused::Ended => Code::JobEnded,
        Refused::Running => Code::JobRunning,
        Refused::Held => Code::JobHeld,
        Refused::Ready => Code::JobReady,
        Refused::Dead => Code::JobDead,
        Refused::LiveWorkflow => Code::WorkflowLives,
        Refused::EndedWorkflow => Code::WorkflowEnded,
    }
}

impl From<OperationError> for ApiError {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::InvalidReason => {
                Self::new(Code::InvalidBody).with(FieldError::body("/reason", "wrong_value", REASON))
            }
            OperationError::TooMany => Self::internal(error),
            OperationError::NoFilter => Self::new(Code::InvalidBody).with(FieldError::body(
                "/filter",
                "missing_field",
                super::bulk::NO_FILTER,
            )),
            OperationError::InvalidFilter => Self::new(Code::InvalidBody).with(FieldError::body(
                "/filter",
                "wrong_value",
                super::bulk::INVALID_FILTER,
            )),
            OperationError::NoSuchBulk => Code::BulkEnded.into(),
            OperationError::Workflow(error) => match error {
                WorkflowError::Unknown => Code::NotFound.into(),
                WorkflowError::Ended => Code::WorkflowEnded.into(),
                WorkflowError::NotRetriable => Code::WorkflowNotRetriable.into(),
                WorkflowError::KeyTaken => Code::WorkflowKeyTaken.into(),
                WorkflowError::NoSuchStep => Self::new(Code::InvalidBody).with(FieldError::body(
                    "/fromStep",
                    "wrong_value",
                    NO_SUCH_STEP,
                )),
                WorkflowError::Engine(error) => error.into(),
            },
            OperationError::Schedule(error) => super::schedules::refused(error),
            OperationError::Queue(QueueError::Unknown) | OperationError::Gate(GateError::Unknown) => {
                Code::NotFound.into()
            }
            OperationError::Gate(GateError::InvalidLimit) => super::gates::invalid_limit(),
            OperationError::Engine(error)
            | OperationError::Queue(QueueError::Engine(error))
            | OperationError::Gate(GateError::Engine(error)) => error.into(),
        }
    }
}
