//! The raw inbox: every source event is stored once under its provider's id, whichever door it came through, and
//! only then becomes a lead.
//!
//! [`prepare`] makes keys and seals (the keys commit by themselves, so no transaction is open meanwhile);
//! [`accept`] stores. What cannot become a lead goes into quarantine: kept, encrypted, visible, with its reason.
//!
//! **Invariant:** one row per (provider, external id); a redelivery changes nothing and records nothing.

pub mod answers;
mod correction;
mod store;

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

pub use correction::Correction;

use crate::event::IDS_MAX;
use crate::nouns::{InboundId, LeadId};
use crate::privacy::{Cipher, Field, PrivacyError, Subject};
use crate::{Db, Event, Uow};

/// Where an event's body is sealed.
pub const BODY: Field = Field { table: "inbound_events", column: "body" };
/// Where the provider's answer to the fetch is sealed.
pub const FETCHED: Field = Field { table: "inbound_events", column: "fetched" };
/// Most rows in one page of the quarantine.
pub const PAGE_MAX: u16 = 200;

/// A source event as it came in. Has no `Debug`: the body holds personal data.
pub struct RawEvent {
    /// The provider's id of it, unique for that provider; no personal data.
    pub external_id: String,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// Source events ready to be stored: new as far as one could see, sealed under keys of their own.
pub struct Prepared {
    provider: &'static str,
    sealed: Vec<SealedEvent>,
    known: usize,
}

struct SealedEvent {
    id: InboundId,
    external_id: String,
    body: Vec<u8>,
}

/// What [`accept`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Rows stored now.
    pub new: Vec<InboundId>,
    /// How many were there before, or came twice.
    pub known: usize,
}

/// An event that waits to become a lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The row.
    pub id: InboundId,
    /// Short name of the provider.
    pub provider: String,
    /// The provider's id of it.
    pub external_id: String,
    /// When it came in.
    pub received_at: DateTime<Utc>,
    /// A [`Correction`], sealed.
    pub correction: Option<Vec<u8>>,
}

/// An event in quarantine, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The row.
    pub id: InboundId,
    /// Short name of the provider.
    pub provider: String,
    /// The provider's id of it.
    pub external_id: String,
    /// Stable code of the reason.
    pub reason_code: String,
    /// The reason for a person, without personal data.
    pub reason: String,
    /// When it came in.
    pub received_at: DateTime<Utc>,
}

/// What can go wrong before anything is stored.
#[derive(Debug, thiserror::Error)]
pub enum IngestionError {
    /// Keys could not be made.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// The database refused or was not there.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Seals the events that are not stored yet, each under a new key of its own. Any number of events: the work is
/// done [`IDS_MAX`] at a time. Of events with one external id the first is taken.
///
/// The look-up only saves keys on redelivery; [`accept`] decides by the unique key.
pub async fn prepare(
    db: &Db,
    cipher: &Cipher,
    provider: &'static str,
    events: Vec<RawEvent>,
) -> Result<Prepared, IngestionError> {
    let total = events.len();
    let mut seen = HashSet::new();
    let mut fresh: Vec<RawEvent> =
        events.into_iter().filter(|event| seen.insert(event.external_id.clone())).collect();
    {
        let mut conn = db.read().await?;
        let mut known = HashSet::new();
        for chunk in fresh.chunks(IDS_MAX) {
            let ids: Vec<&str> = chunk.iter().map(|event| event.external_id.as_str()).collect();
            known.extend(store::known_external_ids(&mut conn, provider, &ids).await?);
        }
        fresh.retain(|event| !known.contains(&event.external_id));
    }
    let mut sealed = Vec::with_capacity(fresh.len());
    for chunk in fresh.chunks(IDS_MAX) {
        let ids: Vec<InboundId> = chunk.iter().map(|_| InboundId::new()).collect();
        let subjects: Vec<Subject> = ids.iter().copied().map(Subject::Inbound).collect();
        let keys = cipher.create_keys(&subjects, db.clock().now()).await?;
        sealed.extend(chunk.iter().zip(ids).zip(keys).map(|((event, id), key)| SealedEvent {
            id,
            external_id: event.external_id.clone(),
            body: key.seal(BODY, id.uuid(), &event.body),
        }));
    }
    // One order for all batches, so that two with the same events wait for one another instead of deadlocking.
    sealed.sort_by(|a, b| a.external_id.cmp(&b.external_id));
    let known = total - sealed.len();
    Ok(Prepared { provider, sealed, known })
}

/// Stores prepared events, [`IDS_MAX`] in one statement, and records [`Event::InboundAccepted`] for the new ones.
/// An event that another door stored meanwhile counts as known.
pub async fn accept(uow: &mut Uow, prepared: Prepared) -> Result<Accepted, sqlx::Error> {
    let mut accepted = Accepted { new: Vec::new(), known: prepared.known };
    let now = uow.now();
    for chunk in prepared.sealed.chunks(IDS_MAX) {
        let new = store::insert(uow.conn(), prepared.provider, chunk, now).await?;
        accepted.known += chunk.len() - new.len();
        if !new.is_empty() {
            uow.record(Event::InboundAccepted { provider: prepared.provider, inbound: new.clone() });
            accepted.new.extend(new);
        }
    }
    Ok(accepted)
}

/// The event, if it still waits to become a lead.
pub async fn find_pending(conn: &mut PgConnection, id: InboundId) -> Result<Option<Pending>, sqlx::Error> {
    store::find_pending(conn, id).await
}

/// Locks the event for the rest of the unit of work; `false` when it is no longer pending. Of two runs of the same
/// work the second waits here, and then finds nothing to do.
pub async fn lock_pending(uow: &mut Uow, id: InboundId) -> Result<bool, sqlx::Error> {
    store::lock_pending(uow.conn(), id).await
}

/// Keeps what the provider answered, sealed under the event's own key for [`FETCHED`].
pub async fn keep_fetched(uow: &mut Uow, id: InboundId, sealed: &[u8]) -> Result<(), sqlx::Error> {
    store::keep_fetched(uow.conn(), id, sealed).await
}

/// The event became or joined this lead. Also mends an event in quarantine; changes nothing when it is settled.
pub async fn settle(uow: &mut Uow, id: InboundId, lead: LeadId) -> Result<(), sqlx::Error> {
    let now = uow.now();
    store::settle(uow.conn(), id, lead, now).await
}

/// Puts a pending event into quarantine and records [`Event::InboundQuarantined`]; `false` when it is not pending.
/// `code` is stable; `reason` is for an operator and holds no personal data.
pub async fn quarantine(
    uow: &mut Uow,
    inbound: InboundId,
    code: &str,
    reason: &str,
) -> Result<bool, sqlx::Error> {
    let done = store::quarantine(uow.conn(), inbound, code, reason).await?;
    if done {
        uow.record(Event::InboundQuarantined { inbound, code: code.to_owned() });
    }
    Ok(done)
}

/// Why an event was not let out of quarantine.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// There is none.
    #[error("no such event")]
    NotFound,
    /// It waits to become a lead, or is one.
    #[error("the event is not in quarantine: it is {state}")]
    NotQuarantined {
        /// `pending` or `settled`.
        state: String,
    },
    /// The database refused or was not there.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Lets an event out of quarantine, to be tried again, with a [`Correction`] if one is given, sealed; an earlier one stays
/// otherwise. Records [`Event::InboundReleased`].
///
/// # Errors
/// [`ReleaseError`].
pub async fn release(
    uow: &mut Uow,
    inbound: InboundId,
    correction: Option<&[u8]>,
) -> Result<(), ReleaseError> {
    let state = store::lock_state(uow.conn(), inbound).await?.ok_or(ReleaseError::NotFound)?;
    if state != "quarantined" {
        return Err(ReleaseError::NotQuarantined { state });
    }
    store::release(uow.conn(), inbound, correction).await?;
    uow.record(Event::InboundReleased { inbound, corrected: correction.is_some() });
    Ok(())
}

/// When an event came in: with its id its place in the quarantine.
///
/// # Errors
/// [`ReleaseError::NotFound`].
pub async fn find_received_at(conn: &mut PgConnection, id: InboundId) -> Result<DateTime<Utc>, ReleaseError> {
    store::find_received_at(conn, id).await?.ok_or(ReleaseError::NotFound)
}

/// A page of the quarantine, oldest first, from after the given event; at most [`PAGE_MAX`] rows,
/// and one more that tells whether there is another page.
pub async fn list_quarantined(
    conn: &mut PgConnection,
    after: Option<(DateTime<Utc>, InboundId)>,
    limit: u16,
) -> Result<Vec<Quarantined>, sqlx::Error> {
    store::list_quarantined(conn, after, limit.min(PAGE_MAX + 1)).await
}
