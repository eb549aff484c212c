//! `POST /leads/{id}/call` under a steady rate: asked -> answered.
//!
//!     cargo bench --bench calls [-- CALLS_PER_SECOND CALLS]      50 a second, 1,500, when left out
//!
//! Runs what `sira up --demo` runs, in this process: private PostgreSQL with fsync on, real HTTP over the loopback, the
//! sandbox as the provider, which sends each call's webhooks meanwhile. Each call is to a lead of its own. The clock
//! stops when the client has the whole answer: the intent is committed, the provider was asked, its answer is
//! committed. Says how many answers still were `queued`, because the provider had not been asked within three seconds.

mod stage;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use sira::cli::up::Up;
use sira::demo;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use self::stage::report;

const RATE_DEFAULT: u32 = 50;
const CALLS_DEFAULT: usize = 1500;
/// At this rate the sandbox announces the leads to call.
const LEADS_PER_MINUTE: u32 = 6_000;
/// Longest wait for the leads.
const SETTLE_MAX: Duration = Duration::from_mins(5);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<u32>().ok());
    let rate = numbers.next().unwrap_or(RATE_DEFAULT).max(1);
    let calls = numbers.next().map_or(Ok(CALLS_DEFAULT), usize::try_from)?;
    let (up, home) = stage::start(|config| config.telephony.calls_per_user_per_minute = 10_000).await?;
    let base = format!("http://{}/api/v1", up.address);
    let leads = owned_leads(&up, calls).await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut tokens = Vec::new();
    for username in ["agent1", "agent2", "agent3"] {
        let token =
            sign_in(&client, &base, username, &demo::password_of(&home.path().join("data"), username)?)
                .await?;
        tokens.push((username, token));
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut asked = JoinSet::new();
    for (lead, owner) in leads {
        ticks.tick().await;
        let (_, token) =
            tokens.iter().find(|(username, _)| *username == owner).context("an owner of the demo")?;
        let request = client.post(format!("{base}/leads/{lead}/call")).bearer_auth(token);
        asked.spawn(ask(request.header("idempotency-key", lead).json(&json!({}))));
    }
    let answers = asked.join_all().await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let queued = answers.iter().filter(|(queued, _)| *queued).count();
    let mut times: Vec<f64> = answers.iter().map(|(_, took)| took.as_secs_f64() * 1000.0).collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    report(&format!("calls                          {}, {queued} of them answered as queued", times.len()));
    report(&format!("rate, calls/s                  {rate}"));
    let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
    report(&format!("asked -> answered, ms          p50 {p50:.1}  p99 {p99:.1}  max {max:.1}"));
    up.wipe().await
}

/// One call; whether it is queued still, and how long the answer took.
async fn ask(request: reqwest::RequestBuilder) -> anyhow::Result<(bool, Duration)> {
    let begun = Instant::now();
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let body = answer.text().await?;
    let took = begun.elapsed();
    ensure!(status == 201 || status == 202, "{status}: {body}");
    Ok((status == 202, took))
}

/// So many leads that came by webhook, each with its owner's username. Those at whose last digits the sandbox fails or
/// hangs are left out.
async fn owned_leads(up: &Up, count: usize) -> anyhow::Result<Vec<(String, String)>> {
    let sandbox = up.sandbox.as_ref().context("the sandbox is enabled")?;
    sandbox.start_live(LEADS_PER_MINUTE);
    let begun = Instant::now();
    loop {
        let owned: Vec<(String, String)> = sqlx::query_as(
            "select lead.id::text, owner.username from leads lead join users owner on owner.id = lead.owner_id
             join lead_contacts phone on phone.lead_id = lead.id and phone.kind = 'phone'
             where right(phone.masked, 2)::int not between 61 and 85
             order by lead.id limit $1",
        )
        .bind(i64::try_from(count)?)
        .fetch_all(up.pool())
        .await?;
        if owned.len() == count {
            sandbox.stop_live();
            return Ok(owned);
        }
        ensure!(begun.elapsed() < SETTLE_MAX, "only {} leads have an owner", owned.len());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn sign_in(
    client: &reqwest::Client,
    base: &str,
    username: &str,
    password: &str,
) -> anyhow::Result<String> {
    let body = json!({ "username": username, "password": password });
    let answer: Value = client.post(format!("{base}/auth/login")).json(&body).send().await?.json().await?;
    Ok(answer["accessToken"].as_str().context("signed in")?.to_owned())
}
