//! Keeping gates: jobs are let through by whichever process has the turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection;

use super::claimed::Verdict;
use super::fetch::bounded;
use super::session::{Acknowledgement, Retrying, Session, jittered};
use crate::effect::Applied;
use crate::gate::RATE_LIMIT;
use crate::store::gates::{self, Report};
use crate::wake::GATES;

/// Gates that one statement lets jobs through.
const GATES_BATCH: i64 = 500;
/// Jobs of one gate that one statement lets through.
const JOBS_BATCH: i64 = 500;
/// Shortest time between two looks at all gates: what comes meanwhile is let through together.
const PAUSE: Duration = Duration::from_millis(2);
/// Wait while another process has the turn: it may not have seen what rang the bell.
const TURN_WAIT: Duration = Duration::from_millis(20);

/// Lets jobs through until the session stops.
pub async fn keep(session: Arc<Session>) {
    let mut bell = session.waker.bells.listen(GATES);
    let mut retrying = Retrying::default();
    while !session.stopping.is_cancelled() {
        bell.mark_unchanged();
        let wait = match bounded(&session, pass(&session)).await {
            Ok(wait) => {
                retrying.reset();
                wait
            }
            Err(error) => {
                tracing::warn!(%error, "no job was let through its gate; trying again");
                retrying.wait().await;
                continue;
            }
        };
        tokio::time::sleep(PAUSE).await;
        tokio::select! {
            () = session.stopping.cancelled() => {}
            _ = bell.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Lets through what there is room for; returns how long to wait for the next.
async fn pass(session: &Session) -> Result<Duration, sqlx::Error> {
    let mut conn = session.hot.acquire().await?;
    let poll = jittered(session.settings.poll_every);
    if !gates::any_held(&mut conn).await? {
        return Ok(poll);
    }
    let mut tx = conn.begin().await?;
    if !gates::take_turn(&mut tx).await? {
        return Ok(TURN_WAIT);
    }
    let shift = session.clock.shift_us();
    let mut queues = gates::pass(&mut tx, shift, GATES_BATCH, JOBS_BATCH).await?;
    let next = gates::next_pass_us(&mut tx, shift).await?;
    tx.commit().await?;
    queues.sort_unstable();
    queues.dedup();
    let moved = !queues.is_empty();
    session.waker.wake(&Applied { queues, scheduled: false });
    Ok(match next {
        // There may be more than one statement lets through.
        _ if moved => Duration::ZERO,
        Some(us) => Duration::from_micros(us.max(0).cast_unsigned()).min(poll),
        None => poll,
    })
}

/// Tells gates how their jobs fared. A report that cannot be written is not tried again: the next one says the same.
pub async fn report(session: &Session, ended: &[Acknowledgement]) {
    let reports = reports(session, ended);
    if reports.is_empty() {
        return;
    }
    let reporting = async {
        let mut conn = session.hot.acquire().await?;
        bounded(session, gates::report(&mut conn, session.clock.shift_us(), &reports)).await
    };
    match reporting.await {
        Ok(opened) => {
            for gate in opened {
                tracing::warn!(gate, "the breaker is open: too many failures in a row");
                metrics::counter!("sira_breakers_opened_total", "gate" => gate).increment(1);
            }
        }
        Err(error) => tracing::warn!(%error, "a gate was not told how its jobs ended"),
    }
}

fn reports(session: &Session, ended: &[Acknowledgement]) -> Vec<(String, Report)> {
    let mut reports: BTreeMap<&str, Report> = BTreeMap::new();
    for Acknowledgement { job, verdict, .. } in ended.iter().filter(|of| of.job.gate.is_some()) {
        let Some(gate) = session.dispatch.kind(&job.kind).and_then(|kind| kind.gate) else { continue };
        let report = reports.entry(gate.name).or_default();
        match verdict {
            Verdict::Done | Verdict::Committed => report.success = true,
            Verdict::Failed(failure, _)
                if gate.breaker.is_some_and(|breaker| breaker.counts.contains(&failure.code.as_str())) =>
            {
                report.failures += 1;
            }
            Verdict::Snoozed { until, waits_for } if *waits_for == RATE_LIMIT => {
                report.blocked_until = report.blocked_until.max(Some(*until));
            }
            _ => {}
        }
    }
    let told =
        |(name, report): (&str, Report)| (report != Report::default()).then(|| (name.to_owned(), report));
    reports.into_iter().filter_map(told).collect()
}

/// Rings for those who wait for the places of jobs that are through.
pub fn leave(session: &Session, ended: &[Acknowledgement]) {
    let mut queues: Vec<String> =
        ended.iter().filter_map(|of| Some(of.job.limited.as_deref()?.to_owned())).collect();
    queues.extend(ended.iter().any(|of| of.job.gate.is_some()).then(|| GATES.to_owned()));
    queues.sort_unstable();
    queues.dedup();
    session.waker.wake(&Applied { queues, scheduled: false });
}
