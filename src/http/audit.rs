//! The audit log for auditors: search, and evidence that stands without this server (docs/AUDIT.md).

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sira_domain::audit::{self, Checkpoint, Found, Growth, ProofError, Search};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::catalogue::{Code, Text};
use super::cursor::ListId;
use super::extract::{ApiQuery, Original, PathOf};
use super::page::{self, Page, PageQuery, PageRequest};
use super::problem::{ApiError, FieldError, Problem};
use super::state::App;

/// By then what was committed is sealed.
const SEALED_WITHIN: Duration = Duration::from_secs(2);
const BOTH: Text = Text {
    tr: "filter[subjectKind] ile filter[subject] birlikte verilir.",
    en: "Give filter[subjectKind] and filter[subject] together.",
};

/// What is looked for; everything that is given holds.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// What kind of thing it happened to, as in `lead`; goes with `filter[subject]`.
    #[serde(rename = "filter[subjectKind]")]
    subject_kind: Option<String>,
    /// Its id.
    #[serde(rename = "filter[subject]")]
    subject: Option<String>,
    /// Who: a user's id, or the name of a job, workflow or provider.
    #[serde(rename = "filter[actor]")]
    actor: Option<String>,
    /// As in `lead.assigned`.
    #[serde(rename = "filter[action]")]
    action: Option<String>,
    /// Not before this time.
    #[serde(rename = "filter[at][gte]")]
    from: Option<DateTime<Utc>>,
    /// Before this time.
    #[serde(rename = "filter[at][lt]")]
    to: Option<DateTime<Utc>>,
    /// Rows of a page: 1 to 200; 50 when not given.
    limit: Option<u16>,
    /// From `nextCursor` of a page with the same filters.
    cursor: Option<String>,
}

/// One act.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    id: Uuid,
    at: DateTime<Utc>,
    /// `user`, `job`, `workflow`, `provider` or `system`.
    actor_kind: String,
    /// A user's id, or a name.
    actor: String,
    /// `noun.verb` in the past tense.
    #[schema(example = "lead.assigned")]
    action: String,
    #[schema(example = "lead")]
    subject_kind: String,
    subject: String,
    /// Ids, codes and numbers; no personal data.
    body: Value,
    /// The trace that it belongs to.
    trace_parent: Option<String>,
    /// Its place in the sealed log; null for a second or two, until it is sealed.
    leaf: Option<i64>,
}

impl From<Found> for AuditEvent {
    fn from(found: Found) -> Self {
        let Found { event, leaf } = found;
        Self {
            id: event.id,
            at: event.at,
            actor_kind: event.actor_kind,
            actor: event.actor,
            action: event.action,
            subject_kind: event.subject_kind,
            subject: event.subject,
            body: event.body,
            trace_parent: event.trace_parent,
            leaf,
        }
    }
}

/// Who did what to what, newest first.
#[utoipa::path(get, path = "/audit/events", operation_id = "list_audit_events", tag = "audit", params(AuditQuery), responses(
    (status = 200, description = "A page", body = Page<AuditEvent>),
    (status = 400, description = "A parameter or the cursor is not valid", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_audit_events(
    State(app): State<App>,
    Original(address): Original,
    ApiQuery(query): ApiQuery<AuditQuery>,
) -> Result<Response, ApiError> {
    let filters = format!(
        "{:?}",
        (&query.subject_kind, &query.subject, &query.actor, &query.action, query.from, query.to)
    );
    let list = ListId::of(&["/audit/events", &filters]);
    let request = PageRequest::new(&app.cursors, list, query.limit, query.cursor.as_deref())?;
    let subject = match (query.subject_kind, query.subject) {
        (Some(kind), Some(id)) => Some((kind, id)),
        (None, None) => None,
        (kind, _) => {
            let missing = if kind.is_some() { "filter[subject]" } else { "filter[subjectKind]" };
            let error = FieldError::query(missing, "missing_field", BOTH);
            return Err(ApiError::new(Code::InvalidQuery).with(error));
        }
    };
    let search = Search { subject, actor: query.actor, action: query.action, from: query.from, to: query.to };
    let mut conn = app.cx.db.read().await?;
    let before = request.position()?.map(Uuid::from_bytes);
    let rows = audit::search(&mut conn, &search, before, request.limit + 1).await?;
    drop(conn);
    let (rows, info) = request.onwards(&app.cursors, rows, |row| row.event.id.as_bytes().to_vec());
    Ok(page::reply(&address, rows.into_iter().map(AuditEvent::from).collect(), info))
}

/// A root that was signed.
#[derive(Serialize, ToSchema)]
pub struct CheckpointView {
    /// Leaves under the root.
    size: u64,
    /// The root, in base64.
    root: String,
    /// When it was signed.
    at: DateTime<Utc>,
    /// The name of the key.
    key: String,
    /// Ed25519 over `sira/<key>`, size and root, each ended by a line feed; in base64.
    signature: String,
}

impl From<Checkpoint> for CheckpointView {
    fn from(checkpoint: Checkpoint) -> Self {
        let Checkpoint { size, root, at, key, signature } = checkpoint;
        Self { size, root, at, key, signature }
    }
}

/// The log as far as it is sealed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditHead {
    /// The last one.
    checkpoint: CheckpointView,
    /// What proves its signature, in base64: compare it with one from elsewhere.
    public_key: String,
}

/// The last checkpoint, and the key that signs. Keep both where nobody of the installation can write: with them, later
/// checkpoints can be proven to go on from this one.
#[utoipa::path(get, path = "/audit/head", operation_id = "get_audit_head", tag = "audit", responses(
    (status = 200, description = "The last checkpoint", body = AuditHead),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "Nothing is sealed yet", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_audit_head(State(app): State<App>) -> Result<Json<AuditHead>, ApiError> {
    let mut conn = app.cx.db.read().await?;
    let (checkpoint, key) = audit::head(&mut conn).await?;
    Ok(Json(AuditHead { checkpoint: checkpoint.into(), public_key: STANDARD.encode(key.as_bytes()) }))
}

/// Signed roots, the last first.
#[utoipa::path(get, path = "/audit/checkpoints", operation_id = "list_audit_checkpoints", tag = "audit", params(PageQuery), responses(
    (status = 200, description = "A page", body = Page<CheckpointView>),
    (status = 400, description = "A parameter or the cursor is not valid", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_audit_checkpoints(
    State(app): State<App>,
    Original(address): Original,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Response, ApiError> {
    let list = ListId::of(&["/audit/checkpoints"]);
    let request = PageRequest::new(&app.cursors, list, query.limit, query.cursor.as_deref())?;
    let before = request.position()?.map(u64::from_be_bytes);
    let mut conn = app.cx.db.read().await?;
    let rows = audit::list_checkpoints(&mut conn, before, request.limit + 1).await?;
    drop(conn);
    let (rows, info) = request.onwards(&app.cursors, rows, |row| row.size.to_be_bytes().to_vec());
    Ok(page::reply(&address, rows.into_iter().map(CheckpointView::from).collect(), info))
}

/// Evidence that an event was sealed.
#[derive(Serialize, ToSchema)]
pub struct InclusionProof {
    /// Its place among the leaves, from 0.
    leaf: u64,
    /// The bytes that were hashed: the event as JSON.
    record: String,
    /// Hashes in base64, the nearest to the leaf first (RFC 6962, 2.1.1).
    path: Vec<String>,
    /// Whose root the path leads to.
    checkpoint: CheckpointView,
}

/// Proves that an event is in the log as it is, under the last checkpoint.
#[utoipa::path(get, path = "/audit/events/{id}/proof", operation_id = "get_audit_event_proof", tag = "audit",
    params(("id" = Uuid, Path, description = "The event")), responses(
    (status = 200, description = "The proof", body = InclusionProof),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such event", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It is not sealed yet: ask again in a moment", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_audit_event_proof(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
) -> Result<Json<InclusionProof>, ApiError> {
    let mut conn = app.cx.db.read().await?;
    let (proven, checkpoint) = audit::prove_event(&mut conn, id).await?;
    let audit::Proven { leaf, record, path } = proven;
    Ok(Json(InclusionProof { leaf, record, path, checkpoint: checkpoint.into() }))
}

/// Between which checkpoints.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConsistencyQuery {
    /// Leaves of the earlier checkpoint.
    from: u64,
    /// Leaves of the later one; the last when it is not given.
    to: Option<u64>,
}

/// Evidence that nothing before a checkpoint was changed until a later one.
#[derive(Serialize, ToSchema)]
pub struct ConsistencyProof {
    from: CheckpointView,
    to: CheckpointView,
    /// Hashes in base64 (RFC 6962, 2.1.2).
    path: Vec<String>,
}

/// Proves that a checkpoint goes on from an earlier one.
#[utoipa::path(get, path = "/audit/consistency", operation_id = "get_audit_consistency", tag = "audit", params(ConsistencyQuery), responses(
    (status = 200, description = "The proof", body = ConsistencyProof),
    (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no checkpoint of so many leaves, or the second is the smaller one", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "Nothing is sealed yet", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_audit_consistency(
    State(app): State<App>,
    ApiQuery(query): ApiQuery<ConsistencyQuery>,
) -> Result<Json<ConsistencyProof>, ApiError> {
    let mut conn = app.cx.db.read().await?;
    let Growth { from, to, path } = audit::prove_growth(&mut conn, query.from, query.to).await?;
    Ok(Json(ConsistencyProof { from: from.into(), to: to.into(), path }))
}

impl From<ProofError> for ApiError {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Unknown => Code::NotFound.into(),
            ProofError::NotSealed => Self::new(Code::NotSealed).retry_after(SEALED_WITHIN),
            ProofError::Incomplete => Self::internal(error),
            ProofError::Database(error) => error.into(),
        }
    }
}
