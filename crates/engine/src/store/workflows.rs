//! Starting, signalling and ending workflows.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::enqueue::JobRow;
use crate::effect::{Effect, NewWorkflow};
use crate::workflow::step_kind;

/// The job that takes a workflow's next step.
pub fn step_job(id: i64, kind: &str, queue: String, attempts_max: i16) -> JobRow {
    JobRow {
        kind: step_kind(kind),
        queue,
        gate: None,
        priority: 0,
        run_at: None,
        attempts_max,
        dedupe_key: None,
        payload: json!({}),
        workflow_id: Some(id),
        tags: Vec::new(),
    }
}

struct Live {
    id: i64,
    kind: String,
    key: String,
}

struct Woken {
    id: i64,
    kind: String,
    queue: String,
    attempts_max: i16,
}

impl From<Woken> for JobRow {
    fn from(w: Woken) -> Self {
        step_job(w.id, &w.kind, w.queue, w.attempts_max)
    }
}

/// Writes what concerns workflows, and returns the jobs of the steps that became due, and whether some began asleep.
/// Within one commit the order is: supersede, start, signal.
pub async fn apply(tx: &mut PgConnection, effects: &[Effect]) -> Result<(Vec<JobRow>, bool), sqlx::Error> {
    let mut endings = Vec::new();
    let mut starts = Vec::new();
    let mut signals = Vec::new();
    for effect in effects {
        match effect {
            Effect::Job(_) => {}
            Effect::Supersede { kind, key, reason } => endings.push((*kind, key.as_str(), reason.as_str())),
            Effect::Start(new) => starts.push(new),
            Effect::Signal { kind, key, name, payload } => {
                signals.push((*kind, key.as_str(), *name, payload));
            }
        }
    }
    if !endings.is_empty() {
        end(tx, "superseded", &endings).await?;
    }
    let mut jobs = Vec::new();
    if !starts.is_empty() {
        jobs.extend(start(tx, &starts).await?);
    }
    if !signals.is_empty() {
        jobs.extend(signal(tx, &signals).await?);
    }
    Ok((jobs, starts.iter().any(|new| new.asleep.is_some())))
}

/// Returns the jobs of those that take their first step at once.
async fn start(tx: &mut PgConnection, new: &[&NewWorkflow]) -> Result<Vec<JobRow>, sqlx::Error> {
    let started = sqlx::query_as!(
        Woken,
        "with started as (
            insert into engine.workflows (kind, key, version, queue, attempts_max, state, status, due, wake_at, waiting_for)
            select i.kind, i.key, i.version, i.queue, i.attempts_max, i.state,
                case when i.wake_at is null then 'running' when i.waiting_for is null then 'sleeping' else 'waiting' end,
                i.wake_at is null, i.wake_at, i.waiting_for
            from unnest($1::text[], $2::text[], $3::smallint[], $4::text[], $5::smallint[], $6::jsonb[],
                    $7::timestamptz[], $8::text[])
                as i (kind, key, version, queue, attempts_max, state, wake_at, waiting_for)
            order by i.kind, i.key
            on conflict (kind, key) where finished_at is null do nothing
            returning id, kind, queue, attempts_max, due
        )
        select id, kind, queue, attempts_max from started where due",
        &new.iter().map(|w| w.spec.name.to_owned()).collect::<Vec<_>>(),
        &new.iter().map(|w| w.key.clone()).collect::<Vec<_>>(),
        &new.iter().map(|w| w.spec.version.cast_signed()).collect::<Vec<_>>(),
        &new.iter().map(|w| w.spec.queue.name.to_owned()).collect::<Vec<_>>(),
        &new.iter().map(|w| w.spec.retry.attempts_max.cast_signed()).collect::<Vec<_>>(),
        &new.iter().map(|w| w.state.clone()).collect::<Vec<_>>(),
        &new.iter().map(|w| w.due()).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &new.iter().map(|w| w.asleep.and_then(|(_, signal)| signal)).collect::<Vec<_>>() as &[Option<&str>],
    )
    .fetch_all(tx)
    .await?;
    Ok(started.into_iter().map(JobRow::from).collect())
}

/// Locks the live workflows of these kinds and keys, against the step that one of them may be taking: whoever
/// comes second sees what the first one wrote. Looked up one by one through `workflows_live_key`, also while the
/// planner's statistics still say that next to nothing is live.
async fn lock_live(
    tx: &mut PgConnection,
    kinds: &[String],
    keys: &[String],
) -> Result<Vec<Live>, sqlx::Error> {
    sqlx::query_as!(
        Live,
        "select w.id, w.kind, w.key
        from (
            select distinct kind, key from unnest($1::text[], $2::text[]) as asked (kind, key) order by kind, key
        ) as i
        cross join lateral (
            select id, kind, key from engine.workflows
            where kind = i.kind and key = i.key and finished_at is null for update
        ) as w",
        kinds,
        keys
    )
    .fetch_all(tx)
    .await
}

async fn signal(
    tx: &mut PgConnection,
    signals: &[(&str, &str, &str, &Value)],
) -> Result<Vec<JobRow>, sqlx::Error> {
    let kinds: Vec<_> = signals.iter().map(|s| s.0.to_owned()).collect();
    let keys: Vec<_> = signals.iter().map(|s| s.1.to_owned()).collect();
    let live = lock_live(tx, &kinds, &keys).await?;
    let ids: HashMap<_, _> = live.iter().map(|w| ((w.kind.as_str(), w.key.as_str()), w.id)).collect();
    let addressed: Vec<(i64, String, Value)> = signals
        .iter()
        .filter_map(|&(kind, key, name, payload)| {
            Some((*ids.get(&(kind, key))?, name.to_owned(), payload.clone()))
        })
        .collect();
    if addressed.is_empty() {
        return Ok(Vec::new());
    }
    let woken = sqlx::query_as!(
        Woken,
        "with input as materialized (
            select i.id, i.name, i.payload, i.ord
            from unnest($1::bigint[], $2::text[], $3::jsonb[]) with ordinality as i (id, name, payload, ord)
        ), kept as (
            insert into engine.signals (workflow_id, name, payload)
            select id, name, payload from input order by ord
        )
        update engine.workflows w set due = true
        from (select distinct id, name from input) as i
        where w.id = i.id and w.status = 'waiting' and w.waiting_for = i.name and not w.due
        returning w.id, w.kind, w.queue, w.attempts_max",
        &addressed.iter().map(|s| s.0).collect::<Vec<_>>(),
        &addressed.iter().map(|s| s.1.clone()).collect::<Vec<_>>(),
        &addressed.iter().map(|s| s.2.clone()).collect::<Vec<_>>(),
    )
    .fetch_all(tx)
    .await?;
    Ok(woken.into_iter().map(JobRow::from).collect())
}

/// Ends live workflows at once. A step that is under way finds its workflow ended and rolls back; one whose job
/// still waits ends as cancelled when it is claimed.
async fn end(
    tx: &mut PgConnection,
    status: &str,
    endings: &[(&str, &str, &str)],
) -> Result<usize, sqlx::Error> {
    let kinds: Vec<_> = endings.iter().map(|e| e.0.to_owned()).collect();
    let keys: Vec<_> = endings.iter().map(|e| e.1.to_owned()).collect();
    let live = lock_live(tx, &kinds, &keys).await?;
    let reasons: HashMap<_, _> = endings.iter().map(|(kind, key, reason)| ((*kind, *key), *reason)).collect();
    let reasons = live.iter().map(|w| json!({ "reason": reasons.get(&(w.kind.as_str(), w.key.as_str())) }));
    let ids: Vec<_> = live.iter().map(|w| w.id).collect();
    write_ends(tx, status, &ids, &reasons.collect::<Vec<_>>()).await
}

/// The shared last chapter: status, history row, and no signal left. What is live is told by its status:
/// `finished_at is null` beside an id would lead the planner to read all of `workflows_live_key`.
async fn write_ends(
    tx: &mut PgConnection,
    status: &str,
    ids: &[i64],
    details: &[Value],
) -> Result<usize, sqlx::Error> {
    let ended = sqlx::query!(
        "with ended as (
            update engine.workflows w set status = $1, finished_at = now(), updated_at = now(), due = false,
                wake_at = null, waiting_for = null, seq = w.seq + 1,
                error = case when $1 = 'failed' then i.details else w.error end
            from unnest($2::bigint[], $3::jsonb[]) as i (id, details)
            where w.id = i.id and w.status in ('running', 'sleeping', 'waiting')
            returning w.id, w.seq, w.state, i.details
        ), dropped as (
            delete from engine.signals s using ended e where s.workflow_id = e.id
        )
        insert into engine.workflow_steps (workflow_id, seq, woken_by, decision, state, details)
        select id, seq, 'request', $1, state, details from ended",
        status,
        ids,
        details
    )
    .execute(tx)
    .await?;
    Ok(ended.rows_affected() as usize)
}

/// Cancels the live workflow of this kind and key. Returns whether there was one.
pub async fn cancel(tx: &mut PgConnection, kind: &str, key: &str, reason: &str) -> Result<bool, sqlx::Error> {
    Ok(end(tx, "cancelled", &[(kind, key, reason)]).await? > 0)
}

/// Fails the workflows whose step's job is dead, with the job's error.
pub async fn fail_workflows(tx: &mut PgConnection, ids: &[i64], error: &Value) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let errors = vec![error.clone(); ids.len()];
    write_ends(tx, "failed", &ids, &errors).await?;
    Ok(())
}
