//! Reads for operators, and what they do.

use serde_json::json;
use sqlx::PgConnection;

use crate::ops::{
    AttemptView, ChildView, JobFilter, JobView, PAGE_MAX, QueueCount, SessionView, StepView, Timer,
    WorkflowFilter, WorkflowView,
};

/// Ids that one look-up by tag takes.
const TAG_BATCH: i64 = PAGE_MAX as i64 + 1;
/// Look-ups by tag for one page: a filter that hardly any job of a common tag passes ends with a short page.
const TAG_ROUNDS_MAX: usize = 10;

pub async fn list_jobs(conn: &mut PgConnection, filter: &JobFilter) -> Result<Vec<JobView>, sqlx::Error> {
    let limit = filter.limit.min(PAGE_MAX + 1);
    match &filter.tag {
        Some(tag) => list_tagged(conn, filter, tag, usize::from(limit)).await,
        None => list_all(conn, filter, i64::from(limit)).await,
    }
}

async fn list_all(
    conn: &mut PgConnection,
    filter: &JobFilter,
    limit: i64,
) -> Result<Vec<JobView>, sqlx::Error> {
    sqlx::query_as!(
        JobView,
        r#"(
            select id as "id!", kind as "kind!", queue as "queue!", state as "state!", run_at,
                attempt as "attempt!", attempts_max, crash_count as "crash_count!", probing as "probing!",
                dedupe_key, workflow_id, payload as "payload!", error, created_at as "created_at!",
                null::timestamptz as finished_at
            from engine.jobs
            where ($1::text is null or state = $1) and ($2::text is null or kind = $2)
                and ($3::text is null or queue = $3) and ($4::bigint is null or id < $4)
                and ($6::bigint is null or workflow_id = $6) and ($7::text is null or error ->> 'code' = $7)
                and ($8::smallint is null or attempt >= $8) and ($9::timestamptz is null or run_at < $9)
            order by id desc limit $5
        ) union all (
            select id, kind, queue, outcome, null, attempt, null, 0::smallint, false, dedupe_key, workflow_id,
                payload, error, created_at, finished_at
            from engine.finished
            where ($1::text is null or outcome = $1) and ($2::text is null or kind = $2)
                and ($3::text is null or queue = $3) and ($4::bigint is null or id < $4)
                and ($6::bigint is null or workflow_id = $6) and ($7::text is null or error ->> 'code' = $7)
                and ($8::smallint is null or attempt >= $8) and $9 is null
            order by id desc limit $5
        ) order by 1 desc limit $5"#,
        filter.state.as_deref(),
        filter.kind.as_deref(),
        filter.queue.as_deref(),
        filter.before.map(|id| id.0),
        limit,
        filter.workflow,
        filter.error.as_deref(),
        filter.attempts_min,
        filter.due_before,
    )
    .fetch_all(conn)
    .await
}

/// Walks the tag's ids, newest first, until the page is full: few jobs have a tag, and many were finished.
async fn list_tagged(
    conn: &mut PgConnection,
    filter: &JobFilter,
    tag: &str,
    limit: usize,
) -> Result<Vec<JobView>, sqlx::Error> {
    let mut page = Vec::new();
    let mut before = filter.before.map_or(i64::MAX, |id| id.0);
    for _ in 0..TAG_ROUNDS_MAX {
        let ids = sqlx::query_scalar!(
            "select job_id from engine.job_tags where tag = $1 and job_id < $2 order by job_id desc limit $3",
            tag,
            before,
            TAG_BATCH
        )
        .fetch_all(&mut *conn)
        .await?;
        page.extend(list_by_id(conn, filter, &ids).await?);
        match ids.last() {
            Some(last) if ids.len() as i64 == TAG_BATCH && page.len() < limit => before = *last,
            _ => break,
        }
    }
    page.truncate(limit);
    Ok(page)
}

async fn list_by_id(
    conn: &mut PgConnection,
    filter: &JobFilter,
    ids: &[i64],
) -> Result<Vec<JobView>, sqlx::Error> {
    sqlx::query_as!(
        JobView,
        r#"select id as "id!", kind as "kind!", queue as "queue!", state as "state!", run_at,
            attempt as "attempt!", attempts_max, crash_count as "crash_count!", probing as "probing!",
            dedupe_key, workflow_id, payload as "payload!", error, created_at as "created_at!",
            null::timestamptz as finished_at
        from engine.jobs
        where id = any($4) and ($1::text is null or state = $1) and ($2::text is null or kind = $2)
            and ($3::text is null or queue = $3)
            and ($5::bigint is null or workflow_id = $5) and ($6::text is null or error ->> 'code' = $6)
            and ($7::smallint is null or attempt >= $7) and ($8::timestamptz is null or run_at < $8)
        union all
        select id, kind, queue, outcome, null, attempt, null, 0::smallint, false, dedupe_key, workflow_id,
            payload, error, created_at, finished_at
        from engine.finished
        where id = any($4) and ($1::text is null or outcome = $1) and ($2::text is null or kind = $2)
            and ($3::text is null or queue = $3)
            and ($5::bigint is null or workflow_id = $5) and ($6::text is null or error ->> 'code' = $6)
            and ($7::smallint is null or attempt >= $7) and $8 is null
        order by 1 desc"#,
        filter.state.as_deref(),
        filter.kind.as_deref(),
        filter.queue.as_deref(),
        ids,
        filter.workflow,
        filter.error.as_deref(),
        filter.attempts_min,
        filter.due_before,
    )
    .fetch_all(conn)
    .await
}

/// Live jobs that match, newest first.
pub async fn match_jobs(
    conn: &mut PgConnection,
    filter: &JobFilter,
    limit: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "select id from engine.jobs j
        where ($1::text is null or state = $1) and ($2::text is null or kind = $2)
            and ($3::text is null or queue = $3) and ($4::bigint is null or id < $4)
            and ($6::bigint is null or workflow_id = $6) and ($7::text is null or error ->> 'code' = $7)
            and ($8::smallint is null or attempt >= $8) and ($9::timestamptz is null or run_at < $9)
            and ($10::text is null or exists (select from engine.job_tags t where t.tag = $10 and t.job_id = j.id))
        order by id desc limit $5",
        filter.state.as_deref(),
        filter.kind.as_deref(),
        filter.queue.as_deref(),
        filter.before.map(|id| id.0),
        limit,
        filter.workflow,
        filter.error.as_deref(),
        filter.attempts_min,
        filter.due_before,
        filter.tag.as_deref(),
    )
    .fetch_all(conn)
    .await
}

pub async fn find_job(conn: &mut PgConnection, id: i64) -> Result<Option<JobView>, sqlx::Error> {
    sqlx::query_as!(
        JobView,
        r#"select id as "id!", kind as "kind!", queue as "queue!", state as "state!", run_at,
            attempt as "attempt!", attempts_max, crash_count as "crash_count!", probing as "probing!",
            dedupe_key, workflow_id, payload as "payload!", error, created_at as "created_at!",
            null::timestamptz as finished_at
        from engine.jobs where id = $1
        union all
        select id, kind, queue, outcome, null, attempt, null, 0::smallint, false, dedupe_key, workflow_id,
            payload, error, created_at, finished_at
        from engine.finished where id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await
}

pub async fn list_tags(conn: &mut PgConnection, id: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!("select tag from engine.job_tags where job_id = $1 order by tag", id)
        .fetch_all(conn)
        .await
}

pub async fn list_attempts(conn: &mut PgConnection, id: i64) -> Result<Vec<AttemptView>, sqlx::Error> {
    sqlx::query_as!(
        AttemptView,
        "select attempt, outcome, error, session, started_at, ended_at, next_at, waits_for
        from engine.attempts where job_id = $1 order by lease, ended_at",
        id
    )
    .fetch_all(conn)
    .await
}

pub async fn is_paused(conn: &mut PgConnection, queue: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from engine.queues where name = $1 and paused_at is not null) as "paused!""#,
        queue
    )
    .fetch_one(conn)
    .await
}

/// What holds a job that is due: its gate's breaker, its rate or the provider's own time, or those before it.
pub async fn why_held(
    conn: &mut PgConnection,
    id: i64,
    shift_us: i64,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select case when g.open_until is not null then 'breaker'
            when g.blocked_until > t.now or g.rate_per_s is not null
                and g.tokens + g.rate_per_s * extract(epoch from t.now - g.refilled_at) < 1 then 'rate_limit'
            when g.concurrency_max is not null or g.name is null and exists (
                select from engine.jobs p where p.gate = j.gate and p.state in ('ready', 'running')) then 'concurrency'
            end as why
        from engine.jobs j
        cross join (select now() + $2::bigint * interval '1 microsecond' as now) as t
        left join engine.gates g on g.name = j.gate
        where j.id = $1 and j.state = 'held'"#,
        id,
        shift_us
    )
    .fetch_optional(conn)
    .await
    .map(Option::flatten)
}

pub async fn count_jobs(conn: &mut PgConnection) -> Result<Vec<QueueCount>, sqlx::Error> {
    sqlx::query_as!(
        QueueCount,
        r#"select queue, state, count(*) as "count!" from engine.jobs group by queue, state
        order by queue, state"#
    )
    .fetch_all(conn)
    .await
}

pub async fn list_sessions(conn: &mut PgConnection) -> Result<Vec<SessionView>, sqlx::Error> {
    sqlx::query_as!(
        SessionView,
        "select id, host, version, queues, started_at, until from engine.sessions order by id"
    )
    .fetch_all(conn)
    .await
}

pub async fn list_workflows(
    conn: &mut PgConnection,
    filter: &WorkflowFilter,
) -> Result<Vec<WorkflowView>, sqlx::Error> {
    sqlx::query_as!(
        WorkflowView,
        "select id, kind, key, version, status, seq, wake_at, waiting_for, state, error, created_at, updated_at,
            finished_at
        from engine.workflows
        where ($1::text is null or kind = $1) and ($2::text is null or status = $2)
            and ($3::text is null or key = $3) and ($4::bigint is null or id < $4)
        order by id desc limit $5",
        filter.kind.as_deref(),
        filter.status.as_deref(),
        filter.key.as_deref(),
        filter.before,
        i64::from(filter.limit.min(PAGE_MAX + 1)),
    )
    .fetch_all(conn)
    .await
}

pub async fn find_workflow(conn: &mut PgConnection, id: i64) -> Result<Option<WorkflowView>, sqlx::Error> {
    sqlx::query_as!(
        WorkflowView,
        "select id, kind, key, version, status, seq, wake_at, waiting_for, state, error, created_at, updated_at,
            finished_at
        from engine.workflows where id = $1",
        id
    )
    .fetch_optional(conn)
    .await
}

pub async fn list_steps(conn: &mut PgConnection, id: i64) -> Result<Vec<StepView>, sqlx::Error> {
    sqlx::query_as!(
        StepView,
        "select seq, woken_by, decision, state, details, at from engine.workflow_steps
        where workflow_id = $1 order by seq",
        id
    )
    .fetch_all(conn)
    .await
}

/// The jobs that a workflow waits for.
pub async fn list_children(conn: &mut PgConnection, id: i64) -> Result<Vec<ChildView>, sqlx::Error> {
    sqlx::query_as!(
        ChildView,
        "select job_id, outcome from engine.children where workflow_id = $1 order by place",
        id
    )
    .fetch_all(conn)
    .await
}

pub async fn list_timers(conn: &mut PgConnection, keys: &[(&str, &str)]) -> Result<Vec<Timer>, sqlx::Error> {
    let (kinds, keys): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
    sqlx::query_as!(
        Timer,
        r#"select workflow.kind, workflow.key, workflow.wake_at as "wake_at!"
           from unnest($1::text[], $2::text[]) as asked (kind, key)
           join engine.workflows workflow on workflow.kind = asked.kind and workflow.key = asked.key
           where workflow.finished_at is null and workflow.wake_at is not null"#,
        &kinds as &[&str],
        &keys as &[&str],
    )
    .fetch_all(conn)
    .await
}

/// A live job, locked.
pub struct Locked {
    pub id: i64,
    pub state: String,
    /// Of a job that takes a workflow's step: whether that workflow lives.
    pub workflow_lives: Option<bool>,
}

/// Locks these jobs as far as they live, in the order of their ids. Locked, so that what is decided of a job's state still
/// holds when it is acted on; a worker's claim passes locked rows by.
pub async fn lock_jobs(tx: &mut PgConnection, ids: &[i64]) -> Result<Vec<Locked>, sqlx::Error> {
    sqlx::query_as!(
        Locked,
        r#"select j.id, j.state, case when j.workflow_id is not null then exists (
                select from engine.workflows w
                where w.id = j.workflow_id and w.status in ('running', 'sleeping', 'waiting', 'joining')
            ) end as workflow_lives
        from engine.jobs j where j.id = any($1) order by j.id for update of j"#,
        ids
    )
    .fetch_all(tx)
    .await
}

/// Which of these jobs have come to their end.
pub async fn list_ended(conn: &mut PgConnection, ids: &[i64]) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar!("select id from engine.finished where id = any($1)", ids).fetch_all(conn).await
}

/// A job that was to be retried.
pub struct Retried {
    pub id: i64,
    /// Whom to wake.
    pub bell: String,
    /// It is there still; else it folded into its twin.
    pub kept: bool,
}

/// Makes dead and scheduled jobs ready, each with the attempts before it that it had at first. Taken out and put in again
/// under their ids and leases, as in [`super::put_back`]: one whose twin waits folds into it, unless it began an external
/// effect; then it goes back without its key.
pub async fn retry_jobs(
    tx: &mut PgConnection,
    shift_us: i64,
    ids: &[i64],
) -> Result<Vec<Retried>, sqlx::Error> {
    sqlx::query_as!(
        Retried,
        r#"with gone as (
            delete from engine.jobs where id = any($1) and state in ('scheduled', 'dead')
            returning id, kind, queue, gate, priority, attempts_max, attempt, crash_count, probing, lease,
                case when external_at is null then dedupe_key end as dedupe_key,
                case when external_at is not null or dedupe_key is null then id end as apart,
                workflow_id, external_at, trace_parent, payload, error, created_at, child
        ), kept as (
            insert into engine.jobs (id, kind, queue, gate, priority, state, run_at, attempt, attempts_max, crash_count,
                probing, lease, dedupe_key, workflow_id, external_at, trace_parent, payload, error, created_at,
                child)
                overriding system value
            select distinct on (kind, dedupe_key, apart)
                id, kind, queue, gate, priority, case when gate is null then 'ready' else 'held' end, now() + $2::bigint * interval '1 microsecond', 0, attempts_max,
                0, probing or crash_count > 0, lease, dedupe_key, workflow_id, external_at, trace_parent, payload,
                error, created_at, child
            from gone order by kind, dedupe_key, apart, id
            on conflict (kind, dedupe_key) where dedupe_key is not null and state in ('scheduled', 'held', 'ready')
            do update set run_at = least(jobs.run_at, excluded.run_at),
                state = case when jobs.state = 'scheduled' then excluded.state else jobs.state end,
                probing = jobs.probing or excluded.probing
            returning id
        ), merged as (
            insert into engine.finished (id, kind, queue, outcome, attempt, dedupe_key, workflow_id, payload,
                error, created_at)
            select id, kind, queue, 'merged', attempt, dedupe_key, workflow_id, payload, error, created_at
            from gone where not exists (select from kept where kept.id = gone.id)
        )
        select id, case when gate is null then queue else 'gates:' end as "bell!",
            exists (select from kept where kept.id = gone.id) as "kept!"
        from gone"#,
        ids,
        shift_us
    )
    .fetch_all(tx)
    .await
}

/// Makes jobs that wait due at this time.
pub async fn reschedule_jobs(
    tx: &mut PgConnection,
    ids: &[i64],
    run_at: chrono::DateTime<chrono::Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update engine.jobs set state = 'scheduled', run_at = $2
        where id = any($1) and state in ('scheduled', 'held', 'ready')",
        ids,
        run_at
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Ends jobs that do not run as cancelled, with the reason in their history.
pub async fn cancel_jobs(tx: &mut PgConnection, ids: &[i64], reason: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with gone as (
            delete from engine.jobs where id = any($1) and state <> 'running'
            returning id, kind, queue, attempt, lease, dedupe_key, workflow_id, payload, created_at, child
        ), told as (
            update engine.children c set outcome = 'cancelled' from gone where gone.child and c.job_id = gone.id
        ), noted as (
            insert into engine.attempts (job_id, lease, attempt, outcome, error)
            select id, lease, attempt, 'cancelled', $2 from gone
        )
        insert into engine.finished
            (id, kind, queue, outcome, attempt, dedupe_key, workflow_id, payload, error, created_at)
        select id, kind, queue, 'cancelled', attempt, dedupe_key, workflow_id, payload, $2, created_at from gone",
        ids,
        json!({ "code": "cancelled_by_operator", "message": reason })
    )
    .execute(tx)
    .await?;
    Ok(())
}
