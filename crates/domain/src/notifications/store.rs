//! SQL of notifications.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Notification;
use crate::nouns::{LeadId, UserId};

pub async fn insert(
    conn: &mut PgConnection,
    ids: &[Uuid],
    users: &[UserId],
    (code, lead, body): (&str, LeadId, &Value),
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let users: Vec<Uuid> = users.iter().map(|user| user.uuid()).collect();
    sqlx::query!(
        "insert into notifications (id, user_id, code, lead_id, body, created_at)
         select id, user_id, $1, $2, $3, $4 from unnest($5::uuid[], $6::uuid[]) as told (id, user_id)",
        code,
        lead.uuid(),
        body,
        now,
        ids,
        &users,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn list(
    conn: &mut PgConnection,
    user: UserId,
    unread: bool,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: u16,
) -> Result<Vec<Notification>, sqlx::Error> {
    sqlx::query_as!(
        Notification,
        "select notification.id, notification.code, notification.lead_id, lead.reference as lead_reference,
             notification.body, notification.created_at, notification.read_at
         from notifications notification join leads lead on lead.id = notification.lead_id
         where notification.user_id = $1
             and (not $2 or notification.read_at is null)
             and ($3::timestamptz is null or (notification.created_at, notification.id) < ($3, $4::uuid))
         order by notification.created_at desc, notification.id desc
         limit $5",
        user.uuid(),
        unread,
        after.map(|(at, _)| at),
        after.map(|(_, id)| id),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await
}

pub async fn mark_read(
    conn: &mut PgConnection,
    user: UserId,
    ids: &[Uuid],
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "update notifications set read_at = $3 where id = any($2) and user_id = $1 and read_at is null",
        user.uuid(),
        ids,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
