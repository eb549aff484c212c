//! Health, metrics, version, and who may read them.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Method, StatusCode};
use sira_domain::identity::Role;

use super::app::{Answer, TestApp, request};

async fn from(app: &TestApp, peer: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = request(Method::GET, path, "", headers, Body::empty());
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    app.send(request).await
}

#[tokio::test]
async fn metrics_and_documents_are_for_this_machine_or_for_those_who_may() {
    let app = TestApp::with(|settings| settings.trust_loopback = true).await;
    let agent = app.user("agent", Role::Agent).await;
    let admin = app.user("admin", Role::Admin).await;
    for path in ["/metrics", "/docs/", "/version"] {
        for local in ["127.0.0.1:4000", "[::1]:4000", "[::ffff:127.0.0.1]:4000"] {
            assert_eq!(from(&app, local, path, &[]).await.status, StatusCode::OK, "{local} {path}");
        }
        let remote = from(&app, "192.0.2.1:4000", path, &[]).await;
        assert_eq!(remote.problem(), "unauthenticated", "{path}");
        let proxied = from(&app, "127.0.0.1:4000", path, &[("x-forwarded-for", "192.0.2.1")]).await;
        assert_eq!(proxied.problem(), "unauthenticated", "a proxy on this machine speaks for others: {path}");
        let claimed = from(&app, "192.0.2.1:4000", path, &[("x-forwarded-for", "127.0.0.1")]).await;
        assert_eq!(claimed.problem(), "unauthenticated", "{path}");
        assert_eq!(app.get(path, &app.token(&admin)).await.status, StatusCode::OK, "{path}");
    }
    assert_eq!(app.get("/metrics", &app.token(&agent)).await.problem(), "forbidden");
}

#[tokio::test]
async fn a_peer_on_this_machine_is_a_stranger_unless_the_settings_say_otherwise() {
    let app = TestApp::new().await;
    for path in ["/metrics", "/docs/", "/version"] {
        for local in ["127.0.0.1:4000", "[::1]:4000"] {
            assert_eq!(from(&app, local, path, &[]).await.problem(), "unauthenticated", "{local} {path}");
        }
    }
}

#[tokio::test]
async fn unknown_states_are_refused_with_the_allowed_ones() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    for (query, parameter, one) in [
        ("jobs?filter[state]=happy", "filter[state]", "merged"),
        ("jobs?filter[state]=", "filter[state]", "dead"),
        ("workflows?filter[status]=ready", "filter[status]", "superseded"),
    ] {
        let answer = app.get(&format!("/api/v1/ops/{query}"), &token).await;
        assert_eq!(answer.problem(), "invalid_query", "{query}");
        let error = &answer.json()["errors"][0];
        assert_eq!((&error["parameter"], &error["code"]), (&parameter.into(), &"unknown_value".into()));
        assert!(error["allowed"].as_array().unwrap().contains(&one.into()), "{error}");
    }
    for path in ["jobs?filter[tag]=a%00b", "jobs?filter[kind]=%00", "workflows?filter[key]=%00"] {
        let answer = app.get(&format!("/api/v1/ops/{path}"), &token).await;
        assert_eq!(answer.problem(), "invalid_query", "{path}");
        assert_eq!(answer.json()["errors"][0]["code"], "wrong_value", "{path}");
    }
}

#[tokio::test]
async fn a_ready_process_says_so_for_each_dependency() {
    let app = TestApp::new().await;
    let answer = app.get("/readyz", "").await;
    assert_eq!(answer.status, StatusCode::OK);
    insta::assert_json_snapshot!(answer.json());
}

#[tokio::test]
async fn jobs_and_workflows_are_listed_filtered_and_shown() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    sqlx::raw_sql(
        "insert into engine.jobs (kind, queue, state, attempts_max, payload)
             select 'test.kind', 'intake', 'dead', 3, jsonb_build_object('n', n) from generate_series(1, 3) n;
         insert into engine.workflows (kind, key, queue, attempts_max, version, status, state)
             values ('test.flow', 'a', 'workflows', 3, 1, 'running', '{}')",
    )
    .execute(&app.db.pool)
    .await
    .unwrap();
    let first = app.get("/api/v1/ops/jobs?filter[state]=dead&limit=2", &token).await.json();
    assert_eq!(first["data"].as_array().unwrap().len(), 2, "{first}");
    let cursor = first["page"]["nextCursor"].as_str().unwrap();
    let rest = app.get(&format!("/api/v1/ops/jobs?filter[state]=dead&limit=2&cursor={cursor}"), &token).await;
    let rest = rest.json();
    assert_eq!(rest["data"].as_array().unwrap().len(), 1);
    assert_eq!(rest["page"]["hasMore"], false);
    let id = &rest["data"][0]["id"];
    let job = app.get(&format!("/api/v1/ops/jobs/{id}"), &token).await.json();
    assert_eq!(
        (&job["kind"], &job["payload"], &job["attempts"]),
        (&"test.kind".into(), &serde_json::json!({"n": 1}), &serde_json::json!([]))
    );
    let none = app.get("/api/v1/ops/jobs?filter[state]=running", &token).await.json();
    assert_eq!(none["data"], serde_json::json!([]));
    let flows = app.get("/api/v1/ops/workflows?filter[kind]=test.flow", &token).await.json();
    let flow = app.get(&format!("/api/v1/ops/workflows/{}", flows["data"][0]["id"]), &token).await.json();
    assert_eq!((&flow["key"], &flow["steps"]), (&"a".into(), &serde_json::json!([])));
    for unknown in ["/api/v1/ops/jobs/0", "/api/v1/ops/jobs/x", "/api/v1/ops/workflows/0"] {
        assert_eq!(app.get(unknown, &token).await.problem(), "not_found", "{unknown}");
    }
}
