//! Schedules and their slots.
//!
//! **Invariant:** a slot is settled under its schedule's row lock, and once: by its primary key.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::job::JobId;
use crate::ops::{ScheduleView, SlotView};
use crate::schedule::Schedule;

/// Schedules that one pass looks at.
const PASS_MAX: i64 = 100;

/// Stores what the program declares. What an operator edited stays; a new expression of the program's gets its next slot.
pub async fn declare(
    conn: &mut PgConnection,
    schedule: &Schedule,
    next_at: Option<DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    let Schedule { name, cron, time_zone, catch_up, job } = schedule;
    sqlx::query!(
        "insert into engine.schedules as s (name, kind, queue, attempts_max, payload, cron, time_zone, catch_up, next_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        on conflict (name) do update set kind = $2, queue = $3, attempts_max = $4, payload = $5,
            cron = case when s.edited_at is null then $6 else s.cron end,
            time_zone = case when s.edited_at is null then $7 else s.time_zone end,
            catch_up = case when s.edited_at is null then $8 else s.catch_up end,
            next_at = case when s.edited_at is null and s.paused_at is null and (s.cron, s.time_zone) <> ($6, $7)
                then $9 else s.next_at end
        where (s.kind, s.queue, s.attempts_max, s.payload) <> ($2, $3, $4, $5)
            or s.edited_at is null and (s.cron, s.time_zone, s.catch_up) <> ($6, $7, $8)",
        name,
        job.kind(),
        job.spec.queue.name,
        job.spec.retry.attempts_max.cast_signed(),
        job.payload,
        cron,
        time_zone,
        catch_up.code(),
        next_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A schedule with a slot that is due.
pub struct DueSchedule {
    pub id: i64,
    pub name: String,
    pub cron: String,
    pub time_zone: String,
    pub catch_up: String,
    pub next_at: DateTime<Utc>,
    pub now: DateTime<Utc>,
}

/// Locks the schedules with slots that are due, except those that another process is at.
pub async fn lock_due(tx: &mut PgConnection, shift_us: i64) -> Result<Vec<DueSchedule>, sqlx::Error> {
    sqlx::query_as!(
        DueSchedule,
        r#"select id, name, cron, time_zone, catch_up, next_at as "next_at!",
            now() + $1::bigint * interval '1 microsecond' as "now!"
        from engine.schedules where next_at <= now() + $1::bigint * interval '1 microsecond'
        order by next_at limit $2 for update skip locked"#,
        shift_us,
        PASS_MAX
    )
    .fetch_all(tx)
    .await
}

/// What was decided about a schedule's slots.
#[derive(Default)]
pub struct Settled {
    pub schedules: Vec<i64>,
    pub next: Vec<Option<DateTime<Utc>>>,
    /// Slots to fire: the schedule and the slot.
    pub fire: (Vec<i64>, Vec<DateTime<Utc>>),
    /// Missed ones: the schedule, the first and the last slot.
    pub missed: (Vec<i64>, Vec<DateTime<Utc>>, Vec<DateTime<Utc>>),
}

/// Writes it: a job for each slot that is fired, rows for all, and each schedule's next slot. Returns a queue per job.
pub async fn settle(
    tx: &mut PgConnection,
    shift_us: i64,
    settled: &Settled,
) -> Result<Vec<String>, sqlx::Error> {
    let queues = sqlx::query_scalar!(
        "with input as materialized (
            select nextval('engine.jobs_id_seq') as job_id, i.schedule_id, i.slot
            from unnest($1::bigint[], $2::timestamptz[]) as i (schedule_id, slot)
        ), fired as (
            insert into engine.schedule_slots (schedule_id, slot, job_id)
            select schedule_id, slot, job_id from input on conflict do nothing
            returning schedule_id, slot, job_id
        ), missed as (
            insert into engine.schedule_slots (schedule_id, slot, missed_from)
            select i.schedule_id, i.slot, i.missed_from
            from unnest($3::bigint[], $4::timestamptz[], $5::timestamptz[]) as i (schedule_id, missed_from, slot)
            on conflict do nothing
        ), moved as (
            update engine.schedules s set next_at = i.next_at
            from unnest($6::bigint[], $7::timestamptz[]) as i (id, next_at) where s.id = i.id
        ), tagged as (
            insert into engine.job_tags (tag, job_id)
            select 'schedule:' || s.name, f.job_id from fired f join engine.schedules s on s.id = f.schedule_id
        )
        insert into engine.jobs (id, kind, queue, state, run_at, attempts_max, payload) overriding system value
        select f.job_id, s.kind, s.queue, 'ready', now() + $8::bigint * interval '1 microsecond', s.attempts_max,
            s.payload || jsonb_build_object('slot', f.slot)
        from fired f join engine.schedules s on s.id = f.schedule_id order by f.slot, f.job_id
        returning queue",
        &settled.fire.0,
        &settled.fire.1,
        &settled.missed.0,
        &settled.missed.1,
        &settled.missed.2,
        &settled.schedules,
        &settled.next as &[Option<DateTime<Utc>>],
        shift_us,
    )
    .fetch_all(tx)
    .await?;
    Ok(queues)
}

/// Enqueues the schedule's job once, at this moment. Returns the job and its queue.
pub async fn run_now(
    tx: &mut PgConnection,
    name: &str,
    now: DateTime<Utc>,
) -> Result<Option<(JobId, String)>, sqlx::Error> {
    let run = sqlx::query!(
        "with schedule as (
            select id, name, kind, queue, attempts_max, payload, nextval('engine.jobs_id_seq') as job_id
            from engine.schedules where name = $1
        ), noted as (
            insert into engine.schedule_slots (schedule_id, slot, job_id, by_request)
            select id, $2, job_id, true from schedule
        ), tagged as (
            insert into engine.job_tags (tag, job_id) select 'schedule:' || name, job_id from schedule
        )
        insert into engine.jobs (id, kind, queue, state, run_at, attempts_max, payload) overriding system value
        select job_id, kind, queue, 'ready', $2, attempts_max, payload || jsonb_build_object('slot', $2::timestamptz)
        from schedule returning id, queue",
        name,
        now
    )
    .fetch_optional(tx)
    .await?;
    Ok(run.map(|run| (JobId(run.id), run.queue)))
}

/// All of them, by name, or the one of this name.
pub async fn list(conn: &mut PgConnection, name: Option<&str>) -> Result<Vec<ScheduleView>, sqlx::Error> {
    sqlx::query_as!(
        ScheduleView,
        "select name, kind, queue, cron, time_zone, catch_up, edited_at, paused_at, paused_reason, next_at, created_at
        from engine.schedules where $1::text is null or name = $1 order by name",
        name
    )
    .fetch_all(conn)
    .await
}

/// One of them.
pub async fn find(conn: &mut PgConnection, name: &str) -> Result<Option<ScheduleView>, sqlx::Error> {
    Ok(list(conn, Some(name)).await?.pop())
}

/// The same, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, name: &str) -> Result<Option<ScheduleView>, sqlx::Error> {
    sqlx::query!("select id from engine.schedules where name = $1 for update", name)
        .fetch_optional(&mut *tx)
        .await?;
    find(tx, name).await
}

/// The newest slots of one.
pub async fn list_slots(
    conn: &mut PgConnection,
    name: &str,
    limit: i64,
) -> Result<Vec<SlotView>, sqlx::Error> {
    sqlx::query_as!(
        SlotView,
        r#"select s.slot, s.missed_from, s.by_request, s.settled_at, s.job_id,
            coalesce((select state from engine.jobs where id = s.job_id),
                (select outcome from engine.finished where id = s.job_id limit 1)) as job_state
        from engine.schedule_slots s
        where s.schedule_id = (select id from engine.schedules where name = $1)
        order by s.slot desc limit $2"#,
        name,
        limit
    )
    .fetch_all(conn)
    .await
}

pub async fn edit(tx: &mut PgConnection, to: &ScheduleView) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update engine.schedules set cron = $2, time_zone = $3, catch_up = $4, next_at = $5, edited_at = now()
        where name = $1",
        to.name,
        to.cron,
        to.time_zone,
        to.catch_up,
        to.next_at
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Stops it with the reason, or lets it go on from this slot.
pub async fn set_paused(
    tx: &mut PgConnection,
    name: &str,
    reason: Option<&str>,
    next_at: Option<DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update engine.schedules set paused_reason = $2, next_at = $3,
            paused_at = case when $2::text is null then null else coalesce(paused_at, now()) end
        where name = $1",
        name,
        reason,
        next_at
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Microseconds until the next slot; `None` when there is none.
pub async fn next_slot_us(conn: &mut PgConnection, shift_us: i64) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "select (extract(epoch from next_at - now()) * 1000000)::bigint - $1 as us
        from engine.schedules where next_at is not null order by next_at limit 1",
        shift_us
    )
    .fetch_optional(conn)
    .await
    .map(Option::flatten)
}
