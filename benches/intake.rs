//! The walk of a lead under a steady rate: webhook received -> assigned.
//!
//!     cargo bench --bench intake [-- LEADS_PER_SECOND SECONDS]        50 a second for 60 seconds when left out
//!
//! Runs what `sira up --demo` runs, in this process: private PostgreSQL with fsync on, real HTTP, the sandbox as Meta.
//! The clock of a lead starts when its webhook's unit of work began, before the answer 200. It stops twice: when the
//! assigning transaction began, and when the first transaction after its commit was at work (the watch over the lead
//! being told), which is an upper bound of the commit. Also says the resident memory before and after.

mod stage;

use std::time::{Duration, Instant};

use sira::cli::up::Up;
use sqlx::Row;

use self::stage::report;

const RATE_DEFAULT: u32 = 50;
const SECONDS_DEFAULT: u64 = 60;
/// Longest wait for the last lead.
const SETTLE_MAX: Duration = Duration::from_mins(1);

const FIGURES: &str = "
    with walk as (
        select extract(epoch from assignment.assigned_at - inbound.received_at) * 1000 as assigned,
               extract(epoch from step.at - inbound.received_at) * 1000 as told
        from inbound_events inbound
        join lead_enquiries enquiry on enquiry.inbound_id = inbound.id and enquiry.effect = 'created'
        join lead_assignments assignment on assignment.lead_id = enquiry.lead_id
        join engine.workflows watch
          on watch.kind = 'distribution.assignment_watch' and watch.key = enquiry.lead_id::text
        join engine.workflow_steps step on step.workflow_id = watch.id and step.decision = 'done'
    )
    select count(*) as leads,
           percentile_cont(0.5) within group (order by assigned)::float8 as assigned_p50,
           percentile_cont(0.99) within group (order by assigned)::float8 as assigned_p99,
           percentile_cont(0.5) within group (order by told)::float8 as told_p50,
           percentile_cont(0.99) within group (order by told)::float8 as told_p99,
           max(told)::float8 as told_max
    from walk";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<u64>().ok());
    let rate = numbers.next().map_or(RATE_DEFAULT, |rate| u32::try_from(rate).unwrap_or(RATE_DEFAULT));
    let seconds = numbers.next().unwrap_or(SECONDS_DEFAULT);
    let (up, _home) = stage::start(|_| {}).await?;
    sqlx::query("update agent_load set capacity = 100000, day_capacity = 100000").execute(up.pool()).await?;
    let at_rest = resident_mib();
    let sandbox = up.sandbox.as_ref().expect("the sandbox is enabled");
    sandbox.start_live(rate * 60);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    sandbox.stop_live();
    settle(&up).await?;
    let row = sqlx::query(FIGURES).fetch_one(up.pool()).await?;
    let figure = |name: &str| row.get::<f64, _>(name);
    report(&format!("leads                          {}", row.get::<i64, _>("leads")));
    report(&format!("rate, leads/s                  {rate} for {seconds} s"));
    report(&format!(
        "received -> assigning, ms      p50 {:.1}  p99 {:.1}",
        figure("assigned_p50"),
        figure("assigned_p99")
    ));
    report(&format!(
        "received -> after commit, ms   p50 {:.1}  p99 {:.1}  max {:.1}",
        figure("told_p50"),
        figure("told_p99"),
        figure("told_max")
    ));
    report(&format!("resident memory, MiB           {at_rest} at rest, {} after", resident_mib()));
    up.wipe().await
}

/// Waits until no announced lead is without its owner and no watch is open.
async fn settle(up: &Up) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let open: i64 = sqlx::query_scalar(
            "select (select count(*) from inbound_events where state = 'pending')
                  + (select count(*) from engine.workflows
                     where kind = 'distribution.assignment_watch' and finished_at is null)",
        )
        .fetch_one(up.pool())
        .await?;
        if open == 0 {
            return Ok(());
        }
        anyhow::ensure!(
            begun.elapsed() < SETTLE_MAX,
            "{open} leads or watches were still open after a minute"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What the kernel says this process holds in memory.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
