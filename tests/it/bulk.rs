//! Claims about acting on all jobs that match, and on workflows, at a terminal.

use std::time::Duration;

use sira_engine::{Effect, NewJob};
use sira_jobs::operations::ActOnJobs;

use crate::house::House;

const DEAD: &str = "select count(*) from engine.jobs where kind = 'test.dead' and state = 'dead'";
const READY: &str = "select count(*) from engine.jobs where kind = 'test.dead' and state = 'ready'";
const CANCELLED: &str =
    "select count(*) from engine.finished where kind = 'test.dead' and outcome = 'cancelled'";
const RETRIED: &str = "select count(*) from audit_event where action = 'job.retried'";
const TWICE: &str = "select count(*) from (
    select from audit_event where action = 'job.retried' group by subject having count(*) > 1) as twice";
const ENDED: &str = "select count(*) from audit_event where action = 'bulk.ended'";
const RUNS: &str = "select count(*) from engine.finished where kind = 'operations.act_on_jobs'";

async fn dead(house: &House, count: i32) {
    sqlx::query(
        "insert into engine.jobs (kind, queue, state, attempt, attempts_max, payload)
        select 'test.dead', 'test', 'dead', 3, 3, '{}' from generate_series(1, $1)",
    )
    .bind(count)
    .execute(&house.db.pool)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_on_many_jobs_that_is_killed_goes_on_and_acts_on_none_twice() {
    let house = House::new().await;
    dead(&house, 450).await;
    let running = house.work().await;
    // The second batch cannot get past this one.
    let mut holder = house.db.pool.acquire().await.unwrap();
    sqlx::raw_sql(
        "begin; select from engine.jobs where id = (select min(id) + 50 from engine.jobs) for update",
    )
    .execute(&mut *holder)
    .await
    .unwrap();
    let begun = house.sira(&["jobs", "all", "retry", "--state", "dead", "--kind", "test.dead"]);
    assert!(begun.out.starts_with("act 1 has begun"), "{begun:?}");
    // What dies after that is none of it.
    dead(&house, 3).await;
    house.until(253, DEAD).await;
    drop(running);
    sqlx::raw_sql("rollback").execute(&mut *holder).await.unwrap();
    sqlx::query("update engine.sessions set until = now() - interval '1 s'")
        .execute(&house.db.pool)
        .await
        .unwrap();
    let running = house.work().await;
    house.until(1, ENDED).await;
    assert_eq!((house.count(DEAD).await, house.count(READY).await), (3, 450));
    assert_eq!((house.count(RETRIED).await, house.count(TWICE).await), (450, 0));
    assert_eq!(house.sira(&["jobs", "progress", "1"]).out.trim(), "retry: done, 450 done, 0 refused");
    // Run again, it finds its act ended.
    house.until(1, RUNS).await;
    house.apply(&[Effect::Job(NewJob::of(&ActOnJobs { bulk: 1 }))]).await;
    house.until(2, RUNS).await;
    assert_eq!((house.count(RETRIED).await, house.count(ENDED).await), (450, 1));
    running.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_matches_is_counted_moved_cancelled_or_left_alone_at_a_terminal() {
    let house = House::new().await;
    dead(&house, 2).await;
    let all = |rest: &[&'static str]| house.sira(&[&["jobs", "all"], rest].concat());
    assert_eq!(all(&["cancel", "--state", "dead"]).code, Some(2), "a reason is missing");
    let nothing = all(&["retry"]);
    assert_eq!((nothing.code, nothing.err.trim()), (Some(6), "sira: say which jobs: a filter is missing"));
    let counted = all(&["cancel", "--kind", "test.dead", "--reason", "a test", "--dry-run"]);
    assert_eq!(counted.out.trim(), "2 jobs match; nothing was done");
    let at = ["--at", "2031-01-01T09:00:00Z"];
    all(&[&["reschedule", "--kind", "test.dead"], at.as_slice()].concat());
    assert_eq!(house.sira(&["jobs", "stop", "99"]).code, Some(6));
    let running = house.work().await;
    house.until(1, ENDED).await;
    all(&["cancel", "--kind", "test.dead", "--reason", "a test"]);
    house.until(2, ENDED).await;
    assert_eq!(house.count(CANCELLED).await, 2);
    assert_eq!(house.sira(&["jobs", "progress", "1"]).out.trim(), "reschedule: done, 0 done, 2 refused");
    let stopped = house.sira(&["jobs", "stop", "1"]);
    assert_eq!((stopped.code, stopped.err.trim()), (Some(6), "sira: there is no such act that still runs"));
    running.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_shown_ended_and_let_go_on_and_a_job_moved_at_a_terminal() {
    let house = House::new().await;
    sqlx::raw_sql(
        "insert into engine.workflows (kind, key, version, queue, attempts_max, status, state, due, wake_at)
        values ('test', 'k', 1, 'test', 3, 'sleeping', '{}', false, now() + interval '1 day');
        insert into engine.jobs (kind, queue, state, attempts_max, payload) values ('test', 'test', 'ready', 3, '{}')",
    )
    .execute(&house.db.pool)
    .await
    .unwrap();
    let cancel = ["workflows", "cancel", "1", "--reason", "ask ayse@example.com"];
    assert_eq!(house.sira(&cancel).out.trim(), "workflow 1: cancelled");
    let again = house.sira(&cancel);
    assert_eq!((again.code, again.err.trim()), (Some(6), "sira: it has ended"));
    assert_eq!(house.sira(&["workflows", "retry", "1", "--from", "9"]).code, Some(6));
    assert_eq!(house.sira(&["workflows", "retry", "1"]).out.trim(), "workflow 1: goes on");
    for format in ["table", "json"] {
        let shown = house.sira(&["workflows", "show", "1", "-o", format]).out;
        assert!(
            shown.contains("cancelled") && shown.contains("retried") && !shown.contains("ayse"),
            "{shown}"
        );
    }
    assert_eq!(house.sira(&["workflows", "show", "7"]).code, Some(1));
    let moved = house.sira(&["jobs", "reschedule", "--at", "2031-01-01T09:00:00Z", "1", "99"]);
    assert_eq!((moved.code, moved.out.trim()), (Some(6), "job 1: due at its new time"), "{}", moved.err);
    assert_eq!(
        house.sira(&["jobs", "ls", "--stuck-for", "1", "--kind", "test", "-o", "csv"]).out.lines().count(),
        1
    );
}
