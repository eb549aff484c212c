//! The engine's SQL.

use serde::Serialize;
use sira_kernel::Clock;
use sqlx::PgConnection;

use crate::effect::{Applied, Effect};
use crate::error::EngineError;
use crate::job::JobId;
use crate::workflow::{Step, Transition};

pub async fn complete_one(tx: &mut PgConnection, job: JobId, lease: i64) -> Result<(), EngineError> {
    let done = sqlx::query!(
        "delete from engine.jobs where id = $1 and lease = $2 and state = 'running'",
        job.0,
        lease
    )
    .execute(tx)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(EngineError::LeaseLost) }
}

pub async fn record_step<S: Serialize>(
    tx: &mut PgConnection,
    step: &Step,
    transition: &Transition<S>,
) -> Result<Applied, EngineError> {
    let _ = (step.workflow_id, step.seq, transition);
    complete_one(tx, step.lease.job, step.lease.lease).await?;
    Ok(Applied::default())
}

// A first form, so that what stands on the engine can be built beside it.
pub async fn apply(tx: &mut PgConnection, clock: &Clock, effects: &[Effect]) -> Result<Applied, EngineError> {
    let mut applied = Applied::default();
    for effect in effects {
        let Effect::Job(job) = effect else { continue };
        let run_at = job.run_at.unwrap_or_else(|| clock.now());
        sqlx::query!(
            "insert into engine.jobs (kind, queue, priority, state, run_at, attempts_max, dedupe_key, payload)
             values ($1, $2, $3, case when $4 > now() then 'scheduled' else 'ready' end, $4, $5, $6, $7)
             on conflict (kind, dedupe_key) where dedupe_key is not null and state in ('scheduled', 'ready')
             do update set run_at = least(jobs.run_at, excluded.run_at)",
            job.spec.name,
            job.spec.queue.name,
            job.priority,
            run_at,
            job.spec.retry.attempts_max as i16,
            job.dedupe_key.as_deref(),
            job.payload,
        )
        .execute(&mut *tx)
        .await?;
        applied.queues.push(job.spec.queue.name);
    }
    Ok(applied)
}
