//! Finding a person's lead.

use http::StatusCode;
use serde_json::{Value, json};
use sira_domain::identity::Role;
use sira_domain::leads::{self, NewLead, reviews};
use sira_domain::nouns::LeadId;
use sira_kernel::{EmailAddress, PersonName};

use super::app::{Answer, TestApp};

async fn arrives(app: &TestApp, number: u16, name: Option<&str>, address: &str) -> LeadId {
    let lead = NewLead {
        name: name.and_then(PersonName::parse),
        emails: vec![EmailAddress::parse(&format!("{address}@example.com")).unwrap()],
        ..app.person(number)
    };
    let prepared = leads::prepare(&app.app.cx.db, &app.app.cx.cipher, &lead).await.unwrap();
    let mut uow = app.uow().await;
    let lead = leads::create_or_merge(&mut uow, &lead, &prepared).await.unwrap().lead();
    uow.commit().await.unwrap();
    lead
}

async fn find(app: &TestApp, token: &str, person: &Value) -> Answer {
    app.post("/api/v1/leads/search", token, &[], person).await
}

async fn found(app: &TestApp, token: &str, person: Value) -> Vec<String> {
    let answer = find(app, token, &person).await;
    assert_eq!(answer.status, StatusCode::OK, "{person}: {}", answer.text());
    let page = answer.json();
    page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_person_is_found_by_words_of_the_name_by_number_and_by_address() {
    let app = TestApp::new().await;
    let (_, admin) = app.signed_in(Role::Admin).await;
    let zumrut = arrives(&app, 1, Some("Zümrüt Işıl Örnek"), "zumrut").await.to_string();
    let other = arrives(&app, 2, Some("Zümrüt Deneme"), "other").await.to_string();
    let nameless = arrives(&app, 3, None, "nameless").await.to_string();
    for name in ["zumrut isil", "ÖRNEK  zümrüt", "IŞIL", "Zümrüt ışıl ornek"] {
        assert_eq!(found(&app, &admin, json!({ "name": name })).await, [zumrut.as_str()], "{name}");
    }
    assert_eq!(found(&app, &admin, json!({ "name": "zümrüt" })).await, [other.as_str(), zumrut.as_str()]);
    for phone in ["+90 555 000 00 01", "0555 000 0001", "(555) 000-00-01"] {
        assert_eq!(found(&app, &admin, json!({ "phone": phone })).await, [zumrut.as_str()], "{phone}");
    }
    assert_eq!(found(&app, &admin, json!({ "email": "ZUMRUT@example.com" })).await, [zumrut.as_str()]);
    let both = json!({ "name": "zumrut", "email": "other@example.com" });
    assert_eq!(found(&app, &admin, both).await, [other.as_str()], "all of it");
    for nobody in [json!({ "name": "zum" }), json!({ "name": "zumrut", "phone": "+905550000003" })] {
        assert_eq!(found(&app, &admin, nobody.clone()).await, Vec::<String>::new(), "{nobody}");
    }
    // A name that is told later is found from then on; the first one told stays.
    arrives(&app, 3, Some("Sonradan Gelen"), "nameless").await;
    arrives(&app, 3, Some("Başka Birisi"), "nameless").await;
    assert_eq!(found(&app, &admin, json!({ "name": "sonradan" })).await, [nameless]);
    assert_eq!(found(&app, &admin, json!({ "name": "birisi" })).await, Vec::<String>::new());
}

#[tokio::test]
async fn nobody_finds_what_they_may_not_see_and_pages_belong_to_one_person() {
    let app = TestApp::new().await;
    let agent = app.user("agent", Role::Agent).await;
    let (_, admin) = app.signed_in(Role::Admin).await;
    for number in 1..=5 {
        let lead = arrives(&app, number, Some("Örnek Kişi"), &format!("person{number}")).await;
        if number == 1 {
            app.give(lead, &agent).await;
        }
    }
    let token = app.token(&agent);
    assert_eq!(found(&app, &token, json!({ "name": "örnek" })).await.len(), 1);
    assert_eq!(found(&app, &token, json!({ "phone": "+905550000002" })).await, Vec::<String>::new());
    let first = find(&app, &admin, &json!({ "name": "örnek", "limit": 3 })).await.json();
    let cursor = first["page"]["nextCursor"].clone();
    let second = find(&app, &admin, &json!({ "name": "ORNEK", "limit": 3, "cursor": cursor })).await.json();
    assert_eq!(second["data"].as_array().unwrap().len(), 2);
    assert_eq!(second["page"]["hasMore"], false);
    let mismatched = find(&app, &admin, &json!({ "name": "kişi", "limit": 3, "cursor": cursor })).await;
    assert_eq!(mismatched.problem(), "cursor_mismatch");
    let shown = find(&app, &admin, &json!({ "phone": "+905550000002" })).await;
    assert!(shown.text().contains("+90*** ** 02") && !shown.text().contains("5550000"), "{}", shown.text());
}

#[tokio::test]
async fn what_cannot_be_looked_for_is_said_field_by_field() {
    let app = TestApp::new().await;
    let (_, admin) = app.signed_in(Role::Admin).await;
    for (person, pointers) in [
        (json!({}), &["/name"][..]),
        (json!({ "name": "A." }), &["/name"]),
        (json!({ "phone": "12", "email": "nobody" }), &["/phone", "/email"]),
    ] {
        let refused = find(&app, &admin, &person).await;
        assert_eq!(refused.problem(), "invalid_body", "{person}");
        let errors = refused.json()["errors"].clone();
        let wrong: Vec<_> =
            errors.as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap().to_owned()).collect();
        assert_eq!(wrong, pointers, "{person}");
    }
    assert_eq!(find(&app, "", &json!({ "name": "örnek" })).await.problem(), "unauthenticated");
}

#[tokio::test]
async fn a_merged_lead_is_found_as_the_one_that_stays() {
    let app = TestApp::new().await;
    let (_, admin) = app.signed_in(Role::Admin).await;
    let stays = arrives(&app, 1, Some("Örnek Kişi"), "shared").await;
    arrives(&app, 2, Some("Takma Ad"), "shared").await;
    let review: uuid::Uuid =
        sqlx::query_scalar("select id from lead_reviews").fetch_one(&app.db.pool).await.unwrap();
    let mut uow = app.uow().await;
    reviews::merge(&mut uow, review.into(), Some(stays)).await.unwrap();
    uow.commit().await.unwrap();
    for person in [json!({ "name": "takma" }), json!({ "phone": "+905550000002" })] {
        assert_eq!(found(&app, &admin, person.clone()).await, [stays.to_string()], "{person}");
    }
}
