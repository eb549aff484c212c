//! What an operator sees and does about schedules.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sira_kernel::Clock;
use sqlx::PgConnection;

use crate::effect::Applied;
use crate::error::EngineError;
use crate::job::JobId;
use crate::schedule::{CatchUp, Cron, InvalidCron};
use crate::store::schedules as store;

/// How many of its next slots are told.
const NEXT: usize = 5;
/// How many of its last slots are told.
const LAST: i64 = 10;

/// One schedule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// The stored kind of its jobs.
    pub kind: String,
    /// Where they run.
    pub queue: String,
    /// The expression, as [`Cron::parse`] reads it.
    pub cron: String,
    /// An IANA name.
    pub time_zone: String,
    /// `all`, `latest` or `skip`.
    pub catch_up: String,
    /// When an operator changed it last; never, when it is as the program declares it.
    pub edited_at: Option<DateTime<Utc>>,
    /// Since when it is paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// Why.
    pub paused_reason: Option<String>,
    /// Its next slot that is not settled.
    pub next_at: Option<DateTime<Utc>>,
    /// When it was stored first.
    pub created_at: DateTime<Utc>,
}

/// What became of a slot.
#[derive(Debug, Clone, Serialize)]
pub struct SlotView {
    /// When it was to be fired; for one that an operator ran, when that was.
    pub slot: DateTime<Utc>,
    /// The slot is the last one of those that were missed; this is the first one.
    pub missed_from: Option<DateTime<Utc>>,
    /// An operator ran it.
    pub by_request: bool,
    /// When it was fired or told as missed.
    pub settled_at: DateTime<Utc>,
    /// What it enqueued.
    pub job_id: Option<i64>,
    /// How that stands: as in [`super::JobFilter::state`]; `None` when it is no longer known.
    pub job_state: Option<String>,
}

/// A schedule with its next and its last slots.
#[derive(Debug, Clone, Serialize)]
pub struct ScheduleDetails {
    /// The schedule.
    pub schedule: ScheduleView,
    /// Its next five slots; none while it is paused.
    pub next: Vec<DateTime<Utc>>,
    /// Its last ten, newest first.
    pub last: Vec<SlotView>,
}

/// What is to be different. `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct ScheduleEdit {
    /// The expression.
    pub cron: Option<String>,
    /// The zone.
    pub time_zone: Option<String>,
    /// What happens with slots that were missed.
    pub catch_up: Option<CatchUp>,
}

/// Why a schedule was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// There is none with this name.
    #[error("there is no such schedule")]
    Unknown,
    /// Its expression and zone cannot be used.
    #[error(transparent)]
    Invalid(#[from] InvalidCron),
    /// The engine or the database refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<sqlx::Error> for ScheduleError {
    fn from(error: sqlx::Error) -> Self {
        Self::Engine(error.into())
    }
}

/// All schedules, by name: as many as the program declares.
pub async fn list_schedules(conn: &mut PgConnection) -> Result<Vec<ScheduleView>, EngineError> {
    Ok(store::list(conn, None).await?)
}

/// One of them, with its slots.
pub async fn find_schedule(
    conn: &mut PgConnection,
    name: &str,
) -> Result<Option<ScheduleDetails>, EngineError> {
    let Some(schedule) = store::find(conn, name).await? else { return Ok(None) };
    let cron = Cron::parse(&schedule.cron, &schedule.time_zone).ok();
    let next = cron.zip(schedule.next_at).map(|(cron, from)| cron.slots(from).take(NEXT).collect());
    let last = store::list_slots(conn, name, LAST).await?;
    Ok(Some(ScheduleDetails { schedule, next: next.unwrap_or_default(), last }))
}

/// Changes it. Its next slot is the first one after now of what it is then; slots that are due and not fired yet go with
/// the old expression. Wake the engine after the commit with what comes back.
///
/// # Errors
/// [`ScheduleError::Unknown`], [`ScheduleError::Invalid`].
pub async fn edit_schedule(
    tx: &mut PgConnection,
    clock: &Clock,
    name: &str,
    edit: &ScheduleEdit,
) -> Result<(ScheduleView, Applied), ScheduleError> {
    let mut schedule = store::lock(tx, name).await?.ok_or(ScheduleError::Unknown)?;
    schedule.cron = edit.cron.clone().unwrap_or(schedule.cron);
    schedule.time_zone = edit.time_zone.clone().unwrap_or(schedule.time_zone);
    if let Some(catch_up) = edit.catch_up {
        catch_up.code().clone_into(&mut schedule.catch_up);
    }
    let next = next_slot(&schedule, clock)?.ok_or(InvalidCron::Never)?;
    schedule.next_at = schedule.paused_at.is_none().then_some(next);
    store::edit(tx, &schedule).await?;
    schedule.edited_at = Some(clock.now());
    Ok((schedule, timers()))
}

/// Stops it, with the reason, which holds no personal data. Paused again, it has the new reason.
///
/// # Errors
/// [`ScheduleError::Unknown`].
pub async fn pause_schedule(tx: &mut PgConnection, name: &str, reason: &str) -> Result<(), ScheduleError> {
    store::lock(tx, name).await?.ok_or(ScheduleError::Unknown)?;
    Ok(store::set_paused(tx, name, Some(reason), None).await?)
}

/// Lets it go on with its first slot from now on; slots of the pause are not caught up. Returns whether it was paused.
/// Wake the engine after the commit with what comes back.
///
/// # Errors
/// [`ScheduleError::Unknown`], [`ScheduleError::Invalid`].
pub async fn resume_schedule(
    tx: &mut PgConnection,
    clock: &Clock,
    name: &str,
) -> Result<(bool, Applied), ScheduleError> {
    let schedule = store::lock(tx, name).await?.ok_or(ScheduleError::Unknown)?;
    if schedule.paused_at.is_none() {
        return Ok((false, Applied::default()));
    }
    let next = next_slot(&schedule, clock)?;
    store::set_paused(tx, name, None, next).await?;
    Ok((true, timers()))
}

/// Enqueues its job now, beside its slots, paused or not. Wake the engine after the commit with what comes back.
///
/// # Errors
/// [`ScheduleError::Unknown`].
pub async fn run_schedule(
    tx: &mut PgConnection,
    clock: &Clock,
    name: &str,
) -> Result<(JobId, Applied), ScheduleError> {
    let (job, queue) = store::run_now(tx, name, clock.now()).await?.ok_or(ScheduleError::Unknown)?;
    Ok((job, Applied { queues: vec![queue], scheduled: false }))
}

fn next_slot(schedule: &ScheduleView, clock: &Clock) -> Result<Option<DateTime<Utc>>, InvalidCron> {
    Ok(Cron::parse(&schedule.cron, &schedule.time_zone)?.slots(clock.now()).next())
}

fn timers() -> Applied {
    Applied { queues: Vec::new(), scheduled: true }
}
