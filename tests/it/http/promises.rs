//! Claims about promises, statuses and what people are told over HTTP.

use chrono::TimeDelta;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sira_domain::identity::{Role, User};
use sira_domain::nouns::LeadId;

use super::app::{TestApp, json_request};

/// A promise about this lead that was due a minute ago.
async fn overdue(app: &TestApp, lead: LeadId) {
    let due_at = app.now() - TimeDelta::minutes(1);
    sqlx::query(
        "insert into sla_timers (id, lead_id, policy, state, started_at, running_since, due_at)
         values (gen_random_uuid(), $1, 'first_response', 'running', $2, $2, $2)",
    )
    .bind(lead.uuid())
    .bind(due_at)
    .execute(&app.db.pool)
    .await
    .unwrap();
}

async fn tell(app: &TestApp, user: &User, lead: LeadId) {
    sqlx::query(
        "insert into notifications (id, user_id, code, lead_id, body, created_at)
         values (gen_random_uuid(), $1, 'sla.reminder', $2, '{}', $3)",
    )
    .bind(user.id.uuid())
    .bind(lead.uuid())
    .bind(app.now())
    .execute(&app.db.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn what_is_overdue_is_listed_and_counted_in_the_callers_scope() {
    let app = TestApp::new().await;
    let (ayse, can) = (app.user("ayse", Role::Agent).await, app.user("can", Role::Agent).await);
    let manager = app.user("manager", Role::Manager).await;
    for (number, owner) in [(1, &ayse), (2, &ayse), (3, &can)] {
        let lead = app.lead(number, Some(owner)).await;
        overdue(&app, lead).await;
    }
    for (user, expected) in [(&ayse, 2), (&can, 1), (&manager, 3)] {
        let page = app.get("/api/v1/sla/overdue", &app.token(user)).await.json();
        assert_eq!(page["data"].as_array().unwrap().len(), expected, "{}: {page}", user.username);
        assert_eq!(page["data"][0]["overdueSeconds"], 60);
    }
    let of_can = format!("/api/v1/sla/overdue?filter%5Bowner%5D={}", can.id);
    let page = app.get(&of_can, &app.token(&manager)).await.json();
    assert_eq!(page["data"].as_array().unwrap().len(), 1);
    let counts = app.get("/api/v1/sla/overdue/summary", &app.token(&manager)).await.json();
    let counts: Vec<&Value> = counts.as_array().unwrap().iter().map(|row| &row["overdue"]).collect();
    assert_eq!(counts, [2, 1]);
    let detail = app.get("/api/v1/leads?limit=1", &app.token(&can)).await.json();
    let sla = &detail["data"][0]["sla"];
    assert_eq!((&sla["policy"], &sla["remainingSeconds"]), (&json!("first_response"), &json!(-60)), "{sla}");
}

#[tokio::test]
async fn a_policy_is_changed_by_who_may_and_refused_where_its_times_make_no_sense() {
    let app = TestApp::new().await;
    let admin = app.token(&app.user("admin", Role::Admin).await);
    let agent = app.token(&app.user("agent", Role::Agent).await);
    let path = "/api/v1/sla/policies/first_response";
    let put = |token: &str, body: Value| app.send(json_request(Method::PUT, path, token, &[], &body));
    let policy = |due: i64, remind: Value| {
        json!({
            "dueSeconds": due, "remindAtSeconds": remind, "callCounts": "conversation",
            "escalations": [{ "afterSeconds": 0, "to": "manager" }],
        })
    };
    assert_eq!(put(&agent, policy(600, json!([300]))).await.problem(), "forbidden");
    for bad in [policy(0, json!([])), policy(600, json!([600])), policy(600, json!([300, 200]))] {
        assert_eq!(put(&admin, bad.clone()).await.problem(), "invalid_body", "{bad}");
    }
    let changed = put(&admin, policy(600, json!([300]))).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    let policies = app.get("/api/v1/sla/policies", &agent).await.json();
    let found =
        policies.as_array().unwrap().iter().find(|policy| policy["code"] == "first_response").unwrap();
    assert_eq!((&found["dueSeconds"], &found["callCounts"]), (&json!(600), &json!("conversation")));
    assert_eq!(app.count("select count(*) from audit_event where action = 'sla_policy.changed'").await, 1);
}

#[tokio::test]
async fn notifications_are_ones_own_and_are_read_once() {
    let app = TestApp::new().await;
    let (ayse, can) = (app.user("ayse", Role::Agent).await, app.user("can", Role::Agent).await);
    let lead = app.lead(1, Some(&ayse)).await;
    tell(&app, &ayse, lead).await;
    let list = "/api/v1/me/notifications?filter%5Bunread%5D=true";
    let page = app.get(list, &app.token(&ayse)).await.json();
    let id = page["data"][0]["id"].clone();
    assert_eq!(
        (&page["data"][0]["code"], page["data"].as_array().unwrap().len()),
        (&json!("sla.reminder"), 1)
    );
    assert_eq!(app.get(list, &app.token(&can)).await.json()["data"], json!([]));
    let read = |user: &User| {
        let token = app.token(user);
        let body = json!({ "ids": [id] });
        app.send(json_request(Method::PUT, "/api/v1/me/notifications/read", &token, &[], &body))
    };
    assert_eq!(read(&can).await.json()["read"], 0, "somebody else's");
    assert_eq!(read(&ayse).await.json()["read"], 1);
    assert_eq!(read(&ayse).await.json()["read"], 0);
    assert_eq!(app.get(list, &app.token(&ayse)).await.json()["data"], json!([]));
}

#[tokio::test]
async fn each_status_says_what_may_follow_it_for_whom() {
    let app = TestApp::new().await;
    let (agent, admin) = (app.user("agent", Role::Agent).await, app.user("admin", Role::Admin).await);
    let follow = async |user: &User, code: &str| {
        let statuses = app.get("/api/v1/statuses", &app.token(user)).await.json();
        let status =
            statuses.as_array().unwrap().iter().find(|status| status["code"] == code).unwrap().clone();
        status["allowedTransitions"].clone()
    };
    let open = json!(["no_answer", "interested", "not_interested", "wrong_number", "blocked", "lost"]);
    assert_eq!(follow(&agent, "new").await, open);
    assert_eq!(follow(&agent, "wrong_number").await, json!([]), "the administrators' decision");
    assert_eq!(follow(&admin, "wrong_number").await, json!(["new", "lost"]));
}
