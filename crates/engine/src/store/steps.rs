//! Taking a workflow's step.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sira_kernel::Clock;
use sqlx::PgConnection;

use super::enqueue::insert_jobs;
use super::fence::complete_one;
use super::workflows::step_job;
use crate::effect::Applied;
use crate::error::EngineError;
use crate::workflow::{Step, Transition, Wake};

/// A workflow whose step is due.
#[derive(Debug)]
pub struct Pending {
    pub version: i16,
    pub seq: i32,
    pub state: Value,
    pub wake: Wake,
    pub signal_id: Option<i64>,
}

/// Reads what the step stands on; `None` when the workflow has ended. Ended is told by the status, as in
/// [`super::workflows`].
pub async fn load_step(conn: &mut PgConnection, workflow_id: i64) -> Result<Option<Pending>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select w.version, w.seq, w.state, w.status, s.id as "signal_id?", s.name as "name?",
            s.payload as "payload?"
        from engine.workflows w
        left join lateral (
            select id, name, payload from engine.signals
            where workflow_id = w.id and name = w.waiting_for order by id limit 1
        ) as s on true
        where w.id = $1 and w.status in ('running', 'sleeping', 'waiting')"#,
        workflow_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let wake = match (row.status.as_str(), row.name, row.payload) {
            ("waiting", Some(name), Some(payload)) => Wake::Signal { name, payload },
            ("running", ..) => Wake::Start,
            _ => Wake::Timer,
        };
        Pending { version: row.version, seq: row.seq, state: row.state, wake, signal_id: row.signal_id }
    }))
}

/// A transition, as it is stored.
struct Decision<'a> {
    name: &'static str,
    status: &'static str,
    state: Value,
    wake_at: Option<DateTime<Utc>>,
    waiting_for: Option<&'a str>,
}

impl<'a> Decision<'a> {
    fn of<S: Serialize>(transition: &'a Transition<S>) -> Result<Self, serde_json::Error> {
        let (name, status, state, wake_at, waiting_for) = match transition {
            Transition::Next(state) => ("next", "running", state, None, None),
            Transition::WaitUntil(state, at) => ("wait_until", "sleeping", state, Some(*at), None),
            Transition::WaitFor { state, signal, deadline } => {
                ("wait_for", "waiting", state, Some(*deadline), Some(*signal))
            }
            Transition::Done(state) => ("done", "done", state, None, None),
        };
        Ok(Self { name, status, state: serde_json::to_value(state)?, wake_at, waiting_for })
    }
}

struct Recorded {
    due: bool,
    kind: String,
    queue: String,
    attempts_max: i16,
}

/// Writes the step: state, history, completion of its job and the next step's job, fenced by the workflow's
/// sequence number and by the lease of the step's job.
pub async fn record_step<S: Serialize>(
    tx: &mut PgConnection,
    step: &Step,
    transition: &Transition<S>,
) -> Result<Applied, EngineError> {
    let decision = Decision::of(transition)?;
    // The lock orders this against signals: one that is not seen below finds the state that is written here.
    let seq = sqlx::query_scalar!(
        "select seq from engine.workflows
        where id = $1 and status in ('running', 'sleeping', 'waiting') for update",
        step.workflow_id
    )
    .fetch_optional(&mut *tx)
    .await?;
    if seq != Some(step.seq) {
        return Err(EngineError::LeaseLost);
    }
    complete_one(tx, step.lease.job, step.lease.fence).await?;
    let recorded = write_step(tx, step, &decision).await?;
    if !recorded.due {
        return Ok(Applied { queues: Vec::new(), scheduled: decision.wake_at.is_some() });
    }
    let job = step_job(step.workflow_id, &recorded.kind, recorded.queue, recorded.attempts_max);
    // Steps are due at once: whatever the clock says, they are not scheduled.
    insert_jobs(tx, &Clock::system(), vec![job]).await
}

async fn write_step(
    tx: &mut PgConnection,
    step: &Step,
    decision: &Decision<'_>,
) -> Result<Recorded, sqlx::Error> {
    let (woken_by, details) = match &step.wake {
        Wake::Start => ("start", None),
        Wake::Timer => ("timer", None),
        Wake::Signal { name, payload } => {
            ("signal", Some(serde_json::json!({ "signal": name, "payload": payload })))
        }
    };
    sqlx::query_as!(
        Recorded,
        r#"with consumed as (
            delete from engine.signals where workflow_id = $1 and (id = $2 or $3 = 'done')
        ), history as (
            insert into engine.workflow_steps (workflow_id, seq, woken_by, decision, state, details)
            values ($1, $4, $5, $6, $7, $8)
        )
        update engine.workflows w set seq = $4, status = $3, state = $7, updated_at = now(), wake_at = $9,
            waiting_for = $10, finished_at = case when $3 = 'done' then now() end,
            due = $3 = 'running' or $3 = 'waiting' and exists (
                select from engine.signals s
                where s.workflow_id = $1 and s.name = $10 and s.id is distinct from $2)
        where w.id = $1
        returning w.due, w.kind, w.queue, w.attempts_max"#,
        step.workflow_id,
        step.signal_id,
        decision.status,
        step.seq + 1,
        woken_by,
        decision.name,
        decision.state,
        details,
        decision.wake_at,
        decision.waiting_for,
    )
    .fetch_one(tx)
    .await
}
