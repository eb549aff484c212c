//! The audit log is append-only, sealed behind its writers, and what is done to it afterwards is found.

use std::time::{Duration, Instant};

use aws_lc_rs::signature::Ed25519KeyPair;
use sira_domain::audit::{self, Checkpoint, Finding, Report, SealError, SigningKey};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::house::{House, Ran};
use crate::processes::Worker;

const PENDING: &str = "select count(*) from audit_pending";
const EVENTS: &str = "select count(*) from audit_event";
const LEAVES: &str = "select count(*) from audit_leaf";
/// What a superuser can do to the triggers that stop everybody else.
const UNGUARDED: &str =
    "alter table audit_event disable trigger all; alter table audit_leaf disable trigger all;
    alter table audit_checkpoint disable trigger all; alter table audit_key disable trigger all;";

fn key() -> SigningKey {
    SigningKey::of_pkcs8(Ed25519KeyPair::generate().unwrap().to_pkcs8().unwrap().as_ref()).unwrap()
}

/// Seals everything that is committed; the checkpoints that came of it.
async fn seal(house: &House, key: &SigningKey) -> Vec<Checkpoint> {
    let mut checkpoints = Vec::new();
    while let Some(sealed) = audit::seal(&house.parts.cx.db, key).await.unwrap() {
        checkpoints.push(sealed.checkpoint);
    }
    checkpoints
}

async fn verify(conn: &mut PgConnection, key: &SigningKey, outside: &[Checkpoint]) -> Report {
    let outside = outside.iter().cloned().map(Ok);
    audit::verify(conn, &key.public(), outside).await.unwrap()
}

#[tokio::test]
async fn nobody_changes_what_was_written_or_sealed_not_even_as_a_superuser() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    seal(&house, &key()).await;
    let mut conn = PgConnection::connect(&house.db.url()).await.unwrap();
    conn.execute("set session_replication_role = replica").await.unwrap();
    for table in ["audit_event", "audit_leaf", "audit_checkpoint", "audit_key"] {
        let column = if table == "audit_leaf" { "leaf" } else { "at" };
        let column = if table == "audit_key" { "created_at" } else { column };
        for change in [
            format!("update {table} set {column} = {column}"),
            format!("delete from {table}"),
            format!("truncate {table} cascade"),
        ] {
            let refused = conn.execute(AssertSqlSafe(change.clone())).await.unwrap_err();
            assert!(refused.to_string().contains("is append-only"), "{change}: {refused}");
        }
    }
}

#[tokio::test]
async fn writers_wait_for_nobody_and_what_is_committed_late_is_sealed_later() {
    let house = House::new().await;
    let (key, db) = (key(), &house.parts.cx.db);
    seal(&house, &key).await;
    let insert = "insert into audit_event (id, at, actor_kind, actor, action, subject_kind, subject, body)
        values (gen_random_uuid(), now(), 'system', 'test', 'test.done', 'test', '1', '{\"n\": 1}')";
    let mut slow = PgConnection::connect(&house.db.url()).await.unwrap();
    let mut slow = slow.begin().await.unwrap();
    slow.execute(insert).await.unwrap();
    // While that is open others write, and what they wrote is sealed.
    let mut quick = PgConnection::connect(&house.db.url()).await.unwrap();
    quick.execute("set lock_timeout = 1").await.unwrap();
    quick.execute(insert).await.unwrap();
    assert_eq!(audit::seal(db, &key).await.unwrap().unwrap().events, 1);
    slow.commit().await.unwrap();
    let late = audit::seal(db, &key).await.unwrap().unwrap();
    assert_eq!((late.events, late.checkpoint.size as i64), (1, house.count(EVENTS).await));
    assert!(audit::seal(db, &key).await.unwrap().is_none(), "nothing is left");
    let report = verify(&mut quick, &key, &[]).await;
    assert_eq!((report.findings.as_slice(), report.pending), (&[][..], 0));
    assert_eq!(report.leaves as i64, house.count(EVENTS).await);
}

#[tokio::test]
async fn many_sealers_seal_each_event_once() {
    let house = House::new().await;
    let key = std::sync::Arc::new(key());
    let mut sealers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (db, key) = (house.parts.cx.db.clone(), key.clone());
        sealers.spawn(async move {
            for _ in 0..10 {
                audit::seal(&db, &key).await.unwrap();
            }
        });
    }
    for n in 0..10 {
        house.agent(&format!("agent{n}"), 10).await;
    }
    sealers.join_all().await;
    let outside = seal(&house, &key).await;
    let mut conn = PgConnection::connect(&house.db.url()).await.unwrap();
    let report = verify(&mut conn, &key, &outside).await;
    assert_eq!((report.findings.as_slice(), report.leaves as i64), (&[][..], house.count(EVENTS).await));
    let other = self::key();
    house.agent("late", 10).await;
    assert!(matches!(audit::seal(&house.parts.cx.db, &other).await, Err(SealError::OtherKey { .. })));
    assert!(house.count(PENDING).await > 0, "it waits for who has the key");
}

/// Whether a finding is of what was done.
type Finds = fn(&Finding) -> bool;

/// Each is done by a superuser who takes the triggers away first.
#[tokio::test]
async fn whatever_is_done_to_the_log_is_found() {
    let house = House::new().await;
    let key = key();
    house.agent("one", 10).await;
    let mut outside = seal(&house, &key).await;
    let before = outside.last().unwrap().size;
    house.agent("two", 10).await;
    outside.extend(seal(&house, &key).await);
    let after = outside.last().unwrap().size;
    assert!(before > 4 && after > before + 2, "{before} {after}");
    let mut conn = PgConnection::connect(&house.db.url()).await.unwrap();
    let clean = verify(&mut conn, &key, &outside).await;
    assert_eq!((clean.findings.as_slice(), clean.checkpoints, clean.outside), (&[][..], 2, 2));
    // Of two processes that share the file, the one that sealed first may have written last.
    let reversed: Vec<_> = outside.iter().rev().cloned().collect();
    assert_eq!(verify(&mut conn, &key, &reversed).await, clean);

    // As a thief of the database alone would: everything agrees again, and is signed by a key of theirs.
    let forged = self::key();
    let event = "(select event_id from audit_leaf where leaf = 2)";
    let rehashed = "update audit_leaf set hash = sha256('\\x00'::bytea || record)";
    let changed = format!("update audit_event set body = '{{\"n\": 7}}' where id = {event};");
    let set_back = format!(
        "delete from audit_event where id in (select event_id from audit_leaf where leaf >= {before});
         delete from audit_leaf where leaf >= {before}; delete from audit_checkpoint where size > {before};"
    );
    let mutations: [(&str, String, Finds); 11] = [
        ("edit", changed.clone(), |f| matches!(f, Finding::Changed(_))),
        ("delete", format!("delete from audit_event where id = {event}"), |f| matches!(f, Finding::Deleted(_))),
        (
            "edit the leaf as well",
            format!("{changed} update audit_leaf set record = 'other' where leaf = 2; {rehashed}"),
            |f| matches!(f, Finding::Root { .. }),
        ),
        (
            "reorder",
            "update audit_leaf set leaf = -leaf; update audit_leaf set leaf = case leaf when -2 then 3 when -3 then 2 else -leaf end"
                .to_owned(),
            |f| matches!(f, Finding::Root { .. }),
        ),
        (
            "truncate",
            "truncate audit_event, audit_leaf, audit_checkpoint, audit_pending".to_owned(),
            |f| matches!(f, Finding::SetBack { found: 0, .. }),
        ),
        ("restore an old copy", set_back.clone(), |f| matches!(f, Finding::SetBack { .. })),
        (
            "cut the end of the leaves",
            format!("delete from audit_leaf where leaf >= {before}"),
            |f| matches!(f, Finding::Stray(_)),
        ),
        (
            "cut a leaf out",
            "delete from audit_leaf where leaf = 1".to_owned(),
            |f| matches!(f, Finding::Gap(1)),
        ),
        (
            "insert an event",
            "insert into audit_event (id, at, actor_kind, actor, action, subject_kind, subject, body)
             values (gen_random_uuid(), now(), 'system', 'x', 'x.done', 'x', '1', '{}')"
                .to_owned(),
            |f| matches!(f, Finding::Stray(_)),
        ),
        (
            "insert a leaf",
            format!(
                "insert into audit_event select gen_random_uuid(), at, actor_kind, actor, action, subject_kind, subject, body
                     from audit_event where id = {event};
                 update audit_leaf set leaf = -leaf - 1 where leaf >= 2; update audit_leaf set leaf = -leaf where leaf < 0;
                 insert into audit_leaf select 2, id, 'x', sha256('\\x0078'::bytea)
                     from audit_event where not exists (select from audit_leaf where event_id = audit_event.id) limit 1"
            ),
            |f| matches!(f, Finding::Root { .. }),
        ),
        (
            "sign anew",
            "truncate audit_checkpoint, audit_leaf, audit_key; insert into audit_pending select id from audit_event".to_owned(),
            |f| matches!(f, Finding::Signature { .. }),
        ),
    ];
    for (what, sql, finds) in mutations {
        let resigns = what == "sign anew";
        if resigns {
            // Not in a transaction that is rolled back: it is the last.
            conn.execute(AssertSqlSafe(format!("{UNGUARDED} {sql}"))).await.unwrap();
            seal(&house, &forged).await;
            let report = verify(&mut conn, &key, &outside).await;
            assert!(report.findings.iter().any(finds), "{what}: {:?}", report.findings);
            continue;
        }
        let mut tx = conn.begin().await.unwrap();
        tx.execute(AssertSqlSafe(format!("{UNGUARDED} {sql}"))).await.unwrap();
        let report = verify(&mut tx, &key, &outside).await;
        assert!(report.findings.iter().any(finds), "{what}: {:?}", report.findings);
        tx.rollback().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_works_seals_and_the_command_line_proves_it() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let nothing = house.sira(&["audit", "verify"]);
    assert_eq!(nothing.code, Some(1), "there is no key yet: {nothing:?}");
    let worker = Worker::start(&house);
    house.until(0, PENDING).await;
    let verified = |arguments: &[&str]| -> Ran { house.sira(&[&["audit", "verify"], arguments].concat()) };
    let file = house.config.data.dir.join("audit/checkpoints.jsonl");
    // The file follows the commit.
    let begun = Instant::now();
    while !file.exists() && begun.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let clean = verified(&[]);
    assert_eq!(clean.code, Some(0), "{clean:?}");
    let leaves = house.count(LEAVES).await;
    assert!(clean.out.contains(&format!("events sealed    {leaves}\n")), "{}", clean.out);
    assert!(clean.out.ends_with("every event is as it was sealed\n"), "{}", clean.out);
    drop(worker);

    // An old copy of the file proves the same; one of a log that went further does not.
    let copy = house.config.data.dir.join("copy.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&copy, text.lines().next().unwrap()).unwrap();
    assert_eq!(verified(&["--checkpoints", copy.to_str().unwrap()]).code, Some(0));
    std::fs::write(&copy, "no checkpoint\n").unwrap();
    let damaged = verified(&["--checkpoints", copy.to_str().unwrap()]);
    assert_eq!(damaged.code, Some(5));
    assert!(damaged.err.contains("copy.jsonl, line 1"), "{}", damaged.err);
    let cut = format!(
        "{UNGUARDED} delete from audit_leaf; delete from audit_checkpoint; delete from audit_event; delete from audit_pending"
    );
    house.db.pool.execute(AssertSqlSafe(cut)).await.unwrap();
    let found = verified(&[]);
    assert_eq!(found.code, Some(5), "{found:?}");
    assert!(found.err.contains("the log was cut, or set back to an old copy"), "{}", found.err);
}
