//! Acting on all jobs that match: how many they are, beginning, watching and stopping it. Audited as the caller's act.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sira_domain::operations::bulk::{self, Act, COUNT_MAX, Progress, VALUE_CHARS_MAX};
use sira_engine::ops::JobFilter;
use utoipa::ToSchema;

use crate::http::catalogue::{Code, Text};
use crate::http::extract::{ApiJson, PathOf};
use crate::http::idempotent::Once;
use crate::http::message::{self, Message};
use crate::http::problem::{ApiError, Problem};
use crate::http::queue::Nothing;
use crate::http::state::App;

pub(super) const NO_FILTER: Text = Text {
    tr: "Hangi işler olduğunu söyleyin: en az bir koşul yazın.",
    en: "Say which jobs: write at least one condition.",
};

pub(super) const INVALID_FILTER: Text = Text {
    tr: "Koşullar, listelerdeki ad ve kimliklerdir: en çok 100 karakter; kişi bilgisi yazmayın.",
    en: "Conditions are names and ids as the lists show them, of at most 100 characters; nobody's contact.",
};
// The text says the number.
const _: () = assert!(VALUE_CHARS_MAX == 100);

/// Which live jobs: those that match all conditions that are there. At least one is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Matching {
    /// `scheduled`, `held`, `ready`, `running` or `dead`.
    state: Option<LiveState>,
    kind: Option<String>,
    queue: Option<String>,
    /// As in `lead:<id>`.
    tag: Option<String>,
    workflow_id: Option<i64>,
    /// The code of the last failure.
    #[schema(example = "provider_down")]
    error: Option<String>,
    /// At least so many attempts begun.
    attempts_min: Option<i16>,
    /// Due for longer than so many seconds.
    #[schema(minimum = 0, maximum = 31_536_000)]
    stuck_for: Option<u32>,
}

/// Where a live job stands.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LiveState {
    /// Not due.
    Scheduled,
    /// Due, and waits for its gate.
    Held,
    /// A worker takes it next.
    Ready,
    /// A worker has it.
    Running,
    /// All its attempts failed.
    Dead,
}

/// What is to be done with each of them.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "act", deny_unknown_fields)]
pub enum ActOnMany {
    /// Dead and scheduled ones are due now, with all their attempts before them again.
    Retry {
        /// Which jobs.
        filter: Matching,
    },
    /// Those that do not run end.
    Cancel {
        /// Which jobs.
        filter: Matching,
        /// For their history and the audit log: 1 to 200 characters, no names; numbers and addresses are masked.
        #[schema(example = "the campaign is over")]
        reason: String,
    },
    /// Those that wait are due at another time.
    Reschedule {
        /// Which jobs.
        filter: Matching,
        /// When; a time that has passed is now.
        run_at: DateTime<Utc>,
    },
}

/// How many jobs match.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Matched {
    /// Counted up to 10,000.
    count: usize,
    /// There may be more than that.
    or_more: bool,
}

/// An act on many jobs that was begun.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BulkDone {
    id: i64,
    message: Message,
}

/// How far an act on many jobs has come.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BulkAct {
    id: i64,
    /// `retry`, `cancel` or `reschedule`.
    act: String,
    /// `running`, `done` or `stopped`.
    state: String,
    /// Jobs that were acted on.
    done: i64,
    /// Jobs that matched and could not be: they ran, or had ended.
    refused: i64,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

/// How many live jobs match: what an act on them would meet.
#[utoipa::path(post, path = "/ops/bulk-acts/count", operation_id = "count_matching_jobs", tag = "operations", request_body = Matching, responses(
    (status = 200, description = "So many; nothing was done", body = Matched),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "There is no condition", body = Problem, content_type = "application/problem+json"),
))]
pub async fn count_matching_jobs(
    State(app): State<App>,
    ApiJson { value, .. }: ApiJson<Matching>,
) -> Result<Json<Matched>, ApiError> {
    let filter = value.filter(app.cx.clock.now());
    let count = bulk::count(&mut *app.cx.db.read().await?, &filter).await?;
    Ok(Json(Matched { count, or_more: count == usize::from(COUNT_MAX) }))
}

/// Begins to act on all live jobs that match and are there by now. A durable job does it in batches; each job's act is in the
/// audit log.
#[utoipa::path(post, path = "/ops/bulk-acts", operation_id = "act_on_many_jobs", tag = "operations", request_body = ActOnMany,
    params(("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 202, description = "It has begun", body = BulkDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "There is no condition, or no reason", body = Problem, content_type = "application/problem+json"),
))]
pub async fn act_on_many_jobs(State(app): State<App>, once: Once<ActOnMany>) -> Result<Response, ApiError> {
    let now = app.cx.clock.now();
    let (act, filter) = match &once.body {
        ActOnMany::Retry { filter } => (Act::Retry, filter.filter(now)),
        ActOnMany::Cancel { filter, reason } => (Act::Cancel { reason: reason.clone() }, filter.filter(now)),
        ActOnMany::Reschedule { filter, run_at } => (Act::Reschedule { run_at: *run_at }, filter.filter(now)),
    };
    once.run(&app, StatusCode::ACCEPTED, async |uow| {
        let id = bulk::start(uow, act, &filter).await?;
        Ok(BulkDone { id, message: message::BULK_STARTED })
    })
    .await
}

/// How far it has come.
#[utoipa::path(get, path = "/ops/bulk-acts/{id}", operation_id = "get_bulk_act", tag = "operations",
    params(("id" = i64, Path, description = "The act")), responses(
    (status = 200, description = "So far", body = BulkAct),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such act", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_bulk_act(
    State(app): State<App>,
    PathOf(id): PathOf<i64>,
) -> Result<Json<BulkAct>, ApiError> {
    let found = bulk::find(&mut *app.cx.db.read().await?, id).await?.ok_or(Code::NotFound)?;
    Ok(Json(found.into()))
}

/// Stops it where it stands.
#[utoipa::path(post, path = "/ops/bulk-acts/{id}/stop", operation_id = "stop_bulk_act", tag = "operations", request_body = Nothing,
    params(("id" = i64, Path, description = "The act"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "It goes no further", body = BulkDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It has ended, or never was", body = Problem, content_type = "application/problem+json"),
))]
pub async fn stop_bulk_act(
    State(app): State<App>,
    PathOf(id): PathOf<i64>,
    once: Once<Nothing>,
) -> Result<Response, ApiError> {
    once.run(&app, StatusCode::OK, async |uow| {
        bulk::stop(uow, id).await?;
        Ok(BulkDone { id, message: message::BULK_STOPPED })
    })
    .await
}

impl Matching {
    fn filter(&self, now: DateTime<Utc>) -> JobFilter {
        let state = self.state.map(|state| match state {
            LiveState::Scheduled => "scheduled",
            LiveState::Held => "held",
            LiveState::Ready => "ready",
            LiveState::Running => "running",
            LiveState::Dead => "dead",
        });
        JobFilter {
            state: state.map(str::to_owned),
            kind: self.kind.clone(),
            queue: self.queue.clone(),
            tag: self.tag.clone(),
            workflow: self.workflow_id,
            error: self.error.clone(),
            attempts_min: self.attempts_min,
            due_before: self.stuck_for.map(|seconds| now - TimeDelta::seconds(seconds.into())),
            ..JobFilter::default()
        }
    }
}

impl From<Progress> for BulkAct {
    fn from(progress: Progress) -> Self {
        let Progress { id, act, state, done, refused, created_at, finished_at } = progress;
        Self { id, act, state, done, refused, created_at, finished_at }
    }
}
