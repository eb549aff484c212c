//! Lists, detail, change of status.

use chrono::TimeDelta;
use http::StatusCode;
use serde_json::{Value, json};
use sira_domain::identity::{self, Role};

use super::app::{Answer, TestApp};

fn ids(answer: &Answer) -> Vec<String> {
    let data = answer.json()["data"].as_array().unwrap().clone();
    data.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

fn cursor(answer: &Answer, name: &str) -> Option<String> {
    answer.json()["page"][name].as_str().map(str::to_owned)
}

#[tokio::test]
async fn everybody_sees_their_scope_and_the_rest_is_not_found() {
    let app = TestApp::new().await;
    let mut uow = app.uow().await;
    let izmir = identity::ensure_team(&mut uow, "Izmir").await.unwrap();
    uow.commit().await.unwrap();
    let (mine, colleague) = (app.user("mine", Role::Agent).await, app.user("colleague", Role::Agent).await);
    let stranger = app.user_of("stranger", Role::Agent, Some(izmir)).await;
    let manager = app.user("manager", Role::Manager).await;
    let teamless = app.user_of("teamless", Role::Manager, None).await;
    let (admin, auditor) = (app.user("admin", Role::Admin).await, app.user("auditor", Role::Auditor).await);
    let own = app.lead(1, Some(&mine)).await.to_string();
    let team = app.lead(2, Some(&colleague)).await.to_string();
    let far = app.lead(3, Some(&stranger)).await.to_string();
    let waiting = app.lead(4, None).await.to_string();
    let all = [&own, &team, &far, &waiting];
    for (user, sees) in [
        (&mine, vec![&own]),
        (&manager, vec![&own, &team]),
        (&teamless, vec![]),
        (&admin, all.to_vec()),
        (&auditor, all.to_vec()),
    ] {
        let token = app.token(user);
        let mut listed = ids(&app.get("/api/v1/leads", &token).await);
        listed.reverse();
        assert_eq!(listed.iter().collect::<Vec<_>>(), sees, "{}", user.username);
        for lead in all {
            let answer = app.get(&format!("/api/v1/leads/{lead}"), &token).await;
            if sees.contains(&lead) {
                assert_eq!(answer.status, StatusCode::OK, "{} {lead}", user.username);
            } else {
                assert_eq!(answer.problem(), "not_found", "{} {lead}", user.username);
            }
        }
    }
    let headers = [("if-match", "\"2\"")];
    let path = format!("/api/v1/leads/{far}");
    let refused = app.patch(&path, &app.token(&mine), &headers, &json!({"status": "interested"})).await;
    assert_eq!(refused.problem(), "not_found");
    let refused = app.patch(&path, &app.token(&auditor), &headers, &json!({"status": "interested"})).await;
    assert_eq!(refused.problem(), "forbidden");
}

#[tokio::test]
async fn lists_are_filtered_and_read_there_and_back() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let agent = app.user("agent", Role::Agent).await;
    let mut made = Vec::new();
    for n in 0..7 {
        app.db.clock.advance(TimeDelta::seconds(1));
        made.push(app.lead(n, (n % 2 == 0).then_some(&agent)).await.to_string());
    }
    made.reverse();
    let first = app.get("/api/v1/leads?limit=3", &token).await;
    assert_eq!(ids(&first), made[..3]);
    assert_eq!(first.json()["page"]["hasMore"], true);
    assert_eq!(first.json()["page"]["limit"], 3);
    assert_eq!(cursor(&first, "prevCursor"), None);
    let next = cursor(&first, "nextCursor").unwrap();
    let link = first.header("link");
    assert!(link.starts_with("</api/v1/leads?limit=3&cursor=") && link.ends_with("rel=\"next\""), "{link}");
    let second = app.get(&format!("/api/v1/leads?limit=3&cursor={next}"), &token).await;
    assert_eq!(ids(&second), made[3..6]);
    let next = cursor(&second, "nextCursor").unwrap();
    let last = app.get(&format!("/api/v1/leads?limit=3&cursor={next}"), &token).await;
    assert_eq!(ids(&last), made[6..]);
    assert_eq!(last.json()["page"]["hasMore"], false);
    let back = cursor(&last, "prevCursor").unwrap();
    let second_again = app.get(&format!("/api/v1/leads?limit=3&cursor={back}"), &token).await;
    assert_eq!(ids(&second_again), made[3..6]);

    let waiting = app.get("/api/v1/leads?filter%5Bwaiting%5D=true", &token).await;
    assert_eq!(ids(&waiting).len(), 3);
    let owned = app.get(&format!("/api/v1/leads?filter[owner]={}", agent.id), &token).await;
    assert_eq!(ids(&owned).len(), 4);
    let team = app.get(&format!("/api/v1/leads?filter[team]={}", app.team), &token).await;
    assert_eq!(ids(&team), ids(&owned));
    assert_eq!(ids(&app.get("/api/v1/leads?filter[status]=new,interested", &token).await).len(), 7);
    assert_eq!(ids(&app.get("/api/v1/leads?filter[status]=sale", &token).await).len(), 0);
    let at = first.json()["data"][1]["createdAt"].as_str().unwrap().to_owned();
    let since = app.get(&format!("/api/v1/leads?filter[createdAt][gte]={at}"), &token).await;
    assert_eq!(ids(&since), made[..2]);
    let before = app.get(&format!("/api/v1/leads?filter[createdAt][lt]={at}"), &token).await;
    assert_eq!(ids(&before), made[2..]);
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_list_alone() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let manager = app.user("manager", Role::Manager).await;
    for n in 0..3 {
        app.lead(n, None).await;
    }
    let first = app.get("/api/v1/leads?limit=1&filter[status]=new", &token).await;
    let cursor = cursor(&first, "nextCursor").unwrap();
    let with = |query: String| format!("/api/v1/leads?{query}");
    let same = app.get(&with(format!("filter[status]=new&limit=2&cursor={cursor}")), &token).await;
    assert_eq!(same.status, StatusCode::OK, "the limit may change");
    let other_filter = app.get(&with(format!("filter[status]=sale&cursor={cursor}")), &token).await;
    assert_eq!(other_filter.problem(), "cursor_mismatch");
    let no_filter = app.get(&with(format!("cursor={cursor}")), &token).await;
    assert_eq!(no_filter.problem(), "cursor_mismatch");
    let path = with(format!("filter[status]=new&cursor={cursor}"));
    assert_eq!(app.get(&path, &app.token(&manager)).await.problem(), "cursor_mismatch", "another scope");
    let elsewhere = app.get(&format!("/api/v1/ops/quarantine?cursor={cursor}"), &token).await;
    assert_eq!(elsewhere.problem(), "cursor_mismatch");
    let flipped = if cursor.starts_with('A') { "B" } else { "A" };
    for bad in [format!("{flipped}{}", &cursor[1..]), "junk".to_owned(), String::new(), "%01".to_owned()] {
        let path = with(format!("filter[status]=new&cursor={bad}"));
        assert_eq!(app.get(&path, &token).await.problem(), "cursor_invalid", "{bad}");
    }
}

#[tokio::test]
async fn unknown_or_wrong_parameters_are_refused_by_name() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    for (query, parameter, code) in [
        ("filter[statu]=new", "filter[statu]", "unknown_field"),
        ("sort=score", "sort", "unknown_field"),
        ("limit=0", "limit", "out_of_range"),
        ("limit=201", "limit", "out_of_range"),
        ("filter[status]=,", "filter[status]", "out_of_range"),
        ("filter[status]=new,happy", "filter[status]", "unknown_status"),
        ("filter[status]=new%00", "filter[status]", "wrong_value"),
        ("cursor=%00", "cursor", "wrong_value"),
        ("filter[createdAt][gte]=0001-01-01T00:00:00Z", "filter[createdAt][gte]", "out_of_range"),
        ("filter[createdAt][lt]=1969-12-31T23:59:59Z", "filter[createdAt][lt]", "out_of_range"),
        ("filter[createdAt][lt]=%2B10000-01-01T00:00:00Z", "filter[createdAt][lt]", "out_of_range"),
    ] {
        let answer = app.get(&format!("/api/v1/leads?{query}"), &token).await;
        assert_eq!(answer.problem(), "invalid_query", "{query}");
        let error = &answer.json()["errors"][0];
        assert_eq!((&error["parameter"], &error["code"]), (&json!(parameter), &json!(code)), "{query}");
    }
    for query in ["limit=many", "filter[owner]=+905550000017", "filter[waiting]=perhaps", "limit=1&limit=2"] {
        let answer = app.get(&format!("/api/v1/leads?{query}"), &token).await;
        assert_eq!(answer.problem(), "invalid_query", "{query}");
        assert!(!answer.text().contains("90555"), "values are not repeated");
    }
    let unknown = app.get("/api/v1/leads?filter[status]=happy", &token).await.json();
    let allowed = unknown["errors"][0]["allowed"].as_array().unwrap();
    assert!(allowed.contains(&json!("new")) && !allowed.contains(&json!("happy")), "{unknown}");
}

#[tokio::test]
async fn a_lead_shows_masked_forms_and_its_histories() {
    let app = TestApp::new().await;
    let (agent, token) = app.signed_in(Role::Agent).await;
    let lead = app.lead(17, Some(&agent)).await;
    let path = format!("/api/v1/leads/{lead}");
    let answer = app.get(&path, &token).await;
    assert_eq!(answer.header("etag"), "\"2\"");
    let mut body = answer.json();
    for clear in ["5550000017", "Örnek", "Kişi"] {
        assert!(!answer.text().contains(clear), "{clear}");
    }
    redact(&mut body);
    insta::assert_json_snapshot!(body);
    assert_eq!(app.get("/api/v1/leads/no-id", &token).await.problem(), "not_found");
    assert_eq!(app.get(&format!("/api/v1/leads/{}", uuid::Uuid::nil()), &token).await.problem(), "not_found");
}

/// Ids, times and the random reference.
fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(redact),
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::String(text) => {
            let redacted = if uuid::Uuid::parse_str(text).is_ok() {
                "[id]"
            } else if chrono::DateTime::parse_from_rfc3339(text).is_ok() {
                "[time]"
            } else if text.starts_with("L-") {
                "[reference]"
            } else {
                return;
            };
            redacted.clone_into(text);
        }
        _ => {}
    }
}

#[tokio::test]
async fn a_status_changes_only_at_the_version_that_was_read() {
    let app = TestApp::new().await;
    let (agent, token) = app.signed_in(Role::Agent).await;
    let lead = app.lead(17, Some(&agent)).await;
    let path = format!("/api/v1/leads/{lead}");
    let change = json!({ "status": "interested", "reason": "asked_for_price" });
    assert_eq!(app.patch(&path, &token, &[], &change).await.problem(), "precondition_required");
    let stale = app.patch(&path, &token, &[("if-match", "\"1\"")], &change).await;
    assert_eq!(stale.problem(), "precondition_failed");
    assert_eq!(stale.header("etag"), "\"2\"");
    for bad in ["2", "*", "W/\"2\"", "\"2\", \"3\"", "\"x\""] {
        let answer = app.patch(&path, &token, &[("if-match", bad)], &change).await;
        assert_eq!(answer.problem(), "invalid_header", "{bad}");
    }
    let changed = app.patch(&path, &token, &[("if-match", stale.header("etag"))], &change).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    assert_eq!(changed.header("etag"), "\"3\"");
    let expected = json!({"id": lead, "status": "interested", "previousStatus": "new", "version": 3});
    assert_eq!(changed.json(), expected);
    let again = app.patch(&path, &token, &[("if-match", "\"2\"")], &change).await;
    assert_eq!(again.problem(), "precondition_failed", "the second of two writers loses");
    let history = app.get(&path, &token).await.json()["history"][0].clone();
    assert_eq!(history["reason"], "asked_for_price");
    assert_eq!(history["actor"], agent.id.to_string());
}

#[tokio::test]
async fn a_patch_with_unknown_fields_or_values_changes_nothing() {
    let app = TestApp::new().await;
    let (agent, token) = app.signed_in(Role::Agent).await;
    let lead = app.lead(17, Some(&agent)).await;
    let path = format!("/api/v1/leads/{lead}");
    for (patch, pointer, code) in [
        (json!({"status": "interested", "owner": "x"}), "/owner", "unknown_field"),
        (json!({"reason": "x"}), "/status", "missing_field"),
        (json!({"status": 7}), "/status", "wrong_value"),
        (json!({"status": "happy"}), "/status", "unknown_status"),
        (json!({"status": "interested", "reason": "Ayşe said so"}), "/reason", "wrong_value"),
    ] {
        let answer = app.patch(&path, &token, &[("if-match", "\"2\"")], &patch).await;
        assert_eq!(answer.problem(), "invalid_body", "{patch}");
        let error = &answer.json()["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!(pointer), &json!(code)), "{patch}");
    }
    assert_eq!(app.get(&path, &token).await.header("etag"), "\"2\"");
}
