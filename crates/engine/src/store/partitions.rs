//! Day partitions of what grows for ever. The default partition is the net.

use chrono::{Days, NaiveDate};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

const TABLES: [&str; 2] = ["finished", "attempts"];
/// Days ahead for which partitions exist.
const DAYS_AHEAD: u64 = 2;

/// Makes the partitions from `today` on that do not exist yet. A day whose rows already went to the default
/// partition stays there. Returns how many were made.
pub async fn ensure_partitions(conn: &mut PgConnection, today: NaiveDate) -> Result<usize, sqlx::Error> {
    let mut made = 0;
    for day in (0..=DAYS_AHEAD).filter_map(|n| today.checked_add_days(Days::new(n))) {
        for table in TABLES {
            made += usize::from(ensure_partition(conn, table, day).await?);
        }
    }
    Ok(made)
}

async fn ensure_partition(conn: &mut PgConnection, table: &str, day: NaiveDate) -> Result<bool, sqlx::Error> {
    let name = format!("{table}_{}", day.format("%Y%m%d"));
    let exists =
        sqlx::query_scalar!(r#"select to_regclass('engine.' || $1::text) is not null as "exists!""#, name)
            .fetch_one(&mut *conn)
            .await?;
    if exists {
        return Ok(false);
    }
    let next = day.succ_opt().expect("a day within chrono's range of 262,000 years");
    // A short wait for the lock, in this transaction only: nobody's claims queue behind this.
    let sql = format!(
        "set local lock_timeout = '500ms'; create table if not exists engine.{name} partition of engine.{table}
         for values from ('{day} 00:00:00+00') to ('{next} 00:00:00+00')"
    );
    let mut tx = conn.begin().await?;
    let made = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await;
    match made {
        Ok(_) => {
            tx.commit().await?;
            Ok(true)
        }
        // The day has rows in the default partition, the lock was not to be had, or another process was faster.
        Err(sqlx::Error::Database(error)) => {
            tracing::debug!(partition = name, sqlstate = ?error.code(), "partition was not made now");
            tx.rollback().await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
