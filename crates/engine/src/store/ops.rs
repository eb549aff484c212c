//! Reads for operators.

use sqlx::PgConnection;

use crate::ops::{
    AttemptView, JobFilter, JobView, PAGE_MAX, QueueCount, SessionView, StepView, Timer, WorkflowFilter,
    WorkflowView,
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
            order by id desc limit $5
        ) union all (
            select id, kind, queue, outcome, null, attempt, null, 0::smallint, false, dedupe_key, workflow_id,
                payload, error, created_at, finished_at
            from engine.finished
            where ($1::text is null or outcome = $1) and ($2::text is null or kind = $2)
                and ($3::text is null or queue = $3) and ($4::bigint is null or id < $4)
            order by id desc limit $5
        ) order by 1 desc limit $5"#,
        filter.state.as_deref(),
        filter.kind.as_deref(),
        filter.queue.as_deref(),
        filter.before.map(|id| id.0),
        limit,
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
        union all
        select id, kind, queue, outcome, null, attempt, null, 0::smallint, false, dedupe_key, workflow_id,
            payload, error, created_at, finished_at
        from engine.finished
        where id = any($4) and ($1::text is null or outcome = $1) and ($2::text is null or kind = $2)
            and ($3::text is null or queue = $3)
        order by 1 desc"#,
        filter.state.as_deref(),
        filter.kind.as_deref(),
        filter.queue.as_deref(),
        ids,
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
