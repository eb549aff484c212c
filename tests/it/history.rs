//! Claims about how long the engine's history is kept.

use std::time::Duration;

use chrono::TimeDelta;
use sira_engine::{Effect, NewJob};
use sira_jobs::operations::TrimHistory;

use crate::house::House;

const DAY: &str = "select count(*) from pg_class where relname in ('finished_20200101', 'attempts_20200101')";
const FINISHED: &str = "select count(*) from engine.finished where kind = 'test.kept'";
const ATTEMPTS: &str = "select count(*) from engine.attempts where session = -1";
const WORKFLOWS: &str = "select count(*) from engine.workflows where kind = 'test.kept'";
const STEPS: &str = "select count(*) from engine.workflow_steps where woken_by = 'test'";
const COUNTERS: &str = "select count(*) from engine.counters where kind = 'test.kept'";
const TAGS: &str = "select count(*) from engine.job_tags where tag like 'test:%'";
const RUNS: &str = "select count(*) from engine.finished where kind = 'operations.trim_history'";

/// History of a day with its partition, of one without, and of today, with what lives since then. More than one batch of
/// workflows.
async fn lived_in(house: &House) {
    sqlx::raw_sql(
        "create table engine.finished_20200101 partition of engine.finished
             for values from ('2020-01-01 00:00+00') to ('2020-01-02 00:00+00');
         create table engine.attempts_20200101 partition of engine.attempts
             for values from ('2020-01-01 00:00+00') to ('2020-01-02 00:00+00');
         create temporary table days as select unnest(array['2020-01-01 12:00+00', '2020-02-01 12:00+00',
             now()::text])::timestamptz as at;
         insert into engine.finished (id, kind, queue, outcome, attempt, payload, created_at, finished_at)
             select -1, 'test.kept', 'test', 'done', 1, '{}', at, at from days;
         insert into engine.counters select at, 'test', 'test.kept', 'done', 1, 1 from days;
         insert into engine.attempts (job_id, lease, attempt, session, outcome, ended_at)
             select -1, 1, 1, -1, 'failed', at from days;
         insert into engine.workflows (kind, key, version, queue, attempts_max, status, state, due, finished_at)
             select 'test.kept', n::text || at, 1, 'test', 1, 'done', '{}', false, at
             from days, generate_series(1, 700) n;
         insert into engine.workflow_steps (workflow_id, seq, woken_by, decision, state)
             select id, 1, 'test', 'done', '{}' from engine.workflows where kind = 'test.kept';
         insert into engine.workflows (kind, key, version, queue, attempts_max, status, state, due, created_at)
             values ('test.kept', 'alive', 1, 'test', 1, 'running', '{}', true, '2020-01-01');
         insert into engine.jobs (kind, queue, state, attempts_max, payload, created_at)
             values ('test.kept', 'test', 'dead', 1, '{}', '2020-01-01');
         insert into engine.job_tags (tag, job_id, created_at)
             select 'test:alive', id, '2020-01-01' from engine.jobs where kind = 'test.kept';
         insert into engine.job_tags (tag, job_id, created_at) select 'test:' || at, -1, at from days",
    )
    .execute(&mut *house.db.pool.acquire().await.unwrap())
    .await
    .unwrap();
}

async fn what_is_left(house: &House) -> [i64; 7] {
    let mut left = [0; 7];
    for (place, sql) in [DAY, FINISHED, ATTEMPTS, WORKFLOWS, STEPS, TAGS, COUNTERS].into_iter().enumerate() {
        left[place] = house.count(sql).await;
    }
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_when_it_is_too_old_and_nothing_that_lives_goes_with_it() {
    let house = House::new().await;
    lived_in(&house).await;
    assert_eq!(what_is_left(&house).await, [2, 3, 3, 2101, 2100, 4, 3]);
    let running = house.work().await;
    let kept = [0, 1, 1, 701, 700, 2, 1];
    for runs in 1..=2 {
        house.apply(&[Effect::Job(NewJob::of(&TrimHistory {}))]).await;
        house.until(runs, RUNS).await;
        assert_eq!(what_is_left(&house).await, kept, "run {runs}");
    }
    running.drain(Duration::from_secs(5)).await;
    assert_eq!(house.count("select count(*) from engine.jobs where state = 'dead'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_trimmed_every_night_by_its_schedule() {
    let house = House::new().await;
    let _running = house.work().await;
    house.advance(TimeDelta::days(1));
    house.until(1, RUNS).await;
    house.advance(TimeDelta::days(3));
    house.until(2, RUNS).await;
    let told = "select count(*) from engine.schedule_slots where missed_from is not null";
    assert_eq!(house.count(told).await, 1, "two nights were missed, and one run makes good for them");
}
