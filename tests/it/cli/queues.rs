//! Claims about `sira queues`.

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_listed_drained_and_let_go_on_at_a_terminal() {
    let house = House::new().await;
    let _running = house.work().await;
    for format in ["table", "csv", "json"] {
        let out = house.sira(&["queues", "ls", "-o", format]).out;
        assert!(out.contains("calls") && out.contains("distribution"), "{out}");
    }
    // Somebody else's, who is slow to end it.
    sqlx::query(
        "insert into engine.jobs (kind, queue, state, session, attempts_max, payload)
        select 'test', 'calls', 'running', id, 3, '{}' from engine.sessions",
    )
    .execute(&house.db.pool)
    .await
    .unwrap();
    let pool = house.db.pool.clone();
    let ending = async move {
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        sqlx::query("delete from engine.jobs").execute(&pool).await.unwrap();
    };
    let draining = tokio::task::spawn_blocking({
        let url = house.db.url();
        let dir = house.config.data.dir.clone();
        move || {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sira"));
            command
                .args(["queues", "drain", "calls", "--reason", "a test"])
                .env("SIRA__DATA__DIR", dir)
                .env("SIRA__DATABASE__URL", url);
            crate::house::Ran::of(&mut command)
        }
    });
    let (drained, ()) = tokio::join!(draining, ending);
    let drained = drained.unwrap();
    assert_eq!(drained.code, Some(0), "{drained:?}");
    assert_eq!(drained.out.trim(), "calls: paused\ncalls: 1 still run\ncalls: drained");
    let listed = house.sira(&["queues", "ls"]).out;
    assert!(listed.lines().any(|line| line.starts_with("calls") && line.ends_with("a test")), "{listed}");

    let unknown = house.sira(&["queues", "pause", "nobody", "--reason", "a test"]);
    assert_eq!((unknown.code, unknown.err.trim()), (Some(6), "sira: there is no such queue"));
    assert_eq!(house.sira(&["queues", "resume", "calls"]).out.trim(), "calls: goes on");
    assert_eq!(house.count("select count(*) from engine.paused_queues").await, 0);
    assert_eq!(house.count("select count(*) from audit_event where subject_kind = 'queue'").await, 2);
}
