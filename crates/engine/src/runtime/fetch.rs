//! Fetchers: claim jobs ahead of the workers, one task per queue, and one for jobs that must run alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::backend::Buffer;
use super::claimed::{Alone, Claimed};
use super::session::{Retrying, Session, jittered};
use crate::job::Queue;
use crate::store::{self, ClaimRow, ClaimedBy, Pending, Place};

/// How long jobs that must run alone may follow each other before the others have a turn again.
const ALONE_SLICE: Duration = Duration::from_secs(1);
/// How long claims of full batches go on from where the last one ended, at least. What became ready before there, as a job that
/// is tried again, waits so long for its turn.
const ONWARDS_MIN: Duration = Duration::from_millis(100);
/// The same at most.
const ONWARDS_MAX: Duration = Duration::from_secs(5);
/// In between it is so many times what a claim from the first took: under an old snapshot that reads over all that was taken.
const ONWARDS_PER_CLAIM: u32 = 10;
/// The bell of the probing lane.
pub const PROBING: &str = "probing:";

/// Keeps one queue's buffer filled until the session stops, and then gives back what nobody began.
pub async fn fetch(session: Arc<Session>, queue: Queue, buffer: Buffer, sender: mpsc::Sender<Arc<Claimed>>) {
    let mut bell = session.waker.bells.listen(queue.name);
    // Half a buffer at a time: the other half keeps the workers busy meanwhile.
    let batch = (sender.max_capacity() / 2).max(1);
    let mut retrying = Retrying::default();
    let mut onwards: Option<Place> = None;
    let mut onwards_until = Instant::now();
    loop {
        let permits = tokio::select! {
            biased;
            () = session.stopping.cancelled() => break,
            permits = sender.reserve_many(batch) => permits,
        };
        let Ok(permits) = permits else { break };
        bell.mark_unchanged();
        let by = session.next_claim();
        let from = onwards.take().filter(|_| Instant::now() < onwards_until);
        let began = Instant::now();
        let claimed = claim(&session, queue, by, from, batch).await;
        if from.is_none() {
            let onwards = (began.elapsed() * ONWARDS_PER_CLAIM).clamp(ONWARDS_MIN, ONWARDS_MAX);
            onwards_until = Instant::now() + onwards;
        }
        match claimed {
            Ok((rows, limited)) => {
                retrying.reset();
                let full = rows.len() == batch;
                if full {
                    onwards = rows.last().map(|row| Place { priority: row.priority, id: row.id });
                }
                let steps = load_steps(&session, &rows).await;
                for (permit, job) in permits.zip(together(&session, rows, limited, steps)) {
                    permit.send(Arc::new(job));
                }
                // What is left may stand before the place from which it went on.
                if !full && from.is_none() {
                    rest(&session, &mut bell).await;
                }
            }
            Err(error) => {
                drop(permits);
                tracing::warn!(queue = queue.name, %error, "claiming failed; trying again");
                session.doubt(by);
                tokio::select! { () = session.stopping.cancelled() => break, () = retrying.wait() => {} }
            }
        }
    }
    session.release(buffer.close());
}

/// Neighbours of a kind whose jobs run together become one, up to the most that it takes. `limited` is the queue whose limit
/// they were claimed under.
fn together(
    session: &Session,
    rows: Vec<ClaimRow>,
    limited: Option<Arc<str>>,
    mut steps: HashMap<i64, Pending>,
) -> Vec<Claimed> {
    let mut jobs: Vec<Claimed> = Vec::with_capacity(rows.len());
    for row in rows {
        let pending = row.workflow_id.and_then(|id| steps.remove(&id));
        let mut job = Claimed::new(row, pending, None);
        job.limited.clone_from(&limited);
        let batch_max = session.dispatch.kind(&job.kind).map_or(1, |kind| kind.batch_max);
        match jobs.last_mut() {
            Some(first) if first.kind == job.kind && first.companions.len() + 1 < batch_max => {
                first.companions.push(Arc::new(job));
            }
            _ => jobs.push(job),
        }
    }
    jobs
}

/// Answers the queue as well, when they were claimed under its limit.
async fn claim(
    session: &Session,
    queue: Queue,
    by: ClaimedBy,
    from: Option<Place>,
    limit: usize,
) -> Result<(Vec<ClaimRow>, Option<Arc<str>>), sqlx::Error> {
    let mut conn = session.hot.acquire().await?;
    let mut rows = bounded(session, store::claim(&mut conn, queue.name, by, from, limit as i64)).await?;
    let mut limited = None;
    if rows.is_empty() && from.is_none() {
        let claiming =
            store::claim_limited(&mut conn, queue.name, by, queue.concurrency as i64, limit as i64);
        rows = bounded(session, claiming).await?;
        limited = Some(Arc::from(queue.name));
    }
    fail::fail_point!("engine::after_claim");
    if !rows.is_empty() {
        metrics::counter!("sira_jobs_claimed_total", "queue" => queue.name).increment(rows.len() as u64);
    }
    Ok((rows, limited))
}

/// What the claimed steps stand on, in one statement. Best effort: a step that finds nothing here reads for itself.
async fn load_steps(session: &Session, rows: &[ClaimRow]) -> HashMap<i64, Pending> {
    let workflows: Vec<i64> = rows.iter().filter_map(|row| row.workflow_id).collect();
    if workflows.is_empty() {
        return HashMap::new();
    }
    let loading = async {
        let mut conn = session.hot.acquire().await?;
        bounded(session, store::load_steps(&mut conn, &workflows)).await
    };
    loading.await.unwrap_or_else(|error: sqlx::Error| {
        tracing::debug!(%error, "steps were not loaded together");
        HashMap::new()
    })
}

/// A statement that the server would have ended by now is not waited for: the line may be dead.
pub async fn bounded<T>(
    session: &Session,
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let limit = session.settings.statement_timeout + Duration::from_secs(1);
    tokio::time::timeout(limit, statement).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Waits for the bell or the next poll.
async fn rest(session: &Session, bell: &mut watch::Receiver<u64>) {
    tokio::select! {
        () = session.stopping.cancelled() => {}
        _ = bell.changed() => {}
        () = tokio::time::sleep(jittered(session.settings.poll_every)) => {}
    }
}

/// Runs suspects one at a time, each alone in this process, so that a further crash is known to be its own.
pub async fn fetch_probing(session: Arc<Session>, buffer: Buffer, sender: mpsc::Sender<Arc<Claimed>>) {
    let mut bell = session.waker.bells.listen(PROBING);
    let mut retrying = Retrying::default();
    while !session.stopping.is_cancelled() {
        bell.mark_unchanged();
        let slice = match has_probing(&session).await {
            Ok(true) => run_alone(&session, &sender).await,
            Ok(false) => Ok(Slice::Idle),
            Err(error) => Err(error),
        };
        match slice {
            Ok(Slice::Over) => retrying.reset(),
            Ok(Slice::Idle) => {
                retrying.reset();
                rest(&session, &mut bell).await;
            }
            Ok(Slice::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "claiming a probing job failed; trying again");
                tokio::select! { () = session.stopping.cancelled() => {}, () = retrying.wait() => {} }
            }
        }
    }
    session.release(buffer.close());
}

/// How a turn of the jobs that run alone ended.
enum Slice {
    /// Its time is over; there may be more to run.
    Over,
    /// Nothing was left to claim: what waits is locked by somebody.
    Idle,
    /// The worker is gone.
    Closed,
}

/// Runs suspects one after the other for a slice of time, in which nothing else of this process runs.
async fn run_alone(session: &Session, sender: &mpsc::Sender<Arc<Claimed>>) -> Result<Slice, sqlx::Error> {
    let turn = tokio::select! {
        biased;
        () = session.stopping.cancelled() => return Ok(Slice::Over),
        turn = Arc::clone(&session.turns).write_owned() => Arc::new(turn),
    };
    let until = Instant::now() + ALONE_SLICE;
    while Instant::now() < until && !session.stopping.is_cancelled() {
        let by = session.next_claim();
        let row = match claim_probing(session, by).await {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(Slice::Idle),
            Err(error) => {
                session.doubt(by);
                return Err(error);
            }
        };
        let (through, finished) = oneshot::channel();
        let alone = Alone { _turn: Arc::clone(&turn), _through: through };
        if sender.send(Arc::new(Claimed::new(row, None, Some(alone)))).await.is_err() {
            return Ok(Slice::Closed);
        }
        tokio::select! {
            () = session.stopping.cancelled() => {}
            // Dropped with the job: the error is the message.
            _ = finished => {}
        }
    }
    Ok(Slice::Over)
}

async fn has_probing(session: &Session) -> Result<bool, sqlx::Error> {
    let mut conn = session.hot.acquire().await?;
    bounded(session, store::has_probing(&mut conn, &session.queues)).await
}

async fn claim_probing(session: &Session, by: ClaimedBy) -> Result<Option<ClaimRow>, sqlx::Error> {
    let mut conn = session.hot.acquire().await?;
    bounded(session, store::claim_probing(&mut conn, &session.queues, by)).await
}
