//! How attempts ended, by minute.

use sqlx::PgConnection;

use crate::ops::{CounterFilter, CounterView, MINUTES_MAX};

/// What one process has seen of a queue, a kind and an outcome since it last told.
pub struct Counted {
    pub queue: String,
    pub kind: String,
    pub outcome: &'static str,
    pub attempts: i64,
    pub ran_ms: i64,
}

/// Adds to this minute. Rows are locked in one order by everybody.
pub async fn add(conn: &mut PgConnection, counted: &[Counted]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into engine.counters as c (minute, queue, kind, outcome, attempts, ran_ms)
        select date_trunc('minute', now()), i.queue, i.kind, i.outcome, i.attempts, i.ran_ms
        from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
            as i (queue, kind, outcome, attempts, ran_ms)
        order by i.queue, i.kind, i.outcome
        on conflict (minute, queue, kind, outcome)
        do update set attempts = c.attempts + excluded.attempts, ran_ms = c.ran_ms + excluded.ran_ms",
        &counted.iter().map(|of| of.queue.clone()).collect::<Vec<_>>(),
        &counted.iter().map(|of| of.kind.clone()).collect::<Vec<_>>(),
        &counted.iter().map(|of| of.outcome).collect::<Vec<_>>() as &[&str],
        &counted.iter().map(|of| of.attempts).collect::<Vec<_>>(),
        &counted.iter().map(|of| of.ran_ms).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The last minutes, the newest first.
pub async fn list(conn: &mut PgConnection, filter: &CounterFilter) -> Result<Vec<CounterView>, sqlx::Error> {
    sqlx::query_as!(
        CounterView,
        "select minute, queue, kind, outcome, attempts, ran_ms from engine.counters
        where minute > now() - make_interval(mins => $1) and ($2::text is null or queue = $2) and ($3::text is null or kind = $3)
        order by minute desc, queue, kind, outcome",
        i32::from(filter.minutes.min(MINUTES_MAX)),
        filter.queue.as_deref(),
        filter.kind.as_deref(),
    )
    .fetch_all(conn)
    .await
}
