//! SQL of what operators ask about backups.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

pub async fn find_last_backup(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        "select at from audit_event
         where subject_kind = 'database' and subject = 'sira' and action = 'backup.taken'
         order by id desc limit 1"
    )
    .fetch_optional(conn)
    .await
}
