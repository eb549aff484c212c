//! What every process does for all: making due what is due, rescuing the dead, keeping partitions, listening.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::time::Instant;

use super::fetch::{PROBING, bounded};
use super::session::{Retrying, Session, jittered};
use super::slots;
use crate::effect::Applied;
use crate::store::counters::Counted;
use crate::store::{self, PutBack, Return, Unbegun};
use crate::wake::{CHANNEL, TIMERS, bell_of};

/// Rows that one statement makes due.
const PROMOTE_BATCH: i64 = 1000;
/// Wait before what is due, but locked by somebody, is tried again.
const LOCKED_WAIT: Duration = Duration::from_millis(20);
/// Rescues happen this much more often than renewals: what a dead process held is not left waiting.
const RESCUES_PER_RENEWAL: u32 = 3;
/// How often partitions are looked after.
const PARTITIONS_EVERY: Duration = Duration::from_hours(1);
/// How often the queues' ages are measured.
const AGES_EVERY: Duration = Duration::from_secs(10);
/// How often a silent LISTEN connection is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long it may take to answer.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes jobs and workflows due at their time, or when their children have ended, and fires slots of schedules: sleeps exactly
/// until the next one, or until something sooner is scheduled.
pub async fn timers(session: Arc<Session>) {
    let mut bell = session.waker.bells.listen(TIMERS);
    let mut retrying = Retrying::default();
    while !session.stopping.is_cancelled() {
        bell.mark_unchanged();
        let wait = match bounded(&session, make_due(&session)).await {
            Ok(wait) => {
                retrying.reset();
                wait
            }
            Err(error) => {
                tracing::warn!(%error, "nothing was made due; trying again");
                retrying.wait().await;
                continue;
            }
        };
        tokio::select! {
            () = session.stopping.cancelled() => {}
            _ = bell.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Makes due what is due; returns how long to wait for the next.
async fn make_due(session: &Session) -> Result<Duration, sqlx::Error> {
    let mut conn = session.hot.acquire().await?;
    let shift = session.clock.shift_us();
    let mut queues = store::promote(&mut conn, shift, PROMOTE_BATCH).await?;
    let steps = store::wake_workflows(&mut conn, shift, PROMOTE_BATCH).await?;
    let full = queues.len().max(steps.len()) as i64 == PROMOTE_BATCH;
    queues.extend(steps);
    let (joined, all_counted) = store::join_children(&mut conn, PROMOTE_BATCH).await?;
    queues.extend(joined);
    let mut moved = !queues.is_empty();
    // Before slots are looked at: what is due waits for nothing else, also when that fails.
    session.waker.wake(&Applied { queues, scheduled: false });
    let (fired, next_slot) = slots::fire(&mut conn, shift).await?;
    moved |= !fired.is_empty();
    session.waker.wake(&Applied { queues: fired, scheduled: false });
    if full {
        return Ok(Duration::ZERO);
    }
    if !all_counted {
        return Ok(LOCKED_WAIT);
    }
    let poll = jittered(session.settings.poll_every);
    let next = store::next_due_us(&mut conn, shift).await?;
    let next = [next, next_slot].into_iter().flatten().min();
    Ok(match next {
        None => poll,
        Some(us) if us <= 0 && !moved => LOCKED_WAIT,
        Some(us) => Duration::from_micros(us.max(0).cast_unsigned()).min(poll),
    })
}

/// Rescues, settles doubtful claims, measures, tells counts, and keeps partitions.
pub async fn upkeep(session: Arc<Session>, pool: PgPool) {
    let every = session.settings.renew_every / RESCUES_PER_RENEWAL;
    let mut partitions_at = Instant::now();
    let mut ages_at = Instant::now();
    while !session.lost.is_cancelled() {
        if let Err(error) = tend(&session, &pool, &mut partitions_at, &mut ages_at).await {
            tracing::warn!(%error, "upkeep failed; trying again");
        }
        tokio::select! { () = session.lost.cancelled() => {}, () = tokio::time::sleep(jittered(every)) => {} }
    }
}

async fn tend(
    session: &Session,
    pool: &PgPool,
    partitions_at: &mut Instant,
    ages_at: &mut Instant,
) -> Result<(), sqlx::Error> {
    let mut conn = pool.acquire().await?;
    while bounded(session, rescue(session, &mut conn)).await? {}
    bounded(session, settle_doubts(session, &mut conn)).await?;
    tell_counts(session, &mut conn).await?;
    if Instant::now() >= *ages_at {
        *ages_at = Instant::now() + AGES_EVERY;
        let ages = store::queue_ages(&mut conn, session.clock.shift_us(), &session.queues);
        for (queue, age) in bounded(session, ages).await? {
            metrics::gauge!("sira_queue_age_seconds", "queue" => queue).set(age);
        }
    }
    if Instant::now() >= *partitions_at {
        *partitions_at = Instant::now() + PARTITIONS_EVERY;
        // By the database's day: history is written with its clock.
        let today = session.clock.now() - chrono::TimeDelta::microseconds(session.clock.shift_us());
        bounded(session, store::ensure_partitions(&mut conn, today.date_naive())).await?;
    }
    Ok(())
}

/// Tells how attempts ended since the last time.
pub async fn tell_counts(session: &Session, conn: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
    let taken = session.counts.take();
    if taken.is_empty() {
        return Ok(());
    }
    let queue = |kind: &str| session.dispatch.kind(kind).map_or("unknown", |kind| kind.queue);
    let counted: Vec<_> = taken
        .iter()
        .map(|((kind, outcome), (attempts, ran))| Counted {
            queue: queue(kind).to_owned(),
            kind: kind.clone(),
            outcome,
            attempts: *attempts,
            ran_ms: i64::try_from(ran.as_millis()).unwrap_or(i64::MAX),
        })
        .collect();
    let told = bounded(session, store::counters::add(conn, &counted)).await;
    if told.is_err() {
        session.counts.put_back(taken);
    }
    told
}

/// Returns whether there may be more to rescue.
async fn rescue(session: &Session, conn: &mut sqlx::PgConnection) -> Result<bool, sqlx::Error> {
    let store::Rescued { mut queues, probing, dead, more } =
        store::rescue(conn, session.clock.shift_us(), session.settings.lease_ttl).await?;
    if !queues.is_empty() || probing || dead > 0 {
        tracing::warn!(?queues, probing, dead, "took over the jobs of a dead process");
        queues.extend(probing.then(|| PROBING.to_owned()));
        session.waker.wake(&Applied { queues, scheduled: false });
    }
    Ok(more)
}

/// Gives back what was claimed by a statement whose answer was lost.
async fn settle_doubts(session: &Session, conn: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
    for claim in session.doubts() {
        let held = store::find_claim(conn, claim).await?;
        if held.is_empty() {
            continue;
        }
        tracing::warn!(jobs = held.len(), "gives back a claim whose answer was lost");
        let mut queues = session.queues.clone();
        queues.extend(held.iter().any(|job| job.probing).then(|| PROBING.to_owned()));
        let rows: Vec<_> = held.into_iter().map(unbegun).collect();
        let mut tx = sqlx::Connection::begin(&mut *conn).await?;
        store::put_back(&mut tx, session.clock.shift_us(), &rows).await?;
        tx.commit().await?;
        session.waker.wake(&Applied { queues, scheduled: false });
    }
    Ok(())
}

fn unbegun(Unbegun { id, lease, probing, deduped }: Unbegun) -> PutBack {
    PutBack {
        id,
        lease,
        to: Return::Ready,
        refund: true,
        crashed: false,
        probing,
        deduped,
        error: None,
        outcome: None,
        waits_for: None,
        started_at: None,
    }
}

/// Rings this process's bells for the others' notifications. While it cannot listen, polling does the work.
pub async fn listen(session: Arc<Session>, pool: PgPool) {
    let mut retrying = Retrying::default();
    loop {
        match hear(&session, &pool).await {
            Ok(()) => retrying.reset(),
            Err(error) => tracing::debug!(%error, "cannot listen for wakes now; polling"),
        }
        retrying.wait().await;
    }
}

/// Listens until the connection is lost.
async fn hear(session: &Session, pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    // What was said before this connection stood was missed.
    session.waker.bells.ring_all();
    loop {
        match tokio::time::timeout(PING_EVERY, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                if let Some(bell) = bell_of(notification.payload(), session.waker.sender) {
                    session.waker.bells.ring(bell);
                }
            }
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let ping = tokio::time::timeout(PING_TIMEOUT, store::ping(&mut listener));
                ping.await.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
            }
        }
    }
}
