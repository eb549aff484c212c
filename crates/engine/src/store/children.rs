//! Jobs that workflows wait for.

use sqlx::PgConnection;

use super::enqueue::{Due, JobRow};
use crate::effect::Applied;
use crate::workflow::Decided;

/// Enqueues the children of these steps, whose workflows are locked.
pub async fn insert_children(tx: &mut PgConnection, steps: &[&Decided]) -> Result<Applied, sqlx::Error> {
    let rows: Vec<(i64, i32, JobRow)> = steps
        .iter()
        .flat_map(|step| {
            let placed = step.children.iter().zip(0_i32..);
            placed.map(|(job, place)| (step.workflow_id, place, JobRow::from(job)))
        })
        .collect();
    if rows.is_empty() {
        return Ok(Applied::default());
    }
    let tags: Vec<serde_json::Value> =
        rows.iter().map(|(.., row)| serde_json::Value::from(row.tags.clone())).collect();
    let due = sqlx::query_as!(
        Due,
        r#"with input as materialized (
            select nextval('engine.jobs_id_seq') as id, i.*, case when i.run_at > now() then 'scheduled'
                when i.gate is not null then 'held' else 'ready' end as state
            from unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::smallint[],
                $7::timestamptz[], $8::smallint[], $9::jsonb[], $10::jsonb[])
                as i (workflow_id, place, kind, queue, gate, priority, run_at, attempts_max, payload, tags)
        ), written as (
            insert into engine.jobs (id, kind, queue, gate, priority, state, run_at, attempts_max, payload, child,
                trace_parent) overriding system value
            select i.id, i.kind, i.queue, i.gate, i.priority, i.state, coalesce(i.run_at, now()), i.attempts_max,
                i.payload, true, w.trace_parent
            from input i join engine.workflows w on w.id = i.workflow_id order by i.id
        ), noted as (
            insert into engine.children (job_id, workflow_id, place) select id, workflow_id, place from input
        ), tagged as (
            insert into engine.job_tags (tag, job_id)
            select t.tag, i.id from input i cross join lateral jsonb_array_elements_text(i.tags) as t (tag)
            on conflict do nothing
        )
        select case when state = 'held' then 'gates:' else queue end as "bell!",
            bool_or(state = 'scheduled') as "scheduled!"
        from input group by 1"#,
        &rows.iter().map(|(workflow, ..)| *workflow).collect::<Vec<_>>(),
        &rows.iter().map(|(_, place, _)| *place).collect::<Vec<_>>(),
        &rows.iter().map(|(.., row)| row.kind.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(.., row)| row.queue.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(.., row)| row.gate.clone()).collect::<Vec<_>>() as _,
        &rows.iter().map(|(.., row)| row.priority).collect::<Vec<_>>(),
        &rows.iter().map(|(.., row)| row.run_at).collect::<Vec<_>>() as _,
        &rows.iter().map(|(.., row)| row.attempts_max).collect::<Vec<_>>(),
        &rows.iter().map(|(.., row)| row.payload.clone()).collect::<Vec<_>>(),
        &tags,
    )
    .fetch_all(tx)
    .await?;
    Ok(Applied {
        scheduled: due.iter().any(|due| due.scheduled),
        queues: due.into_iter().map(|due| due.bell).collect(),
    })
}

/// Takes up to `limit` ends of children off what their workflows wait for, and makes those due that wait for nothing more.
/// Returns a queue per workflow that is due, and whether all ends that were there are counted: a workflow that somebody has
/// locked is waited for by nobody.
pub async fn join_children(conn: &mut PgConnection, limit: i64) -> Result<(Vec<String>, bool), sqlx::Error> {
    let ended = sqlx::query_scalar!(
        r#"select exists (select from engine.children where outcome is not null and not counted) as "ended!""#
    )
    .fetch_one(&mut *conn)
    .await?;
    if !ended {
        return Ok((Vec::new(), true));
    }
    let counted = sqlx::query!(
        r#"with fresh as materialized (
            select job_id, workflow_id, outcome from engine.children
            where outcome is not null and not counted order by workflow_id limit $1 for update skip locked
        ), free as materialized (
            select w.id, w.due from (select distinct workflow_id from fresh) as f
            cross join lateral (
                select id, due from engine.workflows
                where id = f.workflow_id and status = 'joining' for update skip locked offset 0
            ) as w
        ), counted as (
            update engine.children c set counted = true
            where c.job_id = any(array(
                select job_id from fresh f
                where exists (select from free where free.id = f.workflow_id)
                    or not exists (
                        select from engine.workflows w where w.id = f.workflow_id and w.status = 'joining')))
            returning c.workflow_id, c.outcome
        ), joined as (
            update engine.workflows w set children_left = w.children_left - n.ended,
                due = w.due or w.children_left <= n.ended or w.join_on = 'failure' and n.failed
            from (
                select workflow_id, count(*)::integer as ended, bool_or(outcome <> 'done') as failed
                from counted group by 1
            ) as n
            join free on free.id = n.workflow_id
            where w.id = n.workflow_id
            returning w.id, w.kind, w.queue, w.attempts_max, w.trace_parent, w.due and not free.due as woken
        ), steps as (
            insert into engine.jobs (kind, queue, state, attempts_max, workflow_id, trace_parent, payload)
            select 'step:' || kind, queue, 'ready', attempts_max, id, trace_parent, '{}' from joined where woken
        )
        select array(select queue from joined where woken) as "queues!",
            (select count(*) from fresh) as "seen!", (select count(*) from counted) as "counted!""#,
        limit
    )
    .fetch_one(conn)
    .await?;
    Ok((counted.queues, counted.seen > 0 && counted.seen == counted.counted && counted.seen < limit))
}
