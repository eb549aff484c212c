//! The floor: what PostgreSQL does when a queue is nothing but a table, without a promise kept.

use std::time::Instant;

use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection, PgPool, Row as _};

use crate::load::{BULK, CLIENTS, Figures, Load, Payload, per_second, singly, vacuum};

const SCHEMA: &str = "
    create table queue (
        id bigint generated always as identity primary key,
        state smallint not null default 0,
        worker integer,
        payload jsonb not null);
    create index queue_ready on queue (id) where state = 0;
    create table effect (job bigint primary key, note text not null)";
/// Connections that drain side by side.
const DRAINERS: i32 = 4;
/// Jobs that one drain statement takes.
const BATCH: i64 = 500;

pub async fn run(test: &str, load: &Load) -> anyhow::Result<Figures> {
    let pool = load.connect(CLIENTS as u32).await?;
    sqlx::raw_sql(SCHEMA).execute(&pool).await?;
    match test {
        "drain_lease" => drain(&pool, load, Drain::Lease).await,
        "drain_delete" => drain(&pool, load, Drain::Delete).await,
        "enqueue" => {
            let sender = || {
                let pool = pool.clone();
                move |payload| insert(pool.clone(), payload)
            };
            singly(load, (0..CLIENTS).map(|_| sender())).await
        }
        "bulk" => {
            let began = Instant::now();
            fill(&pool, load.jobs).await?;
            Ok(per_second(load.jobs, began.elapsed()))
        }
        "atomic" => {
            fill(&pool, load.jobs).await?;
            vacuum(&pool).await?;
            atomic(&pool, load).await
        }
        other => anyhow::bail!("the floor has no {other}"),
    }
}

async fn insert(pool: PgPool, payload: Payload) -> anyhow::Result<()> {
    let mut tx = pool.begin().await?;
    sqlx::query("insert into queue (payload) values ($1)").bind(Json(payload)).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

async fn fill(pool: &PgPool, jobs: u64) -> anyhow::Result<()> {
    for first in (0..jobs).step_by(BULK as usize) {
        let payloads: Vec<_> = (first..first + BULK).map(|n| Json(Payload::new(n))).collect();
        sqlx::query("insert into queue (payload) select unnest($1::jsonb[])")
            .bind(payloads)
            .execute(pool)
            .await?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Drain {
    /// Claim and delete in one statement: what is lost with the process is lost.
    Delete,
    /// Claim in one statement, delete in the next.
    Lease,
}

async fn drain(pool: &PgPool, load: &Load, how: Drain) -> anyhow::Result<Figures> {
    fill(pool, load.jobs).await?;
    vacuum(pool).await?;
    let began = Instant::now();
    let drainers: Vec<_> = (0..DRAINERS)
        .map(|worker| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut conn = pool.acquire().await?;
                while take(&mut conn, how, worker).await? {}
                anyhow::Ok(())
            })
        })
        .collect();
    for drainer in drainers {
        drainer.await??;
    }
    Ok(per_second(load.jobs, began.elapsed()))
}

/// Whether there was something.
async fn take(conn: &mut PgConnection, how: Drain, worker: i32) -> anyhow::Result<bool> {
    let (verb, ending) = match how {
        Drain::Delete => ("delete from queue using next where queue.id = next.id", ""),
        Drain::Lease => {
            ("update queue set state = 1, worker = $2 from next where queue.id = next.id", "lease")
        }
    };
    let sql = format!(
        "with next as (select id from queue where state = 0 order by id limit $1 for update skip locked)
         {verb} returning queue.id, queue.payload"
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(BATCH);
    if ending == "lease" {
        query = query.bind(worker);
    }
    let rows = query.fetch_all(&mut *conn).await?;
    let mut ids: Vec<i64> = Vec::with_capacity(rows.len());
    for row in &rows {
        let payload: Json<Payload> = row.get(1);
        std::hint::black_box(&payload);
        ids.push(row.get(0));
    }
    if ending == "lease" && !ids.is_empty() {
        sqlx::query("delete from queue where id = any($1)").bind(&ids).execute(conn).await?;
    }
    Ok(!rows.is_empty())
}

/// One row of effect and the job's deletion in a transaction; the clients share out the ids and claim nothing.
async fn atomic(pool: &PgPool, load: &Load) -> anyhow::Result<Figures> {
    let ids: Vec<i64> = sqlx::query_scalar("select id from queue order by id").fetch_all(pool).await?;
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let pool = pool.clone();
            let own: Vec<i64> = ids.iter().copied().skip(client).step_by(CLIENTS).collect();
            tokio::spawn(async move {
                let mut conn = pool.acquire().await?;
                for id in own {
                    let mut tx = conn.begin().await?;
                    sqlx::query("insert into effect values ($1, 'done')").bind(id).execute(&mut *tx).await?;
                    sqlx::query("delete from queue where id = $1").bind(id).execute(&mut *tx).await?;
                    tx.commit().await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    Ok(per_second(load.jobs, began.elapsed()))
}
