//! Claims about `sira jobs retry` and `sira jobs cancel`.

use crate::house::{House, count};

const AUDITED: &str =
    "select count(*) from audit_event where actor_kind = 'system' and action = 'job.retried'";

#[tokio::test(flavor = "multi_thread")]
async fn retried_jobs_run_beside_the_workers_and_the_act_is_audited() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    house.announce(&[house.lead()]).await;
    sqlx::query("update engine.jobs set state = 'dead', attempt = attempts_max")
        .execute(&house.db.pool)
        .await
        .unwrap();
    let id: i64 = sqlx::query_scalar("select id from engine.jobs").fetch_one(&house.db.pool).await.unwrap();
    let running = house.work().await;
    let ran = house.sira(&["jobs", "retry", &id.to_string(), "999999"]);
    assert_eq!(ran.code, Some(6), "one of them is unknown: {ran:?}");
    assert_eq!(ran.out, format!("job {id}: ready\n"));
    assert!(ran.err.contains("job 999999: there is no such job"), "{}", ran.err);
    house.until(1, "select count(*) from leads where owner_id is not null").await;
    assert_eq!(house.count(AUDITED).await, 1);
    let ran = house.sira(&["jobs", "retry", &id.to_string()]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(6), ""));
    assert!(ran.err.contains(&format!("it has ended; `sira jobs show {id}` says how")), "{}", ran.err);
    assert_eq!(house.count(AUDITED).await, 1, "a refusal is no act");
    running.drain(crate::house::DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_says_why_and_by_whom_without_anybodys_number() {
    let house = House::new().await;
    house.announce(&[house.lead()]).await;
    let id: i64 = sqlx::query_scalar("select id from engine.jobs").fetch_one(&house.db.pool).await.unwrap();
    let id = id.to_string();
    assert_eq!(house.sira(&["jobs", "cancel", &id]).code, Some(2), "a reason is asked for");
    assert_eq!(house.sira(&["jobs", "cancel", &id, "--reason", " "]).code, Some(1), "and said");
    let reason = "spam of +90 555 000 00 17";
    let ran = house.sira(&["jobs", "cancel", &id, "--reason", reason]);
    assert_eq!((ran.code, ran.out), (Some(0), format!("job {id}: cancelled\n")));
    let kept = "select count(*) from audit_event where action = 'job.cancelled' \
                and body->>'reason' = 'spam of *** ** 17'";
    assert_eq!(count(&house.db.pool, kept).await, 1);
    let shown = house.sira(&["jobs", "show", &id]);
    assert!(shown.out.contains("spam of *** ** 17"), "{}", shown.out);
    assert_eq!(house.sira(&["jobs", "cancel", &id, "--reason", "again"]).code, Some(6), "it has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_is_told_to_run() {
    let house = House::new().await;
    house.announce(&[house.lead()]).await;
    sqlx::query(
        "with opened as (
            insert into engine.sessions (host, version, queues, until)
            values ('elsewhere', '0', '{}', now() + interval '1 hour') returning id
        )
        update engine.jobs set state = 'running', session = (select id from opened), lease = 1",
    )
    .execute(&house.db.pool)
    .await
    .unwrap();
    let id: i64 = sqlx::query_scalar("select id from engine.jobs").fetch_one(&house.db.pool).await.unwrap();
    for arguments in [vec!["jobs", "retry"], vec!["jobs", "cancel", "--reason", "test"]] {
        let ran = house.sira(&[arguments, vec![&id.to_string()]].concat());
        assert_eq!(ran.code, Some(6), "{ran:?}");
        assert!(ran.err.contains("it runs now and cannot be stopped from here"), "{}", ran.err);
    }
    assert_eq!(house.count("select count(*) from engine.jobs where state = 'running'").await, 1);
}
