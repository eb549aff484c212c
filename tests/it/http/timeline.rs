//! Claims about timelines and notes over HTTP.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::{Value, json};
use sira_domain::identity::Role;

use super::app::TestApp;

fn ids(page: &Value) -> Vec<String> {
    let rows = page["data"].as_array().unwrap();
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_timeline_is_paged_to_its_end_while_it_grows() {
    let app = TestApp::new().await;
    let (agent, token) = app.signed_in(Role::Agent).await;
    let lead = app.lead(1, Some(&agent)).await;
    let notes = format!("/api/v1/leads/{lead}/notes");
    for number in 0..7 {
        let key = format!("note-{number}");
        let added = app.post(&notes, &token, &[("idempotency-key", &key)], &json!({ "note": key })).await;
        assert_eq!(added.status, StatusCode::CREATED, "{}", added.text());
    }
    let all = ids(&app.get(&format!("/api/v1/leads/{lead}/timeline?limit=200"), &token).await.json());
    let (mut seen, mut path) = (Vec::new(), format!("/api/v1/leads/{lead}/timeline?limit=3"));
    loop {
        let page = app.get(&path, &token).await.json();
        seen.extend(ids(&page));
        let headers = format!("later-{}", seen.len());
        app.post(&notes, &token, &[("idempotency-key", &headers)], &json!({ "note": "later" })).await;
        let Some(cursor) = page["page"]["nextCursor"].as_str() else { break };
        path = format!("/api/v1/leads/{lead}/timeline?limit=3&cursor={cursor}");
    }
    assert_eq!(seen, all, "every entry once, in order, and none of those that came meanwhile");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
}

#[tokio::test]
async fn a_timeline_is_filtered_and_an_unknown_type_is_refused_with_the_known_ones() {
    let app = TestApp::new().await;
    let (agent, token) = app.signed_in(Role::Agent).await;
    let lead = app.lead(1, Some(&agent)).await;
    let notes = format!("/api/v1/leads/{lead}/notes");
    app.post(&notes, &token, &[("idempotency-key", "one")], &json!({ "note": "a note" })).await;
    let timeline = format!("/api/v1/leads/{lead}/timeline?filter%5Btype%5D=");
    let page = app.get(&format!("{timeline}note"), &token).await.json();
    let types: Vec<&str> =
        page["data"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["note"]);
    let refused = app.get(&format!("{timeline}gossip"), &token).await;
    assert_eq!(refused.problem(), "invalid_query");
    let allowed = refused.json()["errors"][0]["allowed"].clone();
    assert!(allowed.as_array().unwrap().contains(&json!("note")), "{allowed}");
}

#[tokio::test]
async fn a_note_is_kept_once_masked_and_hidden_from_others() {
    let app = TestApp::new().await;
    let (agent, token) = app.signed_in(Role::Agent).await;
    let lead = app.lead(1, Some(&agent)).await;
    let notes = format!("/api/v1/leads/{lead}/notes");
    let body = json!({ "note": "Ask for 0555 000 00 17 on 24.11.2026" });
    let first = app.post(&notes, &token, &[("idempotency-key", "one")], &body).await;
    let again = app.post(&notes, &token, &[("idempotency-key", "one")], &body).await;
    assert_eq!((first.status, first.json()), (again.status, again.json()));
    assert_eq!(app.count("select count(*) from lead_notes").await, 1);
    let page = app.get(&format!("/api/v1/leads/{lead}/timeline"), &token).await.json();
    assert_eq!(page["data"][0]["note"], "Ask for *** ** 17 on 24.11.2026");
    for bad in [json!({ "note": " " }), json!({ "note": "x".repeat(4001) }), json!({})] {
        let refused = app.post(&notes, &token, &[("idempotency-key", "two")], &bad).await;
        assert_eq!(refused.problem(), "invalid_body", "{bad}");
    }
    let other = app.user("other", Role::Agent).await;
    let other = app.token(&other);
    for path in [notes.clone(), format!("/api/v1/leads/{lead}/timeline")] {
        assert!(!app.get(&path, &other).await.status.is_success(), "{path}");
    }
    let refused = app.post(&notes, &other, &[("idempotency-key", "one")], &body).await;
    assert_eq!(refused.problem(), "not_found");
}

#[tokio::test]
async fn what_is_on_a_timeline_is_not_changed_even_where_triggers_are_switched_off() {
    let app = TestApp::new().await;
    let (agent, token) = app.signed_in(Role::Agent).await;
    let lead = app.lead(1, Some(&agent)).await;
    let notes = format!("/api/v1/leads/{lead}/notes");
    app.post(&notes, &token, &[("idempotency-key", "one")], &json!({ "note": "a note" })).await;
    for statements in [
        "update timeline_entries set body = '{}'",
        "update lead_notes set created_at = now()",
        "set local session_replication_role = replica; update timeline_entries set body = '{}'",
    ] {
        let refused = sqlx::raw_sql(statements).execute(&app.db.pool).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{statements}: {refused}");
    }
}
