//! SQL of what operators ask about backups, and of what they do to many jobs.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sira_engine::ops::JobFilter;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::bulk::{Act, Progress};

pub async fn find_last_backup(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        "select at from audit_event
         where subject_kind = 'database' and subject = 'sira' and action = 'backup.taken'
         order by id desc limit 1"
    )
    .fetch_optional(conn)
    .await
}

/// Stores an act on the jobs that are there by now.
pub async fn start_bulk(tx: &mut PgConnection, act: &Act, filter: &Value) -> Result<i64, sqlx::Error> {
    let (reason, run_at) = match act {
        Act::Retry => (None, None),
        Act::Cancel { reason } => (Some(reason.as_str()), None),
        Act::Reschedule { run_at } => (None, Some(*run_at)),
    };
    sqlx::query_scalar!(
        "insert into bulk_acts (act, filter, reason, run_at, position)
        values ($1, $2, $3, $4, (select coalesce(max(id), 0) + 1 from engine.jobs)) returning id",
        act.name(),
        filter,
        reason,
        run_at
    )
    .fetch_one(tx)
    .await
}

/// An act that runs.
pub struct Bulk {
    pub act: String,
    pub filter: Json<JobFilter>,
    pub reason: Option<String>,
    pub run_at: Option<DateTime<Utc>>,
    pub position: i64,
}

/// Locks it, if it runs.
pub async fn lock_bulk(tx: &mut PgConnection, id: i64) -> Result<Option<Bulk>, sqlx::Error> {
    sqlx::query_as!(
        Bulk,
        r#"select act, filter as "filter: Json<JobFilter>", reason, run_at, position
        from bulk_acts where id = $1 and state = 'running' for update"#,
        id
    )
    .fetch_optional(tx)
    .await
}

/// Notes how far it has come.
pub async fn advance_bulk(
    tx: &mut PgConnection,
    id: i64,
    position: i64,
    done: i64,
    refused: i64,
    last: bool,
) -> Result<Progress, sqlx::Error> {
    sqlx::query_as!(
        Progress,
        "update bulk_acts set position = $2, done = done + $3, refused = refused + $4,
            state = case when $5 then 'done' else state end, finished_at = case when $5 then now() end
        where id = $1 returning id, act, state, done, refused, created_at, finished_at",
        id,
        position,
        done,
        refused,
        last
    )
    .fetch_one(tx)
    .await
}

/// Stops it. Returns whether it ran.
pub async fn stop_bulk(tx: &mut PgConnection, id: i64) -> Result<bool, sqlx::Error> {
    let stopped = sqlx::query!(
        "update bulk_acts set state = 'stopped', finished_at = now() where id = $1 and state = 'running'",
        id
    )
    .execute(tx)
    .await?;
    Ok(stopped.rows_affected() > 0)
}

pub async fn find_bulk(conn: &mut PgConnection, id: i64) -> Result<Option<Progress>, sqlx::Error> {
    sqlx::query_as!(
        Progress,
        "select id, act, state, done, refused, created_at, finished_at from bulk_acts where id = $1",
        id
    )
    .fetch_optional(conn)
    .await
}

/// The latest ones, newest first.
pub async fn list_bulks(conn: &mut PgConnection, limit: i64) -> Result<Vec<Progress>, sqlx::Error> {
    sqlx::query_as!(
        Progress,
        "select id, act, state, done, refused, created_at, finished_at from bulk_acts order by id desc limit $1",
        limit
    )
    .fetch_all(conn)
    .await
}
