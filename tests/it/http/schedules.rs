//! Claims about schedules over HTTP.

use serde_json::{Value, json};
use sira_domain::identity::Role;

use super::app::TestApp;

const AT: &str = "/api/v1/ops/schedules/test.nightly";

async fn schedule(app: &TestApp) {
    sqlx::query(
        "insert into engine.schedules (name, kind, queue, attempts_max, payload, cron, time_zone, catch_up, next_at)
         values ('test.nightly', 'test', 'test', 3, '{}', '30 3 * * *', 'UTC', 'latest', now() + interval '1 h')",
    )
    .execute(&app.db.pool)
    .await
    .unwrap();
}

async fn act(app: &TestApp, token: &str, what: &str, key: &str, body: &Value) -> super::app::Answer {
    app.post(&format!("{AT}/{what}"), token, &[("idempotency-key", key)], body).await
}

#[tokio::test]
async fn an_operator_sees_and_changes_when_things_fire_and_it_is_audited() {
    let app = TestApp::new().await;
    schedule(&app).await;
    let (_, admin) = app.signed_in(Role::Admin).await;
    let (_, auditor) = app.signed_in(Role::Auditor).await;
    let (_, agent) = app.signed_in(Role::Agent).await;

    assert_eq!(app.get("/api/v1/ops/schedules", &agent).await.problem(), "forbidden");
    let listed = app.get("/api/v1/ops/schedules", &auditor).await.json();
    assert_eq!(listed["data"][0]["name"], "test.nightly");
    let shown = app.get(AT, &auditor).await.json();
    assert_eq!((shown["next"].as_array().unwrap().len(), &shown["last"]), (5, &json!([])));
    assert_eq!(app.get("/api/v1/ops/schedules/unknown", &auditor).await.problem(), "not_found");

    for what in ["edit", "pause", "resume", "run"] {
        let body = if what == "pause" { json!({ "reason": "x" }) } else { json!({}) };
        assert_eq!(
            act(&app, &auditor, what, what, &body).await.problem(),
            "forbidden",
            "{what}: who looks does not act"
        );
    }

    let wrong = [
        (json!({ "cron": "0 9 * * 1" }), "/cron"),
        (json!({ "cron": "every day" }), "/cron"),
        (json!({ "cron": "0 0 31 2 *" }), "/cron"),
        (json!({ "timeZone": "Mars/Olympus" }), "/timeZone"),
    ];
    for (place, (body, pointer)) in wrong.iter().enumerate() {
        let refused = act(&app, &admin, "edit", &format!("wrong {place}"), body).await;
        assert_eq!(refused.problem(), "invalid_body", "{body}");
        assert_eq!(refused.json()["errors"][0]["pointer"], *pointer, "{body}");
    }
    let body = json!({ "cron": "15 4 * * MON", "timeZone": "Europe/Istanbul", "catchUp": "all" });
    let edited = act(&app, &admin, "edit", "edit", &body).await;
    assert_eq!(edited.status, 200, "{}", edited.text());
    assert!(edited.json()["nextAt"].as_str().unwrap().contains("T01:15:00"), "{}", edited.text());

    let paused = act(&app, &admin, "pause", "pause", &json!({ "reason": "ask ayse@example.com" })).await;
    assert_eq!(paused.json()["message"]["code"], "schedule_paused", "{}", paused.text());
    let shown = app.get(AT, &auditor).await.json();
    assert_eq!((&shown["next"], &shown["nextAt"]), (&json!([]), &Value::Null));
    assert!(!shown["pausedReason"].as_str().unwrap().contains("ayse"), "contacts are masked");

    for replayed in ["", "true"] {
        let ran = act(&app, &admin, "run", "run", &json!({})).await;
        assert_eq!((ran.status.as_u16(), ran.header("idempotency-replayed")), (202, replayed));
        assert_eq!(app.get(&format!("/api/v1/ops/jobs/{}", ran.json()["jobId"]), &auditor).await.status, 200);
    }
    let shown = app.get(AT, &auditor).await.json();
    let last = &shown["last"];
    assert_eq!(
        (last.as_array().unwrap().len(), &last[0]["byRequest"]),
        (1, &json!(true)),
        "run once: {last}"
    );

    act(&app, &admin, "resume", "resume", &json!({})).await;
    act(&app, &admin, "resume", "resume again", &json!({})).await;
    let shown = app.get(AT, &auditor).await.json();
    assert_eq!((shown["next"].as_array().unwrap().len(), &shown["cron"]), (5, &json!("15 4 * * MON")));

    let audited: Vec<String> =
        sqlx::query_scalar("select action from audit_event where subject_kind = 'schedule' order by id")
            .fetch_all(&app.db.pool)
            .await
            .unwrap();
    assert_eq!(audited, ["schedule.edited", "schedule.paused", "schedule.run", "schedule.resumed"]);
}
