//! SQL of cooling-offs.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::CoolingOff;
use crate::nouns::{CoolingOffId, LeadId, UserId};

pub async fn insert(
    conn: &mut PgConnection,
    id: CoolingOffId,
    (lead, user): (LeadId, UserId),
    reason: &str,
    (now, until): (DateTime<Utc>, DateTime<Utc>),
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into cooling_offs (id, lead_id, user_id, reason, opened_at, until) values ($1, $2, $3, $4, $5, $6)",
        id.uuid(),
        lead.uuid(),
        user.uuid(),
        reason,
        now,
        until,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What ended, and the pool in which its lead waits, if it does.
pub struct Ended {
    pub lead_id: Uuid,
    pub user_id: Uuid,
    pub waits_in: Option<Uuid>,
}

pub async fn end(
    conn: &mut PgConnection,
    id: CoolingOffId,
    now: DateTime<Utc>,
) -> Result<Option<Ended>, sqlx::Error> {
    sqlx::query_as!(
        Ended,
        r#"update cooling_offs cooling set ended_at = $2
           from leads lead
           where cooling.id = $1 and cooling.ended_at is null and cooling.until <= $2 and lead.id = cooling.lead_id
           returning cooling.lead_id, cooling.user_id,
               case when lead.waiting_since is not null then lead.pool_id end as waits_in"#,
        id.uuid(),
        now,
    )
    .fetch_optional(conn)
    .await
}

pub async fn find_until(
    conn: &mut PgConnection,
    lead: LeadId,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        "select max(until) from cooling_offs
         where lead_id = any(lead_ids($1)) and user_id = $2 and ended_at is null and until > $3",
        lead.uuid(),
        user.uuid(),
        now,
    )
    .fetch_one(conn)
    .await
}

pub async fn list_of_lead(
    conn: &mut PgConnection,
    lead: LeadId,
    now: DateTime<Utc>,
) -> Result<Vec<CoolingOff>, sqlx::Error> {
    sqlx::query_as!(
        CoolingOff,
        "select cooling.id, cooling.user_id, person.display_name as user_name, cooling.reason, cooling.opened_at,
             cooling.until
         from cooling_offs cooling join users person on person.id = cooling.user_id
         where cooling.lead_id = any(lead_ids($1)) and cooling.ended_at is null and cooling.until > $2
         order by cooling.until, cooling.id
         limit 200",
        lead.uuid(),
        now,
    )
    .fetch_all(conn)
    .await
}

pub async fn list_pairs(
    conn: &mut PgConnection,
    leads: &[Uuid],
    now: DateTime<Utc>,
) -> Result<Vec<(Uuid, Uuid)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select lead_id as "lead_id!", user_id as "user_id!" from cooling_offs
           where lead_id = any($1) and ended_at is null and until > $2
           union
           select merged.merged_into, cooling.user_id
           from leads merged
           cross join lateral (
               select user_id from cooling_offs where lead_id = merged.id and ended_at is null and until > $2 limit 200
           ) as cooling
           where merged.merged_into = any($1)
           order by 1, 2"#,
        leads,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.lead_id, row.user_id)).collect())
}
