//! Day partitions of what grows for ever. The default partition is the net.

use chrono::{DateTime, Days, NaiveDate, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

const TABLES: [&str; 2] = ["finished", "attempts"];
/// How long a change of partitions waits for its locks.
const LOCK_WAIT: &str = "500ms";
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
        "set local lock_timeout = '{LOCK_WAIT}'; create table if not exists engine.{name} partition of engine.{table}
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

/// Drops the partitions of days before this one. Returns how many there were. Expects to run in a transaction, which waits
/// for each lock only shortly: what is finished meanwhile waits with it.
///
/// # Errors
/// A lock that was not to be had, SQLSTATE 55P03: then nothing was dropped.
pub async fn drop_partitions(tx: &mut PgConnection, before: NaiveDate) -> Result<usize, sqlx::Error> {
    let found = sqlx::query_scalar!(
        r#"select c.relname::text as "name!" from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent in ('engine.finished'::regclass, 'engine.attempts'::regclass)
            and c.relname ~ '_[0-9]{8}$' and right(c.relname, 8) < to_char($1::date, 'YYYYMMDD')
        order by c.relname"#,
        before
    )
    .fetch_all(&mut *tx)
    .await?;
    if !found.is_empty() {
        let tables: Vec<String> = found.iter().map(|name| format!("engine.{name}")).collect();
        let sql = format!("set local lock_timeout = '{LOCK_WAIT}'; drop table {}", tables.join(", "));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(tx).await?;
    }
    Ok(found.len())
}

/// Deletes up to `limit` rows of each table that keeps history without partitions, as far as they are older than this, and
/// of the default partitions, whose rows came before their day's was made. Tags of live jobs stay, however old they are.
/// Returns the largest number of one table: less than `limit` when nothing is left.
pub async fn delete_history(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"with workflows as (
            delete from engine.workflows where id in (
                select id from engine.workflows where finished_at < $1 order by finished_at limit $2)
            returning id
        ), steps as (
            delete from engine.workflow_steps where workflow_id in (select id from workflows)
        ), slots as (
            delete from engine.schedule_slots where (schedule_id, slot) in (
                select schedule_id, slot from engine.schedule_slots where settled_at < $1
                order by settled_at limit $2)
            returning slot
        ), finished as (
            delete from engine.finished_default where ctid = any(array(
                select ctid from engine.finished_default where finished_at < $1 limit $2))
            returning id
        ), attempts as (
            delete from engine.attempts_default where ctid = any(array(
                select ctid from engine.attempts_default where ended_at < $1 limit $2))
            returning job_id
        ), tags as (
            delete from engine.job_tags where ctid = any(array(
                select t.ctid from engine.job_tags t
                where t.created_at < $1 and not exists (select from engine.jobs j where j.id = t.job_id) limit $2))
            returning tag
        ), counters as (
            delete from engine.counters where ctid = any(array(
                select ctid from engine.counters where minute < $1 limit $2))
            returning minute
        )
        select greatest((select count(*) from counters), (select count(*) from workflows), (select count(*) from slots),
            (select count(*) from finished), (select count(*) from attempts), (select count(*) from tags)) as "most!""#,
        before,
        limit
    )
    .fetch_one(conn)
    .await
}
