//! What an operator sees and does about queues.

use std::num::NonZeroU16;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sira_kernel::Clock;
use sqlx::PgConnection;

use crate::effect::Applied;
use crate::error::EngineError;
use crate::store::limits as store;

/// Ready jobs are counted no further.
pub const READY_MAX: i64 = 1000;

/// One queue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// Since when it is stopped.
    pub paused_at: Option<DateTime<Utc>>,
    /// Why.
    pub paused_reason: Option<String>,
    /// Most of its jobs that run at a time in all processes.
    pub concurrency_max: Option<i32>,
    /// Jobs that are due and wait, counted up to [`READY_MAX`].
    pub ready: i64,
    /// How long the next one of them has been due, in seconds.
    pub oldest_s: Option<f64>,
    /// Processes that work on it.
    pub workers: i64,
}

/// Why nothing was done to a queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Nobody works on it, and it holds nothing that is due.
    #[error("there is no such queue")]
    Unknown,
    /// The database refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<sqlx::Error> for QueueError {
    fn from(error: sqlx::Error) -> Self {
        Self::Engine(error.into())
    }
}

/// The queues that somebody works on, that hold ready jobs, or that are stopped or limited, by name.
pub async fn list_queues(conn: &mut PgConnection, clock: &Clock) -> Result<Vec<QueueView>, EngineError> {
    Ok(store::list_queues(conn, clock.shift_us(), None).await?)
}

/// Stops a queue in all processes: nothing more of it is claimed. What runs comes to its end, and so do the few jobs that a
/// process has claimed ahead; what is enqueued waits. A queue that is stopped already has a new reason then.
///
/// # Errors
/// [`QueueError::Unknown`].
pub async fn pause_queue(
    tx: &mut PgConnection,
    clock: &Clock,
    name: &str,
    reason: &str,
) -> Result<(), QueueError> {
    if store::list_queues(tx, clock.shift_us(), Some(name)).await?.is_empty() {
        return Err(QueueError::Unknown);
    }
    Ok(store::pause_queue(tx, name, reason).await?)
}

/// Lets a queue go on. Returns whether it was stopped, and whom to wake.
///
/// # Errors
/// [`QueueError::Unknown`].
pub async fn resume_queue(
    tx: &mut PgConnection,
    clock: &Clock,
    name: &str,
) -> Result<(bool, Applied), QueueError> {
    if store::list_queues(tx, clock.shift_us(), Some(name)).await?.is_empty() {
        return Err(QueueError::Unknown);
    }
    let was_paused = store::resume_queue(tx, name).await?;
    Ok((was_paused, Applied { queues: vec![name.to_owned()], scheduled: false }))
}

/// Sets how many jobs of a queue run at a time in all processes, or takes that limit away. What runs already goes on;
/// jobs that run alone because a process died over them are not counted. Returns whom to wake.
///
/// # Errors
/// [`QueueError::Unknown`].
pub async fn limit_queue(
    tx: &mut PgConnection,
    clock: &Clock,
    name: &str,
    most: Option<NonZeroU16>,
) -> Result<Applied, QueueError> {
    if store::list_queues(tx, clock.shift_us(), Some(name)).await?.is_empty() {
        return Err(QueueError::Unknown);
    }
    store::limit_queue(tx, name, most.map(|most| most.get().into())).await?;
    Ok(Applied { queues: vec![name.to_owned()], scheduled: false })
}

/// How many jobs of a queue run, or are claimed to be run: none are left once a stopped queue is drained. Reads all live
/// jobs.
pub async fn count_running(conn: &mut PgConnection, name: &str) -> Result<i64, EngineError> {
    Ok(store::count_running(conn, name).await?)
}
