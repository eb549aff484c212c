//! Errors, as clients read them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::Method;
use serde_json::json;
use sira_domain::identity::Role;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tokio::task::JoinSet;

use super::app::{TestApp, request};

/// Every way in which the framework itself refuses is a problem document too.
#[tokio::test]
async fn every_refusal_is_a_problem_document() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let json_type = ("content-type", "application/json");
    let login = "/api/v1/auth/login";
    for (what, method, path, header, body, code) in [
        ("an unknown path", Method::GET, "/nothing", json_type, "", "not_found"),
        ("an unknown path below the API", Method::GET, "/api/v1/nothing", json_type, "", "not_found"),
        ("another method", Method::DELETE, "/api/v1/leads", json_type, "", "method_not_allowed"),
        ("bad JSON", Method::POST, login, json_type, "{", "malformed_json"),
        ("another type", Method::POST, login, ("content-type", "text/plain"), "{}", "unsupported_media_type"),
        ("no type", Method::POST, login, ("x-nothing", "x"), "{}", "unsupported_media_type"),
        ("an unknown field", Method::POST, login, json_type, r#"{"user":"x"}"#, "invalid_body"),
        ("a wrong value", Method::POST, login, json_type, r#"{"username":7,"password":"x"}"#, "invalid_body"),
    ] {
        let answer = app.send(request(method, path, &token, &[header], Body::from(body))).await;
        assert_eq!(answer.problem(), code, "{what}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    }
    let large = format!("{{\"username\":\"{}\"}}", "x".repeat(64 * 1024));
    let answer = app.send(request(Method::POST, login, "", &[json_type], Body::from(large))).await;
    assert_eq!(answer.problem(), "body_too_large");
    let answer = app.send(request(Method::DELETE, "/api/v1/leads", &token, &[], Body::empty())).await;
    assert!(answer.header("allow").contains("GET"), "{}", answer.header("allow"));
}

#[tokio::test]
async fn problems_speak_turkish_and_english_and_carry_the_trace() {
    let app = TestApp::new().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    for language in ["tr-TR,tr;q=0.9", "en", "fr"] {
        let headers = [
            ("content-type", "application/json"),
            ("accept-language", language),
            ("traceparent", parent.as_str()),
        ];
        let body = Body::from(json!({"username": "a", "secret": "x"}).to_string());
        let answer = app.send(request(Method::POST, "/api/v1/auth/login", "", &headers, body)).await;
        assert_eq!(answer.header("x-request-id"), trace);
        let name = format!("problem_{}", &language[..2]);
        insta::assert_json_snapshot!(name, answer.json());
    }
}

#[tokio::test]
async fn the_page_of_every_problem_is_served() {
    let app = TestApp::new().await;
    let answer = app.get("/api/v1/leads", "").await;
    let page = app.get(answer.json()["type"].as_str().unwrap(), "").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/plain"));
    insta::assert_snapshot!(page.text());
    for code in sira::http::catalogue::Code::ALL {
        assert_eq!(app.get(&format!("/problems/{}", code.entry().name), "").await.status, 200);
    }
    assert_eq!(app.get("/problems/nonsense", "").await.problem(), "not_found");
}

#[tokio::test]
async fn a_database_that_is_gone_is_said_without_internals() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let elsewhere = app.db.options().database("postgres");
    let database = app.db.options().get_database().unwrap().to_owned();
    let gone = format!(
        "alter database {database} with allow_connections false;
         select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'"
    );
    let mut conn = PgConnection::connect_with(&elsewhere).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(gone)).execute(&mut conn).await.unwrap();
    let answer = app.get("/api/v1/leads", &token).await;
    assert_eq!(answer.problem(), "unavailable");
    assert_eq!(answer.json()["retryable"], true);
    assert_eq!((answer.header("retry-after"), &answer.json()["retryAfter"]), ("1", &json!(1)));
    for internal in ["sqlx", "pool", "Pool", "connection", "SQL"] {
        assert!(!answer.text().contains(internal), "{}", answer.text());
    }
    let ready = app.get("/readyz", "").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["dependencies"][0], json!({"name": "database", "ready": false}));
    assert_eq!(app.get("/livez", "").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_all_connections_are_in_use_callers_are_told_soon_and_the_process_is_ready() {
    let app = Arc::new(TestApp::new().await);
    let (_, token) = app.signed_in(Role::Admin).await;
    let mut held = Vec::new();
    while let Ok(Ok(conn)) = tokio::time::timeout(Duration::from_millis(200), app.db.pool.acquire()).await {
        held.push(conn);
    }
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..200 {
        let (app, token) = (app.clone(), token.clone());
        clients.spawn(async move { app.get("/api/v1/leads", &token).await });
    }
    assert_eq!(app.get("/readyz", "").await.status, 200);
    while let Some(answer) = clients.join_next().await {
        assert_eq!(answer.unwrap().problem(), "unavailable");
    }
    // The pool's own patience is much longer.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(held);
    assert_eq!(app.get("/api/v1/leads", &token).await.status, 200);
}

#[tokio::test]
async fn a_broken_row_is_an_internal_error_without_its_content() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    sqlx::raw_sql("alter table users drop column display_name cascade").execute(&app.db.pool).await.unwrap();
    let answer = app.get("/api/v1/me", &token).await;
    assert_eq!(answer.problem(), "internal");
    assert!(
        !answer.text().contains("display_name") && !answer.text().contains("column"),
        "{}",
        answer.text()
    );
}
