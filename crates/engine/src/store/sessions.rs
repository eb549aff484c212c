//! Sessions: one row per process incarnation, on the database's clock, and the rescue of what a dead one held.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::postgres::PgListener;
use sqlx::{Acquire, AssertSqlSafe, PgConnection};

use super::put_back::{PutBack, Return, put_back};
use super::workflows::fail_workflows;

/// Jobs that one rescue transaction takes over.
const RESCUE_BATCH: i64 = 500;
/// Crashes of its own after which a job is dead.
pub const CRASHES_MAX: i16 = 3;

/// Planner settings under which the hot statements keep their plans on stale statistics.
const PLANNER: &str = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; \
    set enable_hashjoin = off; set enable_mergejoin = off; set enable_material = off; set jit = off";

/// Prepares a connection for the hot statements: fixed plans, bounded run time.
pub async fn fix_plans(conn: &mut PgConnection, timeout: Duration) -> Result<(), sqlx::Error> {
    let sql = format!("{PLANNER}; set statement_timeout = {}", timeout.as_millis());
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

/// Lets the server end a transaction whose process was frozen within it: its locks would keep the others from
/// taking over.
pub async fn bound_transactions(conn: &mut PgConnection, idle: Duration) -> Result<(), sqlx::Error> {
    let sql = format!("set idle_in_transaction_session_timeout = {}", idle.as_millis());
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

/// Whether the connection answers.
pub async fn ping(listener: &mut PgListener) -> Result<(), sqlx::Error> {
    sqlx::query("select 1").execute(listener).await?;
    Ok(())
}

pub async fn open_session(
    conn: &mut PgConnection,
    host: &str,
    version: &str,
    queues: &[String],
    ttl: Duration,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into engine.sessions (host, version, queues, until)
        values ($1, $2, $3, now() + make_interval(secs => $4)) returning id",
        host,
        version,
        queues,
        ttl.as_secs_f64()
    )
    .fetch_one(conn)
    .await
}

/// Renews the session, and tells the database's time; `None` when the session was given up.
pub async fn renew_session(
    conn: &mut PgConnection,
    session: i64,
    ttl: Duration,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"update engine.sessions set until = now() + make_interval(secs => $2) where id = $1
        returning clock_timestamp() as "now!""#,
        session,
        ttl.as_secs_f64()
    )
    .fetch_optional(conn)
    .await
}

/// Ends a session that holds nothing any more; one that still holds jobs is left to expire.
pub async fn close_session(conn: &mut PgConnection, session: i64) -> Result<bool, sqlx::Error> {
    let closed = sqlx::query!(
        "delete from engine.sessions where id = $1
        and not exists (select from engine.jobs where state = 'running' and session = $1)",
        session
    )
    .execute(conn)
    .await?;
    Ok(closed.rows_affected() == 1)
}

/// What a rescue did.
#[derive(Debug, Default)]
pub struct Rescued {
    /// The queues of jobs that run again beside others.
    pub queues: Vec<String>,
    /// Whether there are jobs that run again alone.
    pub probing: bool,
    pub dead: usize,
    /// Whether there may be more to do at once.
    pub more: bool,
}

/// A job that a dead process had claimed.
struct Orphan {
    id: i64,
    lease: i64,
    session: i64,
    queue: String,
    probing: bool,
    crash_count: i16,
    deduped: bool,
    workflow_id: Option<i64>,
    /// Whether a process died before while it was claimed.
    struck: bool,
}

/// Takes over the jobs of sessions that expired. A row that a half-dead process still has locked is skipped, and
/// its session kept, until that lock is gone. `ttl` is that of the sessions: it tells when they were last renewed.
pub async fn rescue(conn: &mut PgConnection, shift_us: i64, ttl: Duration) -> Result<Rescued, sqlx::Error> {
    let mut tx = conn.begin().await?;
    let expired = sqlx::query!(
        r#"select id,
            pg_postmaster_start_time() > greatest(started_at, until - make_interval(secs => $1)) as "outage!"
        from engine.sessions where until < now() order by id for update skip locked"#,
        ttl.as_secs_f64()
    )
    .fetch_all(&mut *tx)
    .await?;
    if expired.is_empty() {
        return Ok(Rescued::default());
    }
    let sessions: Vec<i64> = expired.iter().map(|session| session.id).collect();
    let orphans = find_orphans(&mut tx, &sessions).await?;
    let mut rescued = Rescued { more: orphans.len() as i64 == RESCUE_BATCH, ..Rescued::default() };
    let mut failed = Vec::new();
    let mut back = Vec::with_capacity(orphans.len());
    for orphan in orphans {
        let outage = expired.iter().any(|session| session.id == orphan.session && session.outage);
        let row = orphaned(&orphan, outage);
        if row.to == Return::Dead {
            rescued.dead += 1;
            failed.extend(orphan.workflow_id.map(|workflow| (workflow, orphan.id)));
        } else if row.probing {
            rescued.probing = true;
        } else if !rescued.queues.contains(&orphan.queue) {
            rescued.queues.push(orphan.queue);
        }
        back.push(row);
    }
    put_back(&mut tx, shift_us, &back).await?;
    fail_workflows(&mut tx, &failed, &crash_error()).await?;
    sqlx::query!(
        "delete from engine.sessions s where s.id = any($1)
        and not exists (select from engine.jobs j where j.state = 'running' and j.session = s.id)",
        &sessions
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(rescued)
}

async fn find_orphans(tx: &mut PgConnection, sessions: &[i64]) -> Result<Vec<Orphan>, sqlx::Error> {
    sqlx::query_as!(
        Orphan,
        r#"select id, lease, session as "session!", queue, probing, crash_count,
            dedupe_key is not null as "deduped!", workflow_id,
            exists (select from engine.attempts a where a.job_id = jobs.id and a.outcome = 'crashed')
                as "struck!"
        from engine.jobs where state = 'running' and session = any($1)
        order by id limit $2 for update skip locked"#,
        sessions,
        RESCUE_BATCH
    )
    .fetch_all(tx)
    .await
}

fn crash_error() -> serde_json::Value {
    json!({ "code": "crashed", "message": "the process died while it ran", "retryable": true })
}

/// Two strikes: most of what a process had claimed are bystanders, so a job runs alone only once a second process
/// died while it was claimed. Only one that ran alone is blamed for the death, and nobody when the database itself
/// was away (`outage`). Nobody's attempt is spent by it.
fn orphaned(orphan: &Orphan, outage: bool) -> PutBack {
    let blamed = orphan.probing && !outage;
    let dead = blamed && orphan.crash_count + 1 >= CRASHES_MAX;
    let probing = orphan.probing || (orphan.struck && !outage);
    PutBack {
        id: orphan.id,
        lease: orphan.lease,
        to: if dead { Return::Dead } else { Return::Ready },
        refund: true,
        crashed: blamed,
        probing,
        deduped: orphan.deduped,
        error: blamed.then(crash_error),
        outcome: Some(if outage { "released" } else { "crashed" }),
        waits_for: (probing && !dead).then_some("probing"),
        started_at: None,
    }
}
