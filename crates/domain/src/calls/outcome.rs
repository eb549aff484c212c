//! What an agent says about a call: disposition, note, next status and follow-up, all in one transaction.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::store::outcome as store;
use super::{Call, CallError};
use crate::event::Event;
use crate::identity::User;
use crate::leads::{self, LeadError, StatusChange};
use crate::nouns::{FollowUpId, NoteId};
use crate::privacy::DataKey;
use crate::uow::Uow;
use crate::{follow_ups, timeline};

/// How far ahead a follow-up may be planned.
pub const FOLLOW_UP_MAX: TimeDelta = TimeDelta::days(366);

/// One thing that can be said about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disposition {
    /// The stored code.
    pub code: String,
    /// Label in Turkish.
    pub label_tr: String,
    /// Label in English.
    pub label_en: String,
    /// Statuses worth proposing after it.
    pub suggests: Vec<String>,
}

/// What an agent says.
pub struct NewOutcome<'a> {
    /// A disposition's code.
    pub disposition: &'a str,
    /// A note, with the lead's key to seal it.
    pub note: Option<(&'a DataKey, &'a str)>,
    /// The status that the lead goes to.
    pub next_status: Option<&'a str>,
    /// A code, where the status wants a reason.
    pub reason: Option<&'a str>,
    /// When to speak again.
    pub follow_up_at: Option<DateTime<Utc>>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The lead's version now.
    pub version: i64,
    /// The lead's status now.
    pub status: String,
    /// The note.
    pub note: Option<NoteId>,
    /// The follow-up.
    pub follow_up: Option<FollowUpId>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum OutcomeError {
    /// The call is still under way.
    #[error("the call is not over yet")]
    NotOver,
    /// Its outcome is on record; a correction is a new note.
    #[error("the outcome of this call is on record")]
    Recorded,
    /// There is no such disposition.
    #[error("unknown disposition: allowed are {}", .allowed.join(", "))]
    UnknownDisposition {
        /// The codes that exist, in their order.
        allowed: Vec<String>,
    },
    /// A follow-up in the past, or too far ahead.
    #[error("a follow-up lies ahead, within a year")]
    FollowUpTime,
    /// A follow-up of a lead that is closed or leaves its owner.
    #[error("a lead that is closed or leaves its owner has no follow-up")]
    FollowUpOfNobody,
    /// The call cannot be read.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The status cannot be changed.
    #[error(transparent)]
    Lead(#[from] LeadError),
    /// The database refused or was not there.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// What can be said about a call, in its order.
pub async fn list_dispositions(conn: &mut PgConnection) -> Result<Vec<Disposition>, sqlx::Error> {
    store::list_dispositions(conn).await
}

/// Writes what an agent says about a call, once: all of it or nothing. An open follow-up of the lead is done by it.
/// Records [`Event::CallOutcomeRecorded`].
///
/// # Errors
/// See [`OutcomeError`]; on every error the caller rolls back.
pub async fn record_outcome(
    uow: &mut Uow,
    call: &Call,
    user: &User,
    new: &NewOutcome<'_>,
) -> Result<Recorded, OutcomeError> {
    let now = uow.now();
    if new.follow_up_at.is_some_and(|at| at <= now || at > now + FOLLOW_UP_MAX) {
        return Err(OutcomeError::FollowUpTime);
    }
    let known = store::list_dispositions(uow.conn()).await?;
    if !known.iter().any(|known| known.code == new.disposition) {
        let allowed = known.into_iter().map(|known| known.code).collect();
        return Err(OutcomeError::UnknownDisposition { allowed });
    }
    let call = super::lock(uow, call.id).await?;
    if !call.session.status.is_final() {
        return Err(OutcomeError::NotOver);
    }
    if !store::set_disposition(uow.conn(), call.id, new.disposition, now).await? {
        return Err(OutcomeError::Recorded);
    }
    let disposition = new.disposition.to_owned();
    uow.record(Event::CallOutcomeRecorded { call: call.id, lead: call.lead, disposition });
    let note = match new.note {
        Some((key, text)) => Some(timeline::add_note(uow, call.lead, user.id, key, text).await?),
        None => None,
    };
    // What follows is about the person, whose lead may be another one by now.
    let lead = leads::find_survivor(uow.conn(), call.lead).await?;
    follow_ups::close(uow, lead, "done").await?;
    if let Some(to) = new.next_status {
        let role = Some(user.role);
        let change = StatusChange { lead, expected_version: None, to, reason: new.reason, role };
        leads::change_status(uow, &change).await?;
    }
    let standing = store::find_standing(uow.conn(), lead).await?;
    let follow_up = match new.follow_up_at {
        Some(_) if standing.terminal || standing.owner_id.is_none() => {
            return Err(OutcomeError::FollowUpOfNobody);
        }
        Some(at) => Some(follow_ups::plan(uow, lead, user.id, at).await?),
        None => None,
    };
    Ok(Recorded { version: standing.version, status: standing.status, note, follow_up })
}
