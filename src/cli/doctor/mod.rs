//! `sira doctor`: everything that sira needs, each line a tick or a cross, the cause, and the command that fixes it.
//!
//! It changes nothing, except that it runs the private PostgreSQL for the moment when no other process does.

mod credentials;
mod host;
mod pooler;
mod sql;
mod store;
mod work;

use clap::Args as ClapArgs;
use serde::Serialize;
use sira_kernel::Clock;

use super::{Exit, print};
use crate::config::Config;
use crate::database::{Database, OpenError};

/// How to report.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Print a JSON array instead of lines
    #[arg(long)]
    json: bool,
}

/// One thing looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    name: &'static str,
    ok: bool,
    /// What was found.
    found: String,
    /// The command that puts it right; none when all is well.
    fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, ok: true, found: found.into(), fix: None }
    }

    fn bad(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, ok: false, found: found.into(), fix: Some(fix.into()) }
    }

    /// Well if `holds`; else `fix` is told.
    fn that(name: &'static str, holds: bool, found: impl Into<String>, fix: impl Into<String>) -> Self {
        if holds { Self::ok(name, found) } else { Self::bad(name, found, fix) }
    }
}

/// Looks at everything, however much of it is broken.
pub async fn run(config: &Config, args: &Args) -> anyhow::Result<Exit> {
    let mut checks = host::checks(config).await;
    checks.extend(credentials::providers(config));
    match Database::join(config).await {
        Ok(database) => {
            checks.push(Check::ok("database", "answers"));
            checks.extend(asked(&database, config).await);
            database.close().await;
        }
        Err(error) => checks.push(unreachable(&error)),
    }
    let healthy = checks.iter().all(|check| check.ok);
    print(&if args.json { serde_json::to_string_pretty(&checks)? } else { lines(&checks) })?;
    Ok(if healthy { Exit::Ok } else { Exit::Unhealthy })
}

/// What only the database knows.
async fn asked(database: &Database, config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    match database.pool().acquire().await {
        Ok(mut conn) => checks.extend(sql::checks(&mut conn, &Clock::system()).await),
        Err(error) => checks.push(Check::bad("database", error.to_string(), "sira doctor")),
    }
    checks.push(pooler::check(database.pool()).await);
    checks.push(credentials::key(config, database.pool()).await);
    checks
}

fn unreachable(error: &OpenError) -> Check {
    let found = error.to_string();
    // As PgBouncer says it, which lets no session setting through at the start of a connection.
    let fix = if found.contains("unsupported startup parameter") {
        pooler::FIX
    } else {
        "sira config show --origin"
    };
    Check::bad("database", found, fix)
}

fn lines(checks: &[Check]) -> String {
    let line = |check: &Check| {
        let mark = if check.ok { '\u{2713}' } else { '\u{2717}' };
        let fix = check.fix.as_ref().map(|fix| format!("\n    fix: {fix}")).unwrap_or_default();
        format!("{mark} {}: {}{fix}", check.name, check.found)
    };
    checks.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pooler_that_refuses_us_is_told_from_a_database_that_is_away() {
        let refused = "unsupported startup parameter: options";
        let refused = OpenError::Connect(sqlx::Error::Protocol(refused.to_owned()));
        assert!(unreachable(&refused).fix.is_some_and(|fix| fix.contains("database.pooled")));
        let away = OpenError::Connect(sqlx::Error::PoolTimedOut);
        assert!(unreachable(&away).fix.is_some_and(|fix| fix.contains("config show")));
    }

    #[test]
    fn a_cross_comes_with_its_fix() {
        let checks =
            [Check::ok("disk", "9 GiB free"), Check::that("port", false, "8080 is taken", "ss -ltnp")];
        assert_eq!(
            lines(&checks),
            "\u{2713} disk: 9 GiB free\n\u{2717} port: 8080 is taken\n    fix: ss -ltnp"
        );
    }
}
