//! Giving claimed jobs back: after a failure, a snooze, a release or a crash.
//!
//! **Invariant:** a row that returns to waiting while its twin waits folds into the twin; nothing raises inside a
//! batch, and nothing that was to run is lost.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

/// When a job that was put back runs again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Return {
    /// At once.
    Ready,
    /// At this time.
    At(DateTime<Utc>),
    /// So many microseconds from now.
    After(i64),
    /// When an operator says so.
    Dead,
}

/// One claimed job to give back.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, stored in as many columns")]
#[derive(Debug, Clone)]
pub struct PutBack {
    pub id: i64,
    pub lease: i64,
    pub to: Return,
    /// Whether its attempt is given back with it.
    pub refund: bool,
    /// Whether the end of this attempt counts as a crash of its own.
    pub crashed: bool,
    /// Whether it must run alone next time.
    pub probing: bool,
    /// Whether it has a dedupe key, under which a twin may wait.
    pub deduped: bool,
    pub error: Option<Value>,
    /// The outcome of the attempt; `None` when it never began.
    pub outcome: Option<&'static str>,
    pub waits_for: Option<&'static str>,
    pub started_at: Option<DateTime<Utc>>,
}

/// Gives jobs back. Returns the ids of the rows that it changed; the others' leases were lost. Expects to run in
/// a transaction.
pub async fn put_back(
    tx: &mut PgConnection,
    shift_us: i64,
    rows: &[PutBack],
) -> Result<Vec<i64>, sqlx::Error> {
    let (folding, plain): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row.deduped && row.to != Return::Dead);
    let mut changed = Vec::with_capacity(rows.len());
    if !plain.is_empty() {
        changed.extend(put_back_plain(tx, shift_us, &plain).await?);
    }
    if !folding.is_empty() {
        changed.extend(put_back_folding(tx, shift_us, &folding).await?);
    }
    Ok(changed)
}

/// The columns of a batch, for `unnest`.
struct Columns {
    ids: Vec<i64>,
    leases: Vec<i64>,
    states: Vec<String>,
    at: Vec<Option<DateTime<Utc>>>,
    after_us: Vec<i64>,
    /// refund, crashed, probing
    flags: [Vec<bool>; 3],
    errors: Vec<Option<Value>>,
    outcomes: Vec<Option<String>>,
    waits_for: Vec<Option<String>>,
    started_at: Vec<Option<DateTime<Utc>>>,
}

impl Columns {
    fn of(rows: &[&PutBack]) -> Self {
        let state = |to: Return| match to {
            Return::Ready => "ready",
            Return::At(_) | Return::After(_) => "scheduled",
            Return::Dead => "dead",
        };
        let at = |to: Return| if let Return::At(at) = to { Some(at) } else { None };
        let after = |to: Return| if let Return::After(micros) = to { micros } else { 0 };
        Self {
            ids: rows.iter().map(|r| r.id).collect(),
            leases: rows.iter().map(|r| r.lease).collect(),
            states: rows.iter().map(|r| state(r.to).to_owned()).collect(),
            at: rows.iter().map(|r| at(r.to)).collect(),
            after_us: rows.iter().map(|r| after(r.to)).collect(),
            flags: [
                rows.iter().map(|r| r.refund).collect(),
                rows.iter().map(|r| r.crashed).collect(),
                rows.iter().map(|r| r.probing).collect(),
            ],
            errors: rows.iter().map(|r| r.error.clone()).collect(),
            outcomes: rows.iter().map(|r| r.outcome.map(str::to_owned)).collect(),
            waits_for: rows.iter().map(|r| r.waits_for.map(str::to_owned)).collect(),
            started_at: rows.iter().map(|r| r.started_at).collect(),
        }
    }
}

async fn put_back_plain(
    tx: &mut PgConnection,
    shift_us: i64,
    rows: &[&PutBack],
) -> Result<Vec<i64>, sqlx::Error> {
    let c = Columns::of(rows);
    // Each row is looked up once, by lateral: joined to itself, a batch would cost its square.
    sqlx::query_scalar!(
        r#"with held as materialized (
            select i.id, i.lease, i.state, i.refund, i.crashed, i.probing, i.error, i.outcome, i.waits_for,
                i.started_at, coalesce(i.at, now() + (i.after_us + $13) * interval '1 microsecond') as run_at,
                old.attempt, old.session, old.child
            from unnest($1::bigint[], $2::bigint[], $3::text[], $4::timestamptz[], $5::bigint[], $6::bool[],
                $7::bool[], $8::bool[], $9::jsonb[], $10::text[], $11::text[], $12::timestamptz[])
                as i (id, lease, state, at, after_us, refund, crashed, probing, error, outcome, waits_for,
                      started_at),
            lateral (select j.attempt, j.session, j.child from engine.jobs j
                     where j.id = i.id and j.lease = i.lease and j.state = 'running'
                     for update offset 0) as old
        ), changed as (
            update engine.jobs j set state = held.state, run_at = held.run_at, session = null, claim = null,
                attempt = held.attempt - held.refund::int, crash_count = j.crash_count + held.crashed::int,
                probing = held.probing, error = coalesce(held.error, j.error)
            from held where j.id = held.id
            returning j.id
        ), told as (
            update engine.children c set outcome = 'failed'
            from held where held.child and held.state = 'dead' and c.job_id = held.id
        ), noted as (
            insert into engine.attempts
                (job_id, lease, attempt, session, started_at, outcome, error, next_at, waits_for)
            select id, lease, attempt, session, started_at, outcome, error,
                case when state <> 'dead' then run_at end, waits_for
            from held where outcome is not null
        )
        select id from changed"#,
        &c.ids,
        &c.leases,
        &c.states,
        &c.at as _,
        &c.after_us,
        &c.flags[0],
        &c.flags[1],
        &c.flags[2],
        &c.errors as _,
        &c.outcomes as _,
        &c.waits_for as _,
        &c.started_at as _,
        shift_us,
    )
    .fetch_all(tx)
    .await
}

/// As above for rows with a dedupe key: each is taken out and put in again under its id and lease, or folds into
/// the twin that waits, which inherits its crashes. One that began an external effect never folds, since its id is
/// what the effect is known by: it goes back without its key.
async fn put_back_folding(
    tx: &mut PgConnection,
    shift_us: i64,
    rows: &[&PutBack],
) -> Result<Vec<i64>, sqlx::Error> {
    let c = Columns::of(rows);
    sqlx::query_scalar!(
        r#"with input as materialized (
            select i.id, i.lease, i.state, i.refund, i.crashed, i.probing, i.error, i.outcome, i.waits_for,
                i.started_at, coalesce(i.at, now() + (i.after_us + $13) * interval '1 microsecond') as run_at
            from unnest($1::bigint[], $2::bigint[], $3::text[], $4::timestamptz[], $5::bigint[], $6::bool[],
                $7::bool[], $8::bool[], $9::jsonb[], $10::text[], $11::text[], $12::timestamptz[])
                as i (id, lease, state, at, after_us, refund, crashed, probing, error, outcome, waits_for,
                      started_at)
        ), gone as (
            delete from engine.jobs j using input i
            where j.id = i.id and j.lease = i.lease and j.state = 'running'
            returning j.id, j.kind, j.queue, j.gate, j.priority, i.state, i.run_at, j.attempt, j.attempts_max,
                (j.crash_count + i.crashed::int)::smallint as crash_count, i.probing, j.lease, j.session,
                case when j.external_at is null then j.dedupe_key end as dedupe_key,
                case when j.external_at is not null then j.id end as unfolded,
                j.workflow_id, j.external_at, j.trace_parent, j.payload, coalesce(i.error, j.error) as error,
                j.created_at, i.refund, i.outcome, i.waits_for, i.started_at, i.error as attempt_error
        ), noted as (
            insert into engine.attempts
                (job_id, lease, attempt, session, started_at, outcome, error, next_at, waits_for)
            select id, lease, attempt, session, started_at, outcome, attempt_error, run_at, waits_for
            from gone where outcome is not null
        ), kept as (
            insert into engine.jobs (id, kind, queue, gate, priority, state, run_at, attempt, attempts_max, crash_count,
                probing, lease, dedupe_key, workflow_id, external_at, trace_parent, payload, error, created_at)
                overriding system value
            select distinct on (kind, dedupe_key, unfolded) id, kind, queue, gate, priority, state, run_at,
                attempt - refund::int, attempts_max, crash_count, probing, lease, dedupe_key, workflow_id,
                external_at, trace_parent, payload, error, created_at
            from gone order by kind, dedupe_key, unfolded, run_at, id
            on conflict (kind, dedupe_key) where dedupe_key is not null and state in ('scheduled', 'held', 'ready')
            do update set run_at = least(jobs.run_at, excluded.run_at),
                state = case when jobs.state = 'scheduled' then excluded.state else jobs.state end,
                crash_count = greatest(jobs.crash_count, excluded.crash_count),
                probing = jobs.probing or excluded.probing
            returning id, kind, dedupe_key
        ), struck as (
            insert into engine.attempts
                (job_id, lease, attempt, session, started_at, outcome, error, next_at, waits_for)
            select k.id, g.lease, g.attempt, g.session, g.started_at, g.outcome, g.attempt_error, g.run_at,
                g.waits_for
            from gone g join kept k on k.kind = g.kind and k.dedupe_key = g.dedupe_key
            where g.outcome = 'crashed' and k.id <> g.id
        ), merged as (
            insert into engine.finished (id, kind, queue, outcome, attempt, dedupe_key, workflow_id, payload,
                error, created_at)
            select id, kind, queue, 'merged', attempt, dedupe_key, workflow_id, payload, error, created_at
            from gone where not exists (select from kept where kept.id = gone.id)
        )
        select id from gone"#,
        &c.ids,
        &c.leases,
        &c.states,
        &c.at as _,
        &c.after_us,
        &c.flags[0],
        &c.flags[1],
        &c.flags[2],
        &c.errors as _,
        &c.outcomes as _,
        &c.waits_for as _,
        &c.started_at as _,
        shift_us,
    )
    .fetch_all(tx)
    .await
}
