//! Claims about retrying and cancelling jobs over HTTP.

use serde_json::json;
use sira_domain::identity::Role;

use super::app::TestApp;

async fn job(app: &TestApp, state: &str) -> i64 {
    let insert = "insert into engine.jobs (kind, queue, state, attempt, attempts_max, payload)
                  values ('test', 'test', $1, 3, 3, '{}') returning id";
    sqlx::query_scalar(insert).bind(state).fetch_one(&app.db.pool).await.unwrap()
}

#[tokio::test]
async fn an_operator_retries_and_cancels_jobs_once_and_by_name() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let (_, auditor) = app.signed_in(Role::Auditor).await;
    let (dead, ready) = (job(&app, "dead").await, job(&app, "ready").await);
    let retry = format!("/api/v1/ops/jobs/{dead}/retry");
    let cancel = format!("/api/v1/ops/jobs/{ready}/cancel");
    let refused = app.post(&retry, &auditor, &[("idempotency-key", "a")], &json!({})).await;
    assert_eq!(refused.problem(), "forbidden", "who looks does not act");

    for replayed in ["", "true"] {
        let answer = app.post(&retry, &token, &[("idempotency-key", "one")], &json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!((&answer.json()["id"], &answer.json()["state"]), (&dead.into(), &"ready".into()));
        assert_eq!(answer.json()["message"]["code"], "job_retried");
        assert_eq!(answer.header("idempotency-replayed"), replayed);
    }
    let again = app.post(&retry, &token, &[("idempotency-key", "two")], &json!({})).await;
    assert_eq!(again.problem(), "job_ready");

    for reason in [String::new(), "x".repeat(201)] {
        let key = [("idempotency-key", "three")];
        let answer = app.post(&cancel, &token, &key, &json!({ "reason": reason })).await;
        assert_eq!(answer.problem(), "invalid_body");
        assert_eq!(answer.json()["errors"][0]["pointer"], "/reason");
    }
    let body = json!({ "reason": "ask ayse@example.com" });
    let answer = app.post(&cancel, &token, &[("idempotency-key", "four")], &body).await;
    assert_eq!(answer.json()["state"], "cancelled", "{}", answer.text());
    let ended = app.post(&cancel, &token, &[("idempotency-key", "five")], &body).await;
    assert_eq!(ended.problem(), "job_ended");
    let unknown =
        app.post("/api/v1/ops/jobs/1234567/retry", &token, &[("idempotency-key", "six")], &json!({})).await;
    assert_eq!(unknown.problem(), "not_found");

    let by_user = "select count(*) from audit_event where actor_kind = 'user'
                   and action in ('job.retried', 'job.cancelled')";
    assert_eq!(app.count(by_user).await, 2);
    let kept = "select count(*) from audit_event where body::text like '%ayse%'";
    assert_eq!(app.count(kept).await, 0);
}

#[tokio::test]
async fn an_operator_counts_and_then_acts_on_all_jobs_that_match_and_it_is_audited() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let (_, auditor) = app.signed_in(Role::Auditor).await;
    let (first, ready) = (job(&app, "dead").await, job(&app, "ready").await);
    job(&app, "dead").await;
    sqlx::query("update engine.jobs set error = '{\"code\": \"provider_down\"}' where state = 'dead'")
        .execute(&app.db.pool)
        .await
        .unwrap();
    let listed =
        app.get("/api/v1/ops/jobs?filter[error]=provider_down&filter[attemptsMin]=3", &auditor).await;
    assert_eq!(listed.json()["data"].as_array().unwrap().len(), 2, "{}", listed.text());
    let stuck = app.get("/api/v1/ops/jobs?filter[stuckFor]=3600", &auditor).await;
    assert_eq!(stuck.json()["data"].as_array().unwrap().len(), 0);

    let at = "/api/v1/ops/bulk-acts";
    let filter = json!({ "state": "dead", "error": "provider_down" });
    let counted = app.post(&format!("{at}/count"), &auditor, &[], &filter).await;
    assert_eq!(counted.json(), json!({ "count": 2, "orMore": false }));
    assert_eq!(app.post(&format!("{at}/count"), &auditor, &[], &json!({})).await.problem(), "invalid_body");
    let retry = json!({ "act": "retry", "filter": filter });
    let refused = app.post(at, &auditor, &[("idempotency-key", "a")], &retry).await;
    assert_eq!(refused.problem(), "forbidden", "who looks does not act");
    for (key, invalid) in [
        ("b", json!({ "act": "retry", "filter": {} })),
        ("c", json!({ "act": "cancel", "filter": filter, "reason": " " })),
        ("d", json!({ "act": "forget", "filter": filter })),
        ("j", json!({ "act": "retry", "filter": { "tag": "ayse@example.com" } })),
    ] {
        let answer = app.post(at, &token, &[("idempotency-key", key)], &invalid).await;
        assert_eq!(answer.problem(), "invalid_body", "{invalid}");
    }
    let mut ids = Vec::new();
    for _ in 0..2 {
        let begun = app.post(at, &token, &[("idempotency-key", "e")], &retry).await;
        assert_eq!((begun.status.as_u16(), &begun.json()["message"]["code"]), (202, &"bulk_started".into()));
        ids.push(begun.json()["id"].as_i64().unwrap());
    }
    assert_eq!(ids[0], ids[1], "a repetition begins nothing");
    let progress = app.get(&format!("{at}/{}", ids[0]), &auditor).await.json();
    assert_eq!((&progress["state"], &progress["done"]), (&"running".into(), &0.into()), "{progress}");
    let stop = format!("{at}/{}/stop", ids[0]);
    assert_eq!(app.post(&stop, &token, &[("idempotency-key", "f")], &json!({})).await.status, 200);
    let again = app.post(&stop, &token, &[("idempotency-key", "g")], &json!({})).await;
    assert_eq!(again.problem(), "bulk_ended");
    assert_eq!(app.get(&format!("{at}/999"), &auditor).await.problem(), "not_found");

    let move_to = json!({ "runAt": "2031-01-01T09:00:00Z" });
    let moved = async |job: i64, key: &str| {
        let path = format!("/api/v1/ops/jobs/{job}/reschedule");
        app.post(&path, &token, &[("idempotency-key", key)], &move_to).await
    };
    assert_eq!(moved(first, "h").await.problem(), "job_dead");
    assert_eq!(moved(ready, "i").await.json()["state"], "scheduled");
    let audited: Vec<String> = sqlx::query_scalar(
        "select action from audit_event where subject_kind in ('bulk', 'job') order by id",
    )
    .fetch_all(&app.db.pool)
    .await
    .unwrap();
    assert_eq!(audited, ["bulk.started", "bulk.stopped", "job.rescheduled"]);
}

#[tokio::test]
async fn an_operator_ends_a_workflow_and_lets_it_go_on_and_it_is_audited() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let id: i64 = sqlx::query_scalar(
        "insert into engine.workflows (kind, key, version, queue, attempts_max, status, state, due, wake_at)
        values ('test', 'k', 1, 'test', 3, 'sleeping', '{}', false, now() + interval '1 day') returning id",
    )
    .fetch_one(&app.db.pool)
    .await
    .unwrap();
    let act = async |what: &str, key: &str, body: serde_json::Value| {
        let path = format!("/api/v1/ops/workflows/{id}/{what}");
        app.post(&path, &token, &[("idempotency-key", key)], &body).await
    };
    assert_eq!(act("retry", "a", json!({})).await.problem(), "workflow_not_retriable");
    assert_eq!(act("cancel", "b", json!({ "reason": "" })).await.problem(), "invalid_body");
    let reason = json!({ "reason": "ask ayse@example.com" });
    let ended = act("cancel", "c", reason.clone()).await;
    assert_eq!(ended.json()["message"]["code"], "workflow_cancelled", "{}", ended.text());
    assert_eq!(act("cancel", "d", reason).await.problem(), "workflow_ended");
    assert_eq!(act("retry", "e", json!({ "fromStep": 5 })).await.problem(), "invalid_body");
    let retried = act("retry", "f", json!({})).await;
    assert_eq!(retried.json()["message"]["code"], "workflow_retried", "{}", retried.text());
    let shown = app.get(&format!("/api/v1/ops/workflows/{id}"), &token).await.json();
    let steps: Vec<_> =
        shown["steps"].as_array().unwrap().iter().map(|step| step["decision"].as_str().unwrap()).collect();
    assert_eq!((shown["status"].as_str(), steps), (Some("running"), vec!["cancelled", "retried"]));
    assert!(!shown.to_string().contains("ayse"), "{shown}");
    let audited = "select count(*) from audit_event where subject_kind = 'workflow' and actor_kind = 'user'";
    assert_eq!(app.count(audited).await, 2);
}
