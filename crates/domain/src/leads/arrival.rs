//! A lead arrives: it is created, joins the lead of the same person, or reopens it.

use super::prepare::{Kind, Prepared};
use super::status::{self, StatusStep};
use super::store::{self, arrival as sql};
use super::{LeadError, NewLead};
use crate::campaigns::{self, OriginIds};
use crate::consents::{self, Evidence};
use crate::nouns::LeadId;
use crate::{Event, Uow, ingestion};

/// The status that every lead starts in, and that a closed one which asks again goes back to.
pub(super) const FIRST_STATUS: &str = "new";
/// Tries at a reference that nobody has; with 40 random bits a second one is already rare.
const REFERENCE_TRIES_MAX: usize = 5;

/// What became of an enquiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// A new lead that waits for an agent (unless it is a test lead).
    Created(LeadId),
    /// An open lead of the same person got one more enquiry. It stays with its owner; nobody's turn is spent.
    Joined(LeadId),
    /// A closed lead of the same person is open again and waits for an agent, without its former owner.
    Reopened(LeadId),
}

impl Arrival {
    /// The lead, whichever way it got there.
    pub fn lead(self) -> LeadId {
        match self {
            Self::Created(lead) | Self::Joined(lead) | Self::Reopened(lead) => lead,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Joined(_) => "joined",
            Self::Reopened(_) => "reopened",
        }
    }
}

/// Writes a prepared lead with its contacts, origin, consents, enquiry and history, and settles its source event.
///
/// **Who is it?** A phone number decides: the contacts go in first, and the unique key over the phone's blind index
/// says whether the person is new; two equal leads at the same moment become one. Without a phone, a known e-mail
/// joins the lead that has it; there a lock on the address, held to the end of the transaction, takes the place
/// of the unique key. The same e-mail with another phone is another lead. Of several phone numbers the one that
/// is known longest decides; numbers that belong to other leads stay theirs.
///
/// Several leads in one unit of work (an import) come in the order of their first contact's blind index, so that two
/// such batches wait for one another instead of deadlocking; a deadlock all the same is a lost race.
///
/// # Errors
/// [`LeadError::Raced`] when the look-up of [`super::prepare`] no longer holds: drop the unit of work, prepare again.
pub async fn create_or_merge(
    uow: &mut Uow,
    lead: &NewLead,
    prepared: &Prepared,
) -> Result<Arrival, LeadError> {
    // Taken before the contacts, by everybody who brings an e-mail, in one order.
    if !lead.is_test {
        sql::lock_emails(uow.conn(), &prepared.indexes(Kind::Email)).await?;
    }
    let arrival =
        if prepared.known { join(uow, lead, prepared).await? } else { create(uow, lead, prepared).await? };
    if let Some(inbound) = lead.inbound {
        ingestion::settle(uow, inbound, arrival.lead()).await?;
    }
    Ok(arrival)
}

async fn create(uow: &mut Uow, lead: &NewLead, prepared: &Prepared) -> Result<Arrival, LeadError> {
    let now = uow.now();
    if !lead.is_test && !prepared.has_phone() {
        let emails = prepared.indexes(Kind::Email);
        if store::find_by_email(uow.conn(), &emails).await?.is_some() {
            return Err(LeadError::Raced);
        }
    }
    let inserted = sql::insert_contacts(uow.conn(), prepared, lead.is_test, now).await?;
    if inserted < prepared.contacts.len() as u64 {
        return Err(LeadError::Raced);
    }
    let origin = campaigns::resolve(uow, lead.channel.code(), &lead.origin).await?;
    insert_lead(uow, lead, prepared, &origin).await?;
    let arrival = Arrival::Created(prepared.lead);
    let history = StatusStep { lead: prepared.lead, from: None, to: FIRST_STATUS, reason: None };
    status::insert_history(uow, &history).await?;
    record_enquiry(uow, lead, prepared, &origin, arrival).await?;
    uow.record(if lead.is_test {
        Event::TestLeadKept { lead: prepared.lead }
    } else {
        Event::LeadCreated { lead: prepared.lead, pool: origin.pool }
    });
    Ok(arrival)
}

async fn insert_lead(
    uow: &mut Uow,
    lead: &NewLead,
    prepared: &Prepared,
    origin: &OriginIds,
) -> Result<(), LeadError> {
    let now = uow.now();
    for _ in 0..REFERENCE_TRIES_MAX {
        let reference = sira_kernel::reference::new_reference('L');
        if sql::insert_lead(uow.conn(), lead, prepared, origin, &reference, now).await? {
            return Ok(());
        }
    }
    // Five clashes in a row are no chance; a later try starts afresh.
    Err(LeadError::Raced)
}

async fn join(uow: &mut Uow, lead: &NewLead, prepared: &Prepared) -> Result<Arrival, LeadError> {
    let now = uow.now();
    let id = prepared.lead;
    let current = sql::lock_lead(uow.conn(), id).await?.ok_or(LeadError::Raced)?;
    // The look-up was made before the lock: the lead must still hold one of these contacts.
    if !sql::holds_contact(uow.conn(), prepared).await? {
        return Err(LeadError::Raced);
    }
    sql::insert_contacts(uow.conn(), prepared, false, now).await?;
    let origin = campaigns::resolve(uow, lead.channel.code(), &lead.origin).await?;
    let arrival = if current.terminal { Arrival::Reopened(id) } else { Arrival::Joined(id) };
    if current.terminal {
        sql::reopen(uow.conn(), id, origin.pool, FIRST_STATUS, now).await?;
        let spent = (now - current.status_since).num_seconds();
        let from = Some((current.status.as_str(), spent));
        let history = StatusStep { lead: id, from, to: FIRST_STATUS, reason: Some("asked_again") };
        status::insert_history(uow, &history).await?;
    }
    sql::touch(uow.conn(), prepared, now).await?;
    record_enquiry(uow, lead, prepared, &origin, arrival).await?;
    uow.record(Event::LeadEnquired { lead: id });
    if current.terminal {
        uow.record(Event::LeadReopened { lead: id, pool: origin.pool });
    }
    Ok(arrival)
}

async fn record_enquiry(
    uow: &mut Uow,
    lead: &NewLead,
    prepared: &Prepared,
    origin: &OriginIds,
    arrival: Arrival,
) -> Result<(), LeadError> {
    let now = uow.now();
    sql::insert_enquiry(uow.conn(), lead, prepared, origin, arrival.code(), now).await?;
    let evidence = Evidence { source: lead.consent_source, inbound: lead.inbound, at: lead.acquired_at };
    consents::append(uow, arrival.lead(), evidence, &lead.consents).await?;
    Ok(())
}
