//! SQL of follow-ups.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::FollowUp;
use crate::nouns::{FollowUpId, LeadId, UserId};

pub async fn insert(
    conn: &mut PgConnection,
    id: FollowUpId,
    (lead, user): (LeadId, UserId),
    due_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into follow_ups (id, lead_id, user_id, due_at, created_at) values ($1, $2, $3, $4, $5)",
        id.uuid(),
        lead.uuid(),
        user.uuid(),
        due_at,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn close(
    conn: &mut PgConnection,
    lead: LeadId,
    state: &str,
    now: DateTime<Utc>,
) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "update follow_ups set state = $2, closed_at = $3 where lead_id = $1 and state = 'open' returning id",
        lead.uuid(),
        state,
        now,
    )
    .fetch_optional(conn)
    .await
}

/// A follow-up that was told just now, and whom.
#[expect(clippy::struct_field_names, reason = "named as the column")]
pub struct Due {
    pub lead_id: Uuid,
    pub user_id: Uuid,
    pub due_at: DateTime<Utc>,
}

pub async fn mark_reminded(
    conn: &mut PgConnection,
    id: FollowUpId,
    now: DateTime<Utc>,
) -> Result<Option<Due>, sqlx::Error> {
    sqlx::query_as!(
        Due,
        r#"update follow_ups plan set reminded_at = $2
           from leads lead
           where plan.id = $1 and plan.state = 'open' and plan.reminded_at is null and lead.id = plan.lead_id
           returning plan.lead_id, coalesce(lead.owner_id, plan.user_id) as "user_id!", plan.due_at"#,
        id.uuid(),
        now,
    )
    .fetch_optional(conn)
    .await
}

pub async fn find_open(conn: &mut PgConnection, lead: LeadId) -> Result<Option<FollowUp>, sqlx::Error> {
    sqlx::query_as!(
        FollowUp,
        "select id, lead_id, user_id, due_at, reminded_at from follow_ups where lead_id = $1 and state = 'open'",
        lead.uuid(),
    )
    .fetch_optional(conn)
    .await
}
