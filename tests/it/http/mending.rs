//! Bad rows and events in quarantine, mended over HTTP.

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sira_domain::identity::Role;
use sira_domain::imports::{self, Gate, Reader};
use sira_domain::ingestion::{self, RawEvent};
use sira_domain::leads::{self, Arriving};
use sira_domain::nouns::{ImportId, InboundId};
use sira_domain::privacy::Subject;

use super::app::{Answer, TestApp, request};

const FILE: &str = "Ad Soyad;Telefon\nBir Demo;05300000001\nİki Demo;none\n";

/// An import that has ended, by way of the API and of what its job does.
async fn imported(app: &TestApp, token: &str) -> String {
    let named = json!({ "fileName": "leads.csv" });
    let new = app.post("/api/v1/imports", token, &[("idempotency-key", "new")], &named).await.json();
    let id = new["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/imports/{id}/file");
    app.send(request(Method::PUT, &path, token, &[], Body::from(FILE))).await;
    let path = format!("/api/v1/imports/{id}/start");
    app.post(&path, token, &[("idempotency-key", "start")], &json!({})).await;
    let import: ImportId = id.parse().unwrap();
    let cx = &app.app.cx;
    let key = cx.cipher.key(Subject::Import(import)).await.unwrap();
    let found = imports::get(&mut cx.db.read().await.unwrap(), import).await.unwrap();
    let chunk = Reader::open(&key, found).unwrap().next_chunk(&cx.db, &key).await.unwrap();
    let prepared = leads::prepare_all(&cx.db, &cx.cipher, &chunk.leads).await.unwrap();
    let mut uow = app.uow().await;
    assert_eq!(imports::open_chunk(&mut uow, import, 0).await.unwrap(), Gate::Open);
    let arriving = Arriving::all(&chunk.leads, &prepared);
    let arrivals = leads::create_or_merge_all(&mut uow, &arriving).await.unwrap();
    imports::settle_chunk(&mut uow, &key, import, &chunk, &arrivals).await.unwrap();
    uow.commit().await.unwrap();
    id
}

async fn mend(app: &TestApp, token: &str, row: &str, key: &str, phone: &str) -> Answer {
    let body = json!({ "values": [{ "heading": "Telefon", "value": phone }] });
    app.post(&format!("/api/v1/imports/{row}/mend"), token, &[("idempotency-key", key)], &body).await
}

#[tokio::test]
async fn a_bad_row_is_mended_over_http_once() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Manager).await;
    let id = imported(&app, &token).await;
    let row = format!("{id}/rows/3");
    let bad = mend(&app, &token, &row, "1", "later").await;
    assert_eq!(bad.problem(), "invalid_body");
    assert_eq!(bad.json()["errors"][0]["code"], "no_usable_contact");
    assert!(!bad.text().contains("later"), "{}", bad.text());
    let body = json!({ "values": [{ "heading": "Faks", "value": "1" }] });
    let path = format!("/api/v1/imports/{row}/mend");
    let unknown = app.post(&path, &token, &[("idempotency-key", "2")], &body).await;
    assert_eq!(unknown.json()["errors"][0]["allowed"], json!(["Ad Soyad", "Telefon"]));
    let mended = mend(&app, &token, &row, "3", "0530 000 00 02").await;
    assert_eq!((mended.status, mended.json()["effect"].as_str()), (StatusCode::OK, Some("created")));
    let replayed = mend(&app, &token, &row, "3", "0530 000 00 02").await;
    assert_eq!(replayed.json(), mended.json());
    let again = mend(&app, &token, &row, "4", "0530 000 00 02").await;
    assert_eq!(again.json()["leadId"], mended.json()["leadId"], "it says what became of it");
    assert_eq!(app.count("select count(*) from lead_enquiries").await, 2);
    let rows = app.get(&format!("/api/v1/imports/{id}"), &token).await.json()["rows"].clone();
    assert_eq!((&rows["created"], &rows["bad"], &rows["done"]), (&json!(2), &json!(0), &json!(2)));
    let errors = app.get(&format!("/api/v1/imports/{id}/errors"), &token).await.text();
    assert_eq!(errors.lines().count(), 1, "the heading alone: {errors}");
    assert_eq!(mend(&app, &token, &format!("{id}/rows/2"), "5", "1").await.problem(), "not_found");
    assert_eq!(mend(&app, &token, &format!("{id}/rows/two"), "6", "1").await.problem(), "not_found");
    let undo = format!("/api/v1/imports/{id}/undo");
    app.post(&undo, &token, &[("idempotency-key", "undo")], &json!({})).await;
    assert_eq!(mend(&app, &token, &row, "8", "0530 000 00 02").await.problem(), "import_wrong_state");
    let agent = app.user("agent", Role::Agent).await;
    assert_eq!(mend(&app, &app.token(&agent), &row, "7", "1").await.problem(), "forbidden");
}

/// An event in quarantine.
async fn quarantined(app: &TestApp) -> InboundId {
    let cx = &app.app.cx;
    let event = RawEvent { external_id: "1".to_owned(), body: b"{}".to_vec() };
    let prepared = ingestion::prepare(&cx.db, &cx.cipher, "meta", vec![event]).await.unwrap();
    let mut uow = app.uow().await;
    let id = ingestion::accept(&mut uow, prepared).await.unwrap().new[0];
    ingestion::quarantine(&mut uow, id, "no_usable_contact", "none").await.unwrap();
    uow.commit().await.unwrap();
    id
}

async fn act(app: &TestApp, token: &str, path: &str, key: &str, body: Value) -> Answer {
    app.post(&format!("/api/v1/ops/quarantine/{path}"), token, &[("idempotency-key", key)], &body).await
}

#[tokio::test]
async fn an_event_is_let_out_of_quarantine_once_and_its_correction_is_sealed() {
    let app = TestApp::new().await;
    let (_, admin) = app.signed_in(Role::Admin).await;
    let id = quarantined(&app).await;
    let (retry, correct) = (format!("{id}/retry"), format!("{id}/correct"));
    let nothing = act(&app, &admin, &correct, "1", json!({})).await;
    assert_eq!(nothing.json()["errors"][0]["pointer"], "/phone");
    let wrong = act(&app, &admin, &correct, "2", json!({ "phone": "12", "email": "me" })).await;
    assert_eq!(wrong.json()["errors"].as_array().unwrap().len(), 2);
    let right = json!({ "phone": "0530 000 00 17" });
    let done = act(&app, &admin, &correct, "3", right.clone()).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    assert_eq!(act(&app, &admin, &correct, "3", right.clone()).await.json(), done.json());
    assert_eq!(act(&app, &admin, &correct, "4", right).await.problem(), "not_quarantined");
    assert_eq!(act(&app, &admin, &retry, "5", json!({})).await.problem(), "not_quarantined");
    let sealed: Vec<u8> =
        sqlx::query_scalar("select correction from inbound_events").fetch_one(&app.db.pool).await.unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains("530"), "sealed");
    let audited = "select count(*) from audit_event where action = 'inbound.released' and body = '{\"corrected\": true}'";
    assert_eq!(app.count(audited).await, 1);
    for path in [format!("{}/retry", uuid::Uuid::nil()), format!("{}/correct", uuid::Uuid::nil())] {
        let body = if path.ends_with("retry") { json!({}) } else { json!({ "email": "a@example.com" }) };
        assert_eq!(act(&app, &admin, &path, &path, body).await.problem(), "not_found");
    }
    let auditor = app.user("auditor", Role::Auditor).await;
    assert_eq!(act(&app, &app.token(&auditor), &retry, "6", json!({})).await.problem(), "forbidden");
}
