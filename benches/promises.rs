//! How late promises are raised while many are armed.
//!
//!     cargo bench --bench promises [-- ARMED DUE]      100,000 armed, 5,000 of them due in one minute, when left out
//!
//! Runs what `sira up --demo` runs, in this process, on a private PostgreSQL with fsync on. Leads are written by one
//! statement; everything after that is the product's own path: routing assigns them and starts their promises, a
//! workflow each. Most are due in days. The others are assigned evenly over a minute under a policy of two minutes, so
//! that their breaches are due evenly over a minute. The clock of a breach starts when it is due, and stops when the
//! transaction that raises it has begun.

mod stage;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use sira::cli::up::Up;
use sira_domain::nouns::PoolId;
use sira_domain::sla::{self, Policy};
use sira_domain::{Event, calendars};
use sira_kernel::Actor;
use sqlx::Row;

use self::stage::report;

const ARMED_DEFAULT: i64 = 100_000;
const DUE_DEFAULT: i64 = 5_000;
/// Over so many seconds are they due.
const SPREAD_S: i64 = 60;
/// From the start of a promise until it is due.
const SOON_S: i64 = 120;
/// Longest wait for the arming, and for the last breach.
const SETTLE_MAX: Duration = Duration::from_mins(20);

const FIGURES: &str = "
    with late as (
        select extract(epoch from breached_at - due_at) * 1000 as ms from sla_timers where policy = 'call_again'
    )
    select count(ms) as breached,
           percentile_cont(0.5) within group (order by ms)::float8 as p50,
           percentile_cont(0.99) within group (order by ms)::float8 as p99,
           max(ms)::float8 as max
    from late";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<i64>().ok());
    let armed = numbers.next().unwrap_or(ARMED_DEFAULT);
    let due = numbers.next().unwrap_or(DUE_DEFAULT);
    let (up, _home) = stage::start(|_| {}).await?;
    sqlx::query("update agent_load set capacity = 1000000, day_capacity = 1000000")
        .execute(up.pool())
        .await?;
    let pool: PoolId = sqlx::query_scalar("select id from pools limit 1")
        .fetch_one(up.pool())
        .await
        .map(PoolId::from_uuid)?;

    set_policy(&up, "first_response", 10 * 24 * 3600).await?;
    let begun = Instant::now();
    add_leads(&up, pool, armed - due).await?;
    settle(&up).await?;
    report(&format!(
        "armed                          {}, in {:.0} s",
        armed - due,
        begun.elapsed().as_secs_f64()
    ));

    set_policy(&up, "call_again", SOON_S).await?;
    sqlx::query("update statuses set sla_policy = 'call_again' where code = 'new'")
        .execute(up.pool())
        .await?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    for second in 0..SPREAD_S {
        ticks.tick().await;
        add_leads(&up, pool, due * (second + 1) / SPREAD_S - due * second / SPREAD_S).await?;
    }
    let begun = Instant::now();
    loop {
        let row = sqlx::query(FIGURES).fetch_one(up.pool()).await?;
        if row.get::<i64, _>("breached") == due {
            report(&format!("due within {SPREAD_S} s                {due}"));
            report(&format!(
                "due -> raised, ms              p50 {:.0}  p99 {:.0}  max {:.0}",
                row.get::<f64, _>("p50"),
                row.get::<f64, _>("p99"),
                row.get::<f64, _>("max")
            ));
            return up.wipe().await;
        }
        anyhow::ensure!(begun.elapsed() < SETTLE_MAX, "not every breach was raised");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Makes this policy due after so long, around the clock, without a reminder; its breach is told to the team's lead.
async fn set_policy(up: &Up, code: &str, due_s: i64) -> anyhow::Result<()> {
    let mut uow = up.parts.cx.begin(Actor::System).await?;
    let calendar = calendars::create_calendar(&mut uow, code, "UTC", Vec::new(), Vec::new()).await?;
    let policies = sla::list_policies(uow.conn()).await?;
    let shipped = policies.into_iter().find(|policy| policy.code == code).context("a shipped policy")?;
    let policy = Policy { calendar, due_s, remind_at_s: Vec::new(), ..shipped };
    sla::set_policy(&mut uow, &policy).await?;
    uow.commit().await?;
    Ok(())
}

/// Writes leads that wait in the pool, and has them routed.
async fn add_leads(up: &Up, pool: PoolId, count: i64) -> anyhow::Result<()> {
    sqlx::query(
        "insert into leads (id, reference, channel, acquired_at, created_at, updated_at, status, status_since, pool_id,
                            waiting_since)
         select id, id::text, 'api', now(), now(), now(), 'new', now(), $1, now()
         from (select gen_random_uuid() as id from generate_series(1, $2)) as new",
    )
    .bind(pool.uuid())
    .bind(count)
    .execute(up.pool())
    .await?;
    let mut uow = up.parts.cx.begin(Actor::System).await?;
    uow.record(Event::CapacityFreed { pools: vec![pool] });
    uow.commit().await?;
    Ok(())
}

/// Waits until every lead has its owner and every promise sleeps until its time.
async fn settle(up: &Up) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let open: i64 = sqlx::query_scalar(
            "select (select count(*) from leads where waiting_since is not null)
                  + (select count(*) from engine.workflows where due and finished_at is null)",
        )
        .fetch_one(up.pool())
        .await?;
        if open == 0 {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < SETTLE_MAX, "{open} leads or promises are not settled");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
