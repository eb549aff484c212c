//! Meta's webhook.

use aws_lc_rs::hmac;
use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sira_domain::identity::Role;

use super::app::{Answer, META_SECRET, META_VERIFY, TestApp, request};

const PATH: &str = "/webhooks/meta";
const STORED: &str = "select count(*) from inbound_events";

fn sign(secret: &str, raw: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("sha256={}", hex::encode(hmac::sign(&key, raw)))
}

fn announcement(ids: impl IntoIterator<Item = u64>) -> Value {
    let change = |id: u64| {
        json!({"field": "leadgen", "value": {
            "leadgen_id": id.to_string(), "page_id": "7", "form_id": "4", "created_time": 1_630_087_926,
        }})
    };
    let changes: Vec<Value> = ids.into_iter().map(change).collect();
    json!({"object": "page", "entry": [{"id": "7", "time": 1, "changes": changes}]})
}

async fn deliver(app: &TestApp, raw: &[u8], signature: Option<&str>) -> Answer {
    let headers: Vec<(&str, &str)> = [("content-type", "application/json")]
        .into_iter()
        .chain(signature.map(|signature| ("x-hub-signature-256", signature)))
        .collect();
    app.send(request(Method::POST, PATH, "", &headers, Body::from(raw.to_vec()))).await
}

async fn signed(app: &TestApp, raw: &[u8]) -> Answer {
    deliver(app, raw, Some(&sign(META_SECRET, raw))).await
}

#[tokio::test]
async fn the_handshake_repeats_the_challenge_for_the_right_token_alone() {
    let app = TestApp::new().await;
    let ask = |mode: &str, token: &str| {
        format!("{PATH}?hub.mode={mode}&hub.verify_token={token}&hub.challenge=1158201444")
    };
    let answer = app.get(&ask("subscribe", META_VERIFY), "").await;
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "1158201444"));
    assert!(answer.header("content-type").starts_with("text/plain"));
    for bad in [ask("subscribe", "other"), ask("subscribe", ""), ask("other", META_VERIFY), PATH.to_owned()] {
        assert_eq!(app.get(&bad, "").await.problem(), "signature_invalid", "{bad}");
    }
    let unset = TestApp::with(|settings| settings.meta.verify_token = "".into()).await;
    assert_eq!(unset.get(&ask("subscribe", ""), "").await.problem(), "signature_invalid");
}

#[tokio::test]
async fn only_a_right_signature_over_these_very_bytes_is_let_in() {
    let app = TestApp::new().await;
    let raw = announcement([17]).to_string();
    let right = sign(META_SECRET, raw.as_bytes());
    for (what, signature) in [
        ("missing", None),
        ("empty", Some(String::new())),
        ("another secret", Some(sign("other", raw.as_bytes()))),
        ("an empty secret", Some(sign("", raw.as_bytes()))),
        ("cut", Some(right[..70].to_owned())),
        ("no digits", Some(format!("sha256={}", "x".repeat(64)))),
        ("over other bytes", Some(sign(META_SECRET, announcement([18]).to_string().as_bytes()))),
    ] {
        let answer = deliver(&app, raw.as_bytes(), signature.as_deref()).await;
        assert_eq!(answer.problem(), "signature_invalid", "{what}");
        assert_eq!(answer.header("www-authenticate"), "", "{what}");
    }
    let spaced = raw.replacen(':', ": ", 1);
    assert_eq!(deliver(&app, spaced.as_bytes(), Some(&right)).await.problem(), "signature_invalid");
    let junk = deliver(&app, b"not json", Some(&right)).await;
    assert_eq!(junk.problem(), "signature_invalid", "nothing is parsed before");
    assert_eq!(app.count(STORED).await, 0);
    assert_eq!(
        app.count(
            "select count(*) from audit_event where subject_kind = 'inbound_event' or actor_kind = 'provider'"
        )
        .await,
        0
    );
    assert_eq!(deliver(&app, raw.as_bytes(), Some(&right)).await.status, StatusCode::OK);
    assert_eq!(app.count(STORED).await, 1);
    assert_eq!(app.count("select count(*) from audit_event where action = 'inbound.accepted'").await, 1);
}

#[tokio::test]
async fn without_a_configured_secret_nothing_is_let_in() {
    let app = TestApp::with(|settings| settings.meta.app_secrets.clear()).await;
    let raw = announcement([17]).to_string();
    for secret in ["", META_SECRET] {
        let answer = deliver(&app, raw.as_bytes(), Some(&sign(secret, raw.as_bytes()))).await;
        assert_eq!(answer.problem(), "signature_invalid");
    }
}

#[tokio::test]
async fn redelivery_changes_nothing() {
    let app = TestApp::new().await;
    let raw = announcement([17, 18]).to_string();
    for _ in 0..3 {
        assert_eq!(signed(&app, raw.as_bytes()).await.status, StatusCode::OK);
    }
    assert_eq!(signed(&app, announcement([18, 19]).to_string().as_bytes()).await.status, StatusCode::OK);
    assert_eq!(app.count(STORED).await, 3);
    assert_eq!(app.count("select count(*) from audit_event where action = 'inbound.accepted'").await, 2);
}

#[tokio::test]
async fn turkish_letters_pass_escaped_and_as_utf8() {
    let app = TestApp::new().await;
    let mut body = announcement([17]);
    body["entry"][0]["changes"][0]["value"]["form_name"] = json!("Başvuru çğıöşü İ");
    let plain = body.to_string();
    assert_eq!(signed(&app, plain.as_bytes()).await.status, StatusCode::OK);
    let escaped: String = plain
        .replace("\"17\"", "\"18\"")
        .chars()
        .map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) })
        .collect();
    assert!(escaped.contains(r"\u015f"));
    assert_eq!(signed(&app, escaped.as_bytes()).await.status, StatusCode::OK);
    assert_eq!(app.count(STORED).await, 2);
}

#[tokio::test]
async fn a_thousand_changes_are_stored_in_one_go() {
    let app = TestApp::new().await;
    assert_eq!(signed(&app, announcement(1..=1000).to_string().as_bytes()).await.status, StatusCode::OK);
    assert_eq!(app.count(STORED).await, 1000);
    let more = signed(&app, announcement(1..=1001).to_string().as_bytes()).await;
    assert_eq!(more.problem(), "body_too_large");
}

#[tokio::test]
async fn a_body_of_four_mebibytes_passes_and_a_larger_one_does_not() {
    let app = TestApp::new().await;
    let padded = |size: usize| {
        let mut raw = announcement([17]).to_string().into_bytes();
        raw.resize(size, b' ');
        raw
    };
    let limit = 4 * 1024 * 1024;
    assert_eq!(signed(&app, &padded(limit)).await.status, StatusCode::OK);
    assert_eq!(signed(&app, &padded(limit + 1)).await.problem(), "body_too_large");
    let unread = deliver(&app, &padded(limit + 1), Some("sha256=junk")).await;
    assert_eq!(unread.problem(), "signature_invalid", "the body is not even read");
}

#[tokio::test]
async fn one_bad_change_does_not_fail_the_batch() {
    let app = TestApp::new().await;
    let mut body = announcement([17, 18, 19]);
    body["entry"][0]["changes"][0]["value"]["leadgen_id"] = json!("1\u{0}7");
    body["entry"][0]["changes"][1]["value"]["leadgen_id"] = json!("1".repeat(1000));
    assert_eq!(signed(&app, body.to_string().as_bytes()).await.status, StatusCode::OK);
    assert_eq!(app.count(STORED).await, 1);
}

#[tokio::test]
async fn what_is_signed_but_no_lead_is_told_apart() {
    let app = TestApp::new().await;
    assert_eq!(signed(&app, b"{\"object\":").await.problem(), "malformed_json");
    assert_eq!(signed(&app, b"[]").await.problem(), "malformed_json");
    let other = br#"{"object":"instagram","entry":[{"id":"7","changes":[{"field":"comments"}]}]}"#;
    assert_eq!(signed(&app, other).await.status, StatusCode::OK);
    let feed = br#"{"object":"page","entry":[{"id":"7","changes":[{"field":"feed","value":{}}]}]}"#;
    assert_eq!(signed(&app, feed).await.status, StatusCode::OK);
    assert_eq!(app.count(STORED).await, 0);
}

#[tokio::test]
async fn the_quarantine_is_listed_page_by_page() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Auditor).await;
    signed(&app, announcement(1..=3).to_string().as_bytes()).await;
    sqlx::query(
        "update inbound_events set state = 'quarantined', reason_code = 'no_contact', reason = 'no phone'",
    )
    .execute(&app.db.pool)
    .await
    .unwrap();
    let mut seen = Vec::new();
    let mut path = "/api/v1/ops/quarantine?limit=2".to_owned();
    for _ in 0..2 {
        let answer = app.get(&path, &token).await.json();
        for row in answer["data"].as_array().unwrap() {
            assert_eq!(row["reasonCode"], "no_contact");
            seen.push(row["externalId"].as_str().unwrap().to_owned());
        }
        let Some(next) = answer["page"]["nextCursor"].as_str() else { break };
        path = format!("/api/v1/ops/quarantine?limit=2&cursor={next}");
    }
    seen.sort();
    assert_eq!(seen, ["1", "2", "3"]);
}
