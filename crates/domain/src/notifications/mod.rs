//! What people are told, until they have read it: reminders, promises that were not kept, follow-ups.
//!
//! Written in the transaction of its cause, so that nobody is told twice or of what did not happen.

mod store;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sira_kernel::Id;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::nouns::{LeadId, NotificationId, UserId};
use crate::uow::Uow;

/// Most rows in one page, and most ids marked as read at a time.
pub const PAGE_MAX: u16 = 200;

/// One thing that somebody is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// The row.
    pub id: Uuid,
    /// `sla.reminder`, `sla.breached`, `sla.escalated`, `follow_up.due`.
    pub code: String,
    /// The lead that it is about.
    pub lead_id: Uuid,
    /// The lead's reference, for people.
    pub lead_reference: String,
    /// Ids, codes and times.
    pub body: Value,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was read.
    pub read_at: Option<DateTime<Utc>>,
}

/// Tells each of these users. Nobody: nothing is written.
pub(crate) async fn notify(
    uow: &mut Uow,
    users: &[UserId],
    code: &'static str,
    lead: LeadId,
    body: &Value,
) -> Result<(), sqlx::Error> {
    if users.is_empty() {
        return Ok(());
    }
    let now = uow.now();
    let ids: Vec<Uuid> = users.iter().map(|_| Id::<Notification>::new().uuid()).collect();
    store::insert(uow.conn(), &ids, users, (code, lead, body), now).await
}

/// A user's notifications, newest first, from after a place; only unread ones if asked.
pub async fn list(
    conn: &mut PgConnection,
    user: UserId,
    unread: bool,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: u16,
) -> Result<Vec<Notification>, sqlx::Error> {
    store::list(conn, user, unread, after, limit.min(PAGE_MAX + 1)).await
}

/// Marks these as read, as far as they are this user's; answers how many were unread.
pub async fn mark_read(
    conn: &mut PgConnection,
    user: UserId,
    ids: &[NotificationId],
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    store::mark_read(conn, user, &ids, now).await
}
