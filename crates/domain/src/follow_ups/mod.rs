//! Follow-ups: something agreed with the person for a certain time. Reminding is a durable workflow.
//!
//! **Invariant:** a lead has at most one open follow-up; a later plan takes its place.

mod store;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::event::Event;
use crate::nouns::{FollowUpId, LeadId, UserId};
use crate::uow::Uow;
use crate::{notifications, sla};

/// An open follow-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowUp {
    /// The row.
    pub id: Uuid,
    /// The lead.
    pub lead_id: Uuid,
    /// Who planned it.
    pub user_id: Uuid,
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// When somebody was reminded of it.
    pub reminded_at: Option<DateTime<Utc>>,
}

/// Plans one, in the place of an open one, and pauses the promises about the lead until then: the person chose the
/// time. Records [`Event::FollowUpPlanned`]. The caller has locked the lead and checked that the time is ahead.
pub async fn plan(
    uow: &mut Uow,
    lead: LeadId,
    user: UserId,
    due_at: DateTime<Utc>,
) -> Result<FollowUpId, sqlx::Error> {
    close(uow, lead, "superseded").await?;
    let (follow_up, now) = (FollowUpId::new(), uow.now());
    store::insert(uow.conn(), follow_up, (lead, user), due_at, now).await?;
    uow.record(Event::FollowUpPlanned { lead, follow_up, user, due_at });
    sla::pause(uow, lead, due_at).await?;
    Ok(follow_up)
}

/// Closes the open follow-up of a lead, if there is one, as `done` or `superseded`; records [`Event::FollowUpClosed`].
pub async fn close(uow: &mut Uow, lead: LeadId, state: &'static str) -> Result<bool, sqlx::Error> {
    let now = uow.now();
    let Some(closed) = store::close(uow.conn(), lead, state, now).await? else { return Ok(false) };
    uow.record(Event::FollowUpClosed { lead, follow_up: FollowUpId::from_uuid(closed), state });
    Ok(true)
}

/// What was agreed about one lead is agreed about another, of the same person: of two open follow-ups the earlier one stays.
/// The caller has locked both leads.
pub(crate) async fn hand_over(uow: &mut Uow, from: LeadId, to: LeadId) -> Result<(), sqlx::Error> {
    let Some(theirs) = find_open(uow.conn(), from).await? else { return Ok(()) };
    close(uow, from, "superseded").await?;
    let own = find_open(uow.conn(), to).await?;
    if own.is_none_or(|own| theirs.due_at < own.due_at) {
        // One that is overdue is told at once.
        let due_at = theirs.due_at.max(uow.now());
        plan(uow, to, UserId::from_uuid(theirs.user_id), due_at).await?;
    }
    Ok(())
}

/// The time of an open follow-up has come: tells the lead's owner, or who planned it, once; the promises about the lead
/// run again. Records [`Event::FollowUpDue`]; `false` when it is closed or was told already.
pub async fn remind(uow: &mut Uow, follow_up: FollowUpId) -> Result<bool, sqlx::Error> {
    let now = uow.now();
    let Some(due) = store::mark_reminded(uow.conn(), follow_up, now).await? else { return Ok(false) };
    let (lead, user) = (LeadId::from_uuid(due.lead_id), UserId::from_uuid(due.user_id));
    let body = json!({ "followUp": follow_up, "dueAt": due.due_at });
    notifications::notify(uow, &[user], "follow_up.due", lead, &body).await?;
    uow.record(Event::FollowUpDue { lead, follow_up, user });
    Ok(true)
}

/// The open follow-up of a lead.
pub async fn find_open(conn: &mut PgConnection, lead: LeadId) -> Result<Option<FollowUp>, sqlx::Error> {
    store::find_open(conn, lead).await
}
