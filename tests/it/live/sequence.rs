//! The sequence: numbers without a gap, given after the commit, by however many.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use sira_domain::live::{self, BATCH_MAX, Numbered};
use sira_domain::nouns::LeadId;
use sira_domain::{Db, Event};
use sira_kernel::Actor;
use sira_testkit::TestDb;
use sqlx::PgPool;
use tokio::task::JoinSet;

use super::listener::{Served, tell, until_told};
use crate::http::app::TestApp;
use sira_domain::identity::Role;

const COMMITTERS: usize = 8;
const EVENTS_EACH: usize = 25;
const EVENTS: usize = COMMITTERS * EVENTS_EACH;

/// Every commit that tells something takes a random while: its row is written and has its id while others commit.
const DAWDLE: &str = "
    create function dawdle() returns trigger language plpgsql as $$
    begin perform pg_sleep(random() * 0.03); return null; end $$;
    create constraint trigger live_events_dawdle after insert on live_events
        deferrable initially deferred for each row execute function dawdle();";

/// Rows that were written before one with a lower number: their commits came late.
const LATE: &str = "select count(*) from live_events late where exists (
    select from live_events other where other.id > late.id and other.seq < late.seq)";

/// A handle on the database as a process of its own has it.
fn process(db: &TestDb) -> Db {
    Db::new(db.pool.clone(), db.clock.clone(), |_, _| Vec::new(), Arc::new(|_| {}))
}

/// Eight at once, each with a handle from `of`; answers the leads.
async fn commit_all(of: impl Fn(usize) -> Db) -> BTreeSet<LeadId> {
    let mut committers = JoinSet::new();
    for number in 0..COMMITTERS {
        let db = of(number);
        committers.spawn(async move {
            let mut leads = Vec::new();
            for _ in 0..EVENTS_EACH {
                leads.push(tell(&db).await);
            }
            leads
        });
    }
    committers.join_all().await.into_iter().flatten().collect()
}

async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_of_every_process_hears_every_event_once_whatever_commits_late() {
    let app = TestApp::new().await;
    sqlx::raw_sql(DAWDLE).execute(&app.db.pool).await.unwrap();
    let (_, token) = app.signed_in(Role::Admin).await;
    let (here, twin) = (Served::of(&app).await, app.twin().await);
    let there = Served::start(&twin, twin.settings.clone(), &app.stop).await;
    let mut listeners = Vec::new();
    for served in [&here, &here, &there] {
        let (mut listener, hello) = served.listen(&token).await;
        assert_eq!(hello.data["seq"], 0);
        let all = async move { listener.take(EVENTS).await };
        listeners.push(all);
    }
    let (of_app, of_twin) = (app.app.cx.db.clone(), twin.cx.db.clone());
    // A third of them in processes that serve nobody.
    let of = |number: usize| match number % 3 {
        0 => of_app.clone(),
        1 => of_twin.clone(),
        _ => process(&app.db),
    };
    let (leads, heard) = tokio::join!(commit_all(of), futures_util::future::join_all(listeners));
    assert_eq!(leads.len(), EVENTS);
    for heard in heard {
        let ids: Vec<i64> = heard.iter().map(|event| event.id).collect();
        assert_eq!(ids, (1..=EVENTS as i64).collect::<Vec<_>>(), "in order, once each, without a hole");
        let told: BTreeSet<LeadId> = heard.iter().map(super::listener::Heard::lead).collect();
        assert_eq!(told, leads, "every event");
    }
    assert!(count(&app.db.pool, LATE).await > 0, "some commits came late, or nothing was tried");
    here.end().await;
    there.end().await;
}

#[tokio::test]
async fn a_row_whose_transaction_commits_late_is_numbered_later_and_not_skipped() {
    let app = TestApp::new().await;
    let (_, token) = app.signed_in(Role::Admin).await;
    let served = Served::of(&app).await;
    let (mut listener, _) = served.listen(&token).await;
    let late = LeadId::new();
    #[expect(clippy::disallowed_methods, reason = "a commit that is held back")]
    let mut tx = app.db.pool.begin().await.unwrap();
    sqlx::query(
        "insert into live_events (name, lead_id, body, created_at)
         values ('lead.enquired', $1, jsonb_build_object('leadId', $1), now())",
    )
    .bind(late.uuid())
    .execute(&mut *tx)
    .await
    .unwrap();
    let early = tell(&app.app.cx.db).await;
    let first = listener.next().await.unwrap();
    assert_eq!((first.id, first.lead()), (1, early));
    tx.commit().await.unwrap();
    let second = listener.next().await.unwrap();
    assert_eq!((second.id, second.lead()), (2, late));
    assert_eq!(count(&app.db.pool, LATE).await, 1, "it had the lower id");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_given_once_by_however_many_at_the_same_time() {
    const SEQUENCERS: usize = 4;
    let db = TestDb::new().await;
    sqlx::raw_sql(DAWDLE).execute(&db.pool).await.unwrap();
    let mut sequencers = JoinSet::new();
    for _ in 0..SEQUENCERS {
        let db = process(&db);
        sequencers.spawn(async move {
            let mut numbered: Vec<Numbered> = Vec::new();
            loop {
                let state = live::state(&mut db.read().await.unwrap()).await.unwrap();
                if state.last == EVENTS as i64 {
                    return numbered;
                }
                numbered.extend(live::sequence(&db).await.unwrap());
            }
        });
    }
    let leads = commit_all(|_| process(&db)).await;
    let mut numbered: Vec<Numbered> = sequencers.join_all().await.into_iter().flatten().collect();
    numbered.sort_by_key(|event| event.seq);
    let seqs: Vec<i64> = numbered.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=EVENTS as i64).collect::<Vec<_>>(), "each was given to one of them");
    let read = live::read_after(&mut db.pool.acquire().await.unwrap(), 0, BATCH_MAX).await.unwrap();
    assert_eq!(read, numbered);
    assert_eq!(leads.len(), EVENTS);
    assert!(count(&db.pool, LATE).await > 0, "some commits came late, or nothing was tried");
}

#[tokio::test]
async fn one_run_numbers_a_bounded_batch_in_the_order_of_writing() {
    let test = TestDb::new().await;
    let db = process(&test);
    sqlx::query(
        "insert into live_events (name, body, created_at)
         select 'lead.enquired', jsonb_build_object('place', place), now() from generate_series(1, 2500) place",
    )
    .execute(&test.pool)
    .await
    .unwrap();
    let mut places = Vec::new();
    for expected in [usize::from(BATCH_MAX), usize::from(BATCH_MAX), 500, 0] {
        let numbered = live::sequence(&db).await.unwrap();
        assert_eq!(numbered.len(), expected);
        places.extend(numbered.into_iter().map(|event| (event.seq, event.body)));
    }
    let expected: Vec<_> = (1..=2500).map(|place| (place, format!("{{\"place\": {place}}}"))).collect();
    assert_eq!(places, expected);
}

#[tokio::test]
async fn what_is_rolled_back_is_never_heard_of() {
    let app = TestApp::new().await;
    // The row is written, and the commit refused.
    sqlx::raw_sql(
        "create function refuse() returns trigger language plpgsql as $$
         begin raise exception 'refused'; end $$;
         create constraint trigger live_events_refuse after insert on live_events deferrable initially deferred
             for each row when (new.name = 'lead.waitsTooLong') execute function refuse();",
    )
    .execute(&app.db.pool)
    .await
    .unwrap();
    let (_, token) = app.signed_in(Role::Admin).await;
    let waits = app.lead(1, None).await;
    let served = Served::of(&app).await;
    until_told(&app.app, 1).await;
    let (mut listener, _) = served.listen(&token).await;
    for _ in 0..3 {
        let mut uow = app.app.cx.begin(Actor::System).await.unwrap();
        uow.record(Event::LeadWaitsTooLong { lead: waits, since: app.now() });
        assert!(uow.commit().await.is_err());
        let mut uow = app.app.cx.begin(Actor::System).await.unwrap();
        uow.record(Event::LeadUnqueued { lead: LeadId::new() });
        drop(uow);
        let lead = tell(&app.app.cx.db).await;
        assert_eq!(listener.next().await.unwrap().lead(), lead);
    }
    let written: i64 = count(&app.db.pool, "select max(id) from live_events").await;
    assert!(written > 4, "ids were used up by what was rolled back");
    assert_eq!(count(&app.db.pool, "select last from live_sequence").await, 4, "numbers were not");
    served.end().await;
}

#[tokio::test]
async fn old_events_are_deleted_in_batches_and_leave_no_hole() {
    let test = TestDb::new().await;
    let db = process(&test);
    let mut conn = test.pool.acquire().await.unwrap();
    assert_eq!(live::oldest_kept(&mut conn).await.unwrap(), 1, "none was given");
    for _ in 0..10 {
        tell(&db).await;
    }
    let written_at = test.clock.now();
    live::sequence(&db).await.unwrap();
    test.clock.advance(TimeDelta::hours(25));
    for _ in 0..5 {
        tell(&db).await;
    }
    live::sequence(&db).await.unwrap();
    // Written a day ago and committed just now: older than its neighbours.
    sqlx::query("insert into live_events (name, body, created_at) values ('lead.enquired', '{}', $1)")
        .bind(written_at)
        .execute(&mut *conn)
        .await
        .unwrap();
    live::sequence(&db).await.unwrap();
    let before = test.clock.now() - live::KEPT_FOR;
    for (deleted, oldest) in [(4, 5), (4, 9), (2, 11), (0, 11)] {
        assert_eq!(live::delete_older(&mut conn, before, 4).await.unwrap(), deleted);
        assert_eq!(live::oldest_kept(&mut conn).await.unwrap(), oldest);
    }
    let kept = live::read_after(&mut conn, 0, BATCH_MAX).await.unwrap();
    assert_eq!(kept.iter().map(|event| event.seq).collect::<Vec<_>>(), [11, 12, 13, 14, 15, 16]);
    test.clock.advance(TimeDelta::hours(25));
    let before = test.clock.now() - live::KEPT_FOR;
    assert_eq!(live::delete_older(&mut conn, before, BATCH_MAX).await.unwrap(), 6);
    assert_eq!(live::oldest_kept(&mut conn).await.unwrap(), 17, "the one that will be given next");
}
