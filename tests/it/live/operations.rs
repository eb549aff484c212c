//! The stream of the operators' board.

use serde_json::{Value, json};
use sira_domain::identity::Role;

use super::listener::{HEARTBEAT, Heard, Listener, Served};
use crate::http::app::TestApp;

const AT: &str = "/ops/events";

async fn open(served: &Served, token: &str) -> Listener {
    let header = format!("Bearer {token}");
    let (listener, hello) = Listener::begin(served.ask_at(AT, Some(("authorization", &header))).await).await;
    assert!(hello.data["serverTime"].is_string());
    listener
}

/// The next event of which this holds.
async fn until(listener: &mut Listener, holds: impl Fn(&Heard) -> bool) -> Value {
    loop {
        let heard = listener.any().await.expect("the stream goes on");
        if holds(&heard) {
            return heard.data;
        }
    }
}

#[tokio::test]
async fn an_operator_is_told_how_everything_stands_and_then_what_changes() {
    let app = TestApp::with(|settings| settings.heartbeat = HEARTBEAT).await;
    let insert = "insert into engine.jobs (kind, queue, state, attempts_max, payload)
        values ('test', 'test', 'ready', 3, '{}')";
    sqlx::query(insert).execute(&app.db.pool).await.unwrap();
    let (_, admin) = app.signed_in(Role::Admin).await;
    let (_, auditor) = app.signed_in(Role::Auditor).await;
    let served = Served::of(&app).await;
    let mut listener = open(&served, &auditor).await;
    let of_test = |heard: &Heard| heard.name == "queue" && heard.data["name"] == "test";
    let queue = until(&mut listener, of_test).await;
    assert_eq!((&queue["ready"], &queue["workers"]), (&json!(1), &json!(0)));

    let body = json!({ "reason": "ask ayse@example.com" });
    app.post("/api/v1/ops/queues/test/pause", &admin, &[("idempotency-key", "1")], &body).await;
    let paused = until(&mut listener, |heard| of_test(heard) && heard.data["pausedAt"].is_string()).await;
    assert!(paused["pausedReason"].is_string() && !paused.to_string().contains("ayse"), "{paused}");

    let act = json!({ "act": "cancel", "filter": { "queue": "test" }, "reason": "a test" });
    app.post("/api/v1/ops/bulk-acts", &admin, &[("idempotency-key", "2")], &act).await;
    let begun = until(&mut listener, |heard| heard.name == "bulk").await;
    assert_eq!((&begun["act"], &begun["state"]), (&json!("cancel"), &json!("running")));

    app.post("/api/v1/ops/queues/test/resume", &admin, &[("idempotency-key", "3")], &json!({})).await;
    sqlx::query("delete from engine.jobs").execute(&app.db.pool).await.unwrap();
    let gone = until(&mut listener, |heard| heard.name == "gone" && heard.data["key"] == "test").await;
    assert_eq!(gone["topic"], "queue");
    until(&mut listener, |heard| heard.name == "heartbeat").await;
    served.end().await;
    listener.ends().await;
}

#[tokio::test]
async fn the_board_is_for_operators_and_auditors_with_a_token_or_a_ticket_for_as_long_as_they_are() {
    let app = TestApp::with(|settings| settings.heartbeat = HEARTBEAT).await;
    let (_, agent) = app.signed_in(Role::Agent).await;
    let (_, admin) = app.signed_in(Role::Admin).await;
    assert_eq!(app.get("/api/v1/ops/events", &agent).await.problem(), "forbidden");
    let served = Served::of(&app).await;
    let ticket = app.post("/api/v1/events/tickets", &admin, &[], &json!({})).await.json();
    let path = format!("{AT}?ticket={}", ticket["ticket"].as_str().unwrap());
    let (listener, _) = Listener::begin(served.ask_at(&path, None).await).await;
    for (name, value) in [("content-type", "text/event-stream"), ("cache-control", "no-store")] {
        assert_eq!(listener.header(name), value);
    }
    sqlx::query("update users set active = false").execute(&app.db.pool).await.unwrap();
    listener.ends().await;
    served.end().await;
}
