//! Live updates under a steady rate: committed -> received by a client that listens.
//!
//!     cargo bench --bench live [-- EVENTS_PER_SECOND EVENTS STREAMS]      100 a second, 2,000, one when left out
//!
//! Runs what `sira up --demo` runs, in this process: private PostgreSQL with fsync on, real HTTP over the loopback. The
//! clock of an event starts when its unit of work has committed, and stops when a client has read its line from the
//! socket; with several streams, each is a client of its own and every receipt counts.

mod stage;
#[path = "stage/stream.rs"]
mod stream;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sira::cli::up::Up;
use sira::demo;
use sira_domain::Event;
use sira_domain::nouns::LeadId;
use sira_kernel::Actor;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use self::stage::report;
use self::stream::{listen, sign_in};

const RATE_DEFAULT: u64 = 100;
const EVENTS_DEFAULT: u64 = 2000;
const STREAMS_DEFAULT: u64 = 1;
/// The admin may have so many.
const STREAMS_MAX: u64 = 8;
/// Longest wait for the last event.
const SETTLE_MAX: Duration = Duration::from_mins(1);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<u64>().ok());
    let rate = numbers.next().unwrap_or(RATE_DEFAULT).max(1);
    let events = numbers.next().unwrap_or(EVENTS_DEFAULT);
    let streams = numbers.next().unwrap_or(STREAMS_DEFAULT);
    ensure!((1..=STREAMS_MAX).contains(&streams), "1 to {STREAMS_MAX} streams");
    let (up, home) = stage::start(|_| {}).await?;
    let token = sign_in(up.address, &demo::password_of(&home.path().join("data"), "admin")?).await?;
    let mut listeners = JoinSet::new();
    for _ in 0..streams {
        let stream = listen(up.address, &token).await?;
        listeners.spawn(hear(stream, usize::try_from(events)?));
    }
    let committed = commit(&up, rate, events).await?;
    let heard =
        tokio::time::timeout(SETTLE_MAX, listeners.join_all()).await.context("some were not heard")?;
    let mut delays = Vec::new();
    for heard in heard {
        let heard = heard?;
        ensure!(heard.len() == committed.len(), "each event once: {} of {}", heard.len(), committed.len());
        for (lead, at) in heard {
            let committed = committed.get(&lead).context("an event that nobody committed")?;
            // The hub may be quicker than the committer's next look at its watch.
            delays.push(at.saturating_duration_since(*committed).as_secs_f64() * 1000.0);
        }
    }
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share).round() as usize];
    report(&format!("events                         {events}, heard by {streams} each"));
    report(&format!("rate, events/s                 {rate}"));
    report(&format!(
        "committed -> received, ms      p50 {:.1}  p99 {:.1}  max {:.1}",
        at(0.5),
        at(0.99),
        at(1.0)
    ));
    up.wipe().await
}

/// Commits at the rate, one unit of work an event; when each had committed.
async fn commit(up: &Up, rate: u64, events: u64) -> anyhow::Result<HashMap<LeadId, Instant>> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate)?);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut committing = JoinSet::new();
    for _ in 0..events {
        ticks.tick().await;
        let cx = up.parts.cx.clone();
        committing.spawn(async move {
            let lead = LeadId::new();
            let mut uow = cx.begin(Actor::System).await?;
            uow.record(Event::LeadUnqueued { lead });
            uow.commit().await?;
            anyhow::Ok((lead, Instant::now()))
        });
    }
    committing.join_all().await.into_iter().collect()
}

/// Reads so many events; when each lead's came.
async fn hear(mut stream: BufReader<TcpStream>, events: usize) -> anyhow::Result<HashMap<LeadId, Instant>> {
    let (mut heard, mut line) = (HashMap::new(), String::new());
    while heard.len() < events {
        line.clear();
        ensure!(stream.read_line(&mut line).await? > 0, "the stream ended");
        let at = Instant::now();
        let Some(data) = line.trim_end().strip_prefix("data: ") else { continue };
        let data: serde_json::Value = serde_json::from_str(data)?;
        if let Some(lead) = data.get("leadId") {
            heard.insert(serde_json::from_value(lead.clone())?, at);
        }
    }
    Ok(heard)
}
