//! SQL of the raw inbox.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Pending, Quarantined, SealedEvent};
use crate::nouns::{InboundId, LeadId};

pub async fn known_external_ids(
    conn: &mut PgConnection,
    provider: &str,
    external_ids: &[&str],
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "select external_id from inbound_events where provider = $1 and external_id = any($2)",
        provider,
        external_ids as &[&str],
    )
    .fetch_all(conn)
    .await
}

pub async fn insert(
    conn: &mut PgConnection,
    provider: &str,
    events: &[SealedEvent],
    now: DateTime<Utc>,
) -> Result<Vec<InboundId>, sqlx::Error> {
    let ids: Vec<Uuid> = events.iter().map(|event| event.id.uuid()).collect();
    let external_ids: Vec<&str> = events.iter().map(|event| event.external_id.as_str()).collect();
    let bodies: Vec<&[u8]> = events.iter().map(|event| event.body.as_slice()).collect();
    let new = sqlx::query_scalar!(
        "insert into inbound_events (id, provider, external_id, state, body, received_at)
         select id, $1, external_id, 'pending', body, $2
         from unnest($3::uuid[], $4::text[], $5::bytea[]) as event (id, external_id, body)
         on conflict (provider, external_id) do nothing
         returning id",
        provider,
        now,
        &ids,
        &external_ids as &[&str],
        &bodies as &[&[u8]],
    )
    .fetch_all(conn)
    .await?;
    Ok(new.into_iter().map(InboundId::from_uuid).collect())
}

pub async fn find_pending(conn: &mut PgConnection, id: InboundId) -> Result<Option<Pending>, sqlx::Error> {
    sqlx::query_as!(
        Pending,
        "select id, provider, external_id, received_at, correction
         from inbound_events where id = $1 and state = 'pending'",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await
}

// Locked so that the second of two runs waits for the first one's decision.
pub async fn lock_pending(conn: &mut PgConnection, id: InboundId) -> Result<bool, sqlx::Error> {
    let row = sqlx::query_scalar!(
        "select id from inbound_events where id = $1 and state = 'pending' for update",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

pub async fn keep_fetched(conn: &mut PgConnection, id: InboundId, sealed: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query!("update inbound_events set fetched = $2 where id = $1", id.uuid(), sealed)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn settle(
    conn: &mut PgConnection,
    id: InboundId,
    lead: LeadId,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update inbound_events
         set state = 'settled', lead_id = $2, settled_at = $3, reason_code = null, reason = null
         where id = $1 and state <> 'settled'",
        id.uuid(),
        lead.uuid(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn quarantine(
    conn: &mut PgConnection,
    id: InboundId,
    code: &str,
    reason: &str,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update inbound_events set state = 'quarantined', reason_code = $2, reason = $3
         where id = $1 and state = 'pending'",
        id.uuid(),
        code,
        reason,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

// Locked so that of two who let it out one does.
pub async fn lock_state(conn: &mut PgConnection, id: InboundId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("select state from inbound_events where id = $1 for update", id.uuid())
        .fetch_optional(conn)
        .await
}

pub async fn release(
    conn: &mut PgConnection,
    id: InboundId,
    correction: Option<&[u8]>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update inbound_events
         set state = 'pending', reason_code = null, reason = null, correction = coalesce($2, correction)
         where id = $1",
        id.uuid(),
        correction,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn find_received_at(
    conn: &mut PgConnection,
    id: InboundId,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!("select received_at from inbound_events where id = $1", id.uuid())
        .fetch_optional(conn)
        .await
}

pub async fn list_quarantined(
    conn: &mut PgConnection,
    after: Option<(DateTime<Utc>, InboundId)>,
    limit: u16,
) -> Result<Vec<Quarantined>, sqlx::Error> {
    sqlx::query_as!(
        Quarantined,
        r#"select id, provider, external_id, reason_code as "reason_code!", coalesce(reason, '') as "reason!",
             received_at
         from inbound_events
         where state = 'quarantined' and ($1::timestamptz is null or (received_at, id) > ($1, $2::uuid))
         order by received_at, id
         limit $3"#,
        after.map(|(at, _)| at),
        after.map(|(_, id)| id.uuid()),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await
}
