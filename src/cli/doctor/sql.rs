//! What the database tells: its version and settings, its clock, the schema, the queues.

use sira_kernel::Clock;
use sqlx::PgConnection;

use super::store;
use super::{Check, work};
use crate::database::drift;

/// Between our clock and the database's; the engine corrects for it, people who compare logs do not.
const SKEW_MS_MAX: i64 = 1000;
/// A ready job that waits longer means that nobody works.
const QUEUE_AGE_S_MAX: i64 = 60;
/// `server_version_num` of the oldest version.
const VERSION_MIN: i32 = sira_postgres::MAJOR_MIN as i32 * 10_000;
/// Two processes with their pools, and room for an operator.
const CONNECTIONS_MIN: u32 = 50;

/// All of them; one that cannot be asked is a cross, not the end.
pub async fn checks(conn: &mut PgConnection, clock: &Clock) -> Vec<Check> {
    let mut checks = Vec::new();
    let asked = [version(conn).await, skew(conn, clock).await];
    checks.extend(asked.into_iter().map(or_cross));
    for (name, expected) in [("fsync", "on"), ("full_page_writes", "on"), ("data_checksums", "on")] {
        checks.push(or_cross(setting(conn, name, expected).await));
    }
    let asked = [synchronous(conn).await, connections(conn).await, schema(conn).await, queues(conn).await];
    checks.extend(asked.into_iter().chain(work::checks(conn, clock).await).map(or_cross));
    checks
}

fn or_cross(asked: Result<Check, sqlx::Error>) -> Check {
    asked.unwrap_or_else(|error| Check::bad("database", error.to_string(), "sira migrate"))
}

async fn version(conn: &mut PgConnection) -> Result<Check, sqlx::Error> {
    let number = store::get_version(conn).await?;
    let found = format!("{}.{}", number / 10_000, number % 10_000);
    let fix = format!("apt-get install postgresql # {} or later", sira_postgres::MAJOR_MIN);
    Ok(Check::that("PostgreSQL version", number >= VERSION_MIN, found, fix))
}

async fn setting(conn: &mut PgConnection, name: &'static str, expected: &str) -> Result<Check, sqlx::Error> {
    let found = store::get_setting(conn, name).await?;
    let fix = match name {
        "data_checksums" => "pg_checksums --enable -D <data directory> # with PostgreSQL stopped".to_owned(),
        _ => format!("psql -c 'alter system set {name} = {expected}' -c 'select pg_reload_conf()'"),
    };
    Ok(Check::that(name, found == expected, found, fix))
}

/// Every level but `off` waits for the local disk before a commit is acknowledged.
async fn synchronous(conn: &mut PgConnection) -> Result<Check, sqlx::Error> {
    const NAME: &str = "synchronous_commit";
    let found = store::get_setting(conn, NAME).await?;
    let fix = "psql -c 'alter system set synchronous_commit = on' -c 'select pg_reload_conf()'";
    Ok(Check::that(NAME, found != "off", found, fix))
}

async fn connections(conn: &mut PgConnection) -> Result<Check, sqlx::Error> {
    let found = store::get_setting(conn, "max_connections").await?;
    let enough = found.parse::<u32>().is_ok_and(|n| n >= CONNECTIONS_MIN);
    let fix =
        format!("psql -c 'alter system set max_connections = {CONNECTIONS_MIN}' # then restart PostgreSQL");
    Ok(Check::that("max_connections", enough, found, fix))
}

async fn skew(conn: &mut PgConnection, clock: &Clock) -> Result<Check, sqlx::Error> {
    let before = clock.now();
    let database = store::get_time(conn).await?;
    // The answer was given between the two.
    let between = before + (clock.now() - before) / 2;
    let skew_ms = (database - between).num_milliseconds();
    let holds = skew_ms.abs() <= SKEW_MS_MAX;
    Ok(Check::that("clock skew to the database", holds, format!("{skew_ms} ms"), "timedatectl set-ntp true"))
}

async fn schema(conn: &mut PgConnection) -> Result<Check, sqlx::Error> {
    let drift = drift(conn).await?;
    if let Some(version) = drift.changed.first() {
        let found = format!("migration {version} was edited after it had been applied");
        return Ok(Check::bad("schema", found, "git log --oneline -- migrations # restore the file"));
    }
    let newer = drift.unknown.len();
    let found = match drift.pending.len() {
        0 if newer == 0 => "up to date".to_owned(),
        0 => format!("{newer} migrations ahead of this binary"),
        n => format!("{n} migrations are not applied"),
    };
    Ok(Check::that("schema", drift.pending.is_empty(), found, "sira migrate"))
}

async fn queues(conn: &mut PgConnection) -> Result<Check, sqlx::Error> {
    let backlogs = store::list_backlogs(conn).await?;
    let Some(worst) = backlogs.first() else { return Ok(Check::ok("queues", "nothing waits")) };
    let found = format!("{}: {} ready, the oldest for {} s", worst.queue, worst.ready, worst.oldest_s);
    let fix = format!("sira work --queues {}", worst.queue);
    Ok(Check::that("queues", worst.oldest_s <= QUEUE_AGE_S_MAX, found, fix))
}
