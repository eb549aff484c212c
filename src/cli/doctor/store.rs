//! What doctor asks the database.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// The server's number for its version: 150008 is 15.8.
pub async fn get_version(conn: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(r#"select current_setting('server_version_num')::int as "version!""#)
        .fetch_one(conn)
        .await
}

/// A setting in force, as text.
pub async fn get_setting(conn: &mut PgConnection, name: &str) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!(r#"select current_setting($1) as "setting!""#, name).fetch_one(conn).await
}

/// The database's clock.
pub async fn get_time(conn: &mut PgConnection) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(conn).await
}

/// A queue with ready jobs.
pub struct Backlog {
    /// Its name.
    pub queue: String,
    /// Jobs ready to run.
    pub ready: i64,
    /// Seconds since the oldest of them was due.
    pub oldest_s: i64,
}

/// Queues with ready jobs, the most overdue first. Those that are held count where nobody is there to let them through.
pub async fn list_backlogs(conn: &mut PgConnection) -> Result<Vec<Backlog>, sqlx::Error> {
    sqlx::query_as!(
        Backlog,
        r#"select queue, count(*) as "ready!", extract(epoch from now() - min(run_at))::bigint as "oldest_s!"
           from engine.jobs
           where state = 'ready' or state = 'held' and not exists (select from engine.sessions)
           group by queue order by min(run_at)"#
    )
    .fetch_all(conn)
    .await
}

/// Above this, what waits for an operator is not counted on.
pub const COUNT_MAX: i64 = 10_000;

/// Dead jobs, up to [`COUNT_MAX`].
pub async fn count_dead(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from (select from engine.jobs where state = 'dead' limit $1) as dead"#,
        COUNT_MAX
    )
    .fetch_one(conn)
    .await
}

/// Events in quarantine, up to [`COUNT_MAX`].
pub async fn count_quarantined(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!"
           from (select from inbound_events where state = 'quarantined' limit $1) as quarantined"#,
        COUNT_MAX
    )
    .fetch_one(conn)
    .await
}

/// The server process behind a connection.
pub async fn get_backend(conn: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(r#"select pg_backend_pid() as "pid!""#).fetch_one(conn).await
}

/// Leaves a mark in a session, and says whose it is.
pub async fn mark_session(conn: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(r#"select set_config('sira.session', pg_backend_pid()::text, false)::int as "pid!""#)
        .fetch_one(conn)
        .await
}

/// Whether the mark is there still.
pub async fn is_marked(conn: &mut PgConnection, pid: i32) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select coalesce(current_setting('sira.session', true) = $1::int::text, false) as "marked!""#,
        pid
    )
    .fetch_one(conn)
    .await
}
