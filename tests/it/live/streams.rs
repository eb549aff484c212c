//! Streams over real connections: resuming, heartbeats, bounds, ends.

use std::time::Duration;

use chrono::TimeDelta;
use sira_domain::identity::{self, Role};
use sira_domain::live::{self, BATCH_MAX};
use sira_domain::nouns::LeadId;

use super::listener::{HEARTBEAT, Heard, Listener, PATIENCE, Served, tell, until_told};
use crate::http::app::TestApp;

fn quick(settings: &mut sira::http::Settings) {
    settings.heartbeat = HEARTBEAT;
}

fn leads(heard: &[Heard]) -> Vec<(i64, LeadId)> {
    heard.iter().map(|heard| (heard.id, heard.lead())).collect()
}

#[tokio::test]
async fn a_stream_says_hello_and_asks_not_to_be_kept_or_held_up() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let served = Served::of(&app).await;
    tell(&app.app.cx.db).await;
    until_told(&app.app, 1).await;
    let (listener, hello) = served.listen(&token).await;
    assert_eq!((hello.id, &hello.data["seq"]), (1, &1.into()));
    let server_time: chrono::DateTime<chrono::Utc> =
        serde_json::from_value(hello.data["serverTime"].clone()).unwrap();
    assert!((app.now() - server_time).abs() < TimeDelta::minutes(1));
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(listener.header(name), value, "{name}");
    }
    served.end().await;
}

#[tokio::test]
async fn a_client_that_comes_again_gets_exactly_what_it_missed_and_then_what_happens() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let served = Served::of(&app).await;
    let (mut listener, _) = served.listen(&token).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(tell(&app.app.cx.db).await);
    }
    let last = listener.take(3).await.pop().unwrap().id;
    drop(listener);
    for _ in 0..4 {
        told.push(tell(&app.app.cx.db).await);
    }
    until_told(&app.app, 7).await;
    let bearer = format!("Bearer {token}");
    let by_parameter = served.ask(&format!("?lastEventId={last}"), Some(("authorization", &bearer))).await;
    // The header is newer than the address of an `EventSource` that comes again by itself.
    let ticket = app.post("/api/v1/events/tickets", &token, &[], &serde_json::json!({})).await.json();
    let query = format!("?lastEventId=0&ticket={}", ticket["ticket"].as_str().unwrap());
    let by_header = served.ask(&query, Some(("last-event-id", &last.to_string()))).await;
    let mut listeners = Vec::new();
    for response in [by_parameter, by_header] {
        let (listener, hello) = Listener::begin(response).await;
        assert_eq!((hello.id, &hello.data["seq"]), (3, &7.into()));
        listeners.push(listener);
    }
    for _ in 0..2 {
        told.push(tell(&app.app.cx.db).await);
    }
    let expected: Vec<(i64, LeadId)> = (1..).zip(told).skip(3).collect();
    for mut listener in listeners {
        assert_eq!(leads(&listener.take(6).await), expected);
    }
    served.end().await;
}

/// While events go on, at every id at which a client may have stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_and_what_happens_meet_without_gap_or_double() {
    const EVENTS: i64 = 120;
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let served = Served::of(&app).await;
    let db = app.app.cx.db.clone();
    let telling = async {
        for _ in 0..EVENTS {
            tell(&db).await;
        }
    };
    let coming_again = async {
        let (mut last, mut heard) = (0, Vec::new());
        while last < EVENTS {
            let (mut listener, _) = served.resume(&token, &format!("?lastEventId={last}")).await;
            for event in listener.take(7.min((EVENTS - last) as usize)).await {
                last = event.id;
                heard.push(event.id);
            }
        }
        heard
    };
    let ((), heard) = tokio::join!(telling, coming_again);
    assert_eq!(heard, (1..=EVENTS).collect::<Vec<_>>());
    served.end().await;
}

#[tokio::test]
async fn who_cannot_be_sent_what_was_missed_is_told_to_load_anew_and_goes_on() {
    let app = TestApp::new().await;
    let (user, token) = app.signed_in(Role::Admin).await;
    let served = Served::of(&app).await;
    for _ in 0..5 {
        tell(&app.app.cx.db).await;
    }
    until_told(&app.app, 5).await;
    app.db.clock.advance(TimeDelta::hours(25));
    let token_now = app.token(&user);
    tell(&app.app.cx.db).await;
    until_told(&app.app, 6).await;
    let mut conn = app.db.pool.acquire().await.unwrap();
    let before = app.now() - live::KEPT_FOR;
    assert_eq!(live::delete_older(&mut conn, before, 3).await.unwrap(), 3);
    assert_ne!(token, token_now);
    for (from, kept) in
        [(0, false), (2, false), (3, true), (5, true), (6, true), (7, false), (i64::MAX, false)]
    {
        let (mut listener, hello) = served.resume(&token_now, &format!("?lastEventId={from}")).await;
        let mut ids = vec![hello.id];
        if kept {
            ids.extend(listener.take((6 - from) as usize).await.iter().map(|heard| heard.id));
            assert_eq!(ids, (from..=6).collect::<Vec<_>>(), "{from}");
        } else {
            let resync = listener.next().await.unwrap();
            assert_eq!((hello.id, resync.id, resync.name.as_str()), (6, 6, "resync"), "{from}");
            assert_eq!(resync.data, serde_json::json!({ "seq": 6 }));
        }
    }
    let (mut listener, _) = served.resume(&token_now, "?lastEventId=0").await;
    assert_eq!(listener.next().await.unwrap().name, "resync");
    let lead = tell(&app.app.cx.db).await;
    assert_eq!(leads(&listener.take(1).await), [(7, lead)]);
    for bad in ["-1", "x", "1.0"] {
        let answer = app.get(&format!("/api/v1/events?lastEventId={bad}"), &token_now).await;
        assert_eq!(answer.problem(), "invalid_query", "{bad}");
    }
    served.end().await;
}

#[tokio::test]
async fn a_replay_is_paged_and_one_that_is_too_long_is_not_begun() {
    const REPLAY_MAX: i64 = 10_000;
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let served = Served::of(&app).await;
    sqlx::query(
        "insert into live_events (name, body, created_at)
         select 'lead.enquired', '{}', now() from generate_series(1, $1)",
    )
    .bind(REPLAY_MAX + 1)
    .execute(&app.db.pool)
    .await
    .unwrap();
    until_told(&app.app, REPLAY_MAX + 1).await;
    assert!(REPLAY_MAX > i64::from(BATCH_MAX));
    let (mut listener, _) = served.resume(&token, "?lastEventId=1").await;
    let ids: Vec<i64> = listener.take(REPLAY_MAX as usize).await.iter().map(|heard| heard.id).collect();
    assert_eq!(ids, (2..=REPLAY_MAX + 1).collect::<Vec<_>>());
    let (mut listener, hello) = served.resume(&token, "?lastEventId=0").await;
    let resync = listener.next().await.unwrap();
    assert_eq!((hello.id, resync.name.as_str()), (REPLAY_MAX + 1, "resync"));
    served.end().await;
}

#[tokio::test]
async fn a_heartbeat_moves_the_id_past_what_is_others_and_outlives_the_deadline_of_requests() {
    const DEADLINE: Duration = Duration::from_millis(250);
    let app = TestApp::with(|settings| {
        quick(settings);
        settings.request_timeout = DEADLINE;
    })
    .await;
    let (_, token) = app.signed_in(Role::Agent).await;
    let served = Served::of(&app).await;
    let (mut listener, hello) = served.listen(&token).await;
    assert_eq!(hello.id, 0);
    let begun = std::time::Instant::now();
    tell(&app.app.cx.db).await;
    tell(&app.app.cx.db).await;
    let mut ids = Vec::new();
    while begun.elapsed() < DEADLINE * 4 || ids.last() != Some(&2) {
        let heard = listener.any().await.expect("the stream goes on");
        assert_eq!(heard.name, "heartbeat", "nothing is for this agent");
        assert_eq!(heard.data["seq"], heard.id);
        ids.push(heard.id);
        assert!(begun.elapsed() < PATIENCE, "the id moves on: {ids:?}");
    }
    assert!(ids.is_sorted(), "{ids:?}");
    served.end().await;
}

#[tokio::test]
async fn the_stream_of_a_user_who_is_disabled_or_changed_ends() {
    for change in [
        "update users set active = false where username = 'changed'",
        "update users set role = 'agent' where username = 'changed'",
        "update users set team_id = null where username = 'changed'",
    ] {
        let app = TestApp::with(quick).await;
        let changed = app.user("changed", Role::Manager).await;
        let other = app.user("other", Role::Manager).await;
        let served = Served::of(&app).await;
        let (mut listener, _) = served.listen(&app.token(&changed)).await;
        let (mut bystander, _) = served.listen(&app.token(&other)).await;
        assert_eq!(listener.any().await.unwrap().name, "heartbeat", "as long as nothing changes");
        sqlx::query(change).execute(&app.db.pool).await.unwrap();
        listener.ends().await;
        for _ in 0..3 {
            assert_eq!(bystander.any().await.unwrap().name, "heartbeat", "{change}");
        }
        served.end().await;
    }
}

#[tokio::test]
async fn streams_are_bounded_by_user_and_by_process_and_their_places_come_back() {
    let app = TestApp::with(|settings| {
        settings.streams_per_user_max = 2;
        settings.streams_max = 3;
    })
    .await;
    let user = app.user("one", Role::Agent).await;
    let other = app.user("two", Role::Agent).await;
    let (token, other) = (app.token(&user), app.token(&other));
    let served = Served::of(&app).await;
    let (first, _) = served.listen(&token).await;
    let (_second, _) = served.listen(&token).await;
    let refused = app.get("/api/v1/events", &token).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (429, "too_many_streams"));
    assert_eq!(refused.header("retry-after"), "10");
    let (_third, _) = served.listen(&other).await;
    let refused = app.get("/api/v1/events", &other).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (503, "unavailable"));
    drop(first);
    // The server sees the end of a connection in its own time.
    let begun = std::time::Instant::now();
    let bearer = format!("Bearer {other}");
    while served.ask("", Some(("authorization", &bearer))).await.status() != 200 {
        assert!(begun.elapsed() < PATIENCE, "the place is free again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    served.end().await;
}

#[tokio::test]
async fn a_stopping_process_ends_its_streams_at_once() {
    let app = TestApp::with(|settings| settings.drain_timeout = Duration::from_hours(1)).await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let served = Served::of(&app).await;
    let (first, _) = served.listen(&token).await;
    let (second, _) = served.listen(&token).await;
    let begun = std::time::Instant::now();
    served.end().await;
    assert!(begun.elapsed() < PATIENCE, "requests in flight would have an hour");
    first.ends().await;
    second.ends().await;
}

#[tokio::test]
async fn a_user_who_is_unknown_by_now_opens_no_stream() {
    let app = TestApp::new().await;
    let (user, token) = app.signed_in(Role::Agent).await;
    sqlx::query("update users set active = false").execute(&app.db.pool).await.unwrap();
    assert_eq!(app.get("/api/v1/events", &token).await.problem(), "unauthenticated");
    let mut conn = app.db.pool.acquire().await.unwrap();
    assert!(!identity::find_user(&mut conn, user.id).await.unwrap().unwrap().active);
}
