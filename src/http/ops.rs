//! `/ops`: what the machinery does, for operators. No personal data: payloads hold ids.

pub mod bulk;
pub mod engine;
pub mod events;
pub mod gates;
pub mod jobs;
pub mod quarantine;
pub mod queues;
pub mod schedules;
pub mod workers;
pub mod workflows;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sira_domain::ingestion;
use sira_domain::nouns::InboundId;
use utoipa::ToSchema;
use uuid::Uuid;

use super::cursor::ListId;
use super::extract::{ApiQuery, Original};
use super::page::{self, Page, PageQuery, PageRequest};
use super::problem::{ApiError, Problem};
use super::state::App;

/// A source event that cannot become a lead until somebody mends it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuarantinedEvent {
    id: Uuid,
    provider: String,
    /// The provider's own id.
    external_id: String,
    /// Stable.
    reason_code: String,
    /// For an operator.
    reason: String,
    received_at: DateTime<Utc>,
}

/// Source events in quarantine, oldest first.
#[utoipa::path(get, path = "/ops/quarantine", operation_id = "list_quarantined_events", tag = "operations", params(PageQuery), responses(
    (status = 200, description = "A page", body = Page<QuarantinedEvent>),
    (status = 401, description = "Not signed in", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_quarantined_events(
    State(app): State<App>,
    Original(address): Original,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Response, ApiError> {
    let list = ListId::of(&["/ops/quarantine"]);
    let request = PageRequest::new(&app.cursors, list, query.limit, query.cursor.as_deref())?;
    let after = request.timed()?;
    let after = after.map(|(at, id)| (at, InboundId::from_uuid(id)));
    let mut conn = app.cx.db.read().await?;
    let rows = ingestion::list_quarantined(&mut conn, after, request.limit + 1).await?;
    drop(conn);
    let position = |row: &ingestion::Quarantined| page::timed_position(row.received_at, row.id.uuid());
    let (rows, info) = request.onwards(&app.cursors, rows, position);
    let rows = rows.into_iter().map(|row| QuarantinedEvent {
        id: row.id.uuid(),
        provider: row.provider,
        external_id: row.external_id,
        reason_code: row.reason_code,
        reason: row.reason,
        received_at: row.received_at,
    });
    Ok(page::reply(&address, rows.collect(), info))
}
