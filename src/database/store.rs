//! SQL about the migrations table, which a fresh database lacks: unchecked, because the checker's may lack it too.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// Versions and checksums applied, oldest first; none when the table is not there.
pub async fn list_applied(conn: &mut PgConnection) -> Result<Vec<(i64, Vec<u8>)>, sqlx::Error> {
    let exists: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *conn)
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    sqlx::query_as("select version, checksum from _sqlx_migrations where success order by version")
        .fetch_all(conn)
        .await
}

/// The database's time.
pub async fn now(conn: &mut PgConnection) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar("select clock_timestamp()").fetch_one(conn).await
}
