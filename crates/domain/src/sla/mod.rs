//! Promises about time: the first action on a lead in a status is due within so much working time; the owner is
//! reminded before, others are told after.
//!
//! A promise is a timer in the database, started, kept or superseded in the transaction of its cause. A durable workflow
//! sleeps beside it and calls [`advance`] at its times: a breach is raised by the timer, not by the next change.
//!
//! **Invariant:** one live timer a lead and policy; whatever a policy does at a time is done once, whoever was away
//! then. Locks are taken in the order lead, timer.

mod policy;
mod store;
mod timer;
mod view;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sira_engine::JobError;
use sqlx::PgConnection;

pub use policy::{Action, CallCounts, Escalation, InvalidPolicy, Policy, STEPS_MAX, TIME_S_MAX, Target};
pub use timer::{Progress, advance, reschedule};
pub(crate) use timer::{pause, satisfy_by_call, satisfy_by_status, start, supersede};
pub use view::{Overdue, OverdueCount, SlaColumns, SlaRow, SlaState, count_overdue, list_overdue};

use crate::calendars::{self, Calendar, CalendarError, Stopwatch};
use crate::event::Event;
use crate::nouns::{CalendarId, LeadId};
use crate::uow::Uow;

/// What a caller treats differently.
#[derive(Debug, thiserror::Error)]
pub enum SlaError {
    /// There is no such policy.
    #[error("there is no such policy")]
    UnknownPolicy,
    /// There is no such calendar.
    #[error("there is no such calendar")]
    UnknownCalendar,
    /// The policy cannot be.
    #[error(transparent)]
    Invalid(#[from] InvalidPolicy),
    /// The lead could not be moved.
    #[error("the lead could not be moved: {0}")]
    Lead(String),
    /// The database refused or was not there.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<SlaError> for JobError {
    fn from(error: SlaError) -> Self {
        match error {
            SlaError::Database(error) => error.into(),
            SlaError::Lead(_) => Self::retry("lead", error.to_string()),
            SlaError::UnknownPolicy | SlaError::UnknownCalendar | SlaError::Invalid(_) => {
                Self::fail("sla", error.to_string())
            }
        }
    }
}

/// All policies, by code.
pub async fn list_policies(conn: &mut PgConnection) -> Result<Vec<Policy>, sqlx::Error> {
    store::list_policies(conn, &[]).await
}

/// Changes a policy; its timers follow by a job. Records [`Event::SlaPolicyChanged`].
///
/// # Errors
/// [`SlaError::UnknownPolicy`], [`SlaError::UnknownCalendar`], [`SlaError::Invalid`].
pub async fn set_policy(uow: &mut Uow, policy: &Policy) -> Result<(), SlaError> {
    policy.check()?;
    let now = uow.now();
    let updated = store::update_policy(uow.conn(), policy, now).await.map_err(|error| {
        match error.as_database_error().and_then(|database| database.constraint()) {
            Some("sla_policies_calendar_id_fkey") => SlaError::UnknownCalendar,
            _ => error.into(),
        }
    });
    if !updated? {
        return Err(SlaError::UnknownPolicy);
    }
    uow.record(Event::SlaPolicyChanged { policy: policy.code.clone() });
    Ok(())
}

/// The working time of a calendar is another one: its policies' timers follow by a job each. Records
/// [`Event::SlaPolicyChanged`] for each policy.
pub async fn follow_calendar(uow: &mut Uow, calendar: CalendarId) -> Result<(), sqlx::Error> {
    for policy in store::list_policies(uow.conn(), &[]).await? {
        if policy.calendar == calendar {
            uow.record(Event::SlaPolicyChanged { policy: policy.code });
        }
    }
    Ok(())
}

/// A live promise, and what its timer will do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The policy's code.
    pub policy: String,
    /// What comes next; `None` when nothing is left to do until it ends.
    pub next: Option<NextAction>,
}

/// What a timer will do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAction {
    /// Run again: the time agreed with the person has come.
    Resume,
    /// Something of its policy.
    Act(Action),
}

/// Live promises about a lead.
pub async fn list_live(conn: &mut PgConnection, lead: LeadId) -> Result<Vec<Live>, sqlx::Error> {
    let timers = store::list_live(conn, lead).await?;
    if timers.is_empty() {
        return Ok(Vec::new());
    }
    let codes: Vec<String> = timers.iter().map(|timer| timer.policy.clone()).collect();
    let policies = store::list_policies(conn, &codes).await?;
    let next = |timer: &store::TimerRow| {
        if timer.paused_until.is_some() {
            return Some(NextAction::Resume);
        }
        let policy = policies.iter().find(|policy| policy.code == timer.policy)?;
        let at = policy.next_after(timer.done_until_s)?;
        policy.due_between(timer.done_until_s, at).first().copied().map(NextAction::Act)
    };
    Ok(timers.iter().map(|timer| Live { next: next(timer), policy: timer.policy.clone() }).collect())
}

/// Policies with their calendars, in as many statements for one as for all.
struct Rules {
    policies: HashMap<String, Policy>,
    calendars: HashMap<CalendarId, Calendar>,
}

impl Rules {
    async fn read(conn: &mut PgConnection, codes: &[String]) -> Result<Self, sqlx::Error> {
        let policies = store::list_policies(conn, codes).await?;
        let ids: Vec<CalendarId> = policies.iter().map(|policy| policy.calendar).collect();
        let calendars = match calendars::list_calendars(conn, &ids).await {
            Ok(calendars) => calendars,
            Err(CalendarError::Database(error)) => return Err(error),
            Err(error) => {
                tracing::error!(%error, "a calendar cannot be used: all time counts as working time");
                HashMap::new()
            }
        };
        let policies = policies.into_iter().map(|policy| (policy.code.clone(), policy)).collect();
        Ok(Self { policies, calendars })
    }

    /// The policy, and the time that counts for it: where a calendar cannot be used all time does, so that a promise is
    /// rather kept too early than never.
    fn of(&self, code: &str) -> Option<(&Policy, Calendar)> {
        let policy = self.policies.get(code)?;
        let calendar = self.calendars.get(&policy.calendar).cloned();
        Some((policy, calendar.unwrap_or_else(always_open)))
    }
}

fn always_open() -> Calendar {
    Calendar::new("UTC", Vec::new(), Vec::new()).expect("UTC is known, and no block at all is always open")
}

/// When so much working time has been used up. A calendar without any ahead counts all time.
fn when(calendar: &Calendar, watch: Stopwatch, budget_s: i64) -> Option<DateTime<Utc>> {
    let since = watch.running_since?;
    let rest = TimeDelta::seconds((budget_s - watch.consumed_s).max(0));
    Some(watch.due(calendar, budget_s).unwrap_or(since + rest))
}
