//! The audit log is append-only, sealed behind its writers, and what is done to it afterwards is found.

use std::path::Path;
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
    alter table audit_checkpoint disable trigger all; alter table audit_key disable trigger all;
    alter table audit_tile disable trigger all;";

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

async fn write(house: &House, events: i32) {
    sqlx::query(
        "insert into audit_event (id, at, actor_kind, actor, action, subject_kind, subject, body)
        select gen_random_uuid(), now(), 'system', 'test', 'thing.done', 'thing', n::text, '{}' from generate_series(1, $1) n",
    )
    .bind(events)
    .execute(&house.db.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn nobody_changes_what_was_written_or_sealed_not_even_as_a_superuser() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    write(&house, 256).await;
    seal(&house, &key()).await;
    let mut conn = PgConnection::connect(&house.db.url()).await.unwrap();
    conn.execute("set session_replication_role = replica").await.unwrap();
    for table in ["audit_event", "audit_leaf", "audit_checkpoint", "audit_key", "audit_tile"] {
        let column = match table {
            "audit_leaf" => "leaf",
            "audit_key" => "created_at",
            "audit_tile" => "place",
            _ => "at",
        };
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

#[tokio::test]
async fn subtrees_are_kept_beside_the_leaves_and_a_changed_one_is_found() {
    let house = House::new().await;
    let key = key();
    write(&house, 700).await;
    let outside = seal(&house, &key).await;
    let mut conn = PgConnection::connect(&house.db.url()).await.unwrap();
    let tiles = "select count(*) from audit_tile";
    assert_eq!(house.count(tiles).await, 2, "two of 256");
    assert_eq!(verify(&mut conn, &key, &outside).await.findings, []);
    let changed = format!("{UNGUARDED} update audit_tile set hash = sha256('x') where place = 1");
    let mut tx = conn.begin().await.unwrap();
    tx.execute(AssertSqlSafe(changed)).await.unwrap();
    let found = verify(&mut tx, &key, &outside).await.findings;
    assert_eq!(found, [Finding::Tile { level: 1, place: 1 }]);
    tx.rollback().await.unwrap();
    // A log from before they were kept.
    conn.execute("alter table audit_tile disable trigger all; delete from audit_tile").await.unwrap();
    write(&house, 100).await;
    seal(&house, &key).await;
    assert_eq!(house.count(tiles).await, 3);
    assert_eq!(verify(&mut conn, &key, &outside).await.findings, []);
}

#[tokio::test]
async fn an_export_is_proven_by_itself_and_a_change_to_it_is_found() {
    let house = House::new().await;
    let key = key();
    write(&house, 300).await;
    house.agent("agent", 10).await;
    let unsealed = house.sira(&["audit", "export", "none.jsonl"]);
    assert_eq!(unsealed.code, Some(1), "{unsealed:?}");
    assert!(unsealed.err.contains("not sealed yet"), "{unsealed:?}");
    seal(&house, &key).await;

    let at = |name: &str| house.config.data.dir.join(name).to_str().unwrap().to_owned();
    let (all, some) = (at("all.jsonl"), at("some.jsonl"));
    let exported = house.sira(&["audit", "export", &all]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    assert!(exported.out.contains("every event that was sealed by then"), "{}", exported.out);
    assert_eq!(house.count("select count(*) from audit_event where action = 'audit.exported'").await, 1);
    let again = house.sira(&["audit", "export", &all]);
    assert_eq!(again.code, Some(1), "nothing is overwritten: {again:?}");
    assert!(again.err.contains("File exists") && exported.err.is_empty(), "{exported:?} {again:?}");
    let filtered = house.sira(&["audit", "export", &some, "--action", "thing.done", "--subject", "thing:7"]);
    assert!(filtered.out.starts_with("events           1: those that match"), "{filtered:?}");
    assert!(filtered.err.contains("1 events were not sealed yet"), "the first export's own: {filtered:?}");

    let contact = house.sira(&["audit", "export", &at("contact.jsonl"), "--actor", "+905550000017"]);
    assert_eq!(contact.code, Some(2), "{contact:?}");
    assert!(!contact.err.contains("0000017") && !Path::new(&at("contact.jsonl")).exists(), "{contact:?}");

    let verified = |arguments: &[&str]| house.sira(&[&["audit", "verify", "--export"], arguments].concat());
    for file in [&all, &some] {
        let clean = verified(&[file, "--key", &key.public().id()]);
        assert_eq!(clean.code, Some(0), "{clean:?}");
        assert!(clean.out.ends_with("every event in it is as it was sealed\n"), "{}", clean.out);
    }
    let other = verified(&[&all, "--key", &self::key().public().id()]);
    assert_eq!(other.code, Some(5), "{other:?}");
    assert_eq!(verified(&[&at("none.jsonl")]).code, Some(1));

    let text = std::fs::read_to_string(&all).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let without = |cut: usize| [&lines[..cut], &lines[cut + 1..]].concat().join("\n");
    let mutations = [
        ("changed", text.replace(r#"\"subject\":\"7\""#, r#"\"subject\":\"8\""#)),
        ("left out", without(9)),
        ("cut", without(lines.len() - 1)),
        ("reordered", [&lines[..1], &[lines[2], lines[1]], &lines[3..]].concat().join("\n")),
        ("twice", [&lines[..2], &lines[1..]].concat().join("\n")),
        ("longer", format!("{text}{}\n", lines[1])),
        ("another root", text.replacen("\"root\":\"", "\"root\":\"AAAA", 1)),
        ("no export", "hello\n".to_owned()),
        ("empty", String::new()),
        ("endless", "x".repeat(3 * 1024 * 1024)),
    ];
    for (what, mutated) in mutations {
        assert_ne!(mutated, text, "{what}");
        std::fs::write(at("mutated.jsonl"), mutated).unwrap();
        let found = verified(&[&at("mutated.jsonl")]);
        assert_eq!(found.code, Some(5), "{what}: {found:?}");
        assert!(found.err.contains("mutated.jsonl"), "{what}: {found:?}");
    }

    // What is not as it was sealed is not exported, and nothing half done is left.
    let mut conn = PgConnection::connect(&house.db.url()).await.unwrap();
    conn.execute(AssertSqlSafe(format!("{UNGUARDED} update audit_leaf set record = 'other' where leaf = 2")))
        .await
        .unwrap();
    let refused = house.sira(&["audit", "export", &at("forged.jsonl")]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("leaf 2 is not as it was sealed"), "{refused:?}");
    assert!(!Path::new(&at("forged.jsonl")).exists());
}
