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
