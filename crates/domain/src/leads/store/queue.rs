//! SQL of the administrators' queue.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::leads::queue::PreparedPhone;
use crate::nouns::LeadId;

/// A lead that was locked for a move into the queue or out of it.
pub struct Current {
    pub status: String,
    pub owner_id: Option<Uuid>,
    pub pool_id: Uuid,
    pub is_test: bool,
    pub queued: bool,
    pub terminal: bool,
    pub load_weight: i16,
    pub redistribute: Option<String>,
    pub merged_into: Option<Uuid>,
}

// Locked so that owner and queue stay as they are read until the move is written.
pub async fn lock(conn: &mut PgConnection, lead: LeadId) -> Result<Option<Current>, sqlx::Error> {
    sqlx::query_as!(
        Current,
        r#"select lead.status, lead.owner_id, lead.pool_id, lead.is_test, lead.queue = 'admin' as "queued!",
             status.terminal, status.load_weight, status.redistribute, lead.merged_into
           from leads lead join statuses status on status.code = lead.status
           where lead.id = $1 for update of lead"#,
        lead.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Two statements: the assignment ends, and the lead is nobody's.
pub async fn enter(
    conn: &mut PgConnection,
    lead: LeadId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update lead_assignments set ended_at = $2, end_reason = $3 where lead_id = $1 and ended_at is null",
        lead.uuid(),
        now,
        reason,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "update leads
         set queue = 'admin', owner_id = null, team_id = null, waiting_since = null, version = version + 1,
             updated_at = $2
         where id = $1",
        lead.uuid(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn leave(conn: &mut PgConnection, lead: LeadId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update leads
         set queue = 'pool', waiting_since = $2, version = version + 1, updated_at = $2
         where id = $1",
        lead.uuid(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether there is a contact that is not known to be wrong.
pub async fn is_contactable(conn: &mut PgConnection, lead: LeadId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select not exists (
               select from lead_contacts
               where lead_id = any(lead_ids($1)) and kind = 'phone' and invalid_since is not null
           ) or exists (
               select from lead_contacts
               where lead_id = any(lead_ids($1)) and kind = 'phone' and invalid_since is null
           ) as "contactable!""#,
        lead.uuid(),
    )
    .fetch_one(conn)
    .await
}

/// `false` when another lead has the number. The lead's own wrong number that was right after all is right again.
pub async fn insert_phone(
    conn: &mut PgConnection,
    lead: LeadId,
    phone: &PreparedPhone,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let (id, masked, sealed, blind_index, can_text) = phone.columns();
    let inserted = sqlx::query!(
        "insert into lead_contacts (id, lead_id, kind, masked, sealed, blind_index, created_at, can_text)
         values ($1, $2, 'phone', $3, $4, $5, $6, $7)
         on conflict do nothing",
        id,
        lead.uuid(),
        masked,
        sealed,
        blind_index,
        now,
        can_text,
    )
    .execute(&mut *conn)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(true);
    }
    let revived = sqlx::query!(
        "update lead_contacts own set invalid_since = null
         where own.lead_id = any(lead_ids($1)) and own.kind = 'phone' and own.blind_index = $2
             and not exists (
                 select from lead_contacts other
                 where other.kind = 'phone' and other.blind_index = $2 and other.lead_id <> all(lead_ids($1))
                     and not other.shared and not other.is_test and other.invalid_since is null
             )",
        lead.uuid(),
        blind_index,
    )
    .execute(conn)
    .await?;
    Ok(revived.rows_affected() == 1)
}

pub async fn touch(conn: &mut PgConnection, lead: LeadId, now: DateTime<Utc>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "update leads set version = version + 1, updated_at = $2 where id = $1 returning version",
        lead.uuid(),
        now,
    )
    .fetch_one(conn)
    .await
}
