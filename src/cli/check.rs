//! `sira up --check`: one real lead through everything, over real HTTP, on a data directory of its own; a table of
//! what happened and how long each step took.
//!
//! The sandbox announces a lead by a signed webhook; the product stores it, fetches it, makes it a lead, routes it; an
//! agent signs in and sees it, masked, with the reason, and is reminded that the first call is due. The agent calls
//! without ever seeing the number, says what came of it, and all of it stands on the lead's timeline. Then what must
//! change nothing is tried: the same webhook again, and one with a wrong signature.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::SecretString;
use serde_json::{Value, json};
use sira_domain::calendars;
use sira_domain::sla::{self, Policy};
use sira_kernel::Actor;
use sira_sandbox::LeadWish;

use super::up::{Progress, Up};
use super::{Exit, print, say};
use crate::config::Config;
use crate::demo;

/// Longest wait for one step.
const STEP_MAX: Duration = Duration::from_secs(30);
/// Between two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Largest answer read.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Runs the check, on a private PostgreSQL and a data directory of its own; both are removed, whatever happens.
pub async fn run(mut config: Config) -> anyhow::Result<Exit> {
    config.database.url = SecretString::default();
    config.data.dir = config.data.dir.join(format!("check-{}", std::process::id()));
    config.http.listen.set_port(0);
    config.sandbox.leads_per_minute = 0;
    say("One lead, from the webhook to its agent:\n");
    let mut report = Report::default();
    let begun = Instant::now();
    let mut progress = Progress::begin();
    let up = Up::start(config.clone(), &mut progress).await?;
    report.line("start", "PostgreSQL, schema, demo team, API, workers, sandbox", begun.elapsed());
    let driven = tokio::select! {
        driven = drive(&up, &config, &mut report) => driven,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let wiped = up.wipe().await;
    print(&report.table())?;
    driven?;
    wiped?;
    say("\nEverything happened as promised.");
    Ok(Exit::Ok)
}

/// What happened, in order.
#[derive(Default)]
struct Report(Vec<(String, String, Duration)>);

impl Report {
    fn line(&mut self, step: &str, what: impl Into<String>, took: Duration) {
        self.0.push((step.to_owned(), what.into(), took));
    }

    fn table(&self) -> String {
        let width = self.0.iter().map(|(_, what, _)| what.chars().count()).max().unwrap_or(0);
        let row = |(step, what, took): &(String, String, Duration)| {
            format!("{step:<12} {what:<width$} {:>10.1} ms", took.as_secs_f64() * 1000.0)
        };
        self.0.iter().map(row).collect::<Vec<_>>().join("\n")
    }
}

async fn drive(up: &Up, config: &Config, report: &mut Report) -> anyhow::Result<()> {
    let api = Api::new(format!("http://{}", up.address), &config.http.base_path);
    let sandbox = up.sandbox.as_ref().context("the sandbox plays in a check")?;

    let begun = Instant::now();
    let admin = api.sign_in("admin", &demo::password_of(&config.data.dir, "admin")?).await?;
    report.line("sign-in", "admin, argon2id and a short-lived EdDSA token", begun.elapsed());

    let begun = Instant::now();
    promise_soon(up).await?;
    report.line("promise", "first response due in a minute, reminder after a second", begun.elapsed());

    let announced = [sandbox.new_lead(lead_to_call())];
    let begun = Instant::now();
    let status = sandbox.deliver(&announced).await?;
    ensure!(status == 200, "the webhook was answered {status}");
    report.line("webhook", "signed, verified, stored sealed, job enqueued, 200", begun.elapsed());

    let lead = wait_for("the lead and its owner", || owned_lead(&api, &admin)).await?;
    report.line("assignment", told(&lead)?, begun.elapsed());

    let begun = Instant::now();
    let id = lead["id"].as_str().context("a lead has an id")?;
    let detail = api.get(&format!("/leads/{id}"), &admin).await?;
    report.line("decision", reason(&detail)?, begun.elapsed());

    let begun = Instant::now();
    let username = owner_username(&detail)?;
    let agent = api.sign_in(username, &demo::password_of(&config.data.dir, username)?).await?;
    let own = api.get("/leads", &agent).await?;
    ensure!(own["data"][0]["id"] == lead["id"], "the agent's own list does not show the lead");
    report.line("agent", format!("{username} signs in and sees it, masked"), begun.elapsed());

    let begun = Instant::now();
    let reminder = wait_for("the reminder", || notification(&api, &agent, "sla.reminder")).await?;
    ensure!(reminder["leadId"] == lead["id"], "the reminder is about another lead");
    report.line("reminder", "the agent is told before it is too late, once", begun.elapsed());

    drive_call(&api, &agent, id, report).await?;

    let begun = Instant::now();
    ensure!(sandbox.deliver(&announced).await? == 200, "redelivery was not accepted");
    let after = api.get("/leads", &admin).await?;
    let count = after["data"].as_array().map_or(0, Vec::len);
    ensure!(count == 1, "the same webhook again made {count} leads");
    report.line("redelivery", "the same webhook again: 200, nothing changed", begun.elapsed());

    let begun = Instant::now();
    let forged = api.forged_webhook().await?;
    ensure!(forged == StatusCode::UNAUTHORIZED, "a wrong signature was answered {forged}");
    report.line("forgery", "a wrong signature: 401", begun.elapsed());

    let begun = Instant::now();
    wait_for("everything to end", || watch_ended(&api, &admin)).await?;
    report.line("workflow", "what waited for the call has ended; no job is left", begun.elapsed());
    Ok(())
}

/// A person whose phone is answered: the last digits of a number decide what the sandbox plays.
fn lead_to_call() -> LeadWish {
    LeadWish { phone: Some("+90 555 000 12 17".to_owned()), ..LeadWish::default() }
}

/// Makes the first response due within a minute, around the clock, so that a check at night sees its reminder.
async fn promise_soon(up: &Up) -> anyhow::Result<()> {
    let mut uow = up.parts.cx.begin(Actor::System).await?;
    let calendar =
        calendars::create_calendar(&mut uow, "Around the clock", "UTC", Vec::new(), Vec::new()).await?;
    let policies = sla::list_policies(uow.conn()).await?;
    let shipped = policies.into_iter().find(|policy| policy.code == "first_response");
    let shipped = shipped.context("the policy of the first response is shipped")?;
    let soon = Policy { calendar, due_s: 60, remind_at_s: vec![1], ..shipped };
    sla::set_policy(&mut uow, &soon).await?;
    uow.commit().await?;
    Ok(())
}

/// The agent calls, says what came of it, and looks at the timeline.
async fn drive_call(api: &Api, agent: &str, lead: &str, report: &mut Report) -> anyhow::Result<()> {
    let begun = Instant::now();
    let call = api.post(&format!("/leads/{lead}/call"), agent, "check-call", &json!({})).await?;
    let id = call["callId"].as_str().context("a call has an id")?.to_owned();
    let placed = call["status"].as_str().context("a call has a status")?.to_owned();
    report.line(
        "call",
        format!("{placed}; both lines are rung, and neither sees the other"),
        begun.elapsed(),
    );
    let ended = wait_for("the end of the call", || ended_call(api, agent, &id)).await?;
    ensure!(ended["status"] == "completed", "the call ended as {}", ended["status"]);
    let told = format!("completed by signed webhooks, {} s of talk", ended["durationSeconds"]);
    report.line("webhooks", told, begun.elapsed());

    let begun = Instant::now();
    let outcome = json!({
        "disposition": "reached", "note": "Wants an offer by tomorrow.", "nextStatus": "interested",
    });
    let done = api.post(&format!("/calls/{id}/outcome"), agent, "check-outcome", &outcome).await?;
    ensure!(done["status"] == "interested", "the outcome left the lead at {}", done["status"]);
    report.line("outcome", "disposition, note and next status in one transaction", begun.elapsed());

    let begun = Instant::now();
    let timeline = wait_for("the promise of the new status", || promised(api, agent, lead)).await?;
    let codes: Vec<&str> = timeline["data"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(|entry| entry["code"].as_str())
        .collect();
    for wanted in
        ["lead.created", "lead.assigned", "sla.reminded", "call.requested", "sla.satisfied", "note.added"]
    {
        ensure!(codes.contains(&wanted), "the timeline lacks {wanted}: {codes:?}");
    }
    let ahead = timeline["upcoming"].as_array().map_or(0, Vec::len);
    let told = format!("{} entries of what happened, {ahead} of what will", codes.len());
    report.line("timeline", told, begun.elapsed());
    Ok(())
}

async fn notification(api: &Api, token: &str, code: &str) -> anyhow::Result<Option<Value>> {
    let page = api.get("/me/notifications", token).await?;
    let rows = page["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(rows.iter().find(|row| row["code"] == code).cloned())
}

async fn ended_call(api: &Api, token: &str, id: &str) -> anyhow::Result<Option<Value>> {
    let call = api.get(&format!("/calls/{id}"), token).await?;
    Ok(Some(call).filter(|call| !call["endedAt"].is_null()))
}

/// The lead's timeline, once it says what will happen.
async fn promised(api: &Api, token: &str, lead: &str) -> anyhow::Result<Option<Value>> {
    let timeline = api.get(&format!("/leads/{lead}/timeline?limit=200"), token).await?;
    let ahead = timeline["upcoming"].as_array().is_some_and(|ahead| !ahead.is_empty());
    Ok(Some(timeline).filter(|_| ahead))
}

/// Looks until there is something, or gives up with what was waited for.
async fn wait_for<T, F>(what: &str, mut look: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if begun.elapsed() > STEP_MAX {
            bail!("waited {} s in vain for {what}", STEP_MAX.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn owned_lead(api: &Api, token: &str) -> anyhow::Result<Option<Value>> {
    let page = api.get("/leads", token).await?;
    let lead = page["data"].as_array().and_then(|leads| leads.first());
    Ok(lead.filter(|lead| !lead["owner"].is_null()).cloned())
}

async fn watch_ended(api: &Api, token: &str) -> anyhow::Result<Option<()>> {
    let jobs = api.get("/ops/jobs", token).await?;
    let workflows = api.get("/ops/workflows", token).await?;
    let all_ended = |page: &Value, key: &str, ended: &[&str]| {
        let rows = page["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        !rows.is_empty() && rows.iter().all(|row| row[key].as_str().is_some_and(|is| ended.contains(&is)))
    };
    // A promise of the new status sleeps until it is due.
    let quiet = ["done", "superseded", "waiting"];
    let ended = all_ended(&jobs, "state", &["done", "merged"]) && all_ended(&workflows, "status", &quiet);
    Ok(ended.then_some(()))
}

fn told(lead: &Value) -> anyhow::Result<String> {
    let text = |key: &str| lead[key].as_str().with_context(|| format!("a lead has {key}"));
    let owner = lead["owner"]["name"].as_str().context("an owner has a name")?;
    Ok(format!("{} is {owner}'s, {}", text("reference")?, text("phone")?))
}

fn reason(detail: &Value) -> anyhow::Result<String> {
    let decision = &detail["decision"];
    let reason = decision["reason"].as_str().context("the decision has a reason")?;
    let candidates = decision["candidates"].as_array().map_or(0, Vec::len);
    Ok(format!("why: {reason}, of {candidates} candidates; stored with the assignment"))
}

fn owner_username(detail: &Value) -> anyhow::Result<&'static str> {
    let name = detail["owner"]["name"].as_str().context("an owner has a name")?;
    demo::username_of(name).with_context(|| format!("{name} is not of the demo team"))
}

/// A plain client of the API, as a frontend would be.
struct Api {
    client: HyperClient<HttpConnector, Full<Bytes>>,
    origin: String,
    base: String,
}

impl Api {
    fn new(origin: String, base_path: &str) -> Self {
        let client = HyperClient::builder(TokioExecutor::new()).build_http();
        let base = format!("{origin}{base_path}");
        Self { client, origin, base }
    }

    /// Sends a webhook that somebody else signed.
    async fn forged_webhook(&self) -> anyhow::Result<StatusCode> {
        let raw = br#"{"object":"page","entry":[]}"#;
        let request = http::Request::post(format!("{}/webhooks/meta", self.origin))
            .header("content-type", "application/json")
            .header("x-hub-signature-256", sira_sandbox::sign(&"not the secret".into(), raw))
            .body(Full::from(&raw[..]))?;
        Ok(tokio::time::timeout(STEP_MAX, self.client.request(request)).await??.status())
    }

    async fn sign_in(&self, username: &str, password: &str) -> anyhow::Result<String> {
        let body = json!({ "username": username, "password": password }).to_string();
        let request = http::Request::post(format!("{}/auth/login", self.base))
            .header("content-type", "application/json")
            .body(Full::from(body))?;
        let answer = self.send(request).await?;
        let token = answer["accessToken"].as_str().context("a sign-in returns a token")?;
        Ok(token.to_owned())
    }

    async fn get(&self, path: &str, token: &str) -> anyhow::Result<Value> {
        let request = http::Request::get(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {token}"))
            .body(Full::default())?;
        self.send(request).await
    }

    async fn post(&self, path: &str, token: &str, key: &str, body: &Value) -> anyhow::Result<Value> {
        let request = http::Request::post(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(Full::from(body.to_string()))?;
        self.send(request).await
    }

    async fn send(&self, request: http::Request<Full<Bytes>>) -> anyhow::Result<Value> {
        let path = request.uri().path().to_owned();
        let answer = tokio::time::timeout(STEP_MAX, self.client.request(request)).await??;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("reading the answer of {path}: {error}"))?.to_bytes();
        ensure!(status.is_success(), "{path} was answered {status}: {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }
}
