//! Writing how attempts ended, as many at a time as there are.
//!
//! **Invariant:** an outcome is retried until it is written, replaced by a failure that the database takes, or
//! until the session is lost; only rows under the acknowledged lease change.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::Connection;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::claimed::{Claimed, Fault, Verdict};
use super::fetch::bounded;
use super::gates;
use super::session::{Acknowledgement, Retrying, Session};
use crate::effect::Applied;
use crate::job::{Failure, JobError, JobId, Retry, is_transient};
use crate::store::{self, CRASHES_MAX, Ending, PutBack, Return};

/// Outcomes that one transaction writes.
const BATCH_MAX: usize = 4096;
/// When a step is tried again whose workflow was locked.
const BUSY_WAIT: Duration = Duration::from_millis(20);
/// Times that an outcome may be refused by the database before its attempt counts as failed instead.
const REFUSALS_MAX: usize = 4;

/// Writes outcomes until `finish`, and then those that are left.
pub async fn complete(
    session: Arc<Session>,
    mut outcomes: mpsc::UnboundedReceiver<Acknowledgement>,
    finish: CancellationToken,
) {
    let mut batch: Vec<Acknowledgement> = Vec::new();
    loop {
        // What is left of the batch before are steps whose workflows were busy.
        let busy = !batch.is_empty();
        tokio::select! {
            biased;
            received = outcomes.recv_many(&mut batch, BATCH_MAX) => if received == 0 && !busy { return },
            () = tokio::time::sleep(BUSY_WAIT), if busy => {}
            () = finish.cancelled(), if !busy => return,
        }
        if session.lost.is_cancelled() {
            return;
        }
        let mut busy = Busy::new();
        gates::report(&session, &batch).await;
        write(&session, &planned(&session, &batch), &mut busy).await;
        gates::leave(&session, &batch);
        // Whoever counts the ends of children may have no other reason to look.
        let scheduled = batch.iter().any(|of| of.job.lease.child);
        session.waker.wake(&Applied { queues: Vec::new(), scheduled });
        // Only now: a job that ran alone keeps its turn until its end is written.
        batch.retain(|of| busy.contains(&of.job.lease.job.0));
    }
}

/// Jobs of the steps whose workflows are locked by somebody: they are written later, and hold up nobody.
type Busy = HashSet<i64>;

/// What is to be written about one attempt.
enum Plan {
    End(Ending),
    Back { row: PutBack, workflow_id: Option<i64> },
    Step,
}

/// An attempt's end with what is to be written about it.
struct Planned<'a> {
    of: &'a Acknowledgement,
    plan: Plan,
}

fn planned<'a>(session: &Session, batch: &'a [Acknowledgement]) -> Vec<Planned<'a>> {
    let with_plan = |of: &'a Acknowledgement| Some(Planned { of, plan: plan(session, of, &of.verdict)? });
    batch.iter().filter_map(with_plan).collect()
}

async fn write(session: &Session, plans: &[Planned<'_>], busy: &mut Busy) {
    let mut retrying = Retrying::default();
    let mut first = true;
    while !plans.is_empty() && !session.lost.is_cancelled() {
        fail::fail_point!("engine::before_complete");
        match bounded(session, write_batch(session, plans, busy)).await {
            Ok(written) => {
                // After an answer that was lost the rows may have been written by the try before.
                if first && written < plans.len() {
                    let lost = plans.len() - written;
                    metrics::counter!("sira_leases_lost_total").increment(lost as u64);
                    tracing::warn!(lost, "outcomes were not written: their leases were lost");
                }
                fail::fail_point!("engine::after_complete");
                return;
            }
            Err(error) if !is_transient(&error) => {
                tracing::error!(%error, outcomes = plans.len(), "outcomes could not be written together");
                return write_singly(session, plans, busy).await;
            }
            Err(error) => tracing::warn!(%error, "outcomes could not be written; trying again"),
        }
        first = false;
        retrying.wait().await;
    }
}

/// One outcome that the database refuses must not hold up the others, nor leave its job claimed by a session that
/// lives: in the end the attempt counts as failed, and when not even that can be written, the session is lost.
async fn write_singly(session: &Session, plans: &[Planned<'_>], busy: &mut Busy) {
    let mut retrying = Retrying::default();
    let mut left: Vec<&Planned<'_>> = plans.iter().collect();
    for _ in 0..REFUSALS_MAX {
        let mut refused = Vec::new();
        for planned in left {
            if is_refused(session, planned, busy).await {
                refused.push(planned);
            }
        }
        left = refused;
        if left.is_empty() {
            return;
        }
        retrying.wait().await;
    }
    for refused in left {
        let of = refused.of;
        let Some(plan) = plan(session, of, &refusal()) else { continue };
        if is_refused(session, &Planned { of, plan }, busy).await {
            return session.lose("the database refuses an attempt's end");
        }
    }
}

/// Writes one outcome. Returns whether the database refused it; nothing is refused once the session is lost.
async fn is_refused(session: &Session, planned: &Planned<'_>, busy: &mut Busy) -> bool {
    let mut retrying = Retrying::default();
    while !session.lost.is_cancelled() {
        match bounded(session, write_batch(session, std::slice::from_ref(planned), busy)).await {
            Ok(_) => return false,
            Err(error) if !is_transient(&error) => {
                tracing::error!(job = %planned.of.job.lease.job, %error, "an outcome was refused by the database");
                return true;
            }
            Err(_) => retrying.wait().await,
        }
    }
    false
}

fn refusal() -> Verdict {
    JobError::retry("outcome_refused", "the database refused to write how the attempt ended").into()
}

/// Answers how many are written, or will be when their workflows are free.
async fn write_batch(
    session: &Session,
    plans: &[Planned<'_>],
    busy: &mut Busy,
) -> Result<usize, sqlx::Error> {
    let mut conn = session.hot.acquire().await?;
    let mut endings = Vec::new();
    let mut back = Vec::new();
    let mut dead = Vec::new();
    let mut steps = Vec::new();
    for planned in plans {
        match &planned.plan {
            Plan::Step => steps.extend(planned.of.pure_step()),
            Plan::End(ending) => endings.push(ending.clone()),
            Plan::Back { row, workflow_id } => {
                back.push(row.clone());
                if let (Return::Dead, Some(workflow_id)) = (row.to, workflow_id) {
                    dead.push((row.id, *workflow_id, row.error.clone().unwrap_or_default()));
                }
            }
        }
    }
    let mut written = 0;
    if !steps.is_empty() {
        // In a transaction of their own, since they lock workflows.
        let mut tx = conn.begin().await?;
        let recorded = store::record_steps(&mut tx, &steps).await?;
        tx.commit().await?;
        session.waker.wake(&recorded.applied);
        written += recorded.written + recorded.busy.len();
        busy.extend(recorded.busy);
        let ended = |job: JobId, lease| Ending {
            id: job.0,
            lease,
            cancelled: Some(workflow_ended()),
            started_at: None,
        };
        endings.extend(recorded.ended.iter().map(|lease| ended(lease.job, lease.fence)));
    }
    if back.is_empty() {
        return Ok(written + store::finish(&mut conn, &endings).await?.len());
    }
    let mut tx = conn.begin().await?;
    written += store::finish(&mut tx, &endings).await?.len();
    let changed = store::put_back(&mut tx, session.clock.shift_us(), &back).await?;
    written += changed.len();
    for (job, workflow_id, error) in dead.iter().filter(|(job, ..)| changed.contains(job)) {
        store::fail_workflows(&mut tx, &[(*workflow_id, *job)], error).await?;
    }
    tx.commit().await?;
    let waiting = back.iter().any(|row| matches!(row.to, Return::At(_) | Return::After(_)));
    session.waker.wake(&Applied { queues: Vec::new(), scheduled: waiting });
    Ok(written)
}

/// Why a step is not recorded whose job is still its own.
fn workflow_ended() -> Value {
    json!({ "code": "ended", "message": "the workflow has ended" })
}

/// What an attempt's end means for its row; `None` when there is nothing to write.
fn plan(session: &Session, of: &Acknowledgement, verdict: &Verdict) -> Option<Plan> {
    let Acknowledgement { job, started_at, .. } = of;
    let retry = session.dispatch.kind(&job.kind).map_or(UNKNOWN, crate::registry::Kind::retry);
    decide(job, verdict, retry, *started_at)
}

/// For kinds that this process does not know; they are only snoozed.
const UNKNOWN: Retry = Retry::backoff(1, Duration::from_secs(10), Duration::from_secs(10));

fn decide(job: &Claimed, verdict: &Verdict, retry: Retry, started_at: Option<DateTime<Utc>>) -> Option<Plan> {
    let end = |cancelled: Option<Value>| {
        Plan::End(Ending { id: job.lease.job.0, lease: job.lease.fence, cancelled, started_at })
    };
    let back = |to, refund, outcome, waits_for, error| {
        let row = PutBack {
            id: job.lease.job.0,
            lease: job.lease.fence,
            to,
            refund,
            crashed: outcome == Some("panicked"),
            probing: job.alone.is_some() && verdict.proves_nothing(),
            deduped: job.deduped,
            error,
            outcome,
            waits_for,
            started_at,
        };
        Some(Plan::Back { row, workflow_id: job.workflow_id })
    };
    match verdict {
        // A step whose workflow was ended meanwhile rolled back under a lease that is still good.
        Verdict::LeaseLost if job.workflow_id.is_some() => Some(end(Some(workflow_ended()))),
        // Acknowledged one by one.
        Verdict::LeaseLost | Verdict::Committed | Verdict::Each(_) => None,
        Verdict::Done => Some(end(None)),
        Verdict::Decided(_) => Some(Plan::Step),
        Verdict::Cancelled(reason) => {
            Some(end(Some(json!({ "code": "cancelled", "message": stored(reason) }))))
        }
        Verdict::Snoozed { until, waits_for } => {
            back(Return::At(*until), true, Some("snoozed"), Some(*waits_for), None)
        }
        Verdict::Released => back(Return::Ready, true, started_at.map(|_| "released"), None, None),
        Verdict::Failed(failure, fault) => {
            let crashed_out = *fault == Fault::Panic && job.crash_count + 1 >= CRASHES_MAX;
            let dead = !failure.retryable || job.lease.is_last_attempt() || crashed_out;
            let (to, waits_for) = if dead {
                (Return::Dead, None)
            } else {
                (Return::After(delay_us(retry, job.lease.attempt)), Some("backoff"))
            };
            back(to, false, Some(verdict.label()), waits_for, Some(error_of(failure)))
        }
    }
}

fn error_of(failure: &Failure) -> Value {
    let Failure { code, message, retryable, details } = failure;
    json!({ "code": stored(code), "message": stored(message), "retryable": retryable, "details": details })
}

/// PostgreSQL's jsonb takes no NUL.
fn stored(text: &str) -> String {
    text.replace('\0', "")
}

/// A random delay below `min(base * 2^(attempt-1), cap)`: full jitter.
fn delay_us(retry: Retry, attempt: u16) -> i64 {
    let doublings = u32::from(attempt.saturating_sub(1)).min(30);
    let bound = retry.base.saturating_mul(1 << doublings).min(retry.cap);
    rand::random_range(0..=i64::try_from(bound.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Lease;

    const RETRY: Retry = Retry::backoff(5, Duration::from_secs(2), Duration::from_mins(1));

    fn job(attempt: u16, crash_count: i16, workflow_id: Option<i64>) -> Claimed {
        Claimed {
            lease: Lease { job: JobId(1), fence: 1, attempt, attempts_max: 5, child: false },
            kind: "k".to_owned(),
            payload: serde_json::value::RawValue::NULL.to_owned(),
            crash_count,
            deduped: false,
            workflow_id,
            trace_parent: None,
            gate: None,
            limited: None,
            pending: None,
            alone: None,
            companions: Vec::new(),
        }
    }

    #[test]
    fn delays_stay_below_their_growing_bound() {
        for (attempt, bound_s) in [(1, 2), (2, 4), (5, 32), (6, 60), (u16::MAX, 60)] {
            let delays: Vec<i64> = (0..200).map(|_| delay_us(RETRY, attempt)).collect();
            assert!(delays.iter().all(|us| (0..=bound_s * 1_000_000).contains(us)), "attempt {attempt}");
            assert!(delays.iter().any(|us| *us > bound_s * 500_000), "attempt {attempt} is not spread");
            assert!(delays.iter().any(|us| *us < bound_s * 500_000), "attempt {attempt} is not spread");
        }
    }

    #[test]
    fn only_the_last_attempt_a_final_failure_or_the_third_crash_leaves_a_job_dead() {
        let failed = |retryable, fault| {
            let failure =
                Failure { code: "c".to_owned(), message: "m".to_owned(), retryable, details: Value::Null };
            Verdict::Failed(failure, fault)
        };
        for (attempt, crashes, verdict, dead) in [
            (1, 0, failed(true, Fault::Error), false),
            (4, 2, failed(true, Fault::Timeout), false),
            (5, 0, failed(true, Fault::Timeout), true),
            (1, 0, failed(false, Fault::Error), true),
            (1, 1, failed(true, Fault::Panic), false),
            (1, 2, failed(true, Fault::Panic), true),
        ] {
            let Some(Plan::Back { row, .. }) = decide(&job(attempt, crashes, None), &verdict, RETRY, None)
            else {
                panic!("a failure is put back")
            };
            assert_eq!(row.to == Return::Dead, dead, "attempt {attempt}, {crashes} crashes, {verdict:?}");
            assert_eq!(row.crashed, matches!(verdict, Verdict::Failed(_, Fault::Panic)));
            assert!(!row.refund);
        }
    }

    #[test]
    fn a_lost_lease_writes_nothing_except_for_a_step_whose_workflow_ended() {
        assert!(decide(&job(1, 0, None), &Verdict::LeaseLost, RETRY, None).is_none());
        assert!(matches!(decide(&job(1, 0, Some(7)), &Verdict::LeaseLost, RETRY, None), Some(Plan::End(_))));
    }
}
