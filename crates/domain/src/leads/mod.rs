//! Leads: people who asked, each once, however often and through whichever door they ask.
//!
//! [`prepare`] makes the key and seals, [`create_or_merge`] writes: the same two steps for every door.
//!
//! Two leads that turn out to be one person are merged by people: [`reviews`]. A merged lead keeps its rows under its own
//! key and points at the one that stays, which is read with them; nothing is written to a merged lead.
//!
//! **Invariant:** a phone number belongs to one lead; the unique key over its blind index decides, never a read.
//! Personal data reaches the tables sealed; beside it stand a masked form to show and a blind index to find by.

mod arrival;
pub mod detail;
mod prepare;
mod proof;
mod queue;
mod removal;
pub mod reviews;
pub mod search;
mod status;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use sira_kernel::{EmailAddress, PersonName, PhoneNumber};
use sqlx::PgConnection;

pub use arrival::{Arrival, Arriving, create_or_merge, create_or_merge_all};
pub use detail::{LeadDetail, get_detail};
pub use prepare::{Prepared, prepare, prepare_after, prepare_all};
pub use proof::prove_readable;
pub(crate) use queue::take_to_admin_queue;
pub use queue::{PreparedPhone, correct_phone, prepare_phone, redistribute};
pub use removal::remove;
pub use search::{Filter, Page, Position, Scope, Seek, search};
pub use status::{StatusChange, StatusChanged, change_status, list_allowed, list_allowed_of};

use crate::campaigns::{CampaignsError, Origin};
use crate::consents::NewConsent;
use crate::distribution::DistributionError;
use crate::nouns::{ImportId, InboundId, LeadId, UserId};
use crate::privacy::{Field, PrivacyError};

/// Where a lead's name is sealed; the row is the lead.
pub const NAME: Field = Field { table: "leads", column: "name_sealed" };
/// Where a contact is sealed; the row is the contact.
pub const CONTACT: Field = Field { table: "lead_contacts", column: "sealed" };
/// Where the answers of an enquiry are sealed; the row is the enquiry.
pub const ANSWERS: Field = Field { table: "lead_enquiries", column: "answers_sealed" };

/// Most phone numbers, and most e-mail addresses, that one enquiry adds; the rest stay in its answers.
pub const CONTACTS_MAX: usize = 10;
/// Most leads that are prepared and written together.
pub const BATCH_MAX: usize = 1_000;
/// How often a caller prepares again after [`LeadError::Raced`] before it gives up for now.
pub const RACES_MAX: usize = 5;

/// The door that a lead came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Meta Lead Ads.
    Meta,
    /// Google Ads lead forms.
    GoogleAds,
    /// An imported file.
    Csv,
    /// The HTTP API.
    Api,
    /// A form on a web site.
    Web,
    /// Somebody's recommendation.
    Referral,
}

impl Channel {
    /// All channels.
    pub const ALL: [Self; 6] = [Self::Meta, Self::GoogleAds, Self::Csv, Self::Api, Self::Web, Self::Referral];

    /// The stored name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::GoogleAds => "google_ads",
            Self::Csv => "csv",
            Self::Api => "api",
            Self::Web => "web",
            Self::Referral => "referral",
        }
    }

    /// The channel of this stored name.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.code() == code)
    }
}

/// A person who asked, in our words, before it is known whether they are new. Has no `Debug`: the answers hold
/// personal data.
#[derive(Clone)]
pub struct NewLead {
    /// The door.
    pub channel: Channel,
    /// When the person asked, as the source says.
    pub acquired_at: DateTime<Utc>,
    /// Full name.
    pub name: Option<PersonName>,
    /// Phone numbers, the preferred one first.
    pub phones: Vec<PhoneNumber>,
    /// E-mail addresses, the preferred one first.
    pub emails: Vec<EmailAddress>,
    /// Every answer as it was given: field name and values.
    pub answers: Vec<(String, Vec<String>)>,
    /// Campaign, ad set, ad and form.
    pub origin: Origin,
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
    /// BCP 47, as in `tr`.
    pub language: Option<String>,
    /// What was decided about contact.
    pub consents: Vec<NewConsent>,
    /// Where the consents were given: `meta_form`, `api` and so on.
    pub consent_source: &'static str,
    /// The source event, when there is one; it is settled together with the lead.
    pub inbound: Option<InboundId>,
    /// The file that it was in, when it was in one.
    pub import: Option<ImportId>,
    /// Sent by a platform's testing tool: kept, never routed, never contacted, and equal to nobody.
    pub is_test: bool,
}

impl NewLead {
    /// Whether there is any way to reach the person.
    pub fn is_reachable(&self) -> bool {
        !self.phones.is_empty() || !self.emails.is_empty()
    }
}

/// Why a lead could not be created, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum LeadError {
    /// Neither a readable phone number nor a readable e-mail address.
    #[error("no usable contact: neither a readable phone number nor a readable e-mail address")]
    NoUsableContact,
    /// Somebody else changed who these contacts belong to since they were looked up. Nothing was changed once the
    /// unit of work is dropped: prepare again, at most [`RACES_MAX`] times.
    #[error("another enquiry with the same contacts came in at the same moment: prepare again")]
    Raced,
    /// There is no such lead, or it is out of the caller's scope.
    #[error("no such lead")]
    NotFound,
    /// The lead was merged into another, which is the one to work with.
    #[error("the lead was merged into another one: {into}")]
    Merged {
        /// The lead that stays.
        into: LeadId,
    },
    /// The two are one already.
    #[error("the leads are merged already")]
    AlreadyMerged,
    /// The two are not merged.
    #[error("the leads are not merged")]
    NotMerged,
    /// The time in which a merge can be taken back is over.
    #[error("a merge can be taken back for {} days", reviews::UNMERGE_DAYS)]
    UnmergeTooLate,
    /// Neither lead of the pair has this id.
    #[error("the lead that stays is one of the pair")]
    NotOfThePair,
    /// An open lead is not merged into a closed one: the enquiry would be forgotten.
    #[error("an open lead is not merged into a closed one")]
    SurvivorClosed,
    /// The lead that is to go is being called.
    #[error("the lead is being called")]
    CallUnderWay,
    /// The lead has changed since the caller read it.
    #[error("the lead has changed meanwhile: it is at version {current} now")]
    VersionConflict {
        /// The version it has.
        current: i64,
    },
    /// There is no such status.
    #[error("unknown status: allowed are {}", .allowed.join(", "))]
    UnknownStatus {
        /// The codes that exist, in their order.
        allowed: Vec<String>,
    },
    /// The table of transitions does not lead there, or not for this role.
    #[error("this status does not follow: allowed are {}", .allowed.join(", "))]
    TransitionNotAllowed {
        /// The codes that may follow, in the order of the catalogue.
        allowed: Vec<String>,
    },
    /// The status wants to know why.
    #[error("this status wants a reason")]
    ReasonRequired,
    /// The number is known to be wrong, and there is no other: it must be corrected first.
    #[error("the lead has no number that is not known to be wrong")]
    Uncontactable,
    /// Another lead has this number.
    #[error("this number belongs to another lead")]
    PhoneTaken,
    /// A reason is a code, so that nobody's words about a person are stored in clear.
    #[error("a reason is a code of at most {REASON_CHARS_MAX} lower-case letters, digits and underscores")]
    ReasonNotACode,
    /// The owner cannot carry the change.
    #[error(transparent)]
    Distribution(#[from] DistributionError),
    /// The campaign could not be resolved.
    #[error(transparent)]
    Campaigns(#[from] CampaignsError),
    /// A key is missing or the key provider refused.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// The database refused or was not there.
    #[error(transparent)]
    Database(sqlx::Error),
}

/// Longest reason of a status change, in characters.
pub const REASON_CHARS_MAX: usize = 60;

impl From<sqlx::Error> for LeadError {
    /// A transaction that PostgreSQL rolled back for the sake of another one (SQLSTATE class 40) is a race.
    fn from(error: sqlx::Error) -> Self {
        let rolled_back = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .is_some_and(|code| code.starts_with("40"));
        if rolled_back { Self::Raced } else { Self::Database(error) }
    }
}

/// One status of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "columns that are independent of each other")]
pub struct Status {
    /// The stored code.
    pub code: String,
    /// Label in Turkish.
    pub label_tr: String,
    /// Label in English.
    pub label_en: String,
    /// Stage of the funnel.
    pub stage: String,
    /// No further work: the lead weighs nothing on its owner.
    pub terminal: bool,
    /// What an open lead in this status weighs on its owner's capacity.
    pub load_weight: i16,
    /// The change wants a reason.
    pub needs_reason: bool,
    /// The lead leaves its owner and goes to the administrators.
    pub takes_owner: bool,
    /// For so many days the owner that it leaves does not get it again.
    pub cooling_off_days: i16,
    /// The channel on which the person said stop.
    pub suppresses: Option<String>,
    /// The number is somebody else's.
    pub spoils_phone: bool,
    /// How it leaves the administrators' queue by itself: `corrected`, `after`, or not at all.
    pub redistribute: Option<String>,
    /// After how many seconds, when `after`.
    pub redistribute_after_s: Option<i32>,
    /// The promise that a lead in this status is under.
    pub sla_policy: Option<String>,
}

impl Status {
    /// When a lead that enters this status now leaves the administrators' queue by itself.
    fn redistribute_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.redistribute_after_s.map(|seconds| now + TimeDelta::seconds(i64::from(seconds)))
    }
}

/// The catalogue of statuses, in its order.
pub async fn list_statuses(conn: &mut PgConnection) -> Result<Vec<Status>, sqlx::Error> {
    store::list_statuses(conn).await
}

/// The lead that this human reference names.
pub async fn find_by_reference(
    conn: &mut PgConnection,
    reference: &str,
) -> Result<Option<LeadId>, sqlx::Error> {
    store::find_by_reference(conn, reference).await
}

/// How a lead stands, found by one of its contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The blind index that it was found by.
    pub blind_index: Vec<u8>,
    /// The lead.
    pub lead: LeadId,
    /// Its status' code.
    pub status: String,
    /// Its owner.
    pub owner: Option<UserId>,
}

/// How leads stand that have these contacts, by blind index: those whose number is one of `phones`, and is not known to
/// be somebody else's, and those that have one of `emails` and no number at all. In no order.
pub async fn list_standings(
    conn: &mut PgConnection,
    phones: &[&[u8]],
    emails: &[&[u8]],
) -> Result<Vec<Standing>, sqlx::Error> {
    store::list_standings(conn, phones, emails).await
}

/// Whether there is any lead that did not come by one of these forms, which are named by their platforms' ids.
pub async fn exists_outside_forms(conn: &mut PgConnection, forms: &[&str]) -> Result<bool, sqlx::Error> {
    store::exists_outside_forms(conn, forms).await
}

/// The lead to work with: the one that this one was merged into, or itself.
pub(crate) async fn find_survivor(conn: &mut PgConnection, lead: LeadId) -> Result<LeadId, sqlx::Error> {
    store::find_survivor(conn, lead).await
}

/// Since when a lead waits for an agent; `None` when it has one, never waits, or does not exist.
pub async fn find_waiting_since(
    conn: &mut PgConnection,
    lead: LeadId,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    store::find_waiting_since(conn, lead).await
}
