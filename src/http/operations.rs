//! Long work: how far it is, how it ended, and stopping it.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use sira_domain::imports::{self, Import, State as ImportState};
use sira_domain::nouns::ImportId;
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::PathOf;
use super::idempotent::Once;
use super::imports::{CountsView, OperationBegun};
use super::message;
use super::problem::{ApiError, Problem};
use super::queue::Nothing;
use super::state::App;

/// Long work.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    id: Uuid,
    /// `import` or `import_undo`.
    kind: &'static str,
    /// It has ended, one way or another.
    done: bool,
    progress: Progress,
    /// What came of it, once it is done.
    result: Option<OperationResult>,
    /// Why it failed: a stable code.
    error: Option<String>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

/// How far it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    done: i64,
    total: i64,
    /// What is counted: `bytes` or `leads`.
    unit: &'static str,
}

/// What came of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationResult {
    /// `done`, `cancelled` or `undone`.
    state: &'static str,
    #[serde(flatten)]
    counts: CountsView,
}

/// Long work: how far it is, or how it ended. An import is its own operation, and so is its undoing.
#[utoipa::path(get, path = "/operations/{id}", operation_id = "get_operation", tag = "imports",
    params(("id" = Uuid, Path, description = "The operation")), responses(
    (status = 200, description = "The operation", body = Operation),
    (status = 404, description = "No such operation", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_operation(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
) -> Result<Json<Operation>, ApiError> {
    let import = imports::get(&mut *app.cx.db.read().await?, ImportId::from_uuid(id)).await?;
    Ok(Json(of_import(import)))
}

/// Stops an import. What was settled stays; it can be undone.
#[utoipa::path(post, path = "/operations/{id}/cancel", operation_id = "cancel_operation", tag = "imports", request_body = Nothing,
    params(("id" = Uuid, Path, description = "The operation"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 202, description = "It is being stopped", body = OperationBegun),
    (status = 404, description = "No such operation", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It has ended", body = Problem, content_type = "application/problem+json"),
))]
pub async fn cancel_operation(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
    once: Once<Nothing>,
) -> Result<Response, ApiError> {
    once.run(&app, StatusCode::ACCEPTED, async |uow| {
        imports::cancel(uow, ImportId::from_uuid(id)).await?;
        Ok(OperationBegun { operation_id: id, message: message::OPERATION_CANCELLED })
    })
    .await
}

fn of_import(import: Import) -> Operation {
    let undo = matches!(import.state, ImportState::Undoing | ImportState::Undone);
    let done = import.finished_at.is_some();
    let progress = if undo {
        let total = if done { import.counts.removed } else { import.counts.created };
        Progress { done: import.counts.removed, total, unit: "leads" }
    } else {
        Progress { done: import.bytes_done, total: import.bytes, unit: "bytes" }
    };
    let result = (done && import.failure.is_none())
        .then_some(OperationResult { state: import.state.code(), counts: import.counts.into() });
    Operation {
        id: import.id.uuid(),
        kind: if undo { "import_undo" } else { "import" },
        done,
        progress,
        result,
        error: import.failure,
        created_at: import.created_at,
        finished_at: import.finished_at,
    }
}
