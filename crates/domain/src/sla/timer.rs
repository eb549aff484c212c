//! The life of a timer.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::store::{self, TimerRow};
use super::{Action, Policy, Rules, SlaError, Target, when};
use crate::calendars::{Calendar, Stopwatch};
use crate::event::{Event, IDS_MAX};
use crate::nouns::{LeadId, SlaTimerId, UserId};
use crate::uow::Uow;
use crate::{leads, notifications};

/// Timers that one transaction reschedules.
const RESCHEDULE_MAX: i64 = 500;

/// How a timer stands after it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is over.
    Ended,
    /// Something is to be done at this time, unless something happens before.
    Next(DateTime<Utc>),
    /// Nothing is left to do until it ends.
    Idle,
}

/// Starts the promises that leads are under by their status: those that have an owner, or are with the
/// administrators; a promise that is under way goes on. Any number of leads; records [`Event::SlaStarted`], at most
/// [`IDS_MAX`] leads in one.
pub(crate) async fn start(uow: &mut Uow, leads: &[LeadId]) -> Result<(), sqlx::Error> {
    let now = uow.now();
    let mut by_policy: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
    for (lead, policy) in store::list_startable(uow.conn(), leads).await? {
        by_policy.entry(policy).or_default().push(lead);
    }
    if by_policy.is_empty() {
        return Ok(());
    }
    let codes: Vec<String> = by_policy.keys().cloned().collect();
    let rules = Rules::read(uow.conn(), &codes).await?;
    for (code, leads) in by_policy {
        let Some((policy, calendar)) = rules.of(&code) else { continue };
        let watch = Stopwatch { consumed_s: 0, running_since: Some(now) };
        let Some(due_at) = when(&calendar, watch, policy.due_s) else { continue };
        let next_at = policy.next_after(0).and_then(|first| when(&calendar, watch, first)).unwrap_or(due_at);
        for chunk in leads.chunks(IDS_MAX) {
            let ids: Vec<SlaTimerId> = chunk.iter().map(|_| SlaTimerId::new()).collect();
            let started = store::insert(uow.conn(), &code, (&ids, chunk), now, due_at).await?;
            if !started.is_empty() {
                uow.record(Event::SlaStarted { policy: code.clone(), timers: started, due_at, next_at });
            }
        }
    }
    Ok(())
}

/// A change of status is an action: it keeps every promise about the lead.
pub(crate) async fn satisfy_by_status(uow: &mut Uow, lead: LeadId) -> Result<(), sqlx::Error> {
    end(uow, lead, End { satisfied: true, reason: "status", conversation: true }).await
}

/// A call that counts keeps the promises that it counts for.
pub(crate) async fn satisfy_by_call(
    uow: &mut Uow,
    lead: LeadId,
    conversation: bool,
) -> Result<(), sqlx::Error> {
    end(uow, lead, End { satisfied: true, reason: "call", conversation }).await
}

/// The purpose of every promise about the lead is gone.
pub(crate) async fn supersede(uow: &mut Uow, lead: LeadId, reason: &'static str) -> Result<(), sqlx::Error> {
    end(uow, lead, End { satisfied: false, reason, conversation: true }).await
}

struct End {
    satisfied: bool,
    reason: &'static str,
    /// Whether promises that want a conversation end as well.
    conversation: bool,
}

async fn end(uow: &mut Uow, lead: LeadId, end: End) -> Result<(), sqlx::Error> {
    let now = uow.now();
    let state = if end.satisfied { "satisfied" } else { "superseded" };
    for (policy, breached) in store::end(uow.conn(), lead, (state, end.reason), end.conversation, now).await?
    {
        let End { satisfied, reason, .. } = end;
        uow.record(Event::SlaEnded { lead, policy, satisfied, breached, reason });
    }
    Ok(())
}

/// Pauses the running promises about a lead until a time that was agreed with the person.
pub(crate) async fn pause(uow: &mut Uow, lead: LeadId, until: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let now = uow.now();
    let running = store::lock_running(uow.conn(), lead).await?;
    if running.is_empty() {
        return Ok(());
    }
    let codes: Vec<String> = running.iter().map(|timer| timer.policy.clone()).collect();
    let rules = Rules::read(uow.conn(), &codes).await?;
    for timer in running {
        let Some((_, calendar)) = rules.of(&timer.policy) else { continue };
        let mut watch = timer.watch();
        watch.pause(&calendar, now);
        store::pause(uow.conn(), timer.id, watch.consumed_s, until).await?;
        uow.record(Event::SlaPaused { lead, policy: timer.policy, until });
    }
    Ok(())
}

/// Does what is due of a timer, once, and says when to look again. Reads the world anew: whatever woke the caller.
///
/// # Errors
/// [`SlaError::Lead`] when the lead cannot be moved; on every error the caller rolls back.
pub async fn advance(uow: &mut Uow, timer: SlaTimerId) -> Result<Progress, SlaError> {
    let now = uow.now();
    let Some(lead) = store::lock_lead_of(uow.conn(), timer).await? else { return Ok(Progress::Ended) };
    let Some(mut row) = store::lock_live(uow.conn(), timer).await? else { return Ok(Progress::Ended) };
    let rules = Rules::read(uow.conn(), std::slice::from_ref(&row.policy)).await?;
    let (policy, calendar) = rules.of(&row.policy).ok_or(SlaError::UnknownPolicy)?;
    if let Some(until) = row.paused_until {
        if until > now {
            return Ok(Progress::Next(until));
        }
        resume(uow, &mut row, policy, &calendar, until).await?;
    }
    let watch = row.watch();
    let elapsed = watch.consumed(&calendar, now);
    let actions = policy.due_between(row.done_until_s, elapsed);
    let done = elapsed.max(row.done_until_s);
    if !actions.is_empty() {
        let breached = actions.contains(&Action::Breach);
        store::set_done(uow.conn(), timer, done, breached.then_some(now)).await?;
    }
    let due_at = row.due_at.unwrap_or(now);
    for action in actions {
        act(uow, &lead, policy, due_at, action).await?;
        if action == Action::Escalate(Target::AdminQueue) {
            return Ok(Progress::Ended);
        }
    }
    let Some(next) = policy.next_after(done) else { return Ok(Progress::Idle) };
    Ok(when(&calendar, watch, next).map_or(Progress::Idle, Progress::Next))
}

/// The lead of a timer, locked.
pub(super) struct LockedLead {
    pub id: LeadId,
    pub owner: Option<UserId>,
    pub team: Option<Uuid>,
}

/// Runs again from the end of the pause, however late that is noticed.
async fn resume(
    uow: &mut Uow,
    row: &mut TimerRow,
    policy: &Policy,
    calendar: &Calendar,
    from: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let mut watch = row.watch();
    watch.resume(from);
    let due_at = when(calendar, watch, policy.due_s).unwrap_or(from);
    store::resume(uow.conn(), row.id, from, due_at).await?;
    (row.running_since, row.paused_until, row.due_at) = (Some(from), None, Some(due_at));
    uow.record(Event::SlaResumed { lead: row.lead, policy: policy.code.clone(), due_at });
    Ok(())
}

async fn act(
    uow: &mut Uow,
    lead: &LockedLead,
    policy: &Policy,
    due_at: DateTime<Utc>,
    action: Action,
) -> Result<(), SlaError> {
    let (id, code) = (lead.id, policy.code.clone());
    let body = json!({ "policy": code, "dueAt": due_at });
    match action {
        Action::Remind => {
            let users = owner_or_admins(uow, lead).await?;
            notifications::notify(uow, &users, "sla.reminder", id, &body).await?;
            uow.record(Event::SlaReminded { lead: id, policy: code, users, due_at });
        }
        Action::Breach => {
            let users = owner_or_admins(uow, lead).await?;
            notifications::notify(uow, &users, "sla.breached", id, &body).await?;
            uow.record(Event::SlaBreached { lead: id, policy: code, users, due_at });
        }
        Action::Escalate(to) => {
            let users = told(uow, lead, to).await?;
            notifications::notify(uow, &users, "sla.escalated", id, &body).await?;
            uow.record(Event::SlaEscalated { lead: id, policy: code, to, users });
            if to == Target::AdminQueue {
                leads::take_to_admin_queue(uow, id, "sla").await.map_err(|error| match error {
                    leads::LeadError::Database(error) => SlaError::Database(error),
                    other => SlaError::Lead(other.to_string()),
                })?;
            }
        }
    }
    Ok(())
}

async fn owner_or_admins(uow: &mut Uow, lead: &LockedLead) -> Result<Vec<UserId>, sqlx::Error> {
    match lead.owner {
        Some(owner) => Ok(vec![owner]),
        None => store::list_admins(uow.conn()).await,
    }
}

/// Who is told at an escalation: nobody in silence, so where a post is vacant the next one up.
async fn told(uow: &mut Uow, lead: &LockedLead, to: Target) -> Result<Vec<UserId>, sqlx::Error> {
    if let (Some(team), Target::TeamLead | Target::Manager) = (lead.team, to) {
        if to == Target::TeamLead
            && let Some(leader) = store::find_team_lead(uow.conn(), team).await?
        {
            return Ok(vec![leader]);
        }
        let managers = store::list_managers(uow.conn(), team).await?;
        if !managers.is_empty() {
            return Ok(managers);
        }
    }
    store::list_admins(uow.conn()).await
}

/// Computes the due times of a policy's running timers anew, a bounded number from after `after` in id order, and
/// records [`Event::SlaRescheduled`] for them. Answers where to go on; `None` when that was all.
///
/// # Errors
/// [`SlaError::UnknownPolicy`].
pub async fn reschedule(
    uow: &mut Uow,
    policy: &str,
    after: Option<SlaTimerId>,
) -> Result<Option<SlaTimerId>, SlaError> {
    let rules = Rules::read(uow.conn(), &[policy.to_owned()]).await?;
    let (rule, calendar) = rules.of(policy).ok_or(SlaError::UnknownPolicy)?;
    let timers = store::list_running(uow.conn(), policy, after, RESCHEDULE_MAX).await?;
    let mut ids = Vec::with_capacity(timers.len());
    let mut due = Vec::with_capacity(timers.len());
    for timer in &timers {
        if let Some(at) = when(&calendar, timer.watch(), rule.due_s) {
            ids.push(timer.id.uuid());
            due.push(at);
        }
    }
    store::set_due(uow.conn(), &ids, &due).await?;
    if !timers.is_empty() {
        let leads = timers.iter().map(|timer| timer.lead).collect();
        uow.record(Event::SlaRescheduled { policy: policy.to_owned(), leads });
    }
    let full = timers.len() as i64 == RESCHEDULE_MAX;
    Ok(timers.last().filter(|_| full).map(|timer| timer.id))
}

impl TimerRow {
    pub(super) fn watch(&self) -> Stopwatch {
        Stopwatch { consumed_s: self.consumed_s, running_since: self.running_since }
    }
}
