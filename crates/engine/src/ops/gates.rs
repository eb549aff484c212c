//! What an operator sees and does about gates.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sira_kernel::Clock;
use sqlx::PgConnection;

use crate::effect::Applied;
use crate::error::EngineError;
use crate::store::gates as store;
use crate::wake::GATES;

/// Held jobs, and those let through, are counted no further.
pub const HELD_MAX: i64 = 1000;

/// One gate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateView {
    /// Its name.
    pub name: String,
    /// Most of its jobs that are ready or run.
    pub concurrency_max: Option<i32>,
    /// Jobs a second.
    pub rate_per_s: Option<f64>,
    /// Most jobs at once.
    pub burst: Option<i32>,
    /// Failures in a row that open its breaker.
    pub failures_max: Option<i32>,
    /// How long the breaker is open at first, in seconds.
    pub open_s: Option<f64>,
    /// When an operator edited it last; until then it is as the program declares it.
    pub edited_at: Option<DateTime<Utc>>,
    /// Failures in a row.
    pub failures: i32,
    /// Until when its provider said to wait.
    pub blocked_until: Option<DateTime<Utc>>,
    /// `closed`, `open`, or `half_open` while one job at a time probes.
    pub breaker: String,
    /// Until when the breaker is, or was, open.
    pub open_until: Option<DateTime<Utc>>,
    /// Jobs that its rate would let through now.
    pub tokens: Option<f64>,
    /// Jobs that wait for it, counted up to [`HELD_MAX`].
    pub held: i64,
    /// Jobs of it that are ready or run, counted likewise.
    pub passed: i64,
}

/// A gate's limits as an operator wants them; `None` is without that limit.
#[derive(Debug, Clone, PartialEq)]
pub struct GateEdit {
    /// Most of its jobs that are ready or run, from 1.
    pub concurrency_max: Option<u16>,
    /// Jobs a second, above 0, and most jobs at once, from 1.
    pub rate: Option<(f64, u16)>,
    /// Failures in a row, from 1, and how long the breaker is then open, in seconds, above 0.
    pub breaker: Option<(u16, f64)>,
}

/// Why nothing was done to a gate.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The program declares none of this name.
    #[error("there is no such gate")]
    Unknown,
    /// A limit is zero, negative or no number.
    #[error("each limit is above zero; a gate without it has none")]
    InvalidLimit,
    /// The database refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<sqlx::Error> for GateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Engine(error.into())
    }
}

/// All gates, by name. Concurrency keys are gates that nobody declares, and are not among them.
pub async fn list_gates(conn: &mut PgConnection, clock: &Clock) -> Result<Vec<GateView>, EngineError> {
    Ok(store::list(conn, clock.shift_us(), None).await?)
}

/// Gives a gate these limits in the place of all that it had. Returns whom to wake.
///
/// # Errors
/// [`GateError::Unknown`], [`GateError::InvalidLimit`].
pub async fn edit_gate(
    tx: &mut PgConnection,
    clock: &Clock,
    name: &str,
    edit: &GateEdit,
) -> Result<Applied, GateError> {
    let known = store::list(tx, clock.shift_us(), Some(name)).await?.pop().ok_or(GateError::Unknown)?;
    let positive = |of: f64| of.is_finite() && of > 0.0;
    let valid = edit.concurrency_max != Some(0)
        && edit.rate.is_none_or(|(per_s, burst)| positive(per_s) && burst > 0)
        && edit.breaker.is_none_or(|(failures, open_s)| positive(open_s) && failures > 0);
    if !valid {
        return Err(GateError::InvalidLimit);
    }
    let edited = GateView {
        concurrency_max: edit.concurrency_max.map(i32::from),
        rate_per_s: edit.rate.map(|(per_s, _)| per_s),
        burst: edit.rate.map(|(_, burst)| burst.into()),
        failures_max: edit.breaker.map(|(failures, _)| failures.into()),
        open_s: edit.breaker.map(|(_, open_s)| open_s),
        ..known
    };
    store::edit(tx, &edited).await?;
    Ok(woken())
}

/// Closes a gate's breaker, and forgets the time that its provider named. Returns whom to wake.
///
/// # Errors
/// [`GateError::Unknown`].
pub async fn reset_gate(tx: &mut PgConnection, name: &str) -> Result<Applied, GateError> {
    if store::reset(tx, name).await? { Ok(woken()) } else { Err(GateError::Unknown) }
}

fn woken() -> Applied {
    Applied { queues: vec![GATES.to_owned()], scheduled: false }
}
