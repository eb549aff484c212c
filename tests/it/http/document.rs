//! The OpenAPI document, and what it promises about access.

use axum::body::Body;
use http::Method;
use serde_json::Value;
use sira_domain::identity::{Permission, Role};

use super::app::{TestApp, request};

/// The routes that answer a stranger. A new one is decided here, not by accident.
const OPEN: [&str; 7] = [
    "GET /livez",
    "GET /problems/{code}",
    "GET /readyz",
    "GET /webhooks/meta",
    "POST /api/v1/auth/login",
    "POST /webhooks/meta",
    "POST /webhooks/telephony",
];

struct Operation {
    method: Method,
    path: String,
    permission: String,
}

/// Every operation of the document, with ids filled in.
fn operations() -> Vec<Operation> {
    let document = serde_json::to_value(sira::http::openapi("/api/v1").unwrap()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            let permission = operation[sira::http::PERMISSION_EXTENSION].as_str().unwrap().to_owned();
            all.push(Operation { method, path: path.clone(), permission });
        }
    }
    assert!(all.len() >= 14, "the document lists the operations");
    all
}

async fn status(app: &TestApp, operation: &Operation, token: &str) -> u16 {
    let path = operation.path.replace("{id}", &uuid::Uuid::nil().to_string()).replace("{code}", "not_found");
    let headers = [("content-type", "application/json")];
    let sent = request(operation.method.clone(), &path, token, &headers, Body::from("{}"));
    // The status alone: a stream has no end.
    app.call(sent).await.status().as_u16()
}

#[tokio::test]
async fn every_route_without_a_token_is_refused_except_the_listed_ones() {
    let app = TestApp::new().await;
    let mut open = Vec::new();
    for operation in operations() {
        let name = format!("{} {}", operation.method, operation.path);
        if ["public", "signature"].contains(&operation.permission.as_str()) {
            open.push(name);
        } else {
            assert_eq!(status(&app, &operation, "").await, 401, "{name}");
        }
    }
    open.sort();
    assert_eq!(open, OPEN);
    for path in ["/docs", "/docs/", "/docs/openapi.json", "/docs/swagger-ui.css"] {
        assert_eq!(app.get(path, "").await.problem(), "unauthenticated", "{path}");
    }
}

#[tokio::test]
async fn every_role_gets_exactly_what_its_permissions_say() {
    let app = TestApp::new().await;
    for role in Role::ALL {
        let (_, token) = app.signed_in(role).await;
        for operation in operations() {
            let name = operation.permission.rsplit('|').next().unwrap();
            let Some(permission) = Permission::ALL.into_iter().find(|p| p.as_str() == name) else { continue };
            let allowed = status(&app, &operation, &token).await != 403;
            assert_eq!(allowed, role.can(permission), "{role:?} {} {}", operation.method, operation.path);
        }
    }
}

#[test]
fn the_stream_is_published_as_one_that_takes_a_token_or_a_ticket() {
    let document = serde_json::to_value(sira::http::openapi("/api/v1").unwrap()).unwrap();
    let stream = &document["paths"]["/api/v1/events"]["get"];
    assert_eq!(stream[sira::http::PERMISSION_EXTENSION], "ticket|leads.view");
    assert_eq!(stream["security"], serde_json::json!([{ "bearer": [] }, { "ticket": [] }]));
    let scheme = &document["components"]["securitySchemes"]["ticket"];
    assert_eq!((&scheme["type"], &scheme["in"]), (&"apiKey".into(), &"query".into()));
    let tickets = &document["paths"]["/api/v1/events/tickets"]["post"]["security"];
    assert_eq!(*tickets, serde_json::json!([{ "bearer": [] }]), "a ticket gets no ticket");
}

#[tokio::test]
async fn the_checked_in_document_is_the_served_one() {
    let mut generated = Vec::new();
    sira::cli::openapi::run(&mut generated, "/api/v1").unwrap();
    let generated = String::from_utf8(generated).unwrap();
    let checked_in = include_str!("../../../docs/openapi.json");
    let fresh = concat!(env!("CARGO_TARGET_TMPDIR"), "/openapi.json");
    std::fs::write(fresh, &generated).unwrap();
    assert!(generated == checked_in, "docs/openapi.json is old; the new one is {fresh}");
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Agent).await;
    let served: Value = app.get("/docs/openapi.json", &token).await.json();
    assert_eq!(served, serde_json::from_str::<Value>(checked_in).unwrap());
    assert_eq!(served["openapi"], "3.1.0");
}

#[tokio::test]
async fn the_swagger_ui_loads_nothing_from_elsewhere() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Agent).await;
    let page = app.get("/docs/", &token).await;
    assert!(page.text().contains("swagger-ui"), "{}", page.text());
    assert!(!page.text().contains("https://"), "offline");
    assert!(page.header("content-security-policy").starts_with("default-src 'self'"));
    for file in ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js"] {
        assert_eq!(app.get(&format!("/docs/{file}"), &token).await.status, 200, "{file}");
    }
}

#[test]
fn a_base_path_of_another_form_stops_the_boot() {
    for bad in ["api", "/", "/api/", "/{x}", "/a b"] {
        assert!(sira::http::openapi(bad).is_err(), "{bad}");
    }
    for good in ["", "/api/v1", "/crm"] {
        assert!(sira::http::openapi(good).is_ok(), "{good}");
    }
}

#[tokio::test]
async fn the_api_can_be_mounted_where_its_clients_expect_it() {
    for base in ["", "/crm"] {
        let app = TestApp::with(|settings| settings.base_path = base.to_owned()).await;
        let (agent, token) = app.signed_in(Role::Agent).await;
        let lead = app.lead(1, Some(&agent)).await;
        assert_eq!(app.get(&format!("{base}/leads"), &token).await.status, 200);
        assert_eq!(app.get("/api/v1/leads", &token).await.problem(), "not_found");
        let call = format!("{base}/leads/{lead}/call");
        let refused = app.post(&call, &token, &[("idempotency-key", "one")], &serde_json::json!({})).await;
        assert_eq!(refused.problem(), "no_line", "{call}");
    }
}
