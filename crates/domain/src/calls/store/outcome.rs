//! SQL of what agents say about calls.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::calls::Disposition;
use crate::nouns::{CallId, LeadId};

pub async fn list_dispositions(conn: &mut PgConnection) -> Result<Vec<Disposition>, sqlx::Error> {
    sqlx::query_as!(
        Disposition,
        "select code, label_tr, label_en, suggests from call_dispositions order by position"
    )
    .fetch_all(conn)
    .await
}

/// `false` when the call has one.
pub async fn set_disposition(
    conn: &mut PgConnection,
    call: CallId,
    disposition: &str,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update calls set disposition = $2, outcome_at = $3 where id = $1 and disposition is null",
        call.uuid(),
        disposition,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How the lead stands after the change.
pub struct Standing {
    pub version: i64,
    pub status: String,
    pub terminal: bool,
    pub owner_id: Option<Uuid>,
}

pub async fn find_standing(conn: &mut PgConnection, lead: LeadId) -> Result<Standing, sqlx::Error> {
    sqlx::query_as!(
        Standing,
        "select lead.version, lead.status, status.terminal, lead.owner_id
         from leads lead join statuses status on status.code = lead.status
         where lead.id = $1",
        lead.uuid(),
    )
    .fetch_one(conn)
    .await
}
