//! Letting jobs through their gates, and what their ends say about them.
//!
//! **Invariant:** whoever lets jobs through holds the one row of `engine.gate_turn`, so that none counts what another is
//! about to change. All times are the database's clock plus the shift.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::gate::{Gate, Rate};
use crate::ops::{GateView, HELD_MAX};

/// Stores what the program declares; an operator's edit stands.
pub async fn declare(conn: &mut PgConnection, gates: &[Gate]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into engine.gates as g (name, concurrency_max, rate_per_s, burst, failures_max, open_s, tokens)
        select i.name, i.concurrency_max, i.rate_per_s, i.burst, i.failures_max, i.open_s, coalesce(i.burst, 0)
        from unnest($1::text[], $2::integer[], $3::float8[], $4::integer[], $5::integer[], $6::float8[])
            as i (name, concurrency_max, rate_per_s, burst, failures_max, open_s)
        order by i.name
        on conflict (name) do update set concurrency_max = excluded.concurrency_max,
            rate_per_s = excluded.rate_per_s, burst = excluded.burst, failures_max = excluded.failures_max,
            open_s = excluded.open_s
        where g.edited_at is null and (g.concurrency_max, g.rate_per_s, g.burst, g.failures_max, g.open_s)
            is distinct from (excluded.concurrency_max, excluded.rate_per_s, excluded.burst, excluded.failures_max,
                excluded.open_s)",
        &gates.iter().map(|gate| gate.name.to_owned()).collect::<Vec<_>>(),
        &gates.iter().map(|gate| gate.concurrency.map(u16::into)).collect::<Vec<_>>() as &[Option<i32>],
        &gates.iter().map(|gate| gate.rate.map(Rate::per_s)).collect::<Vec<_>>() as &[Option<f64>],
        &gates.iter().map(|gate| gate.rate.map(|rate| rate.burst.into())).collect::<Vec<_>>() as &[Option<i32>],
        &gates.iter().map(|gate| gate.breaker.map(|of| of.failures_max.into())).collect::<Vec<_>>()
            as &[Option<i32>],
        &gates.iter().map(|gate| gate.breaker.map(|of| of.open_for.as_secs_f64())).collect::<Vec<_>>()
            as &[Option<f64>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether a job waits for its gate.
pub async fn any_held(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select exists (select from engine.jobs where state = 'held') as "held!""#)
        .fetch_one(conn)
        .await
}

/// Whether it is this process's turn to let jobs through, until the transaction ends. Nobody is waited for.
pub async fn take_turn(tx: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query!("select only_row from engine.gate_turn for update skip locked")
        .fetch_optional(tx)
        .await?;
    Ok(taken.is_some())
}

/// Lets through what up to `gates` of them have room for, at most `batch` jobs of each. Returns a queue per job. Expects to
/// have the turn.
pub async fn pass(
    tx: &mut PgConnection,
    shift_us: i64,
    gates: i64,
    batch: i64,
) -> Result<Vec<String>, sqlx::Error> {
    // The gates that jobs wait for are found by leaps through the index, and each is judged as it is found.
    sqlx::query_scalar!(
        "with recursive waiting as (
            (select gate from engine.jobs where state = 'held' order by gate limit 1)
            union all
            select (select j.gate from engine.jobs j where j.state = 'held' and j.gate > w.gate
                    order by j.gate limit 1)
            from waiting w where w.gate is not null
        ), moment as materialized (
            select now() + $1::bigint * interval '1 microsecond' as now
        ), open as materialized (
            select w.gate as name, room.free, room.tokens
            from waiting w
            left join engine.gates g on g.name = w.gate
            cross join moment t
            cross join lateral (
                select case when g.name is null or g.concurrency_max is not null or g.open_until is not null then (
                    select count(*) from engine.jobs p where p.gate = w.gate and p.state in ('ready', 'running')
                ) end as passed,
                least(g.burst, g.tokens + g.rate_per_s * greatest(extract(epoch from t.now - g.refilled_at), 0))
                    as tokens
            ) as seen
            cross join lateral (
                select seen.tokens, case when g.name is null then 1 - passed else least(
                    $3::bigint, g.concurrency_max - passed, floor(seen.tokens),
                    case when g.blocked_until > t.now then 0 end,
                    case when g.open_until > t.now then 0 when g.open_until is not null then 1 - passed end
                ) end::bigint as free
            ) as room
            where w.gate is not null and room.free > 0
            limit $2
        ), passed as (
            update engine.jobs j set state = 'ready'
            where ctid = any(array(
                select next.ctid from open cross join lateral (
                    select ctid from engine.jobs where state = 'held' and gate = open.name
                    order by priority, id limit open.free for update skip locked
                ) as next))
            returning j.gate, j.queue
        ), spent as (
            update engine.gates g set refilled_at = t.now,
                tokens = open.tokens - (select count(*) from passed where passed.gate = g.name)
            from open, moment t where g.name = open.name and open.tokens is not null
        )
        select queue from passed",
        shift_us,
        gates,
        batch,
    )
    .fetch_all(tx)
    .await
}

/// Microseconds until the clock alone opens a gate that jobs wait for; `None` when that is nothing to wait for. In the
/// transaction of [`pass`] both see the same moment.
pub async fn next_pass_us(tx: &mut PgConnection, shift_us: i64) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select (extract(epoch from min(opens.at) - t.now) * 1000000)::bigint as us
        from (select now() + $1::bigint * interval '1 microsecond' as now) as t
        cross join engine.gates g
        cross join lateral (
            select greatest(g.blocked_until, g.open_until,
                g.refilled_at + greatest(1 - g.tokens, 0) / g.rate_per_s * interval '1 second') as at
        ) as opens
        where opens.at > t.now and exists (select from engine.jobs where state = 'held' and gate = g.name)
        group by t.now"#,
        shift_us
    )
    .fetch_optional(tx)
    .await
    .map(Option::flatten)
}

/// What the ends of a gate's jobs say about it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// One of them succeeded.
    pub success: bool,
    /// So many failed in a way that trying again may mend.
    pub failures: i32,
    /// Until when the provider said to wait.
    pub blocked_until: Option<DateTime<Utc>>,
}

/// Takes reports in. Returns the gates whose breakers they opened.
pub async fn report(
    conn: &mut PgConnection,
    shift_us: i64,
    reports: &[(String, Report)],
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"update engine.gates g set
            failures = case when next.opens then 0 else next.failures end,
            open_until = case when next.opens then t.now + g.open_s * (2 ^ least(g.openings, 5)) * interval '1 second'
                when not r.success then g.open_until end,
            openings = case when next.opens then g.openings + 1 when r.success then 0 else g.openings end,
            blocked_until = greatest(g.blocked_until, r.blocked_until)
        from (
            select * from unnest($2::text[], $3::bool[], $4::integer[], $5::timestamptz[])
                as i (name, success, failures, blocked_until) order by name
        ) as r
        cross join (select now() + $1::bigint * interval '1 microsecond' as now) as t
        cross join lateral (
            select o.failures, o.open_until, o.failures_max from engine.gates o where o.name = r.name for update
        ) as old
        cross join lateral (
            select case when r.success then 0 else old.failures end + r.failures as failures,
                -- A probe that failed opens it again at once; those that were let through before do not.
                coalesce(r.failures > 0 and (
                    old.open_until is null and r.failures + case when r.success then 0 else old.failures end
                        >= old.failures_max
                    or not r.success and old.open_until <= t.now), false) as opens
        ) as next
        where g.name = r.name
            and (r.failures > 0 or r.blocked_until is not null or g.failures > 0 or g.open_until is not null)
        returning case when next.opens then g.name end"#,
        shift_us,
        &reports.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(),
        &reports.iter().map(|(_, report)| report.success).collect::<Vec<_>>(),
        &reports.iter().map(|(_, report)| report.failures).collect::<Vec<_>>(),
        &reports.iter().map(|(_, report)| report.blocked_until).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
    )
    .fetch_all(conn)
    .await
    .map(|opened| opened.into_iter().flatten().collect())
}

/// All gates by name, or the one of this name.
pub async fn list(
    conn: &mut PgConnection,
    shift_us: i64,
    name: Option<&str>,
) -> Result<Vec<GateView>, sqlx::Error> {
    sqlx::query_as!(
        GateView,
        r#"select g.name, g.concurrency_max, g.rate_per_s, g.burst, g.failures_max, g.open_s, g.edited_at, g.failures,
            case when g.blocked_until > t.now then g.blocked_until end as blocked_until,
            case when g.open_until is null then 'closed' when g.open_until > t.now then 'open' else 'half_open' end
                as "breaker!",
            g.open_until,
            least(g.burst, g.tokens + g.rate_per_s * greatest(extract(epoch from t.now - g.refilled_at), 0))
                as tokens,
            (select count(*) from (
                select from engine.jobs where gate = g.name and state = 'held' limit $3) as held) as "held!",
            (select count(*) from (
                select from engine.jobs where gate = g.name and state in ('ready', 'running') limit $3) as passed
            ) as "passed!"
        from engine.gates g
        cross join (select now() + $2::bigint * interval '1 microsecond' as now) as t
        where $1::text is null or g.name = $1
        order by g.name"#,
        name,
        shift_us,
        HELD_MAX,
    )
    .fetch_all(conn)
    .await
}

/// Writes its limits.
pub async fn edit(tx: &mut PgConnection, to: &GateView) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update engine.gates set concurrency_max = $2, rate_per_s = $3, burst = $4, failures_max = $5, open_s = $6,
            tokens = least(tokens, coalesce($4, 0)), edited_at = now()
        where name = $1",
        to.name,
        to.concurrency_max,
        to.rate_per_s,
        to.burst,
        to.failures_max,
        to.open_s,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Closes its breaker, and no longer waits for the time that its provider named. Returns whether there is such a gate.
pub async fn reset(tx: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    let reset = sqlx::query!(
        "update engine.gates set open_until = null, openings = 0, failures = 0, blocked_until = null where name = $1",
        name
    )
    .execute(tx)
    .await?;
    Ok(reset.rows_affected() > 0)
}
