//! The batched end of jobs whose effects are elsewhere.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

/// One job that came to its end.
#[derive(Debug, Clone)]
pub struct Ending {
    pub id: i64,
    pub lease: i64,
    /// Why it was cancelled; `None` when it is done.
    pub cancelled: Option<Value>,
    pub started_at: Option<DateTime<Utc>>,
}

/// Moves these running jobs to the finished ones. Returns the ids that it moved; the others' leases were lost.
pub async fn finish(conn: &mut PgConnection, endings: &[Ending]) -> Result<Vec<i64>, sqlx::Error> {
    let (cancelled, done): (Vec<_>, Vec<_>) = endings.iter().partition(|e| e.cancelled.is_some());
    let mut moved = Vec::with_capacity(endings.len());
    if !done.is_empty() {
        moved.extend(finish_done(conn, &done).await?);
    }
    if !cancelled.is_empty() {
        moved.extend(finish_cancelled(conn, &cancelled).await?);
    }
    Ok(moved)
}

// One lease a statement: nearly all of a batch are first claims. The row itself is asked for its lease, so that one which
// was changed meanwhile stays; a join to unnest would leave the plan to statistics that are stale on a hot table.
async fn finish_done(conn: &mut PgConnection, done: &[&Ending]) -> Result<Vec<i64>, sqlx::Error> {
    let mut by_lease: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for ending in done {
        by_lease.entry(ending.lease).or_default().push(ending.id);
    }
    let mut moved = Vec::with_capacity(done.len());
    for (lease, mut ids) in by_lease {
        ids.sort_unstable();
        moved.extend(finish_leased(conn, lease, &ids).await?);
    }
    Ok(moved)
}

async fn finish_leased(conn: &mut PgConnection, lease: i64, ids: &[i64]) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "with gone as (
            delete from engine.jobs where id = any($1) and lease = $2 and state = 'running'
            returning id, kind, queue, attempt, dedupe_key, workflow_id, payload, created_at, child
        ), told as (
            update engine.children c set outcome = 'done' from gone where gone.child and c.job_id = gone.id
        )
        insert into engine.finished
            (id, kind, queue, outcome, attempt, dedupe_key, workflow_id, payload, created_at)
        select id, kind, queue, 'done', attempt, dedupe_key, workflow_id, payload, created_at from gone
        returning id",
        ids,
        lease
    )
    .fetch_all(conn)
    .await
}

async fn finish_cancelled(conn: &mut PgConnection, cancelled: &[&Ending]) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"with input as materialized (
            select i.id, i.lease, i.error, i.started_at
            from unnest($1::bigint[], $2::bigint[], $3::jsonb[], $4::timestamptz[])
                as i (id, lease, error, started_at)
        ), gone as (
            delete from engine.jobs j using input i
            where j.id = i.id and j.lease = i.lease and j.state = 'running'
            returning j.id, j.kind, j.queue, j.attempt, j.dedupe_key, j.workflow_id, j.payload, j.created_at,
                j.lease, j.session, i.error, i.started_at, j.child
        ), told as (
            update engine.children c set outcome = 'cancelled' from gone where gone.child and c.job_id = gone.id
        ), noted as (
            insert into engine.attempts (job_id, lease, attempt, session, started_at, outcome, error)
            select id, lease, attempt, session, started_at, 'cancelled', error from gone
        )
        insert into engine.finished
            (id, kind, queue, outcome, attempt, dedupe_key, workflow_id, payload, error, created_at)
        select id, kind, queue, 'cancelled', attempt, dedupe_key, workflow_id, payload, error, created_at
        from gone returning id"#,
        &cancelled.iter().map(|e| e.id).collect::<Vec<_>>(),
        &cancelled.iter().map(|e| e.lease).collect::<Vec<_>>(),
        &cancelled.iter().map(|e| e.cancelled.clone()).collect::<Vec<_>>() as _,
        &cancelled.iter().map(|e| e.started_at).collect::<Vec<_>>() as _,
    )
    .fetch_all(conn)
    .await
}
