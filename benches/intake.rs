//! The walk of a lead under a steady rate: webhook received -> assigned.
//!
//!     cargo bench --bench intake [-- LEADS_PER_SECOND SECONDS]        50 a second for 60 seconds when left out
//!
//! Runs what `sira up --demo` runs, in this process: private PostgreSQL with fsync on, real HTTP, the sandbox as Meta.
//! The clock of a lead starts when its webhook's unit of work began, before the answer 200. It stops twice: when the
//! assigning transaction began, and when a client that listens to live updates has read that the lead is assigned, which
//! is after its commit. Also says the resident memory before and after.

mod stage;
#[path = "stage/stream.rs"]
mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use sira::cli::up::Up;
use sira::demo;
use sira_kernel::Clock;
use sqlx::Row;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use uuid::Uuid;

use self::stage::report;
use self::stream::{listen, sign_in};

const RATE_DEFAULT: u32 = 50;
const SECONDS_DEFAULT: u64 = 60;
/// Longest wait for the last lead.
const SETTLE_MAX: Duration = Duration::from_mins(1);

const FIGURES: &str = "
    select enquiry.lead_id, inbound.received_at,
           extract(epoch from assignment.assigned_at - inbound.received_at)::float8 * 1000 as assigned
    from inbound_events inbound
    join lead_enquiries enquiry on enquiry.inbound_id = inbound.id and enquiry.effect = 'created'
    join lead_assignments assignment on assignment.lead_id = enquiry.lead_id";

/// When it was heard that a lead is somebody's.
type Heard = Arc<Mutex<HashMap<Uuid, DateTime<Utc>>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<u64>().ok());
    let rate = numbers.next().map_or(RATE_DEFAULT, |rate| u32::try_from(rate).unwrap_or(RATE_DEFAULT));
    let seconds = numbers.next().unwrap_or(SECONDS_DEFAULT);
    let (up, home) = stage::start(|_| {}).await?;
    sqlx::query("update agent_load set capacity = 100000, day_capacity = 100000").execute(up.pool()).await?;
    let token = sign_in(up.address, &demo::password_of(&home.path().join("data"), "admin")?).await?;
    let heard = Heard::default();
    let mut listening = JoinSet::new();
    let stream = listen(up.address, &token).await?;
    listening.spawn(hear(stream, up.parts.cx.clock.clone(), Arc::clone(&heard)));
    let at_rest = resident_mib();
    let sandbox = up.sandbox.as_ref().expect("the sandbox is enabled");
    sandbox.start_live(rate * 60);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    sandbox.stop_live();
    settle(&up).await?;
    // What was committed last is on its way.
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(listening);
    let heard = std::mem::take(&mut *heard.lock().expect("nobody panicked"));
    let (mut assigned, mut told) = (Vec::new(), Vec::new());
    for row in sqlx::query(FIGURES).fetch_all(up.pool()).await? {
        assigned.push(row.get::<f64, _>("assigned"));
        let at = heard.get(&row.get("lead_id")).context("an assignment that nobody was told of")?;
        let took = *at - row.get::<DateTime<Utc>, _>("received_at");
        told.push(took.as_seconds_f64() * 1000.0);
    }
    report(&format!("leads                          {}", assigned.len()));
    report(&format!("rate, leads/s                  {rate} for {seconds} s"));
    report(&format!("received -> assigning, ms      {}", spread(assigned)));
    report(&format!("received -> listener told, ms  {}", spread(told)));
    report(&format!("resident memory, MiB           {at_rest} at rest, {} after", resident_mib()));
    up.wipe().await
}

fn spread(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    format!("p50 {:.1}  p99 {:.1}  max {:.1}", at(0.5), at(0.99), at(1.0))
}

/// Reads until it is dropped.
async fn hear(mut stream: BufReader<TcpStream>, clock: Clock, heard: Heard) -> anyhow::Result<()> {
    let (mut line, mut assigned) = (String::new(), false);
    loop {
        line.clear();
        ensure!(stream.read_line(&mut line).await? > 0, "the stream ended");
        if let Some(name) = line.strip_prefix("event: ") {
            assigned = name.trim_end() == "lead.assigned";
        } else if let Some(data) = line.strip_prefix("data: ").filter(|_| assigned) {
            let data: serde_json::Value = serde_json::from_str(data)?;
            let lead = serde_json::from_value(data["leadId"].clone())?;
            heard.lock().expect("nobody panicked").insert(lead, clock.now());
        }
    }
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
        ensure!(begun.elapsed() < SETTLE_MAX, "{open} leads or watches were still open after a minute");
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
