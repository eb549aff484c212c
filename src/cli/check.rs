//! `sira up --check`: one real lead through everything, over real HTTP, on a data directory of its own; a table of
//! what happened and how long each step took.
//!
//! The sandbox announces a lead by a signed webhook; the product stores it, fetches it, makes it a lead, routes it;
//! an agent signs in and sees it, masked, with the reason. Then what must change nothing is tried: the same webhook
//! again, and one with a wrong signature.

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

    let announced = [sandbox.new_lead(LeadWish::default())];
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
    wait_for("the watch to end", || watch_ended(&api, &admin)).await?;
    report.line("workflow", "the watch over the lead has ended; no job is left", begun.elapsed());
    Ok(())
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
    let ended = all_ended(&jobs, "state", &["done", "merged"]) && all_ended(&workflows, "status", &["done"]);
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
