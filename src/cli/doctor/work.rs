//! What waits for an operator: dead jobs, events in quarantine, a backup that is too old.

use chrono::TimeDelta;
use sira_domain::operations;
use sira_kernel::Clock;
use sqlx::PgConnection;

use super::Check;
use super::store;

/// A day, and time for the backup itself.
const BACKUP_AGE_MAX: TimeDelta = TimeDelta::hours(26);

/// All of them.
pub async fn checks(conn: &mut PgConnection, clock: &Clock) -> Vec<Result<Check, sqlx::Error>> {
    vec![dead(conn).await, quarantine(conn).await, backup(conn, clock).await]
}

async fn dead(conn: &mut PgConnection) -> Result<Check, sqlx::Error> {
    let count = store::count_dead(conn).await?;
    let fix =
        "sira jobs ls --state dead # then `sira jobs retry ID...`, or `sira jobs cancel ID... --reason TEXT`";
    Ok(Check::that("dead jobs", count == 0, told(count), fix))
}

async fn quarantine(conn: &mut PgConnection) -> Result<Check, sqlx::Error> {
    let count = store::count_quarantined(conn).await?;
    let fix = "sira quarantine ls # each says why it is no lead; then `sira quarantine retry ID...` or `correct ID`";
    Ok(Check::that("quarantine", count == 0, told(count), fix))
}

/// Whoever backs up by other means is not blamed: only a backup of ours that grew old is.
async fn backup(conn: &mut PgConnection, clock: &Clock) -> Result<Check, sqlx::Error> {
    const NAME: &str = "last backup";
    let Some(at) = operations::find_last_backup(conn).await? else {
        return Ok(Check::ok(NAME, "none by `sira backup` is known"));
    };
    let age = clock.now() - at;
    let found = format!("{} h ago", age.num_hours());
    Ok(Check::that(
        NAME,
        age <= BACKUP_AGE_MAX,
        found,
        format!("sira backup backup-{}", clock.now().date_naive()),
    ))
}

fn told(count: i64) -> String {
    match count {
        0 => "none".to_owned(),
        count if count >= store::COUNT_MAX => format!("{count} or more"),
        count => count.to_string(),
    }
}
