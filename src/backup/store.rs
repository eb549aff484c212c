//! SQL of backups. Unchecked where the tables are whatever there is.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

/// A transaction that sees one moment for as long as it lives, and is not ended for being idle while others work with
/// what it sees.
pub async fn begin_snapshot(conn: &mut PgConnection) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    let mut tx = conn.begin_with("begin isolation level repeatable read read only").await?;
    sqlx::raw_sql("set local idle_in_transaction_session_timeout = 0; set local statement_timeout = 0")
        .execute(&mut *tx)
        .await?;
    Ok(tx)
}

/// When the snapshot's transaction began.
pub async fn get_snapshot_time(tx: &mut PgConnection) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar("select now()").fetch_one(tx).await
}

/// A name by which another connection sees the same moment.
pub async fn export_snapshot(tx: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("select pg_export_snapshot()").fetch_one(tx).await
}

/// Rows of every table of ours, partitions counted with the table that they belong to.
pub async fn count_rows(conn: &mut PgConnection) -> Result<BTreeMap<String, i64>, sqlx::Error> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select format('%s.%s', n.nspname, c.relname),
             (xpath('/row/n/text()', query_to_xml(
                 format('select count(*) as n from %I.%I', n.nspname, c.relname), false, true, '')))[1]::text::bigint
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p') and not c.relispartition
             and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%'",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().collect())
}

/// Whether anything of anybody's is there: relations, functions, types or schemas, those of extensions and of the system
/// apart.
pub async fn holds_anything(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "with ours as (
             select oid, nspname from pg_namespace
             where nspname <> 'information_schema' and nspname not like 'pg\\_%'
         )
         select exists (select from ours where nspname <> 'public') or exists (
             select from pg_class c join ours on ours.oid = c.relnamespace
             where not exists (
                 select from pg_depend d
                 where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'))",
    )
    .fetch_one(conn)
    .await
}

/// `server_version_num` / 10000.
pub async fn get_server_major(conn: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("select current_setting('server_version_num')::int / 10000").fetch_one(conn).await
}

/// Lets the planner know what was restored.
pub async fn analyze(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("analyze").execute(conn).await?;
    Ok(())
}

/// Whether there is a table of this name, with its schema.
pub async fn has_table(conn: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select to_regclass($1) is not null").bind(name).fetch_one(conn).await
}
