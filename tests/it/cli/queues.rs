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
    assert_eq!(house.count("select count(*) from engine.queues").await, 0);
    assert_eq!(house.count("select count(*) from audit_event where subject_kind = 'queue'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_limited_and_a_gate_edited_and_closed_at_a_terminal() {
    let house = House::new().await;
    let _running = house.work().await;
    assert_eq!(house.sira(&["queues", "limit", "calls", "2"]).out.trim(), "calls: at most 2 at a time");
    assert_eq!(house.sira(&["queues", "limit", "calls", "none"]).out.trim(), "calls: no limit");
    assert_eq!(house.sira(&["queues", "limit", "calls", "0"]).code, Some(2));
    let workers = house.sira(&["queues", "workers", "-o", "csv"]).out;
    assert!(workers.lines().count() == 2 && workers.contains("calls"), "{workers}");
    assert_eq!(house.sira(&["queues", "counters", "--minutes", "5", "-o", "json"]).code, Some(0));
    for format in ["table", "csv", "json"] {
        let out = house.sira(&["gates", "ls", "-o", format]).out;
        assert!(out.contains("meta.graph") && out.contains("closed"), "{out}");
    }
    let set = ["gates", "set", "meta.graph", "--rate", "5", "--burst", "10", "--failures", "3"];
    assert_eq!(house.sira(&set).code, Some(2), "a breaker says for how long");
    let set = [set.as_slice(), &["--open-seconds", "20"]].concat();
    assert_eq!(house.sira(&set).out.trim(), "meta.graph: changed");
    let shown = house.sira(&["gates", "ls", "-o", "json"]).out;
    assert!(shown.contains("\"rate_per_s\": 5.0") || shown.contains("\"rate_per_s\":5.0"), "{shown}");
    assert_eq!(house.sira(&["gates", "reset", "meta.graph"]).out.trim(), "meta.graph: closed");
    let unknown = house.sira(&["gates", "reset", "nobody"]);
    assert_eq!((unknown.code, unknown.err.trim()), (Some(6), "sira: there is no such gate"));
    assert_eq!(
        house.count("select count(*) from audit_event where subject_kind in ('limits', 'gate')").await,
        4
    );
}
