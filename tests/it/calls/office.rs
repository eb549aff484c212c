//! The product with its API on a real port, one agent and one administrator signed in, and the sandbox aimed at it.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sira::http;
use sira_domain::identity::Role;
use sira_domain::nouns::UserId;
use sira_sandbox::LeadWish;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::house::House;

/// Longest wait for a call.
const DEADLINE: Duration = Duration::from_secs(30);

pub struct CallOffice {
    pub house: House,
    client: reqwest::Client,
    origin: String,
    agent: UserId,
    admin: UserId,
    app: http::App,
    _stop: tokio_util::sync::DropGuard,
    _server: AbortOnDropHandle<()>,
}

impl CallOffice {
    pub async fn open() -> Self {
        let house = House::new().await;
        let agent = house.agent("agent", 100).await;
        let admin = house.person("admin", Role::Admin, None).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
        let app = house.parts.http(metrics, &stop).unwrap();
        let settings = app.settings.clone();
        let router = http::router(app.clone()).unwrap();
        let serving = {
            let stop = stop.clone();
            async move { http::serve(listener, router, &settings, stop).await }
        };
        #[expect(clippy::disallowed_methods, reason = "aborted with its handle")]
        let server = AbortOnDropHandle::new(tokio::spawn(serving));
        house.sandbox.aim_calls(format!("{origin}/webhooks/telephony"));
        Self {
            house,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            origin,
            agent,
            admin,
            app,
            _stop: stop.drop_guard(),
            _server: server,
        }
    }

    pub fn agent(&self) -> UserId {
        self.agent
    }

    /// A lead that the agent owns, by way of the workers.
    pub async fn lead(&self) -> String {
        let announced =
            self.house.sandbox.new_lead(LeadWish { consents: Some(Vec::new()), ..LeadWish::default() });
        let inbound = self.house.announce(&[announced]).await[0];
        let begun = Instant::now();
        loop {
            let lead: Option<uuid::Uuid> = sqlx::query_scalar(
                "select lead.id from inbound_events event join leads lead on lead.id = event.lead_id
                 where event.id = $1 and lead.owner_id is not null",
            )
            .bind(inbound.uuid())
            .fetch_optional(&self.house.db.pool)
            .await
            .unwrap();
            if let Some(lead) = lead {
                return lead.to_string();
            }
            assert!(begun.elapsed() < DEADLINE, "the lead has its owner");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The same, and the workers are gone again.
    pub async fn lead_owned_without_workers(&self) -> String {
        let running = self.house.work().await;
        let lead = self.lead().await;
        self.house.quiet().await;
        running.drain(Duration::from_secs(5)).await;
        lead
    }

    /// Asks for a call as the agent.
    pub async fn call(&self, lead: &str, key: &str) -> (u16, Value) {
        self.post(&format!("/leads/{lead}/call"), key, &json!({})).await
    }

    /// The same, while the test goes on.
    pub fn call_in_background(&self, lead: &str, key: &str) -> tokio::task::JoinHandle<(u16, Value)> {
        let request = self.request(&format!("/leads/{lead}/call"), key, &json!({}));
        #[expect(clippy::disallowed_methods, reason = "the test awaits it")]
        tokio::spawn(async move { answered(request).await })
    }

    pub async fn post(&self, path: &str, key: &str, body: &Value) -> (u16, Value) {
        answered(self.request(path, key, body)).await
    }

    fn request(&self, path: &str, key: &str, body: &Value) -> reqwest::RequestBuilder {
        self.client
            .post(format!("{}/api/v1{path}", self.origin))
            .bearer_auth(self.app.tokens.issue(self.agent).unwrap())
            .header("idempotency-key", key)
            .json(body)
    }

    pub async fn get(&self, path: &str) -> Value {
        self.get_with(path, self.agent).await
    }

    pub async fn get_as_admin(&self, path: &str) -> Value {
        self.get_with(path, self.admin).await
    }

    async fn get_with(&self, path: &str, user: UserId) -> Value {
        let token = self.app.tokens.issue(user).unwrap();
        let request = self.client.get(format!("{}/api/v1{path}", self.origin)).bearer_auth(token);
        let (status, body) = answered(request).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Delivers a webhook as somebody who signs like this.
    pub async fn webhook(&self, id: &str, at: DateTime<Utc>, signature: &str, body: &str) -> u16 {
        let request = self
            .client
            .post(format!("{}/webhooks/telephony", self.origin))
            .header("webhook-id", id)
            .header("webhook-timestamp", at.timestamp())
            .header("webhook-signature", signature)
            .body(body.to_owned());
        request.send().await.unwrap().status().as_u16()
    }

    /// Waits until a call has this status.
    pub async fn until(&self, call: &Value, status: &str) -> Value {
        let path = format!("/calls/{}", call["callId"].as_str().unwrap());
        let begun = Instant::now();
        loop {
            let shown = self.get(&path).await;
            if shown["status"] == status {
                return shown;
            }
            assert!(begun.elapsed() < DEADLINE, "{status} did not come: {shown}");
            assert!(shown["endedAt"].is_null() || status == "unknown", "it ended otherwise: {shown}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a call is over, however.
    pub async fn until_ended(&self, call: &Value) {
        let path = format!("/calls/{}", call["callId"].as_str().unwrap());
        let begun = Instant::now();
        while self.get(&path).await["endedAt"].is_null() {
            assert!(begun.elapsed() < DEADLINE, "the call ended");
            // Where only asking tells, questions are seconds apart.
            self.house.advance(chrono::TimeDelta::milliseconds(200));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The sandbox's numbers begin alike; nothing that is shown may hold the beginning.
    pub fn has_no_number(shown: &Value) {
        let digits: String = shown.to_string().chars().filter(char::is_ascii_digit).collect();
        let text = shown.to_string();
        assert!(!text.contains("555000") && !text.contains("555 000"), "{text}");
        assert!(!digits.contains("90555000"), "{text}");
    }
}

async fn answered(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or(Value::Null))
}
