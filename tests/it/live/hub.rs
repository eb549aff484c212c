//! The hub: woken by its own process, polling for the others, and steadfast when the database is not.

use std::time::Duration;

use axum::body::Body;
use http::Method;
use http_body_util::BodyExt;
use sira::live::Settings;
use sira_domain::Event;
use sira_domain::identity::Role;
use sira_domain::nouns::LeadId;
use sira_kernel::Actor;

use super::listener::{PATIENCE, Served, tell, until_told};
use crate::http::app::{TestApp, request};

/// A poll that no test lives to see.
const NEVER: Duration = Duration::from_hours(1);

#[tokio::test]
async fn a_commit_of_this_process_is_told_at_once() {
    let settings = Settings { poll_every: NEVER, ..Settings::default() };
    let app = TestApp::with_live(|_| {}, &settings).await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let served = Served::of(&app).await;
    let (mut listener, _) = served.listen(&token).await;
    for id in 1..=3 {
        let lead = tell(&app.app.cx.db).await;
        let heard = listener.next().await.unwrap();
        assert_eq!((heard.id, heard.lead()), (id, lead));
    }
    served.end().await;
}

#[tokio::test]
async fn what_another_process_committed_is_found_by_polling() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let served = Served::of(&app).await;
    let (mut listener, _) = served.listen(&token).await;
    let other = sira_domain::Db::new(
        app.db.pool.clone(),
        app.db.clock.clone(),
        |_, _| Vec::new(),
        std::sync::Arc::new(|_| {}),
    );
    let lead = tell(&other).await;
    assert_eq!(listener.next().await.unwrap().lead(), lead);
    served.end().await;
}

#[tokio::test]
async fn the_hub_goes_on_when_every_connection_was_lost() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let served = Served::of(&app).await;
    let (mut listener, _) = served.listen(&token).await;
    for id in 1..=3 {
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .execute(&app.db.pool)
        .await
        .unwrap();
        let lead = tell(&app.app.cx.db).await;
        let heard = listener.next().await.unwrap();
        assert_eq!((heard.id, heard.lead()), (id, lead));
    }
    served.end().await;
}

#[tokio::test]
async fn requests_and_jobs_that_hold_every_connection_do_not_hold_up_the_hub() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let served = Served::of(&app).await;
    let (mut listener, _) = served.listen(&token).await;
    let mut held = Vec::new();
    for _ in 0..app.db.pool.options().get_max_connections() {
        held.push(app.db.pool.acquire().await.unwrap());
    }
    let lead = tell(&app.app.cx.db.apart()).await;
    assert_eq!(listener.next().await.unwrap().lead(), lead);
    drop(held);
    served.end().await;
}

#[tokio::test]
async fn a_sequence_that_was_set_back_or_lost_rows_makes_clients_load_anew() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let served = Served::of(&app).await;
    let (mut listener, _) = served.listen(&token).await;
    for _ in 0..5 {
        tell(&app.app.cx.db).await;
    }
    assert_eq!(listener.take(5).await.last().unwrap().id, 5);
    for (last, what) in [(2, "set back, as from a backup"), (100, "moved on, and the rows are gone")] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "begin; delete from live_events; update live_sequence set last = {last}; commit"
        )))
        .execute(&app.db.pool)
        .await
        .unwrap();
        let heard = listener.next().await.unwrap();
        assert_eq!((heard.name.as_str(), heard.id), ("resync", last), "{what}");
        let lead = tell(&app.app.cx.db).await;
        let heard = listener.next().await.unwrap();
        assert_eq!((heard.id, heard.lead()), (last + 1, lead), "{what}");
    }
    served.end().await;
}

// Called in-process: no socket holds what the client does not read.
#[tokio::test]
async fn a_client_that_falls_behind_is_told_to_load_anew_and_let_go() {
    const BACKLOG: usize = 16;
    let settings = Settings { backlog_max: BACKLOG, ..Settings::default() };
    let app = TestApp::with_live(|_| {}, &settings).await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let open = request(Method::GET, "/api/v1/events", &token, &[], Body::empty());
    let response = app.call(open).await;
    assert_eq!(response.status(), 200);
    let mut uow = app.app.cx.begin(Actor::System).await.unwrap();
    for _ in 0..=BACKLOG {
        uow.record(Event::LeadUnqueued { lead: LeadId::new() });
    }
    uow.commit().await.unwrap();
    until_told(&app.app, BACKLOG as i64 + 1).await;
    let all = tokio::time::timeout(PATIENCE, response.into_body().collect()).await.expect("it ends").unwrap();
    let all = String::from_utf8(all.to_bytes().to_vec()).unwrap();
    let names: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, ["hello", "resync"], "{all}");
}

#[tokio::test]
async fn streams_end_with_the_hub_and_none_is_opened_without_it() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let served = Served::of(&app).await;
    let (listener, _) = served.listen(&token).await;
    app.stop.cancel();
    listener.ends().await;
    assert_eq!(app.get("/api/v1/events", &token).await.problem(), "unavailable");
    served.end().await;
}
