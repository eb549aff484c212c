//! SQL of status changes.

use chrono::{DateTime, Utc};
use sira_kernel::{Actor, Id};
use sqlx::PgConnection;

use crate::leads::status::StatusStep;
use crate::nouns::{LeadId, PoolId, UserId};

/// A lead that was locked for a change of status.
pub struct Current {
    pub version: i64,
    pub status: String,
    pub status_since: DateTime<Utc>,
    pub owner: Option<UserId>,
    pub pool: PoolId,
    pub is_test: bool,
    /// It is with the administrators.
    pub queued: bool,
    pub merged_into: Option<LeadId>,
}

// Locked so that version, status and owner stay as they are read until the change is written.
pub async fn lock(conn: &mut PgConnection, id: LeadId) -> Result<Option<Current>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select version, status, status_since, owner_id, pool_id, is_test, queue = 'admin' as "queued!", merged_into
           from leads where id = $1 for update"#,
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Current {
        version: row.version,
        status: row.status,
        status_since: row.status_since,
        owner: row.owner_id.map(UserId::from_uuid),
        pool: PoolId::from_uuid(row.pool_id),
        is_test: row.is_test,
        queued: row.queued,
        merged_into: row.merged_into.map(LeadId::from_uuid),
    }))
}

/// Writes the status and answers the new version. A lead that was waiting keeps its place in the queue; one that was
/// with the administrators is no longer.
pub async fn change(
    conn: &mut PgConnection,
    id: LeadId,
    to: &str,
    waits: bool,
    now: DateTime<Utc>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "update leads
         set status = $2, status_since = $3, updated_at = $3, version = version + 1, queue = 'pool',
             waiting_since = case when $4 then coalesce(waiting_since, $3) end
         where id = $1
         returning version",
        id.uuid(),
        to,
        now,
        waits,
    )
    .fetch_one(conn)
    .await
}

pub async fn insert_history(
    conn: &mut PgConnection,
    steps: &[StatusStep<'_>],
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let from = || steps.iter().map(|step| step.from);
    sqlx::query!(
        "insert into lead_status_history
             (id, lead_id, from_status, to_status, actor_kind, actor, reason, at, spent_seconds)
         select id, lead_id, from_status, to_status, $1, $2, reason, $3, spent_seconds
         from unnest($4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::bigint[])
             as step (id, lead_id, from_status, to_status, reason, spent_seconds)",
        actor.kind(),
        actor.name(),
        now,
        &steps.iter().map(|_| Id::<StatusStep<'_>>::new().uuid()).collect::<Vec<_>>(),
        &steps.iter().map(|step| step.lead.uuid()).collect::<Vec<_>>(),
        &from().map(|from| from.map(|(status, _)| status)).collect::<Vec<_>>() as &[Option<&str>],
        &steps.iter().map(|step| step.to).collect::<Vec<_>>() as &[&str],
        &steps.iter().map(|step| step.reason).collect::<Vec<_>>() as &[Option<&str>],
        &from().map(|from| from.map(|(_, spent)| spent)).collect::<Vec<_>>() as &[Option<i64>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A row of `status_transitions`.
pub struct TransitionRow {
    pub from_status: String,
    pub to_status: String,
    pub permission: String,
}

/// What may follow these statuses, in the order of the catalogue.
pub async fn list_transitions(
    conn: &mut PgConnection,
    from: &[&str],
) -> Result<Vec<TransitionRow>, sqlx::Error> {
    sqlx::query_as!(
        TransitionRow,
        "select transition.from_status, transition.to_status, transition.permission
         from status_transitions transition join statuses status on status.code = transition.to_status
         where transition.from_status = any($1) order by status.position",
        from as &[&str],
    )
    .fetch_all(conn)
    .await
}

/// The number that was called is somebody else's: the first that was not known to be wrong.
pub async fn spoil_phone(conn: &mut PgConnection, id: LeadId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update lead_contacts set invalid_since = $2
         where id = (
             select id from lead_contacts
             where lead_id = any(lead_ids($1)) and kind = 'phone' and invalid_since is null order by id limit 1
         )",
        id.uuid(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
