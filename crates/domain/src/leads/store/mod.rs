//! SQL of leads: what several parts of the module need.

pub mod arrival;
pub mod detail;
pub mod queue;
pub mod status;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Status;
use crate::nouns::LeadId;

/// Whose number it is. Of several, the one with the first contact row: the oldest relation.
pub async fn find_by_phone(
    conn: &mut PgConnection,
    indexes: &[&[u8]],
) -> Result<Option<LeadId>, sqlx::Error> {
    let id = sqlx::query_scalar!(
        "select lead_id from lead_contacts
         where blind_index = any($1) and kind = 'phone' and not shared and not is_test and invalid_since is null
         order by id limit 1",
        indexes as &[&[u8]],
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(LeadId::from_uuid))
}

/// Whose address it is: an open lead before a closed one, then the newest.
pub async fn find_by_email(
    conn: &mut PgConnection,
    indexes: &[&[u8]],
) -> Result<Option<LeadId>, sqlx::Error> {
    let id = sqlx::query_scalar!(
        "select contact.lead_id
         from lead_contacts contact
         join leads lead on lead.id = contact.lead_id
         join statuses status on status.code = lead.status
         where contact.blind_index = any($1) and contact.kind = 'email' and not contact.shared
           and not contact.is_test
         order by status.terminal, lead.created_at desc, lead.id desc limit 1",
        indexes as &[&[u8]],
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(LeadId::from_uuid))
}

pub async fn find_by_reference(
    conn: &mut PgConnection,
    reference: &str,
) -> Result<Option<LeadId>, sqlx::Error> {
    let id = sqlx::query_scalar!("select id from leads where reference = $1", reference)
        .fetch_optional(conn)
        .await?;
    Ok(id.map(LeadId::from_uuid))
}

pub async fn list_statuses(conn: &mut PgConnection) -> Result<Vec<Status>, sqlx::Error> {
    sqlx::query_as!(
        Status,
        "select code, label_tr, label_en, stage, terminal, load_weight, needs_reason, takes_owner, cooling_off_days,
             suppresses, spoils_phone, redistribute, redistribute_after_s, sla_policy
         from statuses order by position"
    )
    .fetch_all(conn)
    .await
}

/// Since when it waits.
pub async fn find_waiting_since(
    conn: &mut PgConnection,
    lead: LeadId,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let since = sqlx::query_scalar!("select waiting_since from leads where id = $1", lead.uuid())
        .fetch_optional(conn)
        .await?;
    Ok(since.flatten())
}
