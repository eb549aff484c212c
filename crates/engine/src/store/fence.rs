//! What a handler does under its lease, in its own transaction.

use sqlx::PgConnection;

use super::finish::{Ending, finish};
use crate::error::EngineError;
use crate::job::{External, JobId, Lease};

/// Moves a running job to the finished ones, or changes nothing.
pub async fn complete_one(tx: &mut PgConnection, lease: &Lease) -> Result<(), EngineError> {
    let job = lease.job;
    #[cfg(feature = "failpoints")]
    if fence_is_removed() {
        return complete_unfenced(tx, job).await;
    }
    let done = sqlx::query!(
        "with gone as (
            delete from engine.jobs where id = $1 and lease = $2 and state = 'running'
            returning id, kind, queue, attempt, dedupe_key, workflow_id, payload, created_at
        )
        insert into engine.finished
            (id, kind, queue, outcome, attempt, dedupe_key, workflow_id, payload, created_at)
        select id, kind, queue, 'done', attempt, dedupe_key, workflow_id, payload, created_at from gone",
        job.0,
        lease.fence
    )
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() != 1 {
        return Err(EngineError::LeaseLost);
    }
    if lease.child {
        sqlx::query!("update engine.children set outcome = 'done' where job_id = $1", job.0)
            .execute(tx)
            .await?;
    }
    fail::fail_point!("engine::before_commit");
    Ok(())
}

/// [`complete_one`] for many: all of them, or none.
pub async fn complete_all(tx: &mut PgConnection, leases: &[(JobId, i64)]) -> Result<(), EngineError> {
    let ending =
        |&(job, lease): &(JobId, i64)| Ending { id: job.0, lease, cancelled: None, started_at: None };
    let endings: Vec<_> = leases.iter().map(ending).collect();
    if finish(tx, &endings).await?.len() < leases.len() {
        return Err(EngineError::LeaseLost);
    }
    fail::fail_point!("engine::before_commit");
    Ok(())
}

/// Notes that an external effect is about to begin, and tells whether one had begun before.
pub async fn begin_external(
    conn: &mut PgConnection,
    job: JobId,
    lease: i64,
) -> Result<External, EngineError> {
    let begun = sqlx::query_scalar!(
        r#"update engine.jobs j set external_at = now()
        from (select id, external_at from engine.jobs
              where id = $1 and lease = $2 and state = 'running' for update) as old
        where j.id = old.id
        returning old.external_at is not null as "begun!""#,
        job.0,
        lease
    )
    .fetch_optional(conn)
    .await?;
    match begun {
        None => Err(EngineError::LeaseLost),
        Some(false) => Ok(External::First),
        Some(true) => Ok(External::Again),
    }
}

/// The seeded bug of the fault tests: a checker that does not notice its effects is worth nothing.
#[cfg(feature = "failpoints")]
fn fence_is_removed() -> bool {
    fail::fail_point!("engine::no_fence", |_| true);
    false
}

#[cfg(feature = "failpoints")]
async fn complete_unfenced(tx: &mut PgConnection, job: JobId) -> Result<(), EngineError> {
    // Not in the query cache, which is written without this feature.
    sqlx::query("delete from engine.jobs where id = $1").bind(job.0).execute(tx).await?;
    Ok(())
}
