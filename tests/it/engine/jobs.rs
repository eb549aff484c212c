//! Claims about enqueueing, twins, retries and ends.

use std::time::Duration;

use sira_engine::ops::{JobFilter, count_jobs, find_job, list_jobs, list_sessions};
use sira_engine::{Drained, Effect, JobId, Link, NewJob, Registry, apply};

use super::world::{DEAD, DONE, Do, EFFECTS, Hasty, LIVE, QUEUE, Scripted, WAITING, World, job};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_exists_if_and_only_if_its_transaction_committed() {
    let w = World::new().await;
    #[expect(clippy::disallowed_methods, reason = "the engine is tested without the domain's unit of work")]
    let mut tx = w.db.pool.begin().await.unwrap();
    let applied = apply(&mut tx, &w.db.clock, &[job("lost", None)]).await.unwrap();
    assert_eq!(applied.queues, [QUEUE.name]);
    tx.rollback().await.unwrap();
    assert_eq!(w.count(LIVE).await, 0);
    w.enqueue("kept", None).await;
    assert_eq!(w.count(LIVE).await, 1);
    let _running = w.start().await;
    w.until(DONE, 1).await;
    assert_eq!((w.cx.began("lost"), w.cx.began("kept")), (0, 1));
    assert_eq!(w.count("select count(*) from engine.job_tags where tag = 'name:kept'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_jobs_each_run_once() {
    let w = World::new().await;
    let jobs: Vec<Effect> = (0..1000).map(|n| job(&n.to_string(), None)).collect();
    w.apply(&jobs).await;
    let _one = w.start().await;
    let _two = w.start().await;
    w.until(DONE, 1000).await;
    assert_eq!(w.cx.began.lock().unwrap().len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_twins_are_one_job_at_the_earliest_time() {
    let w = World::new().await;
    let later = w.db.clock.now() + chrono::TimeDelta::hours(1);
    let twin = |name: &str| NewJob::of(&Scripted { name: name.to_owned(), key: Some("k".to_owned()) });
    w.apply(&[Effect::Job(twin("first").at(later)), Effect::Job(twin("second").at(later))]).await;
    w.apply(&[Effect::Job(twin("third").at(later - chrono::TimeDelta::minutes(30)))]).await;
    assert_eq!(w.count(LIVE).await, 1);
    let minutes = "select round(extract(epoch from run_at - now()) / 60)::bigint from engine.jobs";
    assert_eq!(w.count(minutes).await, 30);
    w.enqueue("now", Some("k")).await;
    assert_eq!(w.text("select state from engine.jobs").await, "ready");
    assert_eq!(w.count(LIVE).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_up_that_arrives_while_its_twin_runs_is_kept() {
    let w = World::new().await;
    let running = w.start().await;
    w.cx.script("a", &[Do::Block, Do::Done]);
    w.enqueue("a", Some("k")).await;
    w.until_began("a", 1).await;
    w.enqueue("a", Some("k")).await;
    w.until_began("a", 2).await;
    w.cx.gate.add_permits(1);
    w.until(DONE, 2).await;
    assert_eq!(running.drain(Duration::from_secs(5)).await, Drained::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_folds_into_the_twin_that_waits() {
    let w = World::new().await;
    w.cx.script("a", &[Do::Snooze(3600)]);
    w.cx.script("b", &[Do::Snooze(3600)]);
    let running = w.start().await;
    w.enqueue("a", Some("k")).await;
    w.until(WAITING, 1).await;
    w.until("select count(*) from engine.attempts where outcome = 'snoozed'", 1).await;
    // The same key again, pulled forward: it runs and is put back once more, alone.
    w.enqueue("b", Some("k")).await;
    w.until("select count(*) from engine.attempts where outcome = 'snoozed'", 2).await;
    assert_eq!(w.count(LIVE).await, 1);
    // Now a twin arrives while it runs, and it fails.
    w.cx.script("a", &[Do::Block, Do::Retry]);
    running.drain(Duration::from_secs(5)).await;
    sqlx::query("delete from engine.jobs").execute(&w.db.pool).await.unwrap();
    let later = w.db.clock.now() + chrono::TimeDelta::hours(2);
    w.cx.script("c", &[Do::Hang]);
    let running = w.start().await;
    w.enqueue("c", Some("k2")).await;
    w.until_began("c", 1).await;
    let twin = NewJob::of(&Scripted { name: "c".to_owned(), key: Some("k2".to_owned()) });
    w.apply(&[Effect::Job(twin.at(later))]).await;
    assert_eq!(w.count(LIVE).await, 2);
    assert_eq!(running.drain(Duration::ZERO).await, Drained::Interrupted);
    assert_eq!(w.count(LIVE).await, 1, "the interrupted one folded into its twin");
    assert_eq!(w.text("select state from engine.jobs").await, "ready", "and made it due");
    assert_eq!(w.count("select count(*) from engine.finished where outcome = 'merged'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_waits_for_a_stored_jittered_time_and_is_dead_after_the_last_attempt() {
    let w = World::new().await;
    let names: Vec<String> = (0..20).map(|n| format!("f{n}")).collect();
    for name in &names {
        w.cx.script(name, &[Do::Retry]);
    }
    let _running = w.start().await;
    w.apply(&names.iter().map(|name| job(name, None)).collect::<Vec<_>>()).await;
    w.until("select count(*) from engine.attempts where outcome = 'failed' and waits_for = 'backoff'", 20)
        .await;
    let in_bounds = "select count(*) from engine.jobs where state = 'scheduled' and attempt = 1
        and run_at > created_at - interval '1 s' and run_at < now() + interval '101 s'";
    assert_eq!(w.count(in_bounds).await, 20);
    let spread =
        "select count(distinct (extract(epoch from run_at - created_at) / 10)::int) from engine.jobs";
    assert!(w.count(spread).await >= 4, "delays are not spread");
    w.advance(101);
    w.until("select count(*) from engine.attempts where attempt = 2", 20).await;
    w.advance(201);
    w.until(DEAD, 20).await;
    assert_eq!(w.cx.attempts("f0"), [1, 2, 3]);
    assert_eq!(w.text("select error ->> 'code' from engine.jobs limit 1").await, "scripted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snooze_spends_no_attempt() {
    let w = World::new().await;
    w.cx.script("s", &[Do::Snooze(600), Do::Snooze(600), Do::Snooze(600), Do::Snooze(600), Do::Done]);
    let _running = w.start().await;
    w.enqueue("s", None).await;
    for n in 1..=4 {
        w.until(
            "select count(*) from engine.attempts where outcome = 'snoozed' and waits_for = 'requested'",
            n,
        )
        .await;
        w.advance(601);
    }
    w.until(DONE, 1).await;
    assert_eq!(w.cx.attempts("s"), [1; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_failure_a_cancellation_and_an_unreadable_payload_end_at_once() {
    let w = World::new().await;
    w.cx.script("f", &[Do::Fail]);
    w.cx.script("c", &[Do::Cancel]);
    let _running = w.start().await;
    w.apply(&[job("f", None), job("c", None)]).await;
    sqlx::query(
        "insert into engine.jobs (kind, queue, state, attempts_max, payload)
        values ('test.scripted', 'test', 'ready', 25, '{\"nonsense\": 1}')",
    )
    .execute(&w.db.pool)
    .await
    .unwrap();
    w.until(DEAD, 2).await;
    w.until("select count(*) from engine.finished where outcome = 'cancelled'", 1).await;
    let codes = "select string_agg(error ->> 'code', ',' order by error ->> 'code') from engine.jobs";
    assert_eq!(w.text(codes).await, "scripted,undecodable");
    assert_eq!((w.cx.began("f"), w.cx.began("c")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_this_version_does_not_know_waits_for_one_that_does() {
    let w = World::new().await;
    let old = w.start_with(Registry::new().job::<Hasty>(), World::settings()).await;
    w.enqueue("new", None).await;
    w.until("select count(*) from engine.jobs where state = 'scheduled' and attempt = 0", 1).await;
    w.until("select count(*) from engine.attempts where waits_for = 'version'", 1).await;
    assert_eq!(old.drain(Duration::from_secs(5)).await, Drained::Finished);
    assert_eq!(w.cx.began("new"), 0, "the old version ran nothing");
    let _new = w.start().await;
    w.advance(11);
    w.until(DONE, 1).await;
    assert_eq!(w.cx.began("new"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_takes_too_long_is_dropped_and_repeated() {
    let w = World::new().await;
    w.cx.script("h", &[Do::Hang, Do::Done]);
    let _running = w.start().await;
    w.apply(&[Effect::Job(NewJob::of(&Hasty { name: "h".to_owned() }))]).await;
    w.until("select count(*) from engine.attempts where outcome = 'timed_out'", 1).await;
    w.advance(101);
    w.until(DONE, 1).await;
    assert_eq!(w.cx.attempts("h"), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_and_its_completion_commit_together() {
    let w = World::new().await;
    w.cx.script("e", &[Do::Commit]);
    let running = w.start().await;
    w.enqueue("e", None).await;
    w.until(DONE, 1).await;
    assert_eq!(running.drain(Duration::from_secs(5)).await, Drained::Finished);
    assert_eq!((w.count(EFFECTS).await, w.count(LIVE).await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_enqueued_by_another_process_is_picked_up_by_its_notification() {
    let w = World::new().await;
    if World::link() == Link::Pooled {
        // Nobody listens there: it is found by polling.
        let _running = w.start().await;
        let elsewhere = sira_engine::Engine::new(&w.db.pool, w.db.clock.clone(), Link::Pooled);
        let mut conn = w.db.pool.acquire().await.unwrap();
        let applied = sira_engine::apply(&mut conn, &w.db.clock, &[job("a", None)]).await.unwrap();
        elsewhere.wake(&applied);
        w.until(DONE, 1).await;
        let listening =
            "select count(*) from pg_stat_activity where datname = current_database() and query like 'LISTEN%'
            and pid <> pg_backend_pid()";
        assert_eq!(w.count(listening).await, 0);
        return;
    }
    let settings = sira_engine::Settings { poll_every: Duration::from_hours(1), ..World::settings() };
    let _running = w.start_with(World::registry(), settings).await;
    let elsewhere = sira_engine::Engine::new(&w.db.pool, w.db.clock.clone(), Link::Direct);
    // The listener rings once when it stands; from then on only notifications can wake the fetcher.
    let listening =
        "select count(*) from pg_stat_activity where query like 'LISTEN%' and datname = current_database()";
    w.until(listening, 1).await;
    #[expect(clippy::disallowed_methods, reason = "the engine is tested without the domain's unit of work")]
    let mut tx = w.db.pool.begin().await.unwrap();
    let applied = apply(&mut tx, &w.db.clock, &[job("n", None)]).await.unwrap();
    tx.commit().await.unwrap();
    elsewhere.wake(&applied);
    w.until(DONE, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_effect_that_may_have_happened_is_known_to_the_next_attempt() {
    let w = World::new().await;
    w.cx.script("x", &[Do::External, Do::External, Do::Done]);
    let _running = w.start().await;
    w.enqueue("x", None).await;
    w.until("select count(*) from engine.attempts where outcome = 'failed'", 1).await;
    w.advance(101);
    w.until("select count(*) from engine.attempts where outcome = 'failed'", 2).await;
    let codes = "select string_agg(error ->> 'message', ' ' order by attempt) from engine.attempts";
    assert_eq!(w.text(codes).await, "First Again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_began_an_external_effect_never_folds_into_its_twin() {
    let w = World::new().await;
    w.cx.script("x", &[Do::ExternalThenHang, Do::External]);
    let running = w.start().await;
    w.enqueue("x", Some("k")).await;
    w.until("select count(*) from engine.jobs where external_at is not null", 1).await;
    let id = w.count("select id from engine.jobs").await;
    let later = w.db.clock.now() + chrono::TimeDelta::hours(2);
    let twin = NewJob::of(&Scripted { name: "y".to_owned(), key: Some("k".to_owned()) });
    w.apply(&[Effect::Job(twin.at(later))]).await;
    assert_eq!(running.drain(Duration::ZERO).await, Drained::Interrupted);
    assert_eq!(w.count(WAITING).await, 2, "both wait");
    let kept = "select id from engine.jobs where external_at is not null and dedupe_key is null";
    assert_eq!(w.count(kept).await, id);
    assert_eq!(w.count("select count(*) from engine.jobs where dedupe_key = 'k'").await, 1);
    let _next = w.start().await;
    w.until("select count(*) from engine.attempts where error ->> 'message' = 'Again'", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_the_database_refuses_is_a_failure_and_holds_up_nobody() {
    let w = World::new().await;
    sqlx::query("alter table engine.finished add constraint refused check (payload ->> 'name' <> 'r')")
        .execute(&w.db.pool)
        .await
        .unwrap();
    let running = w.start().await;
    w.apply(&[job("r", None), job("fine", None)]).await;
    w.until(DONE, 1).await;
    w.until("select count(*) from engine.attempts where error ->> 'code' = 'outcome_refused'", 1).await;
    assert_eq!(w.text("select state from engine.jobs").await, "scheduled");
    assert_eq!(running.drain(Duration::from_secs(5)).await, Drained::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_of_a_tag_come_in_pages() {
    let w = World::new().await;
    w.cx.script("t", &[Do::Done, Do::Done, Do::Snooze(3600)]);
    let _running = w.start().await;
    w.apply(&[job("t", None), job("t", None), job("t", None), job("other", None)]).await;
    w.until(DONE, 3).await;
    w.until("select count(*) from engine.jobs where state = 'scheduled'", 1).await;
    let mut conn = w.db.pool.acquire().await.unwrap();
    let first = JobFilter { tag: Some("name:t".to_owned()), limit: 2, ..JobFilter::default() };
    let page = list_jobs(&mut conn, &first).await.unwrap();
    assert!(page.len() == 2 && page[0].id > page[1].id, "newest first");
    let rest = JobFilter { before: Some(JobId(page[1].id)), ..first.clone() };
    assert_eq!(list_jobs(&mut conn, &rest).await.unwrap().len(), 1);
    let waiting = JobFilter { state: Some("scheduled".to_owned()), ..first };
    assert_eq!(list_jobs(&mut conn, &waiting).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_jobs_live_and_finished_by_state_kind_and_tag() {
    let w = World::new().await;
    w.cx.script("bad", &[Do::Fail]);
    w.cx.script("slow", &[Do::Snooze(3600)]);
    let _running = w.start().await;
    w.apply(&[job("good", None), job("bad", None), job("slow", None)]).await;
    w.until("select count(*) from engine.jobs where state in ('dead', 'scheduled')", 2).await;
    w.until(DONE, 1).await;
    let mut conn = w.db.pool.acquire().await.unwrap();
    let all = JobFilter { limit: 50, ..JobFilter::default() };
    let list = list_jobs(&mut conn, &all).await.unwrap();
    assert_eq!(list.len(), 3);
    assert!(list.is_sorted_by_key(|job| std::cmp::Reverse(job.id)), "newest first");
    let page = JobFilter { limit: 1, before: Some(JobId(list[0].id)), ..JobFilter::default() };
    assert_eq!(list_jobs(&mut conn, &page).await.unwrap()[0].id, list[1].id);
    let dead = JobFilter { state: Some("dead".to_owned()), tag: Some("name:bad".to_owned()), ..all.clone() };
    let dead = list_jobs(&mut conn, &dead).await.unwrap();
    assert_eq!(dead.len(), 1);
    let details = find_job(&mut conn, &w.db.clock, JobId(dead[0].id)).await.unwrap().unwrap();
    assert_eq!((details.tags, details.attempts.len()), (vec!["name:bad".to_owned()], 1));
    let done = JobFilter { state: Some("done".to_owned()), kind: Some("test.scripted".to_owned()), ..all };
    let done = list_jobs(&mut conn, &done).await.unwrap();
    assert!(done.len() == 1 && done[0].finished_at.is_some());
    assert!(find_job(&mut conn, &w.db.clock, JobId(done[0].id)).await.unwrap().is_some());
    let counts = count_jobs(&mut conn).await.unwrap();
    assert_eq!(
        counts.iter().map(|c| (c.state.as_str(), c.count)).collect::<Vec<_>>(),
        [("dead", 1), ("scheduled", 1)]
    );
    assert_eq!(list_sessions(&mut conn).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_due_again_has_its_turn_before_a_long_queue_ends() {
    let w = World::new().await;
    w.cx.script("first", &[Do::Snooze(60), Do::Done]);
    let _running = w.start().await;
    w.enqueue("first", None).await;
    w.until("select count(*) from engine.attempts where outcome = 'snoozed'", 1).await;
    w.apply(&(0..3000).map(|_| job("many", None)).collect::<Vec<_>>()).await;
    w.until_began("many", 500).await;
    w.advance(61);
    w.until_began("first", 2).await;
    assert!(w.cx.began("many") < 3000, "it waited for all that came after it");
    w.until(DONE, 3001).await;
}
