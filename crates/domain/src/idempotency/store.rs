//! SQL of kept answers.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::Request;

/// SQLSTATE of a lock that was not had within `lock_timeout`.
pub const LOCK_NOT_AVAILABLE: &str = "55P03";

/// An answer as kept.
pub struct Kept {
    pub fingerprint: Vec<u8>,
    pub status: u16,
    pub response: Value,
}

/// Inserts the key unless it is there. A twin in flight holds the index entry: its end is awaited, no longer
/// than two seconds; only this statement has the limit.
pub async fn insert(
    conn: &mut PgConnection,
    request: &Request,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    sqlx::query!("set local lock_timeout = '2s'").execute(&mut *conn).await?;
    let inserted = sqlx::query!(
        "insert into idempotency_keys (principal, route, key, fingerprint, created_at)
         values ($1, $2, $3, $4, $5)
         on conflict (principal, route, key) do nothing",
        request.principal,
        request.route,
        request.key,
        request.fingerprint,
        now,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("set local lock_timeout to default").execute(&mut *conn).await?;
    Ok(inserted.rows_affected() == 1)
}

/// Deletes at most `limit` keys from before this time, oldest first. Those that somebody else deletes at this moment
/// are skipped, so that nobody waits. The list is made once (`materialized`), or the limit would not hold.
pub async fn delete_older(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with old as materialized (
             select principal, route, key from idempotency_keys
             where created_at < $1 order by created_at limit $2 for update skip locked
         )
         delete from idempotency_keys where (principal, route, key) in (select principal, route, key from old)",
        before,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The kept answer of a committed key.
pub async fn find(conn: &mut PgConnection, request: &Request) -> Result<Option<Kept>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select fingerprint, status as "status!", response as "response!"
           from idempotency_keys where principal = $1 and route = $2 and key = $3"#,
        request.principal,
        request.route,
        request.key,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Kept {
        fingerprint: row.fingerprint,
        status: row.status as u16,
        response: row.response,
    }))
}

/// Writes the answer to the key that this transaction inserted.
pub async fn keep(
    conn: &mut PgConnection,
    request: &Request,
    status: u16,
    body: &Value,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update idempotency_keys set status = $4, response = $5
         where principal = $1 and route = $2 and key = $3",
        request.principal,
        request.route,
        request.key,
        i16::try_from(status).expect("an HTTP status is below 1000"),
        body,
    )
    .execute(conn)
    .await?;
    Ok(())
}
