//! Claims about `sira doctor`: it looks at everything, and each cross says what to do.

use std::process::Command;

use serde_json::Value;

use crate::house::{House, Ran};

/// Everything that it looks at.
const CHECKS: [&str; 20] = [
    "disk",
    "port",
    "key file",
    "Meta's credentials",
    "telephony's credentials",
    "database",
    "PostgreSQL version",
    "clock skew to the database",
    "fsync",
    "full_page_writes",
    "data_checksums",
    "synchronous_commit",
    "max_connections",
    "schema",
    "queues",
    "dead jobs",
    "quarantine",
    "last backup",
    "pooler",
    "master key",
];

fn doctor(house: &House, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sira"));
    command
        .arg("doctor")
        .args(arguments)
        .env("SIRA__DATA__DIR", &house.config.data.dir)
        .env("SIRA__DATABASE__URL", house.db.url())
        .env("SIRA__HTTP__LISTEN", "127.0.0.1:0");
    Ran::of(&mut command)
}

fn crosses(ran: &Ran) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let checks = ran.json();
    let bad = checks.as_array().unwrap().iter().filter(|check| check["ok"] == false);
    bad.map(|check| (text(&check["name"]), text(&check["fix"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_installation_has_a_tick_at_everything() {
    let house = House::new().await;
    let ran = doctor(&house, &["--json"]);
    assert_eq!((ran.code, crosses(&ran)), (Some(0), Vec::new()), "{ran:?}");
    let checks = ran.json();
    let names: Vec<&str> =
        checks.as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, CHECKS);
    let lines = doctor(&house, &[]);
    assert_eq!(
        lines.out.lines().filter(|line| line.starts_with('\u{2713}')).count(),
        CHECKS.len(),
        "{lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_an_operator_is_a_cross_with_its_command() {
    let house = House::new().await;
    house.announce(&[house.lead()]).await;
    for statement in [
        "update engine.jobs set state = 'dead'",
        "update inbound_events set state = 'quarantined', reason_code = 'not_found', reason = 'gone'",
        "insert into audit_event (id, at, actor_kind, actor, action, subject_kind, subject, body)
         values ('019f0000-0000-7000-8000-000000000000', now() - interval '3 days', 'system', 'system', 'backup.taken',
             'database', 'sira', '{}')",
    ] {
        sqlx::query(statement).execute(&house.db.pool).await.unwrap();
    }
    std::fs::remove_file(house.config.data.key_file()).unwrap();
    let ran = doctor(&house, &["--json"]);
    assert_eq!(ran.code, Some(5), "{ran:?}");
    let found = crosses(&ran);
    for (name, fix) in [
        ("dead jobs", "sira jobs retry"),
        ("quarantine", "sira quarantine ls"),
        ("last backup", "sira backup"),
        ("master key", "docs/KEYS.md"),
    ] {
        assert!(found.iter().any(|(known, way)| known == name && way.contains(fix)), "{name}: {found:?}");
    }
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(!house.config.data.key_file().exists(), "it makes no key file");
}
