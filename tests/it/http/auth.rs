//! Signing in, tokens, and who is let through.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use http::StatusCode;
use serde_json::{Value, json};
use sira_domain::identity::Role;

use super::app::{PASSWORD, TestApp};

const HERE: &str = "192.0.2.1";

#[tokio::test]
async fn signing_in_answers_a_token_that_works() {
    let app = TestApp::new().await;
    let user = app.user("ayse", Role::Manager).await;
    let answer = app.login("Ayse", PASSWORD, HERE).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!((&body["tokenType"], &body["expiresIn"]), (&json!("Bearer"), &json!(600)));
    let me = app.get("/api/v1/me", body["accessToken"].as_str().unwrap()).await.json();
    assert_eq!(me, body["user"]);
    assert_eq!(me["id"], user.id.to_string());
    assert_eq!(me["scope"], "team");
    assert_eq!(
        me["permissions"],
        json!([
            "leads.view",
            "leads.create",
            "leads.import",
            "leads.edit",
            "leads.call",
            "leads.reopen",
            "docs.view"
        ])
    );
    assert_eq!(app.count("select count(*) from audit_event where action = 'user.signed_in'").await, 1);
}

#[tokio::test]
async fn known_unknown_and_disabled_users_get_the_same_refusal() {
    let app = TestApp::new().await;
    app.user("known", Role::Agent).await;
    app.user("disabled", Role::Agent).await;
    sqlx::query("update users set active = false where username = 'disabled'")
        .execute(&app.db.pool)
        .await
        .unwrap();
    let mut bodies = Vec::new();
    for (username, password) in [
        ("known", "another password"),
        ("unknown", PASSWORD),
        ("disabled", PASSWORD),
        ("no user can have this name!", PASSWORD),
        ("known", ""),
    ] {
        let answer = app.login(username, password, HERE).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{username}");
        let mut body = answer.json();
        body["traceId"] = json!("[trace]");
        bodies.push((body, answer.header("www-authenticate").to_owned()));
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:#?}");
    assert_eq!(app.count("select count(*) from audit_event where action = 'user.sign_in_refused'").await, 5);
    let typed =
        "select count(*) from audit_event where body::text like '%no user%' or subject like '%no user%'";
    assert_eq!(app.count(typed).await, 0, "what was typed as a name is not kept");
}

#[tokio::test]
async fn failures_in_a_row_delay_the_next_attempt_from_that_address_only() {
    let app = TestApp::new().await;
    app.user("agent", Role::Agent).await;
    for _ in 0..5 {
        assert_eq!(app.login("agent", "wrong password", HERE).await.status, StatusCode::UNAUTHORIZED);
    }
    let delayed = app.login("agent", PASSWORD, HERE).await;
    assert_eq!(delayed.problem(), "too_many_attempts");
    let wait: i64 = delayed.header("retry-after").parse().unwrap();
    assert_eq!(delayed.json()["retryAfter"], wait);
    assert_eq!(app.login("agent", PASSWORD, "192.0.2.2").await.status, StatusCode::OK, "never a lock");
    app.db.clock.advance(TimeDelta::seconds(wait));
    assert_eq!(app.login("agent", PASSWORD, HERE).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_sign_in_that_could_not_be_decided_is_no_failure() {
    let app = TestApp::new().await;
    app.db.pool.close().await;
    for _ in 0..10 {
        assert_eq!(app.login("agent", PASSWORD, HERE).await.problem(), "unavailable");
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[tokio::test]
async fn tampered_tokens_are_refused() {
    let app = TestApp::new().await;
    let (user, token) = app.signed_in(Role::Admin).await;
    let parts: Vec<&str> = token.split('.').collect();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let unsigned = |header: Value, claims: &Value| format!("{}.{}.", encode(&header), encode(claims));
    let hs256 = |key: &[u8]| {
        let message = format!("{}.{}", encode(&json!({"alg": "HS256", "typ": "at+jwt"})), parts[1]);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    };
    let mut other = claims.clone();
    other["sub"] = json!(uuid::Uuid::nil());
    let swapped = format!("{}.{}.{}", parts[0], encode(&other), parts[2]);
    let jku = json!({"alg": "EdDSA", "typ": "at+jwt", "jku": "https://example.com/keys"});
    for (what, bad) in [
        ("nothing", String::new()),
        ("junk", "a.b.c".to_owned()),
        ("alg none", unsigned(json!({"alg": "none", "typ": "at+jwt"}), &claims)),
        ("no signature", unsigned(json!({"alg": "EdDSA", "typ": "at+jwt"}), &claims)),
        ("HS256 under an empty key", hs256(b"")),
        ("other claims", swapped),
        ("another header", format!("{}.{}.{}", encode(&jku), parts[1], parts[2])),
        ("a cut signature", token[..token.len() - 2].to_owned()),
        ("too long", format!("{token}{}", "A".repeat(4096))),
    ] {
        let answer = app.get("/api/v1/me", &bad).await;
        assert_eq!(answer.problem(), "unauthenticated", "{what}");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{what}");
    }
    assert_eq!(app.get("/api/v1/me", &token).await.json()["id"], user.id.to_string());
}

/// Signed by our own key, so that only the claims and the type are at fault.
#[tokio::test]
async fn rightly_signed_tokens_with_other_claims_are_refused() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    let app = TestApp::new().await;
    let user = app.user("agent", Role::Agent).await;
    let home = app.home().join("secrets/token_key");
    let key = EncodingKey::from_ed_der(&std::fs::read(home).unwrap());
    let now = app.now().timestamp();
    let good = json!({
        "iss": "sira", "aud": "sira-api", "sub": user.id, "sid": uuid::Uuid::nil(), "jti": uuid::Uuid::nil(),
        "iat": now, "nbf": now, "exp": now + 600,
    });
    let sign = |claims: &Value, typ: Option<&str>| {
        let header = Header { typ: typ.map(str::to_owned), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    };
    let changed = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        sign(&claims, Some("at+jwt"))
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        sign(&claims, Some("at+jwt"))
    };
    assert_eq!(app.get("/api/v1/me", &sign(&good, Some("at+jwt"))).await.status, StatusCode::OK);
    let mut bad = vec![
        ("typ JWT", sign(&good, Some("JWT"))),
        ("no typ", sign(&good, None)),
        ("iss", changed("iss", json!("other"))),
        ("aud", changed("aud", json!("other"))),
        ("expired", changed("exp", json!(now - 60))),
        ("not yet", changed("nbf", json!(now + 60))),
        ("from the future", changed("iat", json!(now + 60))),
        ("good for a year", changed("exp", json!(now + 31_536_000))),
        ("nobody", changed("sub", json!(uuid::Uuid::nil()))),
        ("a text as time", changed("exp", json!("never"))),
    ];
    for name in ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp"] {
        bad.push((name, without(name)));
    }
    for (what, token) in bad {
        assert_eq!(app.get("/api/v1/me", &token).await.problem(), "unauthenticated", "{what}");
    }
}

#[tokio::test]
async fn tokens_expire_and_a_disabled_or_demoted_user_is_out_at_once() {
    let app = TestApp::new().await;
    let (user, token) = app.signed_in(Role::Admin).await;
    assert_eq!(app.get("/api/v1/ops/quarantine", &token).await.status, StatusCode::OK);
    let change = |sql: &'static str| {
        let pool = app.db.pool.clone();
        async move { sqlx::query(sql).execute(&pool).await.unwrap() }
    };
    change("update users set role = 'agent'").await;
    assert_eq!(app.get("/api/v1/ops/quarantine", &token).await.problem(), "forbidden");
    let refused = "select count(*) from audit_event where action = 'access.refused' and actor = subject
        and body = '{\"permission\": \"operations.view\"}'";
    assert_eq!(app.count(refused).await, 1, "{}", user.id);
    // In a loop it is noted once a minute, and each permission by itself.
    app.get("/api/v1/ops/quarantine", &token).await;
    app.get("/api/v1/audit/head", &token).await;
    assert_eq!(app.count(refused).await, 1);
    assert_eq!(app.count("select count(*) from audit_event where action = 'access.refused'").await, 2);
    app.db.clock.advance(TimeDelta::seconds(61));
    app.get("/api/v1/ops/quarantine", &token).await;
    assert_eq!(app.count(refused).await, 2);
    change("update users set active = false").await;
    assert_eq!(app.get("/api/v1/me", &token).await.problem(), "unauthenticated");
    change("update users set active = true").await;
    assert_eq!(app.get("/api/v1/me", &token).await.status, StatusCode::OK);
    app.db.clock.advance(TimeDelta::minutes(11));
    assert_eq!(app.get("/api/v1/me", &token).await.problem(), "unauthenticated");
    assert_eq!(app.get("/api/v1/me", &app.token(&user)).await.status, StatusCode::OK);
}
