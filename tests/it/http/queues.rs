//! Claims about queues of jobs over HTTP.

use serde_json::{Value, json};
use sira_domain::identity::Role;

use super::app::TestApp;

const AT: &str = "/api/v1/ops/queues";

#[tokio::test]
async fn an_operator_stops_a_queue_and_lets_it_go_on_and_it_is_audited() {
    let app = TestApp::new().await;
    sqlx::query(
        "insert into engine.jobs (kind, queue, state, attempts_max, payload)
        values ('test', 'test', 'ready', 3, '{}')",
    )
    .execute(&app.db.pool)
    .await
    .unwrap();
    let (_, admin) = app.signed_in(Role::Admin).await;
    let (_, auditor) = app.signed_in(Role::Auditor).await;
    let (_, agent) = app.signed_in(Role::Agent).await;
    let reason = json!({ "reason": "ask ayse@example.com" });

    assert_eq!(app.get(AT, &agent).await.problem(), "forbidden");
    let shown = app.get(AT, &auditor).await.json()["data"][0].clone();
    assert_eq!(
        (&shown["name"], &shown["ready"], &shown["workers"]),
        (&json!("test"), &json!(1), &json!(0)),
        "who waits for nobody is seen"
    );
    for (what, body) in [("pause", &reason), ("resume", &json!({}))] {
        let at = format!("{AT}/test/{what}");
        let refused = app.post(&at, &auditor, &[("idempotency-key", what)], body).await;
        assert_eq!(refused.problem(), "forbidden", "{what}: who looks does not act");
    }
    let act = async |queue: &str, what: &str, key: &str, body: &Value| {
        app.post(&format!("{AT}/{queue}/{what}"), &admin, &[("idempotency-key", key)], body).await
    };
    assert_eq!(act("unknown", "pause", "1", &reason).await.problem(), "not_found");
    assert_eq!(act("test", "pause", "2", &json!({ "reason": " " })).await.problem(), "invalid_body");

    for replayed in ["", "true"] {
        let paused = act("test", "pause", "3", &reason).await;
        assert_eq!(paused.json()["message"]["code"], "queue_paused", "{}", paused.text());
        assert_eq!(paused.header("idempotency-replayed"), replayed);
    }
    let shown = app.get(AT, &auditor).await.json()["data"][0].clone();
    assert!(shown["pausedAt"].is_string() && !shown.to_string().contains("ayse"), "{shown}");
    let job: i64 = sqlx::query_scalar("select id from engine.jobs").fetch_one(&app.db.pool).await.unwrap();
    let job = app.get(&format!("/api/v1/ops/jobs/{job}"), &auditor).await.json();
    assert_eq!(job["waitsFor"], "paused", "{job}");

    assert_eq!(act("test", "resume", "4", &json!({})).await.json()["message"]["code"], "queue_resumed");
    act("test", "resume", "5", &json!({})).await;
    let shown = app.get(AT, &auditor).await.json()["data"][0].clone();
    assert_eq!((&shown["pausedAt"], &shown["pausedReason"]), (&Value::Null, &Value::Null));
    let audited: Vec<String> =
        sqlx::query_scalar("select action from audit_event where subject_kind = 'queue' order by id")
            .fetch_all(&app.db.pool)
            .await
            .unwrap();
    assert_eq!(audited, ["queue.paused", "queue.resumed"]);
}
