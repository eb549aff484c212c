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

/// Queues with ready jobs, the most overdue first.
pub async fn list_backlogs(conn: &mut PgConnection) -> Result<Vec<Backlog>, sqlx::Error> {
    sqlx::query_as!(
        Backlog,
        r#"select queue, count(*) as "ready!", extract(epoch from now() - min(run_at))::bigint as "oldest_s!"
           from engine.jobs where state = 'ready' group by queue order by min(run_at)"#
    )
    .fetch_all(conn)
    .await
}
