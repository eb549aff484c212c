//! Claims about queues of jobs and their limits over HTTP.

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

#[tokio::test]
async fn an_operator_limits_a_queue_and_edits_and_closes_a_gate_and_it_is_audited() {
    let app = TestApp::new().await;
    sqlx::raw_sql(
        "insert into engine.jobs (kind, queue, state, gate, attempts_max, payload)
        values ('test', 'test', 'held', 'provider', 3, '{}'), ('test', 'test', 'ready', null, 3, '{}');
        insert into engine.gates (name, failures_max, open_s, open_until, openings)
        values ('provider', 3, 10, now() + interval '1 hour', 1)",
    )
    .execute(&app.db.pool)
    .await
    .unwrap();
    let (_, admin) = app.signed_in(Role::Admin).await;
    let (_, auditor) = app.signed_in(Role::Auditor).await;
    let act = async |path: &str, key: &str, body: &Value| {
        app.post(&format!("/api/v1/ops/{path}"), &admin, &[("idempotency-key", key)], body).await
    };
    let gate = async || app.get("/api/v1/ops/gates", &auditor).await.json()["data"][0].clone();

    let limits = json!({ "concurrencyMax": 2, "rate": { "perSecond": 0.5, "burst": 1 } });
    for path in ["queues/test/limit", "gates/provider/limits", "gates/provider/reset"] {
        let at = format!("/api/v1/ops/{path}");
        let refused = app.post(&at, &auditor, &[("idempotency-key", path)], &json!({})).await;
        assert_eq!(refused.problem(), "forbidden", "{path}: who looks does not act");
    }
    let most = |most: Value| json!({ "concurrencyMax": most });
    assert_eq!(act("queues/test/limit", "1", &most(0.into())).await.problem(), "invalid_body");
    assert_eq!(act("queues/unknown/limit", "2", &most(2.into())).await.problem(), "not_found");
    let limited = act("queues/test/limit", "3", &most(2.into())).await;
    assert_eq!(limited.json()["message"]["code"], "limits_edited", "{}", limited.text());
    assert_eq!(app.get(AT, &auditor).await.json()["data"][0]["concurrencyMax"], 2);
    act("queues/test/limit", "4", &most(Value::Null)).await;
    assert_eq!(app.get(AT, &auditor).await.json()["data"][0]["concurrencyMax"], Value::Null);

    let held: i64 = sqlx::query_scalar("select id from engine.jobs where state = 'held'")
        .fetch_one(&app.db.pool)
        .await
        .unwrap();
    let job = app.get(&format!("/api/v1/ops/jobs/{held}"), &auditor).await.json();
    assert_eq!((&job["state"], &job["waitsFor"]), (&json!("held"), &json!("breaker")), "{job}");
    assert_eq!(act(&format!("jobs/{held}/retry"), "5", &json!({})).await.problem(), "job_held");
    let shown = gate().await;
    assert_eq!((&shown["breaker"], &shown["held"]), (&json!("open"), &json!(1)), "{shown}");

    let none = json!({ "rate": { "perSecond": 0, "burst": 1 } });
    assert_eq!(act("gates/provider/limits", "6", &none).await.problem(), "invalid_body");
    assert_eq!(act("gates/unknown/limits", "7", &limits).await.problem(), "not_found");
    let edited = act("gates/provider/limits", "8", &limits).await;
    assert_eq!(edited.json()["message"]["code"], "limits_edited", "{}", edited.text());
    assert_eq!(act("gates/unknown/reset", "9", &json!({})).await.problem(), "not_found");
    assert_eq!(act("gates/provider/reset", "10", &json!({})).await.json()["message"]["code"], "gate_reset");
    let shown = gate().await;
    assert_eq!((&shown["breaker"], &shown["failuresMax"]), (&json!("closed"), &Value::Null));
    assert_eq!((&shown["concurrencyMax"], &shown["ratePerSecond"]), (&json!(2), &json!(0.5)));
    let audited: Vec<(String, String)> = sqlx::query_as(
        "select action, subject from audit_event where subject_kind in ('limits', 'gate') order by id",
    )
    .fetch_all(&app.db.pool)
    .await
    .unwrap();
    let audited: Vec<_> = audited.iter().map(|(action, of)| (action.as_str(), of.as_str())).collect();
    let expected = [
        ("limits.edited", "queue:test"),
        ("limits.edited", "queue:test"),
        ("limits.edited", "gate:provider"),
        ("gate.reset", "provider"),
    ];
    assert_eq!(audited, expected);
}

#[tokio::test]
async fn an_operator_sees_who_works_and_how_attempts_ended_by_minute() {
    let app = TestApp::new().await;
    sqlx::raw_sql(
        "insert into engine.sessions (host, version, queues, until) values ('h', '1', '{q}', now() + interval '9 s');
        insert into engine.counters values (date_trunc('minute', now()), 'q', 'k', 'done', 7, 70),
            (date_trunc('minute', now() - interval '2 hours'), 'q', 'k', 'failed', 1, 10)",
    )
    .execute(&app.db.pool)
    .await
    .unwrap();
    let (_, auditor) = app.signed_in(Role::Auditor).await;
    let (_, agent) = app.signed_in(Role::Agent).await;
    assert_eq!(app.get("/api/v1/ops/workers", &agent).await.problem(), "forbidden");
    let worker = app.get("/api/v1/ops/workers", &auditor).await.json()["data"][0].clone();
    assert_eq!((&worker["host"], &worker["queues"]), (&json!("h"), &json!(["q"])), "{worker}");
    let at = "/api/v1/ops/counters";
    let counters = app.get(&format!("{at}?filter[kind]=k"), &auditor).await.json()["data"].clone();
    assert_eq!((counters.as_array().unwrap().len(), &counters[0]["attempts"]), (1, &json!(7)));
    let more = app.get(&format!("{at}?minutes=180"), &auditor).await.json()["data"].clone();
    assert_eq!(more.as_array().unwrap().len(), 2);
    assert_eq!(app.get(&format!("{at}?minutes=181"), &auditor).await.problem(), "invalid_query");
    assert_eq!(app.get(&format!("{at}?filter[queue]=other"), &auditor).await.json()["data"], json!([]));
}
