//! Claims about leases, crashes, drains and outages.

use std::time::Duration;

use sira_engine::Drained;

use super::world::{DEAD, DONE, Do, EFFECTS, Hasty, LIVE, World, job, until};

const RUNNING: &str = "select count(*) from engine.jobs where state = 'running'";
const PROBING: &str = "select count(*) from engine.jobs where probing";

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_lease_changes_nothing() {
    let w = World::new().await;
    w.cx.script("z", &[Do::BlockThenCommit, Do::Commit]);
    let zombie = w.start().await;
    w.enqueue("z", None).await;
    w.until_began("z", 1).await;
    // Another process gives the job away while the first one still works on it.
    w.expire(zombie.session()).await;
    let other = w.start().await;
    w.until(DONE, 1).await;
    w.cx.gate.add_permits(1);
    zombie.lost().await;
    assert_eq!(other.drain(Duration::from_secs(5)).await, Drained::Finished);
    assert_eq!((w.count(EFFECTS).await, w.count(LIVE).await, w.count(DONE).await), (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_under_an_old_lease_is_refused_and_rolls_back() {
    let w = World::new().await;
    w.cx.script("z", &[Do::BlockThenCommit]);
    let running = w.start().await;
    w.enqueue("z", None).await;
    w.until_began("z", 1).await;
    sqlx::query("update engine.jobs set lease = lease + 1").execute(&w.db.pool).await.unwrap();
    w.cx.gate.add_permits(1);
    until("the end of the attempt", || w.cx.ended.lock().unwrap().len() == 1).await;
    assert_eq!(running.drain(Duration::from_secs(5)).await, Drained::Interrupted, "the row is not its own");
    assert_eq!((w.count(EFFECTS).await, w.count(RUNNING).await, w.count(DONE).await), (0, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_process_jobs_run_again_and_bystanders_are_not_blamed() {
    let w = World::new().await;
    for name in ["a", "b", "c"] {
        w.cx.script(name, &[Do::Hang, Do::Done]);
    }
    let dead = w.start().await;
    w.apply(&[job("a", None), job("b", Some("kb")), job("c", None)]).await;
    for name in ["a", "b", "c"] {
        w.until_began(name, 1).await;
    }
    let session = dead.session();
    drop(dead);
    assert_eq!(w.count(RUNNING).await, 3);
    w.expire(session).await;
    let _next = w.start().await;
    w.until(DONE, 3).await;
    let unblamed = "select count(*) from engine.attempts
        where outcome = 'crashed' and error is null and waits_for is null";
    assert_eq!(w.count(unblamed).await, 3, "nobody is blamed, and nobody waits to run alone");
    assert_eq!(w.cx.attempts("a"), [1, 1], "a crash spends no attempt");
    assert_eq!(w.count("select count(*) from engine.sessions").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_process_thrice_alone_is_dead_and_the_queue_flows() {
    let w = World::new().await;
    w.cx.script("poison", &[Do::Hang]);
    w.cx.script("bystander", &[Do::Hang, Do::Hang, Do::Done]);
    w.apply(&[job("poison", None), job("bystander", None)]).await;
    // The first two deaths blame nobody; three more while it runs alone are its own.
    for deaths in 1..=5 {
        let running = w.start().await;
        w.until_began("poison", deaths).await;
        if deaths <= 2 {
            w.until_began("bystander", deaths).await;
        }
        let session = running.session();
        drop(running);
        w.expire(session).await;
    }
    let _last = w.start().await;
    w.until(DEAD, 1).await;
    w.until(DONE, 1).await;
    assert_eq!((w.cx.began("poison"), w.cx.began("bystander")), (5, 3));
    assert_eq!(w.text("select error ->> 'code' from engine.jobs").await, "crashed");
    w.enqueue("later", None).await;
    w.until(DONE, 2).await;
}

/// Lets two processes die while they run this job.
async fn die_twice(w: &World, name: &str) {
    for deaths in 1..=2 {
        let dead = w.start().await;
        w.until_began(name, deaths).await;
        let session = dead.session();
        drop(dead);
        w.expire(session).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_process_had_claimed_runs_again_at_once_and_not_one_by_one() {
    let w = World::new().await;
    let names: Vec<String> = (0..8).map(|n| format!("d{n}")).collect();
    for name in &names {
        w.cx.script(name, &[Do::Hang]);
    }
    w.apply(&names.iter().map(|name| job(name, None)).collect::<Vec<_>>()).await;
    let dead = w.start().await;
    // Four run, and four more are buffered.
    until("four attempts", || w.cx.began.lock().unwrap().len() == 4).await;
    w.until(RUNNING, 8).await;
    let session = dead.session();
    drop(dead);
    for name in &names {
        w.cx.script(name, &[Do::Block]);
    }
    w.expire(session).await;
    let _next = w.start().await;
    until("four attempts beside each other", || w.cx.began.lock().unwrap().len() == 8).await;
    assert_eq!((w.count(PROBING).await, w.count(DONE).await), (0, 0));
    w.cx.gate.add_permits(8);
    w.until(DONE, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_died_while_the_database_was_away_is_no_strike() {
    let w = World::new().await;
    w.cx.script("a", &[Do::Hang, Do::Done]);
    let dead = w.start().await;
    w.enqueue("a", None).await;
    w.until_began("a", 1).await;
    drop(dead);
    // Last renewed before the server was started.
    sqlx::query(
        "update engine.sessions set started_at = pg_postmaster_start_time() - interval '1 min',
            until = pg_postmaster_start_time() - interval '1 s'",
    )
    .execute(&w.db.pool)
    .await
    .unwrap();
    let _next = w.start().await;
    w.until(DONE, 1).await;
    let outcomes = "select string_agg(outcome, ' ') from engine.attempts";
    assert_eq!(w.text(outcomes).await, "released");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_that_was_given_back_is_still_a_suspect() {
    let w = World::new().await;
    w.cx.script("suspect", &[Do::Hang]);
    w.enqueue("suspect", None).await;
    die_twice(&w, "suspect").await;
    let running = w.start().await;
    w.until_began("suspect", 3).await;
    assert_eq!(running.drain(Duration::from_millis(50)).await, Drained::Interrupted);
    assert_eq!((w.count(RUNNING).await, w.count(PROBING).await), (0, 1));
    // Nor does a process that does not know its kind clear it.
    let old = w.start_with(sira_engine::Registry::new().job::<Hasty>(), World::settings()).await;
    w.until("select count(*) from engine.attempts where waits_for = 'version'", 1).await;
    assert_eq!(w.count(PROBING).await, 1);
    assert_eq!(old.drain(Duration::from_secs(5)).await, Drained::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probing_job_runs_while_nothing_else_does() {
    let w = World::new().await;
    w.cx.script("suspect", &[Do::Hang, Do::Hang, Do::Block]);
    w.enqueue("suspect", None).await;
    die_twice(&w, "suspect").await;
    let _next = w.start().await;
    w.until_began("suspect", 3).await;
    w.enqueue("other", None).await;
    // The other one is claimed, and waits for its turn.
    w.until(RUNNING, 2).await;
    assert_eq!((w.cx.began("other"), w.count(PROBING).await), (0, 1));
    w.cx.gate.add_permits(1);
    w.until(DONE, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn panics_are_counted_and_the_third_leaves_the_job_dead() {
    let w = World::new().await;
    w.cx.script("p", &[Do::Panic]);
    let _running = w.start().await;
    w.enqueue("p", None).await;
    for n in 1..=3 {
        w.until("select count(*) from engine.attempts where outcome = 'panicked'", n).await;
        w.advance(1001);
    }
    w.until(DEAD, 1).await;
    assert_eq!(w.count("select crash_count::bigint from engine.jobs").await, 3);
    w.enqueue("fine", None).await;
    w.until(DONE, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_cannot_renew_stops_before_its_jobs_are_given_away() {
    let w = World::new().await;
    w.cx.script("h", &[Do::Hang]);
    let settings = sira_engine::Settings {
        renew_every: Duration::from_millis(100),
        // Not so soon that a busy machine is taken for a lost row.
        fence_after: Duration::from_secs(3),
        ..World::settings()
    };
    let running = w.start_with(World::registry(), settings).await;
    w.enqueue("h", None).await;
    w.until_began("h", 1).await;
    // A renewal that does not come through: somebody holds the row.
    #[expect(clippy::disallowed_methods, reason = "the engine is tested without the domain's unit of work")]
    let mut tx = w.db.pool.begin().await.unwrap();
    sqlx::query("select id from engine.sessions for update").execute(&mut *tx).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), running.lost()).await.expect("it stops itself");
    tx.rollback().await.unwrap();
    assert_eq!(w.count(RUNNING).await, 1, "nothing was acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_what_runs_and_gives_back_what_is_buffered() {
    let w = World::new().await;
    let names: Vec<String> = (0..8).map(|n| format!("d{n}")).collect();
    for name in &names {
        w.cx.script(name, &[Do::Block]);
    }
    let running = w.start().await;
    w.apply(&names.iter().map(|name| job(name, None)).collect::<Vec<_>>()).await;
    // Four run, and up to four more are buffered.
    until("four attempts", || w.cx.began.lock().unwrap().len() == 4).await;
    w.until(RUNNING, 8).await;
    let draining = running.drain(Duration::from_secs(10));
    let release = async {
        w.until(RUNNING, 4).await;
        w.cx.gate.add_permits(4);
    };
    let (drained, ()) = tokio::join!(draining, release);
    assert_eq!(drained, Drained::Finished);
    assert_eq!((w.count(DONE).await, w.count(LIVE).await), (4, 4));
    assert_eq!(w.count("select count(*) from engine.jobs where state = 'ready' and attempt = 0").await, 4);
    assert_eq!(w.count("select count(*) from engine.sessions").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_out_of_time_gives_back_what_still_runs() {
    let w = World::new().await;
    w.cx.script("h", &[Do::Hang, Do::Done]);
    let running = w.start().await;
    w.enqueue("h", Some("k")).await;
    w.until_began("h", 1).await;
    assert_eq!(running.drain(Duration::from_millis(50)).await, Drained::Interrupted);
    assert_eq!(w.count("select count(*) from engine.jobs where state = 'ready' and attempt = 0").await, 1);
    assert_eq!(w.count(PROBING).await, 0);
    let _next = w.start().await;
    w.until(DONE, 1).await;
    assert_eq!(w.cx.attempts("h"), [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_survive_the_loss_of_every_connection() {
    let w = World::new().await;
    let running = w.start().await;
    w.enqueue("before", None).await;
    w.until(DONE, 1).await;
    for round in 0..5 {
        w.cx.script("long", &[Do::Block]);
        w.enqueue("long", None).await;
        w.until_began("long", round + 1).await;
        let killed = "select count(pg_terminate_backend(pid)) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()";
        assert!(w.count(killed).await > 0, "somebody was connected");
        w.cx.gate.add_permits(1);
        w.until(LIVE, 0).await;
    }
    w.enqueue("after", None).await;
    w.until(DONE, 7).await;
    assert_eq!(running.drain(Duration::from_secs(5)).await, Drained::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_has_partitions_for_the_days_to_come() {
    let w = World::new().await;
    let _running = w.start().await;
    let partitions = "select count(*) from pg_inherits
        where inhparent in ('engine.finished'::regclass, 'engine.attempts'::regclass)";
    // Of each table: the default one, today, tomorrow, and the day after.
    w.until(partitions, 8).await;
    w.enqueue("j", None).await;
    w.until(DONE, 1).await;
    assert_eq!(w.count("select count(*) from engine.finished_default").await, 0);
}
