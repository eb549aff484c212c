//! SQL of timelines and notes.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sira_kernel::{Actor, Id};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Entry, Position, Row};
use crate::nouns::{LeadId, NoteId, UserId};

/// Appends entries, in one statement; their ids are in their order.
pub async fn insert(
    conn: &mut PgConnection,
    actor: &Actor,
    at: DateTime<Utc>,
    entries: &[Entry],
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = entries.iter().map(|_| Id::<Entry>::new().uuid()).collect();
    let leads: Vec<Uuid> = entries.iter().map(|entry| entry.lead.uuid()).collect();
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.code()).collect();
    let codes: Vec<&str> = entries.iter().map(|entry| entry.code).collect();
    let references: Vec<Option<Uuid>> = entries.iter().map(|entry| entry.reference).collect();
    let bodies: Vec<Value> = entries.iter().map(|entry| entry.body.clone()).collect();
    sqlx::query!(
        "insert into timeline_entries (id, lead_id, at, kind, code, actor_kind, actor, reference, body)
         select id, lead_id, $1, kind, code, $2, $3, reference, body
         from unnest($4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::uuid[], $9::jsonb[])
             as entry (id, lead_id, kind, code, reference, body)",
        at,
        actor.kind(),
        actor.name(),
        &ids,
        &leads,
        &kinds as &[&str],
        &codes as &[&str],
        &references as &[Option<Uuid>],
        &bodies,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Newest first; no kinds means all.
pub async fn list(
    conn: &mut PgConnection,
    lead: LeadId,
    kinds: &[&str],
    after: Option<Position>,
    limit: u16,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"select entry.id, entry.at, entry.kind, entry.code, entry.actor_kind, entry.actor,
             person.display_name as "actor_name?", entry.reference, entry.body,
             note.body_sealed as "note_sealed?", entry.lead_id as lead
         from timeline_entries entry
         left join users person on entry.actor_kind = 'user' and person.id::text = entry.actor
         left join lead_notes note on entry.kind = 'note' and note.id = entry.reference
         where entry.lead_id = any(lead_ids($1))
             and (cardinality($2::text[]) = 0 or entry.kind = any($2))
             and ($3::timestamptz is null or (entry.at, entry.id) < ($3, $4::uuid))
         order by entry.at desc, entry.id desc
         limit $5"#,
        lead.uuid(),
        kinds as &[&str],
        after.map(|position| position.at),
        after.map(|position| position.id),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await
}

pub async fn insert_note(
    conn: &mut PgConnection,
    note: NoteId,
    lead: LeadId,
    author: UserId,
    sealed: &[u8],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into lead_notes (id, lead_id, author_id, body_sealed, created_at) values ($1, $2, $3, $4, $5)",
        note.uuid(),
        lead.uuid(),
        author.uuid(),
        sealed,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
