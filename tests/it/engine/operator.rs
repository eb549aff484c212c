//! Claims about what an operator does to jobs, beside workers that run.

use std::collections::BTreeSet;

use sira_engine::ops::{
    CounterFilter, Done, JobFilter, QueueError, Refused, Verdict, cancel_jobs, count_running, find_job,
    list_counters, list_jobs, list_queues, match_jobs, pause_queue, reschedule_jobs, resume_queue,
    retry_jobs,
};
use sira_engine::{Effect, JobId, NewJob};

use super::world::{DEAD, DONE, Do, LIVE, Scripted, WAITING, World, job};

const DRAIN: std::time::Duration = std::time::Duration::from_secs(5);
const CANCELLED: &str = "select count(*) from engine.finished where outcome = 'cancelled'";

impl World {
    async fn ids(&self, sql: &'static str) -> Vec<JobId> {
        let ids: Vec<i64> = sqlx::query_scalar(sql).fetch_all(&self.db.pool).await.unwrap();
        ids.into_iter().map(JobId).collect()
    }

    async fn retry(&self, ids: &[JobId]) -> Vec<Verdict> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the engine is tested without the domain's unit of work"
        )]
        let mut tx = self.db.pool.begin().await.unwrap();
        let (verdicts, applied) = retry_jobs(&mut tx, &self.db.clock, ids).await.unwrap();
        tx.commit().await.unwrap();
        self.cx.engine.wake(&applied);
        verdicts
    }

    async fn cancel(&self, ids: &[JobId]) -> Vec<Verdict> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the engine is tested without the domain's unit of work"
        )]
        let mut tx = self.db.pool.begin().await.unwrap();
        let verdicts = cancel_jobs(&mut tx, ids, "not wanted").await.unwrap();
        tx.commit().await.unwrap();
        verdicts
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_job_has_all_its_attempts_again_and_keeps_its_history() {
    let w = World::new().await;
    w.cx.script("a", &[Do::Fail, Do::Retry, Do::Done]);
    let _running = w.start().await;
    w.enqueue("a", None).await;
    w.until(DEAD, 1).await;
    let ids = w.ids("select id from engine.jobs").await;
    assert_eq!(w.retry(&ids).await, [(ids[0], Ok(Done::Ready))]);
    w.until("select count(*) from engine.attempts where outcome = 'failed'", 2).await;
    assert_eq!(w.cx.attempts("a"), [1, 1], "counted anew");
    // It waits for its backoff: due now.
    w.until(WAITING, 1).await;
    assert_eq!(w.retry(&ids).await, [(ids[0], Ok(Done::Ready))]);
    w.until(DONE, 1).await;
    let details =
        find_job(&mut w.db.pool.acquire().await.unwrap(), &w.db.clock, ids[0]).await.unwrap().unwrap();
    assert_eq!(details.attempts.len(), 2, "both failures are told");
    assert_eq!(w.retry(&ids).await, [(ids[0], Err(Refused::Ended))]);
    assert_eq!(w.retry(&[JobId(i64::MAX)]).await, [(JobId(i64::MAX), Err(Refused::Unknown))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_crashed_is_forgiven_and_runs_alone() {
    let w = World::new().await;
    w.cx.script("a", &[Do::Panic, Do::Panic, Do::Panic, Do::Done]);
    let _running = w.start().await;
    w.enqueue("a", None).await;
    for panics in 1..=2 {
        w.until("select count(*) from engine.attempts where outcome = 'panicked'", panics).await;
        w.advance(2_000);
    }
    w.until(DEAD, 1).await;
    let ids = w.ids("select id from engine.jobs").await;
    w.retry(&ids).await;
    w.until(DONE, 1).await;
    assert_eq!(w.cx.began("a"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_job_folds_into_the_twin_that_waits_and_makes_it_due() {
    let w = World::new().await;
    w.cx.script("a", &[Do::Fail]);
    let running = w.start().await;
    w.enqueue("a", Some("k")).await;
    w.until(DEAD, 1).await;
    running.drain(DRAIN).await;
    let later = w.db.clock.now() + chrono::TimeDelta::hours(1);
    let twin = NewJob::of(&Scripted { name: "b".to_owned(), key: Some("k".to_owned()) });
    w.apply(&[Effect::Job(twin.at(later))]).await;
    let dead = w.ids("select id from engine.jobs where state = 'dead'").await;
    assert_eq!(w.retry(&dead).await, [(dead[0], Ok(Done::Merged))]);
    assert_eq!(w.count(LIVE).await, 1);
    assert_eq!(w.text("select state from engine.jobs").await, "ready");
    assert_eq!(w.count("select count(*) from engine.finished where outcome = 'merged'").await, 1);
    // Both of two that are asked for at once.
    sqlx::query("update engine.jobs set state = 'dead'").execute(&w.db.pool).await.unwrap();
    w.enqueue("c", Some("k")).await;
    let both = w.ids("select id from engine.jobs order by id").await;
    sqlx::query("update engine.jobs set state = 'scheduled' where state = 'ready'")
        .execute(&w.db.pool)
        .await
        .unwrap();
    let verdicts = w.retry(&both).await;
    assert_eq!(verdicts, [(both[0], Ok(Done::Ready)), (both[1], Ok(Done::Merged))]);
    assert_eq!(w.count(LIVE).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_began_an_external_effect_is_retried_under_its_own_id() {
    let w = World::new().await;
    w.cx.script("a", &[Do::External]);
    let running = w.start().await;
    w.enqueue("a", Some("k")).await;
    w.until("select count(*) from engine.jobs where external_at is not null", 1).await;
    w.until(WAITING, 1).await;
    running.drain(DRAIN).await;
    let ids = w.ids("select id from engine.jobs").await;
    sqlx::query("update engine.jobs set state = 'dead'").execute(&w.db.pool).await.unwrap();
    w.enqueue("b", Some("k")).await;
    assert_eq!(w.retry(&ids).await, [(ids[0], Ok(Done::Ready))]);
    assert_eq!(w.count(LIVE).await, 2, "its id is what the effect is known by");
    assert_eq!(w.count("select count(*) from engine.jobs where external_at is not null").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_run_is_cancelled_with_the_reason_and_what_runs_is_left_alone() {
    let w = World::new().await;
    w.cx.script("running", &[Do::Block]);
    w.cx.script("dead", &[Do::Fail]);
    let running = w.start().await;
    w.enqueue("running", None).await;
    w.enqueue("dead", None).await;
    w.until_began("running", 1).await;
    w.until(DEAD, 1).await;
    let later = w.db.clock.now() + chrono::TimeDelta::hours(1);
    let scheduled = NewJob::of(&Scripted { name: "scheduled".to_owned(), key: None });
    w.apply(&[Effect::Job(scheduled.at(later))]).await;
    let ids = w.ids("select id from engine.jobs order by id").await;
    let expected =
        [(ids[0], Err(Refused::Running)), (ids[1], Ok(Done::Cancelled)), (ids[2], Ok(Done::Cancelled))];
    assert_eq!(w.cancel(&ids).await, expected);
    assert_eq!(w.retry(&ids[..1]).await, [(ids[0], Err(Refused::Running))]);
    assert_eq!(w.count(CANCELLED).await, 2);
    let details =
        find_job(&mut w.db.pool.acquire().await.unwrap(), &w.db.clock, ids[2]).await.unwrap().unwrap();
    assert_eq!(details.job.error.unwrap()["message"], "not wanted");
    assert_eq!(details.attempts.last().unwrap().outcome, "cancelled");
    w.cx.gate.add_permits(1);
    w.until(DONE, 1).await;
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_not_taken_from_under_its_workflow() {
    let w = World::new().await;
    for status in ["running", "failed"] {
        sqlx::query(
            "with made as (
                insert into engine.workflows (kind, key, version, queue, attempts_max, status, state, finished_at)
                values ('w', $1, 1, 'test', 3, $1, '{}', case when $1 = 'failed' then now() end) returning id
            )
            insert into engine.jobs (kind, queue, state, attempts_max, workflow_id, payload)
            select 'step:w', 'test', 'dead', 3, id, '{}' from made",
        )
        .bind(status)
        .execute(&w.db.pool)
        .await
        .unwrap();
    }
    let ids = w.ids("select id from engine.jobs order by id").await;
    assert_eq!(w.cancel(&ids[..1]).await, [(ids[0], Err(Refused::LiveWorkflow))]);
    assert_eq!(w.retry(&ids[1..]).await, [(ids[1], Err(Refused::EndedWorkflow))]);
    assert_eq!(w.retry(&ids[..1]).await, [(ids[0], Ok(Done::Ready))]);
    assert_eq!(w.cancel(&ids[1..]).await, [(ids[1], Ok(Done::Cancelled))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_running_workers_a_job_is_done_or_cancelled_and_never_both() {
    let w = World::new().await;
    let jobs: Vec<Effect> = (0..200).map(|n| job(&n.to_string(), None)).collect();
    w.apply(&jobs).await;
    let ids = w.ids("select id from engine.jobs order by id desc").await;
    let _one = w.start().await;
    let _two = w.start().await;
    let mut cancelled = BTreeSet::new();
    for chunk in ids.chunks(20) {
        let verdicts = w.cancel(chunk).await;
        cancelled.extend(verdicts.into_iter().filter(|(_, verdict)| verdict.is_ok()).map(|(id, _)| id));
    }
    w.until(LIVE, 0).await;
    let told: BTreeSet<JobId> =
        w.ids("select id from engine.finished where outcome = 'cancelled'").await.into_iter().collect();
    assert_eq!(told, cancelled);
    let ran = w.cx.began.lock().unwrap().len();
    assert_eq!(ran + cancelled.len(), 200, "each ended once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_queue_claims_nothing_in_any_process_until_it_goes_on() {
    let w = World::new().await;
    let mut conn = w.db.pool.acquire().await.unwrap();
    let clock = &w.db.clock;
    let unknown = pause_queue(&mut conn, clock, "test", "a test").await;
    assert!(matches!(unknown, Err(QueueError::Unknown)), "nobody works on it, and nothing waits in it");
    let _running = [w.start().await, w.start().await];
    w.cx.script("a", &[Do::Block]);
    w.enqueue("a", None).await;
    w.until_began("a", 1).await;
    pause_queue(&mut conn, clock, "test", "a test").await.unwrap();

    w.enqueue("b", None).await;
    // One that has to run alone is claimed by another statement.
    w.enqueue("c", None).await;
    sqlx::query("update engine.jobs set probing = true where payload ->> 'name' = 'c'")
        .execute(&w.db.pool)
        .await
        .unwrap();
    w.cx.gate.add_permits(1);
    w.until(DONE, 1).await;
    assert_eq!(count_running(&mut conn, "test").await.unwrap(), 0, "what ran came to its end");
    // Three polls of both processes.
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    assert_eq!((w.cx.began("b"), w.cx.began("c")), (0, 0));
    let queue = list_queues(&mut conn, clock).await.unwrap().remove(0);
    assert_eq!((queue.name.as_str(), queue.ready, queue.workers), ("test", 1, 2));
    assert_eq!(queue.paused_reason.as_deref(), Some("a test"));
    for job in w.ids("select id from engine.jobs").await {
        let details = find_job(&mut conn, &w.db.clock, job).await.unwrap().unwrap();
        assert_eq!(details.waits_for.as_deref(), Some("paused"));
    }

    let (was_paused, applied) = resume_queue(&mut conn, clock, "test").await.unwrap();
    w.cx.engine.wake(&applied);
    assert!(was_paused);
    w.until(DONE, 3).await;
    assert!(!resume_queue(&mut conn, clock, "test").await.unwrap().0);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_found_by_what_is_wrong_with_them() {
    let w = World::new().await;
    w.cx.script("failing", &[Do::Retry]);
    w.cx.script("dead", &[Do::Fail]);
    let running = w.start().await;
    for name in ["failing", "dead", "done"] {
        w.enqueue(name, None).await;
    }
    w.until(DONE, 1).await;
    w.until(DEAD, 1).await;
    w.until("select count(*) from engine.jobs where state = 'scheduled'", 1).await;
    // Not dropped: a claim that is under way would still take what comes.
    running.drain(DRAIN).await;
    sqlx::query(
        "insert into engine.jobs (kind, queue, state, attempts_max, payload, workflow_id, run_at)
        values ('other', 'test', 'ready', 3, '{}', 7, now() - interval '1 hour')",
    )
    .execute(&w.db.pool)
    .await
    .unwrap();
    let mut conn = w.db.pool.acquire().await.unwrap();
    let all = JobFilter { limit: 50, ..JobFilter::default() };
    let hour_ago = w.db.clock.now() - chrono::TimeDelta::minutes(59);
    for (filter, expected) in [
        (JobFilter { error: Some("scripted".to_owned()), ..all.clone() }, vec!["dead", "scheduled"]),
        (JobFilter { error: Some("unheard".to_owned()), ..all.clone() }, vec![]),
        (JobFilter { attempts_min: Some(1), ..all.clone() }, vec!["done", "dead", "scheduled"]),
        (JobFilter { attempts_min: Some(2), ..all.clone() }, vec![]),
        (JobFilter { workflow: Some(7), ..all.clone() }, vec!["ready"]),
        (JobFilter { due_before: Some(hour_ago), ..all.clone() }, vec!["ready"]),
        (JobFilter { attempts_min: Some(1), tag: Some("name:dead".to_owned()), ..all.clone() }, vec!["dead"]),
    ] {
        let listed = list_jobs(&mut conn, &filter).await.unwrap();
        assert_eq!(listed.iter().map(|job| job.state.as_str()).collect::<Vec<_>>(), expected, "{filter:?}");
        let matched = match_jobs(&mut conn, &filter, 50).await.unwrap();
        let live: Vec<_> = listed.iter().filter(|job| job.state != "done").map(|job| JobId(job.id)).collect();
        assert_eq!(matched, live, "{filter:?}: live ones are what can be acted on");
    }
    assert!(all.is_empty() && !JobFilter { workflow: Some(7), ..all }.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_is_given_another_time_and_one_that_does_not_is_left_alone() {
    let w = World::new().await;
    w.cx.script("dead", &[Do::Fail]);
    let running = w.start().await;
    w.enqueue("dead", None).await;
    w.until(DEAD, 1).await;
    running.drain(DRAIN).await;
    w.enqueue("a", Some("k")).await;
    let ids = w.ids("select id from engine.jobs order by id").await;
    let later = w.db.clock.now() + chrono::TimeDelta::hours(2);
    let mut conn = w.db.pool.acquire().await.unwrap();
    let (verdicts, _) = reschedule_jobs(&mut conn, &ids, later).await.unwrap();
    assert_eq!(verdicts, [(ids[0], Err(Refused::Dead)), (ids[1], Ok(Done::Scheduled))]);
    let _running = w.start().await;
    w.advance(7000);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(w.cx.began("a"), 0);
    let (_, applied) = reschedule_jobs(&mut conn, &ids, w.db.clock.now()).await.unwrap();
    w.cx.engine.wake(&applied);
    w.until(DONE, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_attempts_ended_is_kept_by_minute_and_told_by_every_process() {
    let w = World::new().await;
    w.cx.script("failing", &[Do::Fail]);
    let one = w.start().await;
    let two = w.start().await;
    for name in ["failing", "a", "b", "c"] {
        w.enqueue(name, None).await;
    }
    w.until(DONE, 3).await;
    w.until(DEAD, 1).await;
    // What was not told yet is told at the end.
    one.drain(DRAIN).await;
    two.drain(DRAIN).await;
    let mut conn = w.db.pool.acquire().await.unwrap();
    let filter =
        CounterFilter { minutes: 5, kind: Some("test.scripted".to_owned()), ..CounterFilter::default() };
    let counters = list_counters(&mut conn, &filter).await.unwrap();
    let sum = |outcome: &str| {
        counters
            .iter()
            .filter(|of| of.outcome == outcome && of.queue == "test")
            .map(|of| of.attempts)
            .sum::<i64>()
    };
    assert_eq!((sum("done"), sum("failed")), (3, 1), "{counters:?}");
    let other = CounterFilter { queue: Some("other".to_owned()), ..filter };
    assert!(list_counters(&mut conn, &other).await.unwrap().is_empty());
}
