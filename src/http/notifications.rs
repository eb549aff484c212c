//! What the caller is told: reminders, promises that were not kept, follow-ups.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sira_domain::notifications::{self, Notification, PAGE_MAX};
use sira_domain::nouns::NotificationId;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::Caller;
use super::catalogue::{Code, Text};
use super::cursor::ListId;
use super::extract::{ApiJson, ApiQuery, Original};
use super::page::{self, Page, PageRequest};
use super::problem::{ApiError, FieldError, Problem};
use super::state::App;

const IDS: Text = Text { tr: "1 ile 200 arası kimlik verin.", en: "Give 1 to 200 ids." };

/// Which ones.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NotificationQuery {
    /// Only those that were not read.
    #[serde(rename = "filter[unread]")]
    unread: Option<bool>,
    /// Rows of a page: 1 to 200; 50 when not given.
    limit: Option<u16>,
    /// From `nextCursor` of a page with the same filter.
    cursor: Option<String>,
}

/// One thing that the caller is told.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationView {
    id: Uuid,
    /// `sla.reminder`, `sla.breached`, `sla.escalated` or `follow_up.due`.
    #[schema(example = "sla.reminder")]
    code: String,
    lead_id: Uuid,
    /// For people.
    lead_reference: String,
    /// Ids, codes and times.
    details: Value,
    created_at: DateTime<Utc>,
    read_at: Option<DateTime<Utc>>,
}

impl From<Notification> for NotificationView {
    fn from(row: Notification) -> Self {
        Self {
            id: row.id,
            code: row.code,
            lead_id: row.lead_id,
            lead_reference: row.lead_reference,
            details: row.body,
            created_at: row.created_at,
            read_at: row.read_at,
        }
    }
}

/// What the caller is told, newest first.
#[utoipa::path(get, path = "/me/notifications", operation_id = "list_notifications", tag = "auth", params(NotificationQuery), responses(
    (status = 200, description = "A page", body = Page<NotificationView>),
    (status = 400, description = "A parameter or the cursor is not valid", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_notifications(
    State(app): State<App>,
    Caller(user): Caller,
    Original(address): Original,
    ApiQuery(query): ApiQuery<NotificationQuery>,
) -> Result<Response, ApiError> {
    let unread = query.unread.unwrap_or(false);
    let list =
        ListId::of(&["/me/notifications", &user.id.to_string(), if unread { "unread" } else { "all" }]);
    let request = PageRequest::new(&app.cursors, list, query.limit, query.cursor.as_deref())?;
    let after = request.timed()?;
    let mut conn = app.cx.db.read().await?;
    let rows = notifications::list(&mut conn, user.id, unread, after, request.limit + 1).await?;
    drop(conn);
    let position = |row: &Notification| page::timed_position(row.created_at, row.id);
    let (rows, info) = request.onwards(&app.cursors, rows, position);
    Ok(page::reply(&address, rows.into_iter().map(NotificationView::from).collect(), info))
}

/// Which ones were read.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadNotifications {
    /// 1 to 200.
    ids: Vec<Uuid>,
}

/// How many were unread.
#[derive(Serialize, ToSchema)]
pub struct NotificationsRead {
    read: u64,
}

/// Marks notifications of the caller as read. Repeating it changes nothing, so it takes no `Idempotency-Key`.
#[utoipa::path(put, path = "/me/notifications/read", operation_id = "mark_notifications_read", tag = "auth", request_body = ReadNotifications, responses(
    (status = 200, description = "Marked", body = NotificationsRead),
    (status = 422, description = "Fields are unknown, missing or wrong", body = Problem, content_type = "application/problem+json"),
))]
pub async fn mark_notifications_read(
    State(app): State<App>,
    Caller(user): Caller,
    body: ApiJson<ReadNotifications>,
) -> Result<Json<NotificationsRead>, ApiError> {
    let ids: Vec<NotificationId> = body.value.ids.into_iter().map(NotificationId::from_uuid).collect();
    if !(1..=usize::from(PAGE_MAX)).contains(&ids.len()) {
        return Err(ApiError::new(Code::InvalidBody).with(FieldError::body("/ids", "out_of_range", IDS)));
    }
    let now = app.cx.clock.now();
    let mut conn = app.cx.db.read().await?;
    Ok(Json(NotificationsRead { read: notifications::mark_read(&mut conn, user.id, &ids, now).await? }))
}
