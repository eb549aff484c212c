//! Queues as operators see, stop and limit them.

use sqlx::PgConnection;

use crate::ops::{QueueView, READY_MAX};

/// All queues that somebody works on, that hold ready jobs, or that are stopped or limited; or the one of this name.
pub async fn list_queues(
    conn: &mut PgConnection,
    shift_us: i64,
    name: Option<&str>,
) -> Result<Vec<QueueView>, sqlx::Error> {
    // Names of ready jobs are found by leaps through the index, and no more than so many are counted.
    sqlx::query_as!(
        QueueView,
        r#"with recursive holding as (
            (select queue from engine.jobs where state = 'ready' and not probing order by queue limit 1)
            union all
            select (select j.queue from engine.jobs j
                    where j.state = 'ready' and not j.probing and j.queue > h.queue order by j.queue limit 1)
            from holding h where h.queue is not null
        ), known as (
            select queue as name from holding where queue is not null
            union select unnest(queues) from engine.sessions
            union select name from engine.queues
        )
        select k.name as "name!", p.paused_at as "paused_at?", p.paused_reason,
            p.concurrency_max as "concurrency_max?",
            (select count(*) from (
                select from engine.jobs where queue = k.name and state = 'ready' and not probing limit $3) as waiting
            ) as "ready!",
            (select extract(epoch from now() + $2::bigint * interval '1 microsecond' - run_at)::float8
             from engine.jobs where queue = k.name and state = 'ready' and not probing
             order by priority, id limit 1) as "oldest_s?",
            (select count(*) from engine.sessions where k.name = any(queues)) as "workers!"
        from known k left join engine.queues p on p.name = k.name
        where $1::text is null or k.name = $1
        order by k.name"#,
        name,
        shift_us,
        READY_MAX,
    )
    .fetch_all(conn)
    .await
}

/// Stops a queue, or changes why it is stopped.
pub async fn pause_queue(conn: &mut PgConnection, name: &str, reason: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into engine.queues as q (name, paused_at, paused_reason) values ($1, now(), $2)
        on conflict (name) do update set paused_reason = excluded.paused_reason,
            paused_at = coalesce(q.paused_at, excluded.paused_at)",
        name,
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether it was stopped.
pub async fn resume_queue(tx: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    let gone = sqlx::query!("delete from engine.queues where name = $1 and concurrency_max is null", name)
        .execute(&mut *tx)
        .await?;
    let resumed = sqlx::query!(
        "update engine.queues set paused_at = null, paused_reason = null
        where name = $1 and paused_at is not null",
        name
    )
    .execute(tx)
    .await?;
    Ok(gone.rows_affected() + resumed.rows_affected() > 0)
}

/// Sets how many of its jobs run at a time in all processes, or takes the limit away.
pub async fn limit_queue(tx: &mut PgConnection, name: &str, most: Option<i32>) -> Result<(), sqlx::Error> {
    if most.is_none() {
        sqlx::query!("delete from engine.queues where name = $1 and paused_at is null", name)
            .execute(&mut *tx)
            .await?;
        sqlx::query!("update engine.queues set concurrency_max = null where name = $1", name)
            .execute(tx)
            .await?;
        return Ok(());
    }
    sqlx::query!(
        "insert into engine.queues (name, concurrency_max) values ($1, $2)
        on conflict (name) do update set concurrency_max = excluded.concurrency_max",
        name,
        most
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// How many of its jobs run.
pub async fn count_running(conn: &mut PgConnection, name: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "running!" from engine.jobs where state = 'running' and queue = $1"#,
        name
    )
    .fetch_one(conn)
    .await
}
