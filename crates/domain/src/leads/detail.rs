//! One lead with everything that led to where it is. Masked: nothing is opened here.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::LeadError;
use super::search::{self, LeadRow, Scope};
use super::store::detail as sql;
use crate::consents::{self, Flags};
use crate::cooling_offs::{self, CoolingOff};
use crate::distribution::{self, DecisionTrace};
use crate::follow_ups::{self, FollowUp};
use crate::nouns::{EnquiryId, LeadId};

/// Most rows of each history that the detail carries, newest first; longer ones have lists of their own.
pub const HISTORY_MAX: i64 = 200;

/// A lead with its contacts and histories.
#[derive(Debug, Clone, PartialEq)]
pub struct LeadDetail {
    /// What lists show.
    pub row: LeadRow,
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
    /// BCP 47.
    pub language: Option<String>,
    /// Every contact, masked, phones first.
    pub contacts: Vec<Contact>,
    /// What holds per channel.
    pub consents: Flags,
    /// Every time the person asked, newest first.
    pub enquiries: Vec<Enquiry>,
    /// Every change of status, newest first.
    pub history: Vec<StatusStep>,
    /// Every owner, newest first.
    pub assignments: Vec<Assignment>,
    /// The newest decision of the routing function about it.
    pub decision: Option<DecisionTrace>,
    /// Who does not get it for a while.
    pub cooling_offs: Vec<CoolingOff>,
    /// What was agreed with the person for a time.
    pub follow_up: Option<FollowUp>,
}

/// A contact, masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The row.
    pub id: Uuid,
    /// `phone` or `email`.
    pub kind: String,
    /// What may be shown.
    pub masked: String,
    /// Known to belong to several people.
    pub shared: bool,
    /// Since when it is known to be somebody else's.
    pub invalid_since: Option<DateTime<Utc>>,
    /// A phone number by which SMS and WhatsApp may be tried.
    pub can_text: bool,
}

/// One time that the person asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enquiry {
    /// The row.
    pub id: EnquiryId,
    /// The door's stored name.
    pub channel: String,
    /// When the person asked.
    pub acquired_at: DateTime<Utc>,
    /// When it was stored.
    pub received_at: DateTime<Utc>,
    /// The campaign's name.
    pub campaign_name: Option<String>,
    /// The ad set's name.
    pub ad_set_name: Option<String>,
    /// The ad's name.
    pub ad_name: Option<String>,
    /// The platform's id of the form.
    pub form_external_id: Option<String>,
    /// `created`, `joined` or `reopened`.
    pub effect: String,
}

/// One change of status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusStep {
    /// The status left; none for the first.
    pub from: Option<String>,
    /// The status entered.
    pub to: String,
    /// What kind of actor.
    pub actor_kind: String,
    /// Which one.
    pub actor: String,
    /// A code.
    pub reason: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// Seconds spent in the status left.
    pub spent_seconds: Option<i64>,
}

/// One owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The row.
    pub id: Uuid,
    /// The owner.
    pub user_id: Uuid,
    /// The owner's display name.
    pub user_name: String,
    /// The run of the routing function that chose them.
    pub batch_id: Option<Uuid>,
    /// `routed` or `manual`.
    pub cause: String,
    /// Since when.
    pub assigned_at: DateTime<Utc>,
    /// Until when; none for the present owner.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it ended.
    pub end_reason: Option<String>,
}

/// The lead with its contacts, consents and histories.
///
/// # Errors
/// [`LeadError::NotFound`], also when the lead is out of scope: that it exists is not told.
pub async fn get_detail(
    conn: &mut PgConnection,
    scope: Scope,
    id: LeadId,
    now: DateTime<Utc>,
) -> Result<LeadDetail, LeadError> {
    let row = search::find(conn, scope, id).await?.ok_or(LeadError::NotFound)?;
    let (country, language) = sql::place(conn, id).await?;
    Ok(LeadDetail {
        row,
        country,
        language,
        contacts: sql::contacts(conn, id).await?,
        consents: consents::find_flags(conn, id).await?,
        enquiries: sql::enquiries(conn, id).await?,
        history: sql::history(conn, id).await?,
        assignments: sql::assignments(conn, id).await?,
        decision: distribution::explain(conn, id).await?,
        cooling_offs: cooling_offs::list_of_lead(conn, id, now).await?,
        follow_up: follow_ups::find_open(conn, id).await?,
    })
}
