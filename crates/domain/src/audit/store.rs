//! SQL of the audit log.

use chrono::{DateTime, Utc};
use sira_kernel::{Actor, Id};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Entry;

/// Appends entries, in one statement.
pub async fn insert(
    conn: &mut PgConnection,
    actor: &Actor,
    at: DateTime<Utc>,
    entries: &[Entry],
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = entries.iter().map(|_| Id::<Entry>::new().uuid()).collect();
    let actions: Vec<&str> = entries.iter().map(|e| e.action).collect();
    let kinds: Vec<&str> = entries.iter().map(|e| e.subject_kind).collect();
    let subjects: Vec<&str> = entries.iter().map(|e| e.subject.as_str()).collect();
    let bodies: Vec<serde_json::Value> = entries.iter().map(|e| e.body.clone()).collect();
    sqlx::query!(
        "insert into audit_event (id, at, actor_kind, actor, action, subject_kind, subject, body)
         select id, $1, $2, $3, action, subject_kind, subject, body
         from unnest($4::uuid[], $5::text[], $6::text[], $7::text[], $8::jsonb[])
             as entry (id, action, subject_kind, subject, body)",
        at,
        actor.kind(),
        actor.name(),
        &ids,
        &actions as &[&str],
        &kinds as &[&str],
        &subjects as &[&str],
        &bodies,
    )
    .execute(conn)
    .await?;
    Ok(())
}
