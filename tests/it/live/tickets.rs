//! Tickets: one stream each, for a minute, for whoever made them.

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use http::Method;
use serde_json::json;
use sira_domain::identity::Role;
use sira_domain::live;

use super::listener::{Listener, Served, tell, until_told};
use crate::http::app::{TestApp, request};

async fn ticket(app: &TestApp, token: &str) -> String {
    let answer = app.post("/api/v1/events/tickets", token, &[], &json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["expiresIn"], 60);
    answer.json()["ticket"].as_str().unwrap().to_owned()
}

/// The status of a stream that is opened with this ticket, and let go.
async fn open(app: &TestApp, ticket: &str) -> u16 {
    let path = format!("/api/v1/events?ticket={ticket}");
    app.call(request(Method::GET, &path, "", &[], Body::empty())).await.status().as_u16()
}

#[tokio::test]
async fn a_ticket_opens_a_stream_of_its_user_once() {
    let app = TestApp::new().await;
    let (agent, token) = app.signed_in(Role::Agent).await;
    let served = Served::of(&app).await;
    let ticket = ticket(&app, &token).await;
    let (mut listener, _) = Listener::begin(served.ask(&format!("?ticket={ticket}"), None).await).await;
    tell(&app.app.cx.db).await;
    let lead = app.lead(1, Some(&agent)).await;
    let mut uow = app.uow().await;
    uow.record(sira_domain::Event::LeadEnquired { lead });
    uow.commit().await.unwrap();
    assert_eq!(listener.next().await.unwrap().lead(), lead, "in the scope of who made the ticket");
    let again = app.get(&format!("/api/v1/events?ticket={ticket}"), "").await;
    assert_eq!(again.problem(), "unauthenticated");
    assert_eq!(app.count("select count(*) from live_tickets").await, 0);
    served.end().await;
}

#[tokio::test]
async fn of_many_who_bring_one_ticket_at_once_one_is_let_in() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Agent).await;
    let ticket = ticket(&app, &token).await;
    let all = futures_util::future::join_all((0..8).map(|_| open(&app, &ticket))).await;
    assert_eq!(all.iter().filter(|status| **status == 200).count(), 1, "{all:?}");
    assert_eq!(all.iter().filter(|status| **status == 401).count(), 7, "{all:?}");
}

#[tokio::test]
async fn a_ticket_is_good_for_a_minute() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Agent).await;
    let (in_time, too_late) = (ticket(&app, &token).await, ticket(&app, &token).await);
    app.db.clock.advance(TimeDelta::seconds(50));
    assert_eq!(open(&app, &in_time).await, 200);
    app.db.clock.advance(TimeDelta::seconds(11));
    assert_eq!(open(&app, &too_late).await, 401);
}

#[tokio::test]
async fn what_is_no_ticket_opens_nothing() {
    let app = TestApp::new().await;
    let (user, token) = app.signed_in(Role::Agent).await;
    let unknown = URL_SAFE_NO_PAD.encode([7; 32]);
    for bad in ["", "junk", &unknown, &token, &"A".repeat(4000), "%00"] {
        assert_eq!(open(&app, bad).await, 401, "{bad}");
    }
    let good = ticket(&app, &token).await;
    for path in ["leads", "me", "events/tickets"] {
        let answer = app.get(&format!("/api/v1/{path}?ticket={good}"), "").await;
        assert!([401, 405].contains(&answer.status.as_u16()), "a ticket opens streams alone: {path}");
    }
    let both = app.get(&format!("/api/v1/events?ticket={good}"), "not-a-token").await;
    assert_eq!(both.problem(), "unauthenticated", "the header is what counts where there is one");
    sqlx::query("update users set active = false where id = $1")
        .bind(user.id.uuid())
        .execute(&app.db.pool)
        .await
        .unwrap();
    assert_eq!(open(&app, &good).await, 401, "disabled since");
}

#[tokio::test]
async fn a_ticket_is_stored_as_its_hash_and_ends_by_itself() {
    let app = TestApp::new().await;
    let (user, token) = app.signed_in(Role::Agent).await;
    let first = ticket(&app, &token).await;
    let bytes = URL_SAFE_NO_PAD.decode(&first).unwrap();
    assert_eq!((first.len(), bytes.len()), (43, 32));
    let stored: Vec<u8> =
        sqlx::query_scalar("select hash from live_tickets").fetch_one(&app.db.pool).await.unwrap();
    assert_eq!(stored, digest(&SHA256, &bytes).as_ref());
    assert_ne!(first, ticket(&app, &token).await);
    for _ in 0..23 {
        let mut uow = app.uow().await;
        live::create_ticket(&mut uow, user.id).await.unwrap();
        uow.commit().await.unwrap();
    }
    assert_eq!(app.count("select count(*) from live_tickets").await, 25, "none has expired");
    app.db.clock.advance(TimeDelta::seconds(61));
    let token = app.token(&user);
    ticket(&app, &token).await;
    assert_eq!(app.count("select count(*) from live_tickets").await, 6, "a new one clears twenty away");
    ticket(&app, &token).await;
    assert_eq!(app.count("select count(*) from live_tickets").await, 2, "and the next one the rest");
}

#[tokio::test]
async fn a_ticket_goes_on_from_where_its_client_was() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let served = Served::of(&app).await;
    let leads = [tell(&app.app.cx.db).await, tell(&app.app.cx.db).await];
    until_told(&app.app, 2).await;
    let ticket = ticket(&app, &token).await;
    let (mut listener, hello) =
        Listener::begin(served.ask(&format!("?ticket={ticket}&lastEventId=1"), None).await).await;
    assert_eq!(hello.id, 1);
    assert_eq!(listener.next().await.unwrap().lead(), leads[1]);
    served.end().await;
}
