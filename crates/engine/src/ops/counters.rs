//! How attempts ended, by minute.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use crate::error::EngineError;
use crate::store::counters as store;

/// Most minutes of one look.
pub const MINUTES_MAX: u16 = 180;

/// Which counters. `None` matches all.
#[derive(Debug, Clone, Default)]
pub struct CounterFilter {
    /// The queue's name.
    pub queue: Option<String>,
    /// The stored kind.
    pub kind: Option<String>,
    /// So many minutes back, at most [`MINUTES_MAX`].
    pub minutes: u16,
}

/// What ended within a minute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CounterView {
    /// Its begin.
    pub minute: DateTime<Utc>,
    /// The queue.
    pub queue: String,
    /// The stored kind.
    pub kind: String,
    /// `done`, `cancelled`, `snoozed`, `failed`, `timed_out`, `panicked`, `released` or `lease_lost`.
    pub outcome: String,
    /// So many attempts.
    pub attempts: i64,
    /// How long they ran together, in milliseconds.
    pub ran_ms: i64,
}

/// How attempts ended in the last minutes, the newest first. Processes tell every few seconds; nothing is counted for it.
pub async fn list_counters(
    conn: &mut PgConnection,
    filter: &CounterFilter,
) -> Result<Vec<CounterView>, EngineError> {
    Ok(store::list(conn, filter).await?)
}
