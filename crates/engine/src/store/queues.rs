//! Claiming, and making due what was scheduled.

use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{Connection, PgConnection};

/// A claimed job.
#[derive(Debug)]
pub struct ClaimRow {
    pub id: i64,
    pub kind: String,
    pub gate: Option<String>,
    pub priority: i16,
    pub lease: i64,
    pub attempt: i16,
    pub attempts_max: i16,
    pub crash_count: i16,
    pub deduped: bool,
    pub workflow_id: Option<i64>,
    /// A workflow waits for it.
    pub child: bool,
    /// A `traceparent`: of what caused it.
    pub trace_parent: Option<String>,
    /// As it is stored: it is read once, as what the kind takes.
    pub payload: Json<Box<RawValue>>,
}

/// Where a job stands among the ready ones of its queue.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub priority: i16,
    pub id: i64,
}

/// Who claims: the session, and the number of the claim statement within it.
#[derive(Debug, Clone, Copy)]
pub struct ClaimedBy {
    pub session: i64,
    pub claim: i64,
}

/// Takes up to `limit` of a queue's next jobs after `from`; none of a queue that is stopped or limited ([`claim_limited`]).
/// Where nobody can vacuum, `from` spares the claim what was taken before it. A session that
/// was given up claims nothing: the share lock on its row waits for a rescue under way and then finds no row.
pub async fn claim(
    conn: &mut PgConnection,
    queue: &str,
    by: ClaimedBy,
    from: Option<Place>,
    limit: i64,
) -> Result<Vec<ClaimRow>, sqlx::Error> {
    let from = from.unwrap_or(Place { priority: i16::MIN, id: -1 });
    let mut rows = sqlx::query_as!(
        ClaimRow,
        r#"with me as (
            select id from engine.sessions
            where id = $3 and not exists (select from engine.queues where name = $1) for key share)
        update engine.jobs set state = 'running', session = $3, claim = $4, lease = lease + 1,
            attempt = attempt + 1
        where ctid = any(array(
            select ctid from engine.jobs where queue = $1 and state = 'ready' and not probing
                and (priority, id) > ($5::smallint, $6::bigint)
            order by priority, id limit $2 * (select count(*) from me) for update skip locked))
        returning id, kind, gate, priority, lease, attempt, attempts_max, crash_count,
            dedupe_key is not null as "deduped!", workflow_id, child, trace_parent, payload as "payload: Json<Box<RawValue>>""#,
        queue,
        limit,
        by.session,
        by.claim,
        from.priority,
        from.id,
    )
    .fetch_all(conn)
    .await?;
    rows.sort_unstable_by_key(|row| (row.priority, row.id));
    Ok(rows)
}

/// As [`claim`], from a queue with a limit of its own: no more than are left of it in all processes, and of this one's own
/// `concurrency`, so that no place is held by a job that waits for a worker.
pub async fn claim_limited(
    conn: &mut PgConnection,
    queue: &str,
    by: ClaimedBy,
    concurrency: i64,
    limit: i64,
) -> Result<Vec<ClaimRow>, sqlx::Error> {
    let mut tx = conn.begin().await?;
    // Locked first, in a statement of its own: the count below sees what the claim before took.
    let most = sqlx::query_scalar!(
        r#"select concurrency_max::bigint as "most!" from engine.queues
        where name = $1 and paused_at is null and concurrency_max is not null for update"#,
        queue
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(most) = most else { return Ok(Vec::new()) };
    let mut rows = sqlx::query_as!(
        ClaimRow,
        r#"with me as (select id from engine.sessions where id = $3 for key share),
        taken as (
            select count(*) as by_all, count(*) filter (where session = $3) as by_me
            from engine.jobs where queue = $1 and limited and state = 'running'
        )
        update engine.jobs set state = 'running', session = $3, claim = $4, lease = lease + 1,
            attempt = attempt + 1, limited = true
        where ctid = any(array(
            select ctid from engine.jobs where queue = $1 and state = 'ready' and not probing
            order by priority, id
            limit (select greatest(least($2 - by_all, $5 - by_me, $6), 0) from taken) * (select count(*) from me)
            for update skip locked))
        returning id, kind, gate, priority, lease, attempt, attempts_max, crash_count,
            dedupe_key is not null as "deduped!", workflow_id, child, trace_parent, payload as "payload: Json<Box<RawValue>>""#,
        queue,
        most,
        by.session,
        by.claim,
        concurrency,
        limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.sort_unstable_by_key(|row| (row.priority, row.id));
    Ok(rows)
}

/// Takes one job that must run alone, marked so that a crash from here on is its own.
pub async fn claim_probing(
    conn: &mut PgConnection,
    queues: &[String],
    by: ClaimedBy,
) -> Result<Option<ClaimRow>, sqlx::Error> {
    sqlx::query_as!(
        ClaimRow,
        r#"with me as (select id from engine.sessions where id = $2 for key share)
        update engine.jobs set state = 'running', session = $2, claim = $3, lease = lease + 1,
            attempt = attempt + 1
        where ctid = any(array(
            select ctid from engine.jobs where queue = any($1) and state = 'ready' and probing
                and not exists (select from engine.queues q where q.name = jobs.queue and q.paused_at is not null)
            order by id limit (select count(*) from me) for update skip locked))
        returning id, kind, gate, priority, lease, attempt, attempts_max, crash_count,
            dedupe_key is not null as "deduped!", workflow_id, child, trace_parent, payload as "payload: Json<Box<RawValue>>""#,
        queues,
        by.session,
        by.claim,
    )
    .fetch_optional(conn)
    .await
}

/// Whether a job waits to run alone.
pub async fn has_probing(conn: &mut PgConnection, queues: &[String]) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (
            select from engine.jobs where queue = any($1) and state = 'ready' and probing
                and not exists (select from engine.queues q where q.name = jobs.queue and q.paused_at is not null)) as "waits!""#,
        queues
    )
    .fetch_one(conn)
    .await
}

/// A claimed job that nobody began.
#[derive(Debug)]
pub struct Unbegun {
    pub id: i64,
    pub lease: i64,
    pub probing: bool,
    pub deduped: bool,
}

/// What a claim took whose answer was lost.
pub async fn find_claim(conn: &mut PgConnection, by: ClaimedBy) -> Result<Vec<Unbegun>, sqlx::Error> {
    sqlx::query_as!(
        Unbegun,
        r#"select id, lease, probing, dedupe_key is not null as "deduped!" from engine.jobs
        where state = 'running' and session = $1 and claim = $2"#,
        by.session,
        by.claim
    )
    .fetch_all(conn)
    .await
}

/// Makes up to `limit` due jobs ready, or held where they have a gate. Returns for each whom to wake.
pub async fn promote(conn: &mut PgConnection, shift_us: i64, limit: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "update engine.jobs set state = case when gate is null then 'ready' else 'held' end
        where ctid = any(array(
            select ctid from engine.jobs
            where state = 'scheduled' and run_at <= now() + $1::bigint * interval '1 microsecond'
            order by run_at limit $2 for update skip locked))
        returning case when gate is null then queue else 'gates:' end as \"bell!\"",
        shift_us,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Puts a step's job in for up to `limit` workflows whose time has come. Returns a queue per workflow.
pub async fn wake_workflows(
    conn: &mut PgConnection,
    shift_us: i64,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "with woken as (
            update engine.workflows set due = true
            where ctid = any(array(
                select ctid from engine.workflows
                where wake_at <= now() + $1::bigint * interval '1 microsecond' and not due and finished_at is null
                order by wake_at limit $2 for update skip locked))
            returning id, kind, queue, attempts_max, trace_parent
        )
        insert into engine.jobs (kind, queue, state, run_at, attempts_max, workflow_id, trace_parent, payload)
        select 'step:' || kind, queue, 'ready', now() + $1::bigint * interval '1 microsecond', attempts_max, id,
            trace_parent, '{}'
        from woken returning queue",
        shift_us,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Microseconds until the next scheduled job or sleeping workflow is due; `None` when there is none.
pub async fn next_due_us(conn: &mut PgConnection, shift_us: i64) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select (extract(epoch from least(
            (select run_at from engine.jobs where state = 'scheduled' order by run_at limit 1),
            (select wake_at from engine.workflows
             where wake_at is not null and not due and finished_at is null order by wake_at limit 1)
        ) - now()) * 1000000)::bigint - $1 as us"#,
        shift_us
    )
    .fetch_one(conn)
    .await
}

/// How long the next job of each queue has been due, in seconds; zero for an empty queue.
pub async fn queue_ages(
    conn: &mut PgConnection,
    shift_us: i64,
    queues: &[String],
) -> Result<Vec<(String, f64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select q.name as "name!", coalesce(extract(epoch from
            now() + $2::bigint * interval '1 microsecond' - j.run_at)::float8, 0) as "age!"
        from unnest($1::text[]) as q (name)
        left join lateral (
            select run_at from engine.jobs where queue = q.name and state = 'ready' and not probing
            order by priority, id limit 1
        ) as j on true"#,
        queues,
        shift_us
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.name, row.age.max(0.0))).collect())
}

/// Notifies other processes, all payloads in one statement. A hint need not reach the disk.
pub async fn notify(pool: &sqlx::PgPool, channel: &str, payloads: &[String]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "select set_config('synchronous_commit', 'off', true), pg_notify($1, payload)
        from unnest($2::text[]) as p (payload)",
        channel,
        payloads
    )
    .fetch_all(pool)
    .await?;
    Ok(())
}
