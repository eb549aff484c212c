//! The review queue over HTTP.

use http::StatusCode;
use serde_json::json;
use sira_domain::identity::Role;
use sira_domain::leads::{self, NewLead};
use sira_domain::nouns::LeadId;
use sira_kernel::EmailAddress;

use super::app::{Answer, TestApp};

const QUEUE: &str = "/api/v1/review-queue";

/// A lead of this number, with the address that all of them have.
async fn arrives(app: &TestApp, number: u16) -> LeadId {
    let email = EmailAddress::parse("shared@example.com").unwrap();
    let lead = NewLead { emails: vec![email], ..app.person(number) };
    let prepared = leads::prepare(&app.app.cx.db, &app.app.cx.cipher, &lead).await.unwrap();
    let mut uow = app.uow().await;
    let lead = leads::create_or_merge(&mut uow, &lead, &prepared).await.unwrap().lead();
    uow.commit().await.unwrap();
    lead
}

async fn decide(app: &TestApp, token: &str, path: &str, key: &str, body: serde_json::Value) -> Answer {
    app.post(&format!("{QUEUE}/{path}"), token, &[("idempotency-key", key)], &body).await
}

#[tokio::test]
async fn a_pair_is_listed_masked_merged_once_and_parted_again() {
    let app = TestApp::new().await;
    let (_, admin) = app.signed_in(Role::Admin).await;
    let (first, second) = (arrives(&app, 1).await, arrives(&app, 2).await);
    let listed = app.get(QUEUE, &admin).await;
    let review = listed.json()["data"][0].clone();
    assert_eq!((review["state"].as_str(), review["shared"].as_str()), (Some("open"), Some("email")));
    assert_eq!(review["leads"][0]["id"], first.to_string());
    assert_eq!(review["leads"][1]["phone"], "+90*** ** 02");
    assert!(!listed.text().contains("shared@"), "{}", listed.text());
    let id = review["id"].as_str().unwrap();

    let wrong = json!({ "survivorId": uuid::Uuid::nil() });
    let refused = decide(&app, &admin, &format!("{id}/merge"), "1", wrong).await;
    assert_eq!(refused.problem(), "invalid_body");
    assert_eq!(refused.json()["errors"][0]["pointer"], "/survivorId");
    let body = json!({ "survivorId": second });
    let merged = decide(&app, &admin, &format!("{id}/merge"), "2", body.clone()).await;
    assert_eq!(merged.status, StatusCode::OK, "{}", merged.text());
    assert_eq!(merged.json()["survivorId"], second.to_string());
    assert_eq!(merged.json()["absorbedId"], first.to_string());
    let again = decide(&app, &admin, &format!("{id}/merge"), "2", body).await;
    assert_eq!(again.json(), merged.json());
    assert_eq!(again.header("idempotency-replayed"), "true");
    let other = decide(&app, &admin, &format!("{id}/merge"), "3", json!({})).await;
    assert_eq!(other.problem(), "already_merged");
    assert_eq!(
        decide(&app, &admin, &format!("{id}/keepApart"), "4", json!({})).await.problem(),
        "already_merged"
    );

    let path = format!("/api/v1/leads/{first}");
    let gone = app.get(&path, &admin).await;
    assert_eq!(gone.json()["mergedInto"], second.to_string());
    let etag = gone.header("etag").to_owned();
    let written = app.patch(&path, &admin, &[("if-match", &etag)], &json!({ "status": "interested" })).await;
    assert_eq!(written.problem(), "lead_merged");
    let shown = app.get("/api/v1/leads", &admin).await.json();
    assert_eq!(shown["data"].as_array().unwrap().len(), 1);
    let merged = app.get(&format!("{QUEUE}?filter%5Bstate%5D=merged"), &admin).await.json();
    assert!(merged["data"][0]["unmergeUntil"].is_string(), "{merged}");

    let parted = decide(&app, &admin, &format!("{id}/unmerge"), "5", json!({})).await;
    assert_eq!(parted.json()["absorbedId"], first.to_string());
    assert_eq!(decide(&app, &admin, &format!("{id}/unmerge"), "6", json!({})).await.problem(), "not_merged");
    let apart = decide(&app, &admin, &format!("{id}/keepApart"), "7", json!({})).await;
    assert_eq!(apart.status, StatusCode::OK, "said already: {}", apart.text());
    assert_eq!(app.get(QUEUE, &admin).await.json()["data"], json!([]));
}

#[tokio::test]
async fn auditors_look_on_and_administrators_decide() {
    let app = TestApp::new().await;
    arrives(&app, 1).await;
    arrives(&app, 2).await;
    for (role, sees) in [(Role::Manager, false), (Role::Agent, false), (Role::Auditor, true)] {
        let (_, token) = app.signed_in(role).await;
        let listed = app.get(QUEUE, &token).await;
        assert_eq!(listed.status == StatusCode::OK, sees, "{role:?}");
        let nil = uuid::Uuid::nil();
        for act in ["merge", "keepApart", "unmerge"] {
            let refused = decide(&app, &token, &format!("{nil}/{act}"), act, json!({})).await;
            assert_eq!(refused.problem(), "forbidden", "{role:?} {act}");
        }
    }
    let (_, admin) = app.signed_in(Role::Admin).await;
    for act in ["merge", "keepApart", "unmerge"] {
        let unknown = decide(&app, &admin, &format!("{}/{act}", uuid::Uuid::nil()), act, json!({})).await;
        assert_eq!(unknown.problem(), "not_found", "{act}");
    }
    assert_eq!(app.get(&format!("{QUEUE}?filter%5Bstate%5D=maybe"), &admin).await.problem(), "invalid_query");
}
