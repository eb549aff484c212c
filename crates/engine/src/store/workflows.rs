//! Starting, signalling and ending workflows.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sira_kernel::{Clock, TraceParent};
use sqlx::PgConnection;

use super::enqueue::{JobRow, insert_jobs};
use crate::effect::{Applied, Effect, NewWorkflow};
use crate::workflow::step_kind;

/// The job that takes a workflow's next step.
pub fn step_job(
    id: i64,
    kind: &str,
    queue: String,
    attempts_max: i16,
    trace_parent: Option<String>,
) -> JobRow {
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
        trace_parent,
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
    trace_parent: Option<String>,
}

impl From<Woken> for JobRow {
    fn from(w: Woken) -> Self {
        step_job(w.id, &w.kind, w.queue, w.attempts_max, w.trace_parent)
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
            insert into engine.workflows
                (kind, key, version, queue, attempts_max, state, status, due, wake_at, waiting_for, trace_parent)
            select i.kind, i.key, i.version, i.queue, i.attempts_max, i.state,
                case when i.wake_at is null then 'running' when i.waiting_for is null then 'sleeping' else 'waiting' end,
                i.wake_at is null, i.wake_at, i.waiting_for, $9
            from unnest($1::text[], $2::text[], $3::smallint[], $4::text[], $5::smallint[], $6::jsonb[],
                    $7::timestamptz[], $8::text[])
                as i (kind, key, version, queue, attempts_max, state, wake_at, waiting_for)
            order by i.kind, i.key
            on conflict (kind, key) where finished_at is null do nothing
            returning id, kind, queue, attempts_max, due, trace_parent
        )
        select id, kind, queue, attempts_max, trace_parent from started where due",
        &new.iter().map(|w| w.spec.name.to_owned()).collect::<Vec<_>>(),
        &new.iter().map(|w| w.key.clone()).collect::<Vec<_>>(),
        &new.iter().map(|w| w.spec.version.cast_signed()).collect::<Vec<_>>(),
        &new.iter().map(|w| w.spec.queue.name.to_owned()).collect::<Vec<_>>(),
        &new.iter().map(|w| w.spec.retry.attempts_max.cast_signed()).collect::<Vec<_>>(),
        &new.iter().map(|w| w.state.clone()).collect::<Vec<_>>(),
        &new.iter().map(|w| w.due()).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &new.iter().map(|w| w.asleep.and_then(|(_, signal)| signal)).collect::<Vec<_>>() as &[Option<&str>],
        TraceParent::current().map(|parent| parent.to_string()),
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
        returning w.id, w.kind, w.queue, w.attempts_max, w.trace_parent",
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

/// The shared last chapter: status, history row, and no signal or waiting child left, except of one that failed: it may be
/// retried. What is live is told by its status:
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
            cross join lateral (
                select jsonb_strip_nulls(jsonb_build_object('waiting_for', waiting_for)) as was
                from engine.workflows where id = i.id offset 0
            ) as old
            where w.id = i.id and w.status in ('running', 'sleeping', 'waiting', 'joining')
            returning w.id, w.seq, w.state, i.details || old.was as details
        ), dropped as (
            delete from engine.signals s using ended e where s.workflow_id = e.id and $1 <> 'failed'
        ), forgotten as (
            delete from engine.children c using ended e where c.workflow_id = e.id and $1 <> 'failed'
            returning c.job_id, c.outcome
        ), orphaned as (
            delete from engine.jobs j using forgotten f
            where j.id = f.job_id and f.outcome is null and j.state <> 'running'
            returning j.id, j.kind, j.queue, j.attempt, j.lease, j.payload, j.created_at
        ), orphans_noted as (
            insert into engine.attempts (job_id, lease, attempt, outcome, error)
            select id, lease, attempt, 'cancelled', $4 from orphaned
        ), orphans_ended as (
            insert into engine.finished (id, kind, queue, outcome, attempt, payload, error, created_at)
            select id, kind, queue, 'cancelled', attempt, payload, $4, created_at from orphaned
        )
        insert into engine.workflow_steps (workflow_id, seq, woken_by, decision, state, details)
        select id, seq, 'request', $1, state, details from ended",
        status,
        ids,
        details,
        json!({ "code": "parent_ended", "message": "the workflow that waited for it has ended" })
    )
    .execute(tx)
    .await?;
    Ok(ended.rows_affected() as usize)
}

/// Cancels the live workflow of this kind and key. Returns whether there was one.
pub async fn cancel(tx: &mut PgConnection, kind: &str, key: &str, reason: &str) -> Result<bool, sqlx::Error> {
    Ok(end(tx, "cancelled", &[(kind, key, reason)]).await? > 0)
}

/// Cancels the live workflow of this id. Returns whether it lived.
pub async fn cancel_by_id(tx: &mut PgConnection, id: i64, reason: &str) -> Result<bool, sqlx::Error> {
    Ok(write_ends(tx, "cancelled", &[id], &[json!({ "reason": reason })]).await? > 0)
}

/// What came of letting a workflow go on.
pub enum Reviving {
    Unknown,
    NotRetriable,
    KeyTaken,
    NoSuchStep,
    /// Its next step is due.
    Due(Applied),
}

/// Lets an ended workflow go on from what a step of it left behind: the last one, or the one of this number. The dead job of
/// the step that failed is put away.
pub async fn revive(tx: &mut PgConnection, id: i64, from: Option<i32>) -> Result<Reviving, sqlx::Error> {
    let found = sqlx::query!(
        r#"select status, exists (
            select from engine.workflows l where l.kind = w.kind and l.key = w.key and l.finished_at is null
        ) as "taken!"
        from engine.workflows w where id = $1 for update of w"#,
        id
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(found) = found else { return Ok(Reviving::Unknown) };
    if !["failed", "cancelled", "superseded"].contains(&found.status.as_str()) {
        return Ok(Reviving::NotRetriable);
    }
    if found.taken {
        return Ok(Reviving::KeyTaken);
    }
    let revived = sqlx::query_as!(
        Woken,
        r#"with step as (
            select seq, state, decision from engine.workflow_steps
            where workflow_id = $1 and ($2::integer is null or seq = $2)
                and decision in ('next', 'wait_until', 'wait_for', 'children', 'retried')
            order by seq desc limit 1
        ), beginning as (
            -- Before its first step, it stands as it was started.
            select coalesce(s.seq, 0) as seq, coalesce(s.state, w.state) as state,
                coalesce(s.decision, 'next') as decision
            from engine.workflows w left join step s on true
            where w.id = $1 and (s.seq is not null or ($2::integer is null and not exists (
                select from engine.workflow_steps where workflow_id = $1 and woken_by <> 'request')))
        ), signalled as (
            -- The signal that woke the step which failed is kept for it.
            select f.details ->> 'waiting_for' as name
            from (
                select details from engine.workflow_steps
                where workflow_id = $1 and decision = 'failed' order by seq desc limit 1
            ) as f
            where $2::integer is null and exists (
                select from engine.signals s where s.workflow_id = $1 and s.name = f.details ->> 'waiting_for')
        ), dead as (
            delete from engine.jobs j where j.state = 'dead' and j.workflow_id = $1 and j.id = (
                select (details ->> 'job')::bigint from engine.workflow_steps
                where workflow_id = $1 and decision = 'failed' order by seq desc limit 1)
            returning j.id, j.kind, j.queue, j.attempt, j.workflow_id, j.payload, j.error, j.created_at
        ), put_away as (
            insert into engine.finished (id, kind, queue, outcome, attempt, workflow_id, payload, error, created_at)
            select id, kind, queue, 'cancelled', attempt, workflow_id, payload, error, created_at from dead
        ), revived as (
            update engine.workflows w set state = b.state, seq = w.seq + 1, due = true, error = null,
                finished_at = null, updated_at = now(), wake_at = null,
                waiting_for = (select name from signalled),
                status = case when exists (select from signalled) then 'waiting'
                    when b.decision = 'children' and exists (
                        select from engine.children where workflow_id = $1) then 'joining'
                    when b.decision in ('wait_until', 'wait_for', 'children') then 'sleeping'
                    else 'running' end
            from beginning b where w.id = $1
            returning w.id, w.kind, w.queue, w.attempts_max, w.trace_parent, w.seq, w.state, b.seq as from_seq
        ), noted as (
            insert into engine.workflow_steps (workflow_id, seq, woken_by, decision, state, details)
            select id, seq, 'request', 'retried', state, jsonb_build_object('from', from_seq) from revived
        )
        select id, kind, queue, attempts_max, trace_parent from revived"#,
        id,
        from
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(revived) = revived else { return Ok(Reviving::NoSuchStep) };
    let due = insert_jobs(tx, &Clock::system(), vec![revived.into()]).await?;
    Ok(Reviving::Due(due))
}

/// Fails the workflows whose step's job is dead, each given with that job, with the job's error.
pub async fn fail_workflows(
    tx: &mut PgConnection,
    dead: &[(i64, i64)],
    error: &Value,
) -> Result<(), sqlx::Error> {
    if dead.is_empty() {
        return Ok(());
    }
    let dead: BTreeMap<i64, i64> = dead.iter().copied().collect();
    let with_job = |job: &i64| {
        let mut error = error.clone();
        if let Some(fields) = error.as_object_mut() {
            fields.insert("job".to_owned(), json!(job));
        }
        error
    };
    let errors: Vec<_> = dead.values().map(with_job).collect();
    write_ends(tx, "failed", &dead.into_keys().collect::<Vec<_>>(), &errors).await?;
    Ok(())
}
