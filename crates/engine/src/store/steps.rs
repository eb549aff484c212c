//! Taking workflows' steps: one with the effects of its handler, or many that have none.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::Value;
use sira_kernel::Clock;
use sqlx::PgConnection;

use super::children::insert_children;
use super::enqueue::insert_jobs;
use super::fence::complete_one;
use super::finish::{Ending, finish};
use super::workflows::step_job;
use crate::effect::Applied;
use crate::error::EngineError;
use crate::job::{JobId, Lease};
use crate::workflow::{ChildOutcome, Decided, Wake};

/// A workflow whose step is due.
#[derive(Debug, Clone)]
pub struct Pending {
    pub version: i16,
    pub seq: i32,
    pub state: Value,
    pub wake: Wake,
    pub signal_id: Option<i64>,
    /// It waited for children.
    pub joined: bool,
}

/// Reads what steps stand on, by workflow; one that has ended is left out. Ended is told by the status, as in
/// [`super::workflows`].
pub async fn load_steps(
    conn: &mut PgConnection,
    workflows: &[i64],
) -> Result<HashMap<i64, Pending>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select w.id, w.version, w.seq, w.state, w.status, s.id as "signal_id?", s.name as "name?",
            s.payload as "payload?", c.jobs, c.outcomes as "outcomes: Vec<Option<String>>",
            coalesce(c.ended or w.join_on = 'failure' and c.failed, false) as "joined!"
        from unnest($1::bigint[]) as asked (id)
        cross join lateral (
            select * from engine.workflows
            where id = asked.id and status in ('running', 'sleeping', 'waiting', 'joining') offset 0
        ) as w
        left join lateral (
            select id, name, payload from engine.signals
            where w.status = 'waiting' and workflow_id = w.id and name = w.waiting_for order by id limit 1
        ) as s on true
        left join lateral (
            select array_agg(job_id order by place) as jobs, array_agg(outcome order by place) as outcomes,
                coalesce(bool_and(outcome is not null), true) as ended, bool_or(outcome <> 'done') as failed
            from engine.children where w.status = 'joining' and workflow_id = w.id
        ) as c on w.status = 'joining'"#,
        workflows
    )
    .fetch_all(conn)
    .await?;
    let pending = rows.into_iter().map(|row| {
        let wake = match (row.status.as_str(), row.name, row.payload) {
            ("waiting", Some(name), Some(payload)) => Wake::Signal { name, payload },
            ("running", ..) => Wake::Start,
            ("joining", ..) if row.joined => Wake::Children(ends(row.jobs, row.outcomes)),
            _ => Wake::Timer,
        };
        let (version, seq, state, signal_id) = (row.version, row.seq, row.state, row.signal_id);
        (row.id, Pending { version, seq, state, wake, signal_id, joined: row.status == "joining" })
    });
    Ok(pending.collect())
}

fn ends(jobs: Option<Vec<i64>>, outcomes: Option<Vec<Option<String>>>) -> Vec<(JobId, ChildOutcome)> {
    let outcomes = outcomes.unwrap_or_default().into_iter();
    let outcomes = outcomes.map(|outcome| ChildOutcome::parse(outcome.as_deref()));
    jobs.unwrap_or_default().into_iter().map(JobId).zip(outcomes).collect()
}

/// Writes the step: state, history, completion of its job and the next step's job, fenced by the workflow's
/// sequence number and by the lease of the step's job.
pub async fn record_step(
    tx: &mut PgConnection,
    lease: &Lease,
    decided: &Decided,
) -> Result<Applied, EngineError> {
    // The lock orders this against signals: one that is not seen below finds the state that is written here.
    let seq = sqlx::query_scalar!(
        "select seq from engine.workflows
        where id = $1 and status in ('running', 'sleeping', 'waiting', 'joining') for update",
        decided.workflow_id
    )
    .fetch_optional(&mut *tx)
    .await?;
    if seq != Some(decided.seq - 1) {
        return Err(EngineError::LeaseLost);
    }
    complete_one(tx, lease).await?;
    let next = write_steps(tx, &[decided]).await?;
    let next =
        next.into_iter().map(|w| step_job(w.id, &w.kind, w.queue, w.attempts_max, w.trace_parent)).collect();
    // Steps are due at once: whatever the clock says, they are not scheduled.
    let mut applied = insert_jobs(tx, &Clock::system(), next).await?;
    applied.scheduled |= decided.wake_at.is_some();
    applied.merge(insert_children(tx, &[decided]).await?);
    Ok(applied)
}

/// A step without effects of its own, under the lease of its job.
#[derive(Clone, Copy)]
pub struct PureStep<'a> {
    pub lease: &'a Lease,
    pub decided: &'a Decided,
}

/// What became of steps that were to be written together.
pub struct Recorded<'a> {
    pub written: usize,
    /// Jobs of those whose workflows are locked by somebody: try again.
    pub busy: Vec<i64>,
    /// Those whose workflows have ended, or went on elsewhere.
    pub ended: Vec<&'a Lease>,
    pub applied: Applied,
}

/// As [`record_step`] for many. Nobody is waited for: signals lock several workflows in another order. A step whose lease was
/// lost is none of the answers. Expects to run in a transaction.
pub async fn record_steps<'a>(
    tx: &mut PgConnection,
    steps: &[PureStep<'a>],
) -> Result<Recorded<'a>, sqlx::Error> {
    let locked = lock_free(tx, steps).await?;
    let (held, others): (Vec<PureStep<'a>>, Vec<_>) =
        steps.iter().partition(|step| locked.contains(&step.decided.workflow_id));
    let ending = |step: &PureStep<'_>| {
        let Lease { job, fence, .. } = step.lease;
        Ending { id: job.0, lease: *fence, cancelled: None, started_at: None }
    };
    let done = finish(tx, &held.iter().map(ending).collect::<Vec<_>>()).await?;
    let done: HashSet<i64> = done.into_iter().collect();
    let written: Vec<&Decided> =
        held.iter().filter(|step| done.contains(&step.lease.job.0)).map(|step| step.decided).collect();
    let next = write_steps(tx, &written).await?;
    let next =
        next.into_iter().map(|w| step_job(w.id, &w.kind, w.queue, w.attempts_max, w.trace_parent)).collect();
    let mut applied = insert_jobs(tx, &Clock::system(), next).await?;
    applied.scheduled |= written.iter().any(|decided| decided.wake_at.is_some());
    applied.merge(insert_children(tx, &written).await?);
    let standing = if others.is_empty() { HashSet::new() } else { find_standing(tx, &others).await? };
    let (busy, ended): (Vec<PureStep<'a>>, Vec<_>) =
        others.iter().partition(|step| standing.contains(&step.decided.workflow_id));
    Ok(Recorded {
        written: written.len(),
        busy: busy.iter().map(|step| step.lease.job.0).collect(),
        ended: ended.iter().map(|step| step.lease).collect(),
        applied,
    })
}

/// Locks the workflows that stand where these steps found them, and that nobody else has locked.
async fn lock_free(tx: &mut PgConnection, steps: &[PureStep<'_>]) -> Result<HashSet<i64>, sqlx::Error> {
    let locked = sqlx::query_scalar!(
        "select w.id from unnest($1::bigint[], $2::integer[]) as step (workflow_id, seq)
        cross join lateral (
            select id from engine.workflows
            where id = step.workflow_id and seq = step.seq - 1 and status in ('running', 'sleeping', 'waiting', 'joining')
            for update skip locked offset 0
        ) as w",
        &steps.iter().map(|step| step.decided.workflow_id).collect::<Vec<_>>(),
        &steps.iter().map(|step| step.decided.seq).collect::<Vec<_>>(),
    )
    .fetch_all(tx)
    .await?;
    Ok(locked.into_iter().collect())
}

/// The same without a lock.
async fn find_standing(tx: &mut PgConnection, steps: &[PureStep<'_>]) -> Result<HashSet<i64>, sqlx::Error> {
    let standing = sqlx::query_scalar!(
        "select w.id from unnest($1::bigint[], $2::integer[]) as step (workflow_id, seq)
        cross join lateral (
            select id from engine.workflows
            where id = step.workflow_id and seq = step.seq - 1 and status in ('running', 'sleeping', 'waiting', 'joining')
            offset 0
        ) as w",
        &steps.iter().map(|step| step.decided.workflow_id).collect::<Vec<_>>(),
        &steps.iter().map(|step| step.decided.seq).collect::<Vec<_>>(),
    )
    .fetch_all(tx)
    .await?;
    Ok(standing.into_iter().collect())
}

/// A workflow whose next step is due at once.
struct Next {
    id: i64,
    kind: String,
    queue: String,
    attempts_max: i16,
    trace_parent: Option<String>,
}

/// State and history of workflows whose rows are locked.
async fn write_steps(tx: &mut PgConnection, steps: &[&Decided]) -> Result<Vec<Next>, sqlx::Error> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    // What is asked of the step alone stands first in each look-up: where it fails, no index is read.
    sqlx::query_as!(
        Next,
        r#"with step as materialized (
            select * from unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::jsonb[],
                $8::timestamptz[], $9::text[], $10::bigint[], $11::bool[], $12::integer[], $13::text[])
                as s (workflow_id, seq, woken_by, decision, status, state, details, wake_at, waiting_for, signal_id,
                      joined, children, join_on)
        ), consumed as (
            delete from engine.signals where id = any(array(
                select s.id from step cross join lateral (
                    select id from engine.signals
                    where (step.status = 'done' or step.signal_id is not null) and workflow_id = step.workflow_id
                        and (id = step.signal_id or step.status = 'done') offset 0
                ) as s))
        ), forgotten as (
            delete from engine.children where job_id = any(array(
                select c.job_id from step cross join lateral (
                    select job_id from engine.children where step.joined and workflow_id = step.workflow_id offset 0
                ) as c))
        ), history as (
            insert into engine.workflow_steps (workflow_id, seq, woken_by, decision, state, details)
            select workflow_id, seq, woken_by, decision, state, details from step
        ), advanced as (
            update engine.workflows w set seq = step.seq, status = step.status, state = step.state, updated_at = now(),
                wake_at = step.wake_at, waiting_for = step.waiting_for,
                finished_at = case when step.status = 'done' then now() end,
                children_left = step.children, join_on = step.join_on,
                due = step.status = 'running' or step.status = 'joining' and step.children = 0 or step.status = 'waiting' and exists (
                    select from engine.signals s
                    where s.workflow_id = w.id and s.name = step.waiting_for and s.id is distinct from step.signal_id)
            from step where w.id = step.workflow_id
            returning w.id, w.kind, w.queue, w.attempts_max, w.trace_parent, w.due
        )
        select id, kind, queue, attempts_max, trace_parent from advanced where due"#,
        &steps.iter().map(|s| s.workflow_id).collect::<Vec<_>>(),
        &steps.iter().map(|s| s.seq).collect::<Vec<_>>(),
        &steps.iter().map(|s| s.woken_by).collect::<Vec<_>>() as &[&str],
        &steps.iter().map(|s| s.decision).collect::<Vec<_>>() as &[&str],
        &steps.iter().map(|s| s.status).collect::<Vec<_>>() as &[&str],
        &steps.iter().map(|s| &s.state).collect::<Vec<_>>() as &[&Value],
        &steps.iter().map(|s| s.details.as_ref()).collect::<Vec<_>>() as &[Option<&Value>],
        &steps.iter().map(|s| s.wake_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &steps.iter().map(|s| s.waiting_for).collect::<Vec<_>>() as &[Option<&str>],
        &steps.iter().map(|s| s.signal_id).collect::<Vec<_>>() as &[Option<i64>],
        &steps.iter().map(|s| s.joined).collect::<Vec<_>>(),
        &steps.iter().map(|s| s.children.len() as i32).collect::<Vec<_>>(),
        &steps.iter().map(|s| s.join_on).collect::<Vec<_>>() as &[Option<&str>],
    )
    .fetch_all(tx)
    .await
}
