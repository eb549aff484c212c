//! A lead arrives: it is created, joins the lead of the same person, or reopens it.

use std::collections::HashSet;

use super::prepare::{Kind, Prepared};
use super::reviews;
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

    /// The stored name of the effect.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Joined(_) => "joined",
            Self::Reopened(_) => "reopened",
        }
    }
}

/// A lead and how it was prepared.
#[derive(Clone, Copy)]
pub struct Arriving<'a> {
    /// What is said of it.
    pub lead: &'a NewLead,
    /// What [`super::prepare_all`] made of it.
    pub prepared: &'a Prepared,
}

impl<'a> Arriving<'a> {
    /// A batch that was prepared together, one for one.
    pub fn all(leads: &'a [NewLead], prepared: &'a [Prepared]) -> Vec<Self> {
        leads.iter().zip(prepared).map(|(lead, prepared)| Self { lead, prepared }).collect()
    }
}

/// [`create_or_merge_all`] for one lead.
pub async fn create_or_merge(
    uow: &mut Uow,
    lead: &NewLead,
    prepared: &Prepared,
) -> Result<Arrival, LeadError> {
    let arrivals = create_or_merge_all(uow, &[Arriving { lead, prepared }]).await?;
    Ok(arrivals[0])
}

/// Writes prepared leads with their contacts, origins, consents, enquiries and histories, and settles their source
/// events. Answers in the same order.
///
/// **Who is it?** A phone number decides: the contacts go in first, and the unique key over the phone's blind index
/// says whether the person is new; two equal leads at the same moment become one. Without a phone, a known e-mail
/// joins the lead that has it; there a lock on the address, held to the end of the transaction, takes the place
/// of the unique key. The same e-mail with another phone is another lead. Of several phone numbers the one that
/// is known longest decides; numbers that belong to other leads stay theirs. Where that leaves two leads that share a
/// contact, people decide whether they are one: see [`super::reviews`].
///
/// A batch is at most [`super::BATCH_MAX`] leads that were prepared together. Rows go in by blind index and by id, so that
/// two batches wait for one another instead of deadlocking; a deadlock all the same is a lost race.
///
/// # Errors
/// [`LeadError::Raced`] when the look-up of [`super::prepare_all`] no longer holds: drop the unit of work, prepare
/// again.
pub async fn create_or_merge_all(
    uow: &mut Uow,
    arriving: &[Arriving<'_>],
) -> Result<Vec<Arrival>, LeadError> {
    let routed = || arriving.iter().filter(|one| !one.lead.is_test);
    // Taken before the contacts, by everybody who brings an e-mail, in one order.
    let emails: Vec<&[u8]> = routed().flat_map(|one| one.prepared.indexes(Kind::Email)).collect();
    sql::lock_emails(uow.conn(), &emails).await?;
    let origins: Vec<_> = arriving.iter().map(|one| (one.lead.channel.code(), &one.lead.origin)).collect();
    let origins = campaigns::resolve_all(uow, &origins).await?;
    let with_origin: Vec<_> = arriving.iter().copied().zip(origins).collect();
    let (known, new): (Vec<_>, Vec<_>) = with_origin.iter().copied().partition(|(one, _)| one.prepared.known);
    create(uow, &new).await?;
    let terminal = join(uow, &known).await?;
    reviews::propose(uow, arriving).await?;
    let arrivals = judge(arriving, terminal);
    record(uow, &with_origin, &arrivals).await?;
    for (one, arrival) in arriving.iter().zip(&arrivals) {
        if let Some(inbound) = one.lead.inbound {
            ingestion::settle(uow, inbound, arrival.lead()).await?;
        }
    }
    Ok(arrivals)
}

type WithOrigin<'a> = (Arriving<'a>, OriginIds);

/// What became of each, in the order in which they came: the first enquiry to a closed lead reopens it.
fn judge(arriving: &[Arriving<'_>], mut closed: HashSet<LeadId>) -> Vec<Arrival> {
    let judged = arriving.iter().map(|one| match one.prepared.lead {
        lead if !one.prepared.known => Arrival::Created(lead),
        lead if closed.remove(&lead) => Arrival::Reopened(lead),
        lead => Arrival::Joined(lead),
    });
    judged.collect()
}

async fn create(uow: &mut Uow, new: &[WithOrigin<'_>]) -> Result<(), LeadError> {
    if new.is_empty() {
        return Ok(());
    }
    let now = uow.now();
    let phoneless = new.iter().filter(|(one, _)| !one.lead.is_test && !one.prepared.has_phone());
    let emails: Vec<&[u8]> = phoneless.flat_map(|(one, _)| one.prepared.indexes(Kind::Email)).collect();
    if !store::find_by_emails(uow.conn(), &emails).await?.is_empty() {
        return Err(LeadError::Raced);
    }
    let contacts = new.iter().map(|(one, _)| one.prepared.contacts.len() as u64).sum::<u64>();
    let arriving: Vec<_> = new.iter().map(|(one, _)| *one).collect();
    if sql::insert_contacts(uow.conn(), &arriving, now).await? < contacts {
        return Err(LeadError::Raced);
    }
    insert_leads(uow, new).await?;
    let steps: Vec<_> = arriving.iter().map(|one| first_step(one.prepared.lead, None, None)).collect();
    Ok(status::insert_history(uow, &steps).await?)
}

async fn insert_leads(uow: &mut Uow, new: &[WithOrigin<'_>]) -> Result<(), LeadError> {
    let now = uow.now();
    let mut left = new.to_vec();
    for _ in 0..REFERENCE_TRIES_MAX {
        let references: Vec<String> =
            left.iter().map(|_| sira_kernel::reference::new_reference('L')).collect();
        let inserted = sql::insert_leads(uow.conn(), &left, &references, now).await?;
        left.retain(|(one, _)| !inserted.contains(&one.prepared.lead));
        if left.is_empty() {
            return Ok(());
        }
    }
    // Five clashes in a row are no chance; a later try starts afresh.
    Err(LeadError::Raced)
}

/// Answers which of the leads were closed; they are open again.
async fn join(uow: &mut Uow, known: &[WithOrigin<'_>]) -> Result<HashSet<LeadId>, LeadError> {
    if known.is_empty() {
        return Ok(HashSet::new());
    }
    let now = uow.now();
    let arriving: Vec<_> = known.iter().map(|(one, _)| *one).collect();
    let ids: HashSet<LeadId> = arriving.iter().map(|one| one.prepared.lead).collect();
    let current = sql::lock_leads(uow.conn(), &ids).await?;
    if current.len() < ids.len() {
        return Err(LeadError::Raced);
    }
    // Before the check: one enquiry may bring the address by which the next one was found.
    sql::insert_contacts(uow.conn(), &arriving, now).await?;
    // The look-up was made before the lock: each lead must hold one of these contacts, and no other have taken it.
    if sql::count_held(uow.conn(), &arriving).await? < arriving.len() as u64 {
        return Err(LeadError::Raced);
    }
    let closed: Vec<_> = current.iter().filter(|lead| lead.terminal).collect();
    if !closed.is_empty() {
        let pool_of =
            |lead: LeadId| known.iter().find(|(one, _)| one.prepared.lead == lead).map(|(_, o)| o.pool);
        let reopened: Vec<_> = closed.iter().filter_map(|lead| Some((lead.id, pool_of(lead.id)?))).collect();
        sql::reopen(uow.conn(), &reopened, FIRST_STATUS, now).await?;
        let spent = |lead: &sql::Current| (now - lead.status_since).num_seconds();
        let left = closed.iter().map(|lead| (lead.id, Some((lead.status.as_str(), spent(lead)))));
        let steps: Vec<_> = left.map(|(id, from)| first_step(id, from, Some("asked_again"))).collect();
        status::insert_history(uow, &steps).await?;
    }
    sql::touch(uow.conn(), &arriving, now).await?;
    Ok(closed.iter().map(|lead| lead.id).collect())
}

fn first_step<'a>(lead: LeadId, from: Option<(&'a str, i64)>, reason: Option<&'a str>) -> StatusStep<'a> {
    StatusStep { lead, from, to: FIRST_STATUS, reason }
}

async fn record(uow: &mut Uow, all: &[WithOrigin<'_>], arrivals: &[Arrival]) -> Result<(), LeadError> {
    let now = uow.now();
    sql::insert_enquiries(uow.conn(), all, arrivals, now).await?;
    let decided = all.iter().map(|(Arriving { lead, prepared }, _)| {
        let evidence = Evidence { source: lead.consent_source, inbound: lead.inbound, at: lead.acquired_at };
        (prepared.lead, evidence, lead.consents.as_slice())
    });
    consents::append(uow, &decided.collect::<Vec<_>>()).await?;
    for ((one, origin), arrival) in all.iter().zip(arrivals) {
        match *arrival {
            Arrival::Created(lead) if one.lead.is_test => uow.record(Event::TestLeadKept { lead }),
            Arrival::Created(lead) => uow.record(Event::LeadCreated { lead, pool: origin.pool }),
            Arrival::Joined(lead) => uow.record(Event::LeadEnquired { lead }),
            Arrival::Reopened(lead) => {
                uow.record(Event::LeadEnquired { lead });
                uow.record(Event::LeadReopened { lead, pool: origin.pool });
            }
        }
    }
    Ok(())
}
