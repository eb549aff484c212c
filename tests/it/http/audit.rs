//! Claims about the audit log over HTTP.

use aws_lc_rs::signature::Ed25519KeyPair;
use serde_json::{Value, json};
use sira_domain::audit::{self, Checkpoint, Growth, Proven, PublicKey, SigningKey};
use sira_domain::identity::Role;

use super::app::TestApp;

const AT: &str = "/api/v1/audit";

fn key() -> SigningKey {
    SigningKey::of_pkcs8(Ed25519KeyPair::generate().unwrap().to_pkcs8().unwrap().as_ref()).unwrap()
}

async fn write(app: &TestApp, action: &str, events: i32) {
    sqlx::query(
        "insert into audit_event (id, at, actor_kind, actor, action, subject_kind, subject, body)
        select gen_random_uuid(), now(), 'system', 'test', $1, 'thing', n::text, '{}' from generate_series(1, $2) n",
    )
    .bind(action)
    .bind(events)
    .execute(&app.db.pool)
    .await
    .unwrap();
}

fn of<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

#[tokio::test]
async fn an_auditor_finds_events_by_what_is_known_of_them_and_nobody_else_sees_any() {
    let app = TestApp::new().await;
    let (user, auditor) = app.signed_in(Role::Auditor).await;
    app.lead(1, None).await;
    write(&app, "thing.done", 5).await;
    for role in [Role::Agent, Role::Manager] {
        let (_, token) = app.signed_in(role).await;
        for path in
            ["events", "head", "checkpoints", "consistency?from=1", &format!("events/{}/proof", user.id)]
        {
            let refused = app.get(&format!("{AT}/{path}"), &token).await;
            assert_eq!(refused.problem(), "forbidden", "{path} as {role:?}");
        }
    }
    let found =
        async |query: &str| app.get(&format!("{AT}/events?{query}"), &auditor).await.json()["data"].clone();
    let all = found("limit=200").await;
    let all = all.as_array().unwrap();
    assert_eq!(all.len() as i64, app.count("select count(*) from audit_event").await);
    let created = found("filter[action]=lead.created").await;
    assert_eq!(created.as_array().unwrap().len(), 1);
    let created = &created[0];
    assert_eq!((&created["subjectKind"], &created["leaf"]), (&json!("lead"), &Value::Null), "{created}");
    let lead = created["subject"].as_str().unwrap();
    let of_lead = found(&format!("filter[subjectKind]=lead&filter[subject]={lead}")).await;
    assert!(of_lead.as_array().unwrap().iter().all(|event| event["subject"] == lead), "{of_lead}");
    assert_eq!(found("filter[actor]=test&filter[action]=thing.done").await.as_array().unwrap().len(), 5);
    assert_eq!(found("filter[actor]=test&filter[action]=lead.created").await, json!([]));
    let at = created["at"].as_str().unwrap();
    for (query, there) in [
        (format!("filter[at][gte]={at}"), true),
        (format!("filter[at][lt]={at}"), false),
        ("filter[at][gte]=2020-01-01T00:00:00Z&filter[at][lt]=2020-02-01T00:00:00Z".to_owned(), false),
    ] {
        let found = found(&format!("filter[action]=lead.created&{query}")).await;
        assert_eq!(found != json!([]), there, "{query}");
    }

    // Page by page, each event once, newest first.
    let (mut seen, mut next) = (Vec::new(), format!("{AT}/events?limit=3"));
    loop {
        let page = app.get(&next, &auditor).await.json();
        seen.extend(page["data"].as_array().unwrap().iter().map(|event| event["id"].clone()));
        let Some(cursor) = page["page"]["nextCursor"].as_str() else { break };
        next = format!("{AT}/events?limit=3&cursor={cursor}");
    }
    assert_eq!(seen, all.iter().map(|event| event["id"].clone()).collect::<Vec<_>>());

    for (query, code) in [
        ("filter[subject]=1", "invalid_query"),
        ("filter[subjectKind]=lead", "invalid_query"),
        ("filter[at][gte]=yesterday", "invalid_query"),
        ("filter[who]=me", "invalid_query"),
        ("limit=0", "invalid_query"),
        ("cursor=abc", "cursor_invalid"),
    ] {
        assert_eq!(app.get(&format!("{AT}/events?{query}"), &auditor).await.problem(), code, "{query}");
    }
}

#[tokio::test]
async fn an_auditor_has_events_and_checkpoints_proven_and_proves_them_without_the_server() {
    let app = TestApp::new().await;
    let (_, auditor) = app.signed_in(Role::Auditor).await;
    let get = async |path: &str| app.get(&format!("{AT}/{path}"), &auditor).await;
    assert_eq!(get("head").await.problem(), "not_sealed");
    assert_eq!(get("consistency?from=1").await.problem(), "not_sealed");
    // More than a tile of 256, in some batches.
    let key = key();
    for events in [300, 1, 500] {
        write(&app, "thing.done", events).await;
        audit::seal(&app.app.cx.db, &key).await.unwrap().unwrap();
    }
    write(&app, "thing.late", 1).await;

    let head = get("head").await.json();
    let last: Checkpoint = of(&head["checkpoint"]);
    assert!(last.is_signed_by(&key.public()));
    assert_eq!(head["publicKey"], json!(base64(key.public())));
    let checkpoints: Vec<Checkpoint> = of(&get("checkpoints").await.json()["data"]);
    assert_eq!((checkpoints.len(), checkpoints[0].clone()), (3, last.clone()));
    let first = get("checkpoints?limit=1").await.json();
    let cursor = first["page"]["nextCursor"].as_str().unwrap();
    let second: Vec<Checkpoint> =
        of(&get(&format!("checkpoints?limit=1&cursor={cursor}")).await.json()["data"]);
    assert_eq!(second, checkpoints[1..2]);

    let found = get("events?filter[action]=thing.done&limit=200").await.json();
    let ids: Vec<&str> = found["data"]
        .as_array()
        .unwrap()
        .iter()
        .step_by(20)
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 10);
    for id in ids {
        let proof = get(&format!("events/{id}/proof")).await.json();
        let (mut proven, checkpoint): (Proven, Checkpoint) = (of(&proof), of(&proof["checkpoint"]));
        assert_eq!(checkpoint, last);
        assert!(proven.record.contains(id) && proven.is_under(&checkpoint), "{proof}");
        proven.record = proven.record.replace("thing.done", "thing.gone");
        assert!(!proven.is_under(&checkpoint), "{proof}");
    }
    let late = get("events?filter[action]=thing.late").await.json();
    let late = get(&format!("events/{}/proof", late["data"][0]["id"].as_str().unwrap())).await;
    assert_eq!((late.problem().as_str(), late.header("retry-after")), ("not_sealed", "2"));
    assert_eq!(get("events/018f0000-0000-7000-8000-000000000000/proof").await.problem(), "not_found");

    for from in &checkpoints {
        for (to, query) in [(&checkpoints[1], format!("&to={}", checkpoints[1].size)), (&last, String::new())]
        {
            let answer = get(&format!("consistency?from={}{query}", from.size)).await;
            if from.size > to.size {
                assert_eq!(answer.problem(), "not_found");
                continue;
            }
            let mut growth: Growth = of(&answer.json());
            assert_eq!((&growth.from, &growth.to), (from, to));
            assert!(growth.is_consistent(), "{growth:?}");
            growth.from.root.clone_from(&checkpoints[if from == &checkpoints[2] { 1 } else { 2 }].root);
            assert!(!growth.is_consistent(), "{growth:?}");
        }
    }
    assert_eq!(get("consistency?from=7").await.problem(), "not_found");
    assert_eq!(get("consistency").await.problem(), "invalid_query");
}

fn base64(key: PublicKey) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(key.as_bytes())
}
