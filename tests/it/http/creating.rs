//! Leads typed in by hand, and repeated requests.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use sira_domain::idempotency;
use sira_domain::identity::Role;

use super::app::TestApp;

const PATH: &str = "/api/v1/leads";
const LEADS: &str = "select count(*) from leads";

fn key(key: &str) -> [(&str, &str); 1] {
    [("idempotency-key", key)]
}

#[tokio::test]
async fn a_typed_lead_is_created_and_a_known_person_is_joined() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let body = json!({
        "name": "Örnek Kişi", "phone": "0555 000 00 17", "email": "ornek@example.com", "country": "TR",
        "language": "tr", "consents": [{"channel": "call", "decision": "granted", "textVersion": "v3"}],
    });
    let created = app.post(PATH, &token, &key("a"), &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text());
    assert_eq!(created.json()["effect"], "created");
    let lead = app.get(created.header("location"), &token).await.json();
    assert_eq!(lead["id"], created.json()["id"]);
    assert_eq!((&lead["channel"], &lead["phone"]), (&json!("api"), &json!("+90*** ** 17")));
    assert_eq!(lead["consents"], json!({"call": true, "whatsapp": null, "sms": null, "email": null}));
    let joined = app.post(PATH, &token, &key("b"), &json!({"phone": "+905550000017"})).await;
    assert_eq!((joined.status, &joined.json()["effect"]), (StatusCode::OK, &json!("joined")));
    assert_eq!(joined.json()["id"], created.json()["id"]);
    assert_eq!(app.count(LEADS).await, 1);
}

#[tokio::test]
async fn a_repeated_request_gets_its_first_answer_and_changes_nothing() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let body = json!({"name": "Örnek Kişi", "phone": "+905550000017"});
    let first = app.post(PATH, &token, &key("one"), &body).await;
    assert_eq!(first.header("idempotency-replayed"), "");
    let again = app.post(PATH, &token, &key("one"), &body).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(app.count("select count(*) from lead_enquiries").await, 1);
    let other = app.post(PATH, &token, &key("one"), &json!({"phone": "+905550000018"})).await;
    assert_eq!(other.problem(), "idempotency_key_reused");
    assert_eq!(app.count(LEADS).await, 1);
    let manager = app.user("manager", Role::Manager).await;
    let elsewhere =
        app.post(PATH, &app.token(&manager), &key("one"), &json!({"phone": "+905550000018"})).await;
    assert_eq!(elsewhere.status, StatusCode::CREATED, "keys of two callers never meet");
    let kept = "select count(*) from idempotency_keys where response::text like '%5550000%' or response::text like '%rnek%'";
    assert_eq!(app.count(kept).await, 0, "the kept answer holds no personal data");
}

#[tokio::test]
async fn equal_requests_at_once_have_one_effect() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let body = json!({"phone": "+905550000017"});
    let headers = key("one");
    let send = || app.post(PATH, &token, &headers, &body);
    let (a, b, c, d) = tokio::join!(send(), send(), send(), send());
    let answers = [a, b, c, d];
    let replayed = answers.iter().filter(|answer| answer.header("idempotency-replayed") == "true").count();
    assert_eq!(replayed, 3, "{:?}", answers.iter().map(super::app::Answer::text).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| answer.json() == answers[0].json()));
    assert_eq!(app.count("select count(*) from lead_enquiries").await, 1);
}

#[tokio::test]
async fn a_request_whose_twin_does_not_end_is_told_to_come_back() {
    let app = TestApp::new().await;
    let (user, token) = app.signed_in(Role::Admin).await;
    let body = json!({"phone": "+905550000017"});
    let mut twin = app.uow().await;
    let principal = format!("user:{}", user.id);
    let route = format!("POST {PATH}");
    let raw = body.to_string();
    let cipher = &app.app.cx.cipher;
    let request = idempotency::Request::new(cipher, principal, route, "one".to_owned(), raw.as_bytes());
    idempotency::begin(&mut twin, &request).await.unwrap();
    let started = std::time::Instant::now();
    let refused = app.post(PATH, &token, &key("one"), &body).await;
    assert_eq!(refused.problem(), "idempotency_in_flight");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(started.elapsed() < Duration::from_secs(10), "the wait is bounded");
    drop(twin);
    let answer = app.post(PATH, &token, &key("one"), &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "what was rolled back left no key");
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let bad = app.post(PATH, &token, &key("one"), &json!({"phone": "12"})).await;
    assert_eq!(bad.problem(), "invalid_body");
    let good = app.post(PATH, &token, &key("one"), &json!({"phone": "+905550000017"})).await;
    assert_eq!(good.status, StatusCode::CREATED);
}

#[tokio::test]
async fn all_that_is_wrong_is_said_at_once_and_no_value_is_repeated() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let body = json!({
        "phone": "12", "email": "nobody-at-example", "country": "Türkiye", "language": "t u r",
    });
    let answer = app.post(PATH, &token, &key("one"), &body).await;
    assert_eq!(answer.problem(), "invalid_body");
    let errors = answer.json()["errors"].clone();
    let pointers: Vec<&str> =
        errors.as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/phone", "/email", "/country", "/language"]);
    for value in ["\"12\"", "nobody", "Türkiye"] {
        assert!(!answer.text().contains(value), "{value}");
    }
    for (body, pointer) in [
        (json!({}), "/phone"),
        (json!({"name": "Örnek"}), "/phone"),
        (json!({"phone": "+905550000017", "role": "admin"}), "/role"),
        (json!({"phone": "+905550000017", "consents": [{"channel": "call"}]}), "/consents/0/decision"),
        (
            json!({"phone": "+905550000017", "consents": [{"channel": "fax", "decision": "granted"}]}),
            "/consents/0/channel",
        ),
        (
            json!({"phone": "+905550000017", "consents": [
                {"channel": "call", "decision": "granted", "textVersion": "Ayşe said yes"}
            ]}),
            "/consents/0/textVersion",
        ),
        (json!({"phone": "+905550000017", "name": "Örnek\u{0}Kişi"}), "/name"),
    ] {
        let answer = app.post(PATH, &token, &key("one"), &body).await;
        assert_eq!(answer.problem(), "invalid_body", "{body}");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{body}");
    }
    assert_eq!(app.post(PATH, &token, &[], &json!({})).await.problem(), "idempotency_key_required");
    let long = "k".repeat(201);
    assert_eq!(app.post(PATH, &token, &key(&long), &json!({})).await.problem(), "invalid_header");
    assert_eq!(app.count(LEADS).await, 0);
}
