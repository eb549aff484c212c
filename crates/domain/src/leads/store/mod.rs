//! SQL of leads: what several parts of the module need.

pub mod arrival;
pub mod detail;
pub mod queue;
pub mod removal;
pub mod reviews;
pub mod status;

use std::cmp::Reverse;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Standing, Status};
use crate::nouns::{LeadId, UserId};

/// Whose numbers they are: by blind index the first contact row, which is the oldest relation, and its lead; for a merged
/// lead the one that stays.
pub type Phones = HashMap<Vec<u8>, (Uuid, LeadId)>;
/// Whose addresses they are: by blind index the lead, ranked: open before closed, then the newest.
pub type Emails = HashMap<Vec<u8>, ((bool, Reverse<DateTime<Utc>>, Reverse<Uuid>), LeadId)>;

pub async fn find_by_phones(conn: &mut PgConnection, indexes: &[&[u8]]) -> Result<Phones, sqlx::Error> {
    if indexes.is_empty() {
        return Ok(Phones::new());
    }
    // A number has at most one row: its unique key. Looked up one by one, by the index: asked for all at once, the planner
    // reads whole tables where it does not know yet how large they have grown.
    let rows = sqlx::query!(
        r#"select contact.id, asked.blind_index as "blind_index!",
               (select coalesce(merged_into, id) from leads where id = contact.lead_id) as "lead!"
           from unnest($1::bytea[]) as asked (blind_index)
           cross join lateral (
               select id, lead_id from lead_contacts
               where blind_index = asked.blind_index and kind = 'phone' and not shared and not is_test
                   and invalid_since is null
               limit 1
           ) as contact"#,
        indexes as &[&[u8]],
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.blind_index, (row.id, row.lead.into()))).collect())
}

pub async fn find_by_emails(conn: &mut PgConnection, indexes: &[&[u8]]) -> Result<Emails, sqlx::Error> {
    if indexes.is_empty() {
        return Ok(Emails::new());
    }
    let rows = sqlx::query!(
        r#"select asked.blind_index as "blind_index!", found.id, found.created_at, found.terminal
           from unnest($1::bytea[]) as asked (blind_index)
           cross join lateral (
               select lead.id, lead.created_at, status.terminal
               from lead_contacts contact
               join leads own on own.id = contact.lead_id
               join leads lead on lead.id = coalesce(own.merged_into, own.id)
               join statuses status on status.code = lead.status
               where contact.blind_index = asked.blind_index and contact.kind = 'email' and not contact.shared
                   and not contact.is_test
               order by status.terminal, lead.created_at desc, lead.id desc
               limit 1
           ) as found"#,
        indexes as &[&[u8]],
    )
    .fetch_all(conn)
    .await?;
    let ranked = rows.into_iter().map(|row| {
        let rank = (row.terminal, Reverse(row.created_at), Reverse(row.id));
        (row.blind_index, (rank, row.id.into()))
    });
    Ok(ranked.collect())
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

pub async fn list_standings(
    conn: &mut PgConnection,
    phones: &[&[u8]],
    emails: &[&[u8]],
) -> Result<Vec<Standing>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select contact.blind_index as "blind_index!", lead.id as "lead!", lead.status as "status!", lead.owner_id
           from lead_contacts contact join leads lead on lead.id = contact.lead_id
           where contact.blind_index = any($1) and contact.kind = 'phone' and not contact.shared
             and not contact.is_test and contact.invalid_since is null
           union all
           select contact.blind_index, lead.id, lead.status, lead.owner_id
           from lead_contacts contact join leads lead on lead.id = contact.lead_id
           where contact.blind_index = any($2) and contact.kind = 'email' and not contact.is_test
             and not exists (select from lead_contacts phone where phone.lead_id = lead.id and phone.kind = 'phone')"#,
        phones as &[&[u8]],
        emails as &[&[u8]],
    )
    .fetch_all(conn)
    .await?;
    let standing = rows.into_iter().map(|row| Standing {
        blind_index: row.blind_index,
        lead: row.lead.into(),
        status: row.status,
        owner: row.owner_id.map(UserId::from_uuid),
    });
    Ok(standing.collect())
}

pub async fn exists_outside_forms(conn: &mut PgConnection, forms: &[&str]) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (
             select from leads lead left join lead_forms form on form.id = lead.form_id
             where form.external_id is null or form.external_id <> all($1)
         ) as "exists!""#,
        forms as &[&str],
    )
    .fetch_one(conn)
    .await
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

pub async fn find_survivor(conn: &mut PgConnection, lead: LeadId) -> Result<LeadId, sqlx::Error> {
    let survivor = sqlx::query_scalar!(
        r#"select coalesce(merged_into, id) as "survivor!" from leads where id = $1"#,
        lead.uuid()
    )
    .fetch_one(conn)
    .await?;
    Ok(survivor.into())
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
