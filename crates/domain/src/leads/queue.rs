//! The administrators' queue: leads that left their owner because the number was wrong, the person said stop, or nobody
//! acted in time; and the way back to their pool.

use chrono::{DateTime, Utc};
use sira_kernel::{Id, PhoneNumber};
use uuid::Uuid;

use super::arrival::FIRST_STATUS;
use super::status::{StatusChange, change_status};
use super::store::queue as sql;
use super::{CONTACT, LeadError};
use crate::identity::Role;
use crate::nouns::{LeadId, UserId};
use crate::privacy::{BlindField, Cipher, DataKey};
use crate::{Event, Uow, distribution, sla};

/// Who leaves whom: under lock.
pub(super) struct Leaving {
    pub lead: LeadId,
    pub owner: Option<UserId>,
    /// What the lead weighs on its owner by now.
    pub load: i16,
}

/// Puts a lead into the queue: its owner, if it has one, is rid of it.
pub(super) async fn enter(
    uow: &mut Uow,
    leaving: &Leaving,
    reason: &str,
    release_at: Option<DateTime<Utc>>,
) -> Result<(), LeadError> {
    let (lead, now) = (leaving.lead, uow.now());
    sql::enter(uow.conn(), lead, reason, now).await?;
    if let Some(user) = leaving.owner {
        distribution::change_load(uow, user, -i32::from(leaving.load)).await?;
        uow.record(Event::LeadTaken { lead, user, reason: reason.to_owned() });
    }
    uow.record(Event::LeadQueued { lead, reason: reason.to_owned(), release_at });
    Ok(())
}

/// Takes a lead from its owner because nobody acted in time: it goes to the administrators, its status stays, and the
/// promises about it are over. A lead that is closed, merged into another, or in the queue already, stays where it is.
///
/// # Errors
/// [`LeadError::NotFound`].
pub(crate) async fn take_to_admin_queue(
    uow: &mut Uow,
    lead: LeadId,
    reason: &'static str,
) -> Result<(), LeadError> {
    let current = sql::lock(uow.conn(), lead).await?.ok_or(LeadError::NotFound)?;
    sla::supersede(uow, lead, "queued").await?;
    if current.queued || current.terminal || current.is_test || current.merged_into.is_some() {
        return Ok(());
    }
    let owner = current.owner_id.map(UserId::from_uuid);
    enter(uow, &Leaving { lead, owner, load: current.load_weight }, reason, None).await
}

/// Gives a lead of the queue back to its pool, where it waits for an agent as a new one. Records
/// [`Event::LeadRedistributed`]. A lead that is not in the queue stays where it is, and `false` is answered.
///
/// # Errors
/// [`LeadError::Merged`]; [`LeadError::Uncontactable`] while its number is known to be wrong and there is no other; and those of
/// [`change_status`].
pub async fn redistribute(uow: &mut Uow, lead: LeadId, role: Option<Role>) -> Result<bool, LeadError> {
    let current = sql::lock(uow.conn(), lead).await?.ok_or(LeadError::NotFound)?.unmerged()?;
    if !current.queued {
        return Ok(false);
    }
    if current.status == FIRST_STATUS {
        check_contactable(uow, lead).await?;
        let now = uow.now();
        sql::leave(uow.conn(), lead, now).await?;
        uow.record(Event::LeadUnqueued { lead });
        uow.record(Event::LeadRedistributed { lead, pool: current.pool_id.into() });
        return Ok(true);
    }
    let change =
        StatusChange { lead, expected_version: None, to: FIRST_STATUS, reason: Some("redistributed"), role };
    change_status(uow, &change).await?;
    Ok(true)
}

/// A lead whose number is known to be wrong goes to nobody who would call it.
pub(super) async fn check_contactable(uow: &mut Uow, lead: LeadId) -> Result<(), LeadError> {
    if sql::is_contactable(uow.conn(), lead).await? { Ok(()) } else { Err(LeadError::Uncontactable) }
}

/// A right number, ready to be written.
pub struct PreparedPhone {
    id: Uuid,
    masked: String,
    sealed: Vec<u8>,
    blind_index: [u8; 32],
    can_text: bool,
}

/// Seals a number under the lead's own key.
pub fn prepare_phone(cipher: &Cipher, key: &DataKey, phone: &PhoneNumber) -> PreparedPhone {
    let id = Id::<PreparedPhone>::new().uuid();
    PreparedPhone {
        id,
        masked: phone.masked(),
        sealed: key.seal(CONTACT, id, phone.e164().as_bytes()),
        blind_index: cipher.blind_index(BlindField::Phone, phone.e164()),
        can_text: phone.can_text(),
    }
}

/// Puts a right number in the place of wrong ones, and records [`Event::ContactCorrected`]. A lead that waits in the
/// queue for just this goes back to its pool.
///
/// # Errors
/// [`LeadError::NotFound`], [`LeadError::Merged`]; [`LeadError::PhoneTaken`] when the number belongs to another lead.
pub async fn correct_phone(uow: &mut Uow, lead: LeadId, phone: &PreparedPhone) -> Result<i64, LeadError> {
    let now = uow.now();
    let current = sql::lock(uow.conn(), lead).await?.ok_or(LeadError::NotFound)?.unmerged()?;
    if !sql::insert_phone(uow.conn(), lead, phone, now).await? {
        return Err(LeadError::PhoneTaken);
    }
    let version = sql::touch(uow.conn(), lead, now).await?;
    uow.record(Event::ContactCorrected { lead });
    if current.queued && current.redistribute.as_deref() == Some("corrected") {
        redistribute(uow, lead, None).await?;
    }
    Ok(version)
}

impl sql::Current {
    fn unmerged(self) -> Result<Self, LeadError> {
        match self.merged_into {
            Some(into) => Err(LeadError::Merged { into: into.into() }),
            None => Ok(self),
        }
    }
}

impl PreparedPhone {
    pub(super) fn columns(&self) -> (Uuid, &str, &[u8], &[u8], bool) {
        (self.id, &self.masked, &self.sealed, &self.blind_index, self.can_text)
    }
}
