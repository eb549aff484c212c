//! Writing effects: workflow rows first, in the order of their keys, then every job in one insert.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sira_kernel::{Clock, TraceParent};
use sqlx::PgConnection;

use super::workflows;
use crate::effect::{Applied, Effect, NewJob};
use crate::error::EngineError;

/// A row to insert into `engine.jobs`.
pub struct JobRow {
    pub kind: String,
    pub queue: String,
    pub gate: Option<String>,
    pub priority: i16,
    pub run_at: Option<DateTime<Utc>>,
    pub attempts_max: i16,
    pub dedupe_key: Option<String>,
    pub payload: Value,
    pub workflow_id: Option<i64>,
    pub tags: Vec<String>,
    /// What caused it, as a `traceparent`; else it is where the caller stands.
    pub trace_parent: Option<String>,
}

impl JobRow {
    /// Nothing to fold into, nothing to wait for, nothing beside it.
    fn is_plain(&self) -> bool {
        self.dedupe_key.is_none() && self.tags.is_empty() && self.gate.is_none()
    }
}

/// What a write made due.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    /// Whom to wake.
    pub bell: String,
    pub scheduled: bool,
}

impl From<&NewJob> for JobRow {
    fn from(job: &NewJob) -> Self {
        Self {
            kind: job.spec.name.to_owned(),
            queue: job.spec.queue.name.to_owned(),
            gate: job.gate.clone(),
            priority: job.priority,
            run_at: job.run_at,
            attempts_max: job.spec.retry.attempts_max.cast_signed(),
            dedupe_key: job.dedupe_key.clone(),
            payload: job.payload.clone(),
            workflow_id: None,
            tags: job.tags.clone(),
            trace_parent: None,
        }
    }
}

pub async fn apply(tx: &mut PgConnection, clock: &Clock, effects: &[Effect]) -> Result<Applied, EngineError> {
    // Locks are taken in one order by everybody: workflow rows by kind and key, then jobs by kind and dedupe key.
    let (mut rows, some_asleep) = workflows::apply(tx, effects).await?;
    rows.extend(effects.iter().filter_map(|effect| match effect {
        Effect::Job(job) => Some(JobRow::from(job)),
        Effect::Start(_) | Effect::Signal { .. } | Effect::Supersede { .. } => None,
    }));
    #[cfg(feature = "failpoints")]
    if dedupe_is_removed() {
        for row in &mut rows {
            row.dedupe_key = None;
        }
    }
    let mut applied = insert_jobs(tx, clock, rows).await?;
    applied.scheduled |= some_asleep;
    Ok(applied)
}

/// A seeded bug of the fault tests, which their checker must find.
#[cfg(feature = "failpoints")]
fn dedupe_is_removed() -> bool {
    fail::fail_point!("engine::no_dedupe", |_| true);
    false
}

/// Inserts jobs in one statement. A twin that waits is pulled forward instead; the row lock taken by that keeps
/// it from being claimed before this transaction commits, so a wake-up is never lost between the two.
pub async fn insert_jobs(
    tx: &mut PgConnection,
    clock: &Clock,
    mut rows: Vec<JobRow>,
) -> Result<Applied, sqlx::Error> {
    if rows.is_empty() {
        return Ok(Applied::default());
    }
    if let Some(current) = TraceParent::current().map(|parent| parent.to_string()) {
        for row in &mut rows {
            row.trace_parent.get_or_insert_with(|| current.clone());
        }
    }
    let due = if let [row] = rows.as_slice()
        && row.is_plain()
    {
        vec![insert_one(tx, clock, row).await?]
    } else if rows.iter().all(JobRow::is_plain) {
        insert_plain(tx, clock, &rows).await?
    } else {
        insert_keyed(tx, clock, &without_twins(rows)).await?
    };
    Ok(Applied {
        scheduled: due.iter().any(|due| due.scheduled),
        queues: due.into_iter().map(|due| due.bell).collect(),
    })
}

async fn insert_one(tx: &mut PgConnection, clock: &Clock, row: &JobRow) -> Result<Due, sqlx::Error> {
    sqlx::query_as!(
        Due,
        r#"insert into engine.jobs
            (kind, queue, priority, state, run_at, attempts_max, payload, workflow_id, trace_parent)
        values ($1, $2, $3,
            case when $4::timestamptz > now() + $8::bigint * interval '1 microsecond' then 'scheduled' else 'ready' end,
            coalesce($4, now() + $8::bigint * interval '1 microsecond'), $5, $6, $7, $9)
        returning queue as bell, state = 'scheduled' as "scheduled!""#,
        row.kind,
        row.queue,
        row.priority,
        row.run_at,
        row.attempts_max,
        row.payload,
        row.workflow_id,
        clock.shift_us(),
        row.trace_parent,
    )
    .fetch_one(tx)
    .await
}

/// Plain rows alone.
async fn insert_plain(
    tx: &mut PgConnection,
    clock: &Clock,
    rows: &[JobRow],
) -> Result<Vec<Due>, sqlx::Error> {
    sqlx::query_as!(
        Due,
        r#"with written as (
            insert into engine.jobs
                (kind, queue, priority, state, run_at, attempts_max, payload, workflow_id, trace_parent)
            select i.kind, i.queue, i.priority, case when i.run_at > t.now then 'scheduled' else 'ready' end,
                coalesce(i.run_at, t.now), i.attempts_max, i.payload, i.workflow_id, i.trace_parent
            from unnest($1::text[], $2::text[], $3::smallint[], $4::timestamptz[], $5::smallint[], $6::jsonb[],
                $7::bigint[], $9::text[])
                as i (kind, queue, priority, run_at, attempts_max, payload, workflow_id, trace_parent),
                (select now() + $8::bigint * interval '1 microsecond' as now) as t
            returning queue, state
        )
        select queue as "bell!", bool_or(state = 'scheduled') as "scheduled!" from written group by queue"#,
        &rows.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.queue.as_str()).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.priority).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.run_at).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.attempts_max).collect::<Vec<_>>(),
        &rows.iter().map(|row| &row.payload).collect::<Vec<_>>() as &[&Value],
        &rows.iter().map(|row| row.workflow_id).collect::<Vec<_>>() as _,
        clock.shift_us(),
        &rows.iter().map(|row| row.trace_parent.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
    )
    .fetch_all(tx)
    .await
}

async fn insert_keyed(
    tx: &mut PgConnection,
    clock: &Clock,
    rows: &[JobRow],
) -> Result<Vec<Due>, sqlx::Error> {
    let tags: Vec<Value> = rows.iter().map(|row| Value::from(row.tags.clone())).collect();
    sqlx::query_as!(
        Due,
        r#"with input as materialized (
            select nextval('engine.jobs_id_seq') as id, i.kind, i.queue, i.gate, i.priority, i.attempts_max, i.dedupe_key,
                i.payload, i.workflow_id, i.tags, i.trace_parent, coalesce(i.run_at, t.now) as run_at,
                case when i.run_at > t.now then 'scheduled' when i.gate is not null then 'held' else 'ready' end
                    as state
            from unnest($1::text[], $2::text[], $3::smallint[], $4::timestamptz[], $5::smallint[], $6::text[],
                $7::jsonb[], $8::bigint[], $9::jsonb[], $11::text[], $12::text[])
                as i (kind, queue, priority, run_at, attempts_max, dedupe_key, payload, workflow_id, tags, gate,
                      trace_parent),
                (select now() + $10::bigint * interval '1 microsecond' as now) as t
        ), written as (
            insert into engine.jobs
                (id, kind, queue, gate, priority, state, run_at, attempts_max, dedupe_key, payload, workflow_id,
                 trace_parent)
                overriding system value
            select id, kind, queue, gate, priority, state, run_at, attempts_max, dedupe_key, payload, workflow_id,
                trace_parent
            from input order by kind, dedupe_key, id
            on conflict (kind, dedupe_key) where dedupe_key is not null and state in ('scheduled', 'held', 'ready')
            do update set run_at = least(jobs.run_at, excluded.run_at),
                priority = least(jobs.priority, excluded.priority),
                state = case when jobs.state = 'scheduled' then excluded.state else jobs.state end
            returning id, kind, dedupe_key, queue, state
        ), tagged as (
            insert into engine.job_tags (tag, job_id)
            select t.tag, coalesce(w.id, i.id) from input i
            cross join lateral jsonb_array_elements_text(i.tags) as t (tag)
            left join written w on w.kind = i.kind and w.dedupe_key = i.dedupe_key
            order by 1, 2
            on conflict do nothing
        )
        select case when state = 'held' then 'gates:' else queue end as "bell!",
            bool_or(state = 'scheduled') as "scheduled!"
        from written group by 1"#,
        &rows.iter().map(|row| row.kind.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.queue.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.priority).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.run_at).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.attempts_max).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.dedupe_key.clone()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.payload.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.workflow_id).collect::<Vec<_>>() as _,
        &tags,
        clock.shift_us(),
        &rows.iter().map(|row| row.gate.clone()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.trace_parent.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
    )
    .fetch_all(tx)
    .await
}

/// One row per kind and dedupe key: `on conflict` cannot touch a row twice. The earliest time, the best priority
/// and all tags survive; the first payload does.
fn without_twins(rows: Vec<JobRow>) -> Vec<JobRow> {
    let mut kept: Vec<JobRow> = Vec::with_capacity(rows.len());
    let mut places: BTreeMap<(String, String), usize> = BTreeMap::new();
    for row in rows {
        let Some(key) = row.dedupe_key.clone() else {
            kept.push(row);
            continue;
        };
        let Some(&place) = places.get(&(row.kind.clone(), key.clone())) else {
            places.insert((row.kind.clone(), key), kept.len());
            kept.push(row);
            continue;
        };
        let twin = &mut kept[place];
        // None is "at once", and so the earliest.
        twin.run_at = twin.run_at.min(row.run_at);
        twin.priority = twin.priority.min(row.priority);
        twin.tags.extend(row.tags);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str, key: Option<&str>, run_at: Option<i64>, tag: &str) -> JobRow {
        JobRow {
            kind: kind.to_owned(),
            queue: "q".to_owned(),
            gate: None,
            priority: 0,
            run_at: run_at.and_then(|s| DateTime::from_timestamp(s, 0)),
            attempts_max: 1,
            dedupe_key: key.map(str::to_owned),
            payload: Value::Null,
            workflow_id: None,
            tags: vec![tag.to_owned()],
            trace_parent: None,
        }
    }

    #[test]
    fn twins_in_one_batch_become_one_row_at_the_earliest_time() {
        let kept = without_twins(vec![
            row("a", Some("k"), Some(20), "t1"),
            row("b", Some("k"), Some(20), "t2"),
            row("a", Some("k"), Some(10), "t3"),
            row("a", None, None, "t4"),
            row("a", None, None, "t5"),
            row("b", Some("k"), None, "t6"),
        ]);
        let seen: Vec<_> = kept.iter().map(|r| (r.kind.as_str(), r.run_at.map(|t| t.timestamp()))).collect();
        assert_eq!(seen, [("a", Some(10)), ("b", None), ("a", None), ("a", None)]);
        assert_eq!(kept[0].tags, ["t1", "t3"]);
    }
}
