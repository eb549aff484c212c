//! Claims about the doors for files.

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};
use sira_domain::identity::Role;

use super::app::{Answer, TestApp, request};

const IMPORTS: &str = "/api/v1/imports";

/// An import that was created, and its id.
async fn created(app: &TestApp, token: &str) -> String {
    let answer =
        app.post(IMPORTS, token, &[("idempotency-key", "new")], &json!({ "fileName": "leads.csv" })).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let body = answer.json();
    let id = body["id"].as_str().unwrap().to_owned();
    assert_eq!(body["fileUrl"], format!("{IMPORTS}/{id}/file"));
    id
}

async fn put(app: &TestApp, token: &str, id: &str, file: &str) -> Answer {
    let path = format!("{IMPORTS}/{id}/file");
    app.send(request(Method::PUT, &path, token, &[], Body::from(file.to_owned()))).await
}

async fn start(app: &TestApp, token: &str, id: &str, key: &str, body: &Value) -> Answer {
    app.post(&format!("{IMPORTS}/{id}/start"), token, &[("idempotency-key", key)], body).await
}

#[tokio::test]
async fn a_file_is_looked_at_before_it_is_imported_and_nobody_is_shown() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Manager).await;
    let id = created(&app, &token).await;
    let file = "Ad Soyad;Cep No;E-Posta;Not\nŞule Çağrı;05550000017;sule@example.com;salı günü\n";
    let answer = put(&app, &token, &id, file).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let checked = answer.json();
    assert_eq!(checked["import"]["state"], "checked");
    assert_eq!(
        (&checked["import"]["encoding"], &checked["import"]["delimiter"]),
        (&json!("UTF-8"), &json!(";"))
    );
    let fields: Vec<_> =
        checked["import"]["columns"].as_array().unwrap().iter().map(|c| c["field"].clone()).collect();
    assert_eq!(fields, [json!("full_name"), json!(null), json!("email"), json!(null)]);
    assert_eq!(checked["preview"][0], json!(["Ş*** Ç***", "0***", "s***@***.com", "s*** g***"]));
    let misnamed = put(&app, &token, &id, "Tarih,Telefon\n+90 555 000 00 18,05550000017\n").await;
    assert_eq!(misnamed.status, 200);
    assert!(!misnamed.text().contains("000 00 18"), "{}", misnamed.text());
    assert_eq!(put(&app, &token, &id, file).await.status, 200);
    let mapping = json!({ "mapping": ["full_name", "phone", "email", null] });
    let begun = start(&app, &token, &id, "start", &mapping).await;
    assert_eq!(
        (begun.status.as_u16(), begun.header("location")),
        (202, format!("/api/v1/operations/{id}").as_str())
    );
    let again = start(&app, &token, &id, "start", &mapping).await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (202, "true"));
    let operation = app.get(&format!("/api/v1/operations/{id}"), &token).await.json();
    assert_eq!((&operation["kind"], &operation["done"]), (&json!("import"), &json!(false)));
    assert_eq!(operation["progress"]["total"], file.len());
    let list = app.get(IMPORTS, &token).await.json();
    assert_eq!(
        (list["data"][0]["id"].as_str(), list["data"][0]["state"].as_str()),
        (Some(id.as_str()), Some("running"))
    );
    let late = put(&app, &token, &id, file).await;
    assert_eq!((late.status.as_u16(), late.problem().as_str()), (409, "import_wrong_state"));
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_place() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let id = created(&app, &token).await;
    assert_eq!(start(&app, &token, &id, "early", &json!({})).await.problem(), "import_wrong_state");
    let sheet = put(&app, &token, &id, "PK\u{3}\u{4}xl/").await;
    assert_eq!((sheet.status.as_u16(), sheet.problem().as_str()), (422, "file_is_spreadsheet"));
    assert_eq!(put(&app, &token, &id, "").await.problem(), "file_empty");
    assert_eq!(put(&app, &token, &id, "city,colour\nBursa,green\n").await.status, 200);
    assert_eq!(start(&app, &token, &id, "none", &json!({})).await.problem(), "no_contact_column");
    let unknown = start(&app, &token, &id, "fax", &json!({ "mapping": ["fax", null] })).await;
    assert_eq!(unknown.json()["errors"][0]["pointer"], "/mapping/0");
    let short = start(&app, &token, &id, "short", &json!({ "mapping": ["phone"] })).await;
    assert_eq!(
        (short.status.as_u16(), short.json()["errors"][0]["pointer"].clone()),
        (422, json!("/mapping"))
    );
    let body = json!({ "fileName": "a.csv", "timeZone": "Mars/Base" });
    let zone = app.post(IMPORTS, &token, &[("idempotency-key", "zone")], &body).await;
    assert_eq!(zone.json()["errors"][0]["pointer"], "/timeZone");
    let nobody = sira_kernel::Id::<()>::new();
    assert_eq!(put(&app, &token, &nobody.to_string(), "phone\n1\n").await.problem(), "not_found");
    let undo =
        app.post(&format!("{IMPORTS}/{id}/undo"), &token, &[("idempotency-key", "undo")], &json!({})).await;
    assert_eq!(undo.problem(), "import_wrong_state");
    let cancel = format!("/api/v1/operations/{id}/cancel");
    assert_eq!(app.post(&cancel, &token, &[("idempotency-key", "cancel")], &json!({})).await.status, 202);
    let operation = app.get(&format!("/api/v1/operations/{id}"), &token).await.json();
    assert_eq!((&operation["done"], &operation["result"]["state"]), (&json!(true), &json!("cancelled")));
    let errors = app.get(&format!("{IMPORTS}/{id}/errors"), &token).await;
    assert_eq!(
        (errors.header("content-type"), errors.text().as_str()),
        ("text/csv; charset=utf-8", "line,column,code,advice\n")
    );
}
