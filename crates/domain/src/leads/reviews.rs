//! Leads that may be one person: proposed where two leads share a contact, decided by people.
//!
//! Merging is a link: the merged lead keeps its contacts, enquiries, consents, notes and calls under its own key and points
//! at the lead that stays, which is read with them from then on. So it can be taken back, for [`UNMERGE_DAYS`].
//!
//! **Invariant:** nobody is written to, called or given out as a merged lead; what the person refused on either lead holds
//! for both.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::LeadError;
use super::arrival::Arriving;
use super::prepare::Kind;
use super::search::{self, LeadRow};
use super::store::reviews as sql;
use crate::event::IDS_MAX;
use crate::nouns::{LeadId, ReviewId, UserId};
use crate::{Event, Uow, calls, distribution, follow_ups, sla};

/// So long a merge can be taken back, in days.
pub const UNMERGE_DAYS: i64 = 30;
/// Other leads that may have an address before it proves nothing: it is a desk's, not a person's.
const SHARED_BY_MAX: i32 = 10;

/// What was decided about a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing yet.
    Open,
    /// They are one person.
    Merged,
    /// They are two.
    Apart,
}

impl State {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Open, Self::Merged, Self::Apart];

    /// The stored name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Merged => "merged",
            Self::Apart => "apart",
        }
    }

    /// The state of this stored name.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// A pair with both of its leads, as lists show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// The pair.
    pub id: ReviewId,
    /// What was decided.
    pub state: State,
    /// What both have: `phone` or `email`.
    pub shared: String,
    /// The lead that stays, while they are merged.
    pub survivor: Option<LeadId>,
    /// When the doubt arose.
    pub created_at: DateTime<Utc>,
    /// When it was decided.
    pub decided_at: Option<DateTime<Utc>>,
    /// The lead that is known longer, and the other one.
    pub leads: [LeadRow; 2],
}

impl Review {
    /// Until when a merge can be taken back.
    pub fn unmerge_until(&self) -> Option<DateTime<Utc>> {
        let merged_at = self.decided_at.filter(|_| self.state == State::Merged)?;
        Some(merged_at + TimeDelta::days(UNMERGE_DAYS))
    }
}

/// Pairs in this state, newest first, from after a place; at most `limit` rows, and at most [`search::PAGE_MAX`] and one
/// that tells whether there is another page. Open pairs of which a lead is merged into a third are left out: the lead that
/// stayed has a pair of its own.
pub async fn list(
    conn: &mut PgConnection,
    state: State,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: u16,
) -> Result<Vec<Review>, sqlx::Error> {
    let rows = sql::list(conn, state, after, limit.min(search::PAGE_MAX + 1)).await?;
    let ids: Vec<Uuid> = rows.iter().flat_map(|row| [row.lead_id, row.other_id]).collect();
    let leads = search::list(conn, &ids).await?;
    let lead = |id: Uuid| leads.iter().find(|lead| lead.id.uuid() == id).cloned();
    let reviews = rows.into_iter().filter_map(|row| {
        Some(Review {
            id: row.id.into(),
            state: State::parse(&row.state)?,
            shared: row.shared,
            survivor: row.survivor_id.map(LeadId::from_uuid),
            created_at: row.created_at,
            decided_at: row.decided_at,
            leads: [lead(row.lead_id)?, lead(row.other_id)?],
        })
    });
    Ok(reviews.collect())
}

/// When a pair was proposed: with its id its place in the lists.
///
/// # Errors
/// [`LeadError::NotFound`].
pub async fn find_created_at(conn: &mut PgConnection, id: ReviewId) -> Result<DateTime<Utc>, LeadError> {
    sql::find_created_at(conn, id).await?.ok_or(LeadError::NotFound)
}

/// Proposes pairs of leads that arriving enquiries show to share a contact: an address with different numbers, or numbers
/// of two leads in one enquiry. Each pair once, whatever was decided about it. Records [`Event::DuplicatesSuspected`].
pub(super) async fn propose(uow: &mut Uow, arriving: &[Arriving<'_>]) -> Result<(), sqlx::Error> {
    let (mut emails, mut phones) = (sql::Asked::default(), sql::Asked::default());
    for one in arriving.iter().filter(|one| !one.lead.is_test) {
        emails.extend(one.prepared.lead, one.prepared.indexes(Kind::Email));
        // A single number decided whose enquiry it is: no other lead has it.
        let numbers = one.prepared.indexes(Kind::Phone);
        if numbers.len() > 1 {
            phones.extend(one.prepared.lead, numbers);
        }
    }
    if emails.is_empty() && phones.is_empty() {
        return Ok(());
    }
    let now = uow.now();
    let suspected = sql::find_sharing(uow.conn(), &emails, &phones, SHARED_BY_MAX).await?;
    let pairs = sql::insert(uow.conn(), &suspected, now).await?;
    for chunk in pairs.chunks(IDS_MAX) {
        uow.record(Event::DuplicatesSuspected { pairs: chunk.to_vec() });
    }
    Ok(())
}

/// A merge that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// The lead that stays.
    pub survivor: LeadId,
    /// The lead that is now read with it.
    pub absorbed: LeadId,
}

/// Decides that both leads of a pair are one person. `survivor` stays as it is; when nobody says which, an open lead before
/// a closed one, one with an owner before one without, the one that is known longer. The other one leaves its owner and its
/// queue, its promises are over, what was agreed for a time is handed over, and enquiries by its contacts go to the lead
/// that stays. Records [`Event::LeadMerged`].
///
/// # Errors
/// [`LeadError::NotFound`]; [`LeadError::AlreadyMerged`]; [`LeadError::Merged`] when one of them belongs to a third lead;
/// [`LeadError::NotOfThePair`]; [`LeadError::SurvivorClosed`] when the other one is open; [`LeadError::CallUnderWay`].
pub async fn merge(uow: &mut Uow, id: ReviewId, survivor: Option<LeadId>) -> Result<Merged, LeadError> {
    let now = uow.now();
    let review = lock(uow, id).await?;
    if review.state == State::Merged.code() {
        return Err(LeadError::AlreadyMerged);
    }
    let mut pair = sql::lock_leads(uow.conn(), &[review.lead_id, review.other_id]).await?;
    if let Some(into) = pair.iter().find_map(|lead| lead.merged_into) {
        return Err(LeadError::Merged { into: into.into() });
    }
    pair.sort_by_key(|lead| (lead.terminal, lead.owner_id.is_none(), lead.id));
    if let Some(survivor) = survivor {
        pair.sort_by_key(|lead| lead.id != survivor);
    }
    let [stays, goes] = pair.as_slice() else { return Err(LeadError::NotFound) };
    if survivor.is_some_and(|survivor| survivor != stays.id) {
        return Err(LeadError::NotOfThePair);
    }
    if stays.terminal && !goes.terminal {
        return Err(LeadError::SurvivorClosed);
    }
    if calls::find_open(uow.conn(), goes.id).await?.is_some() {
        return Err(LeadError::CallUnderWay);
    }
    follow_ups::hand_over(uow, goes.id, stays.id).await?;
    sla::supersede(uow, goes.id, "merged").await?;
    let carried = sql::absorb(uow.conn(), goes.id, stays.id, now).await?;
    if let Some(user) = goes.owner_id.map(UserId::from_uuid) {
        distribution::change_load(uow, user, -goes.load_weight).await?;
        uow.record(Event::LeadTaken { lead: goes.id, user, reason: "merged".to_owned() });
    }
    let onwards = sql::list_open_partners(uow.conn(), goes.id, stays.id).await?;
    sql::insert(uow.conn(), &onwards, now).await?;
    sql::decide(uow.conn(), id, State::Merged, Some((stays.id, &carried)), now).await?;
    uow.record(Event::LeadMerged { lead: stays.id, absorbed: goes.id });
    Ok(Merged { survivor: stays.id, absorbed: goes.id })
}

/// Decides that the leads of a pair are two persons. Says nothing new of a pair that is kept apart. Records
/// [`Event::LeadsKeptApart`].
///
/// # Errors
/// [`LeadError::NotFound`]; [`LeadError::AlreadyMerged`]: a merge is taken back by [`unmerge`].
pub async fn keep_apart(uow: &mut Uow, id: ReviewId) -> Result<(), LeadError> {
    let now = uow.now();
    let review = lock(uow, id).await?;
    match State::parse(&review.state) {
        Some(State::Merged) => return Err(LeadError::AlreadyMerged),
        Some(State::Apart) => return Ok(()),
        Some(State::Open) | None => {}
    }
    sql::decide(uow.conn(), id, State::Apart, None, now).await?;
    uow.record(Event::LeadsKeptApart { lead: review.lead_id.into(), other: review.other_id.into() });
    Ok(())
}

/// Takes a merge back: the lead is one of its own again, with its status, and waits for an agent in its pool if it is open;
/// one that was with the administrators is with them again. What was written to the lead that stayed stays with it; what
/// the person refused meanwhile holds for both. Records [`Event::LeadUnmerged`]. The pair is kept apart.
///
/// # Errors
/// [`LeadError::NotFound`]; [`LeadError::NotMerged`]; [`LeadError::UnmergeTooLate`] after [`UNMERGE_DAYS`];
/// [`LeadError::Raced`] when the lead that it belongs to was merged at the same moment.
pub async fn unmerge(uow: &mut Uow, id: ReviewId) -> Result<Merged, LeadError> {
    let now = uow.now();
    let review = lock(uow, id).await?;
    let (Some(survivor), Some(merged_at)) = (review.survivor_id, review.decided_at) else {
        return Err(LeadError::NotMerged);
    };
    if now > merged_at + TimeDelta::days(UNMERGE_DAYS) {
        return Err(LeadError::UnmergeTooLate);
    }
    let absorbed = if survivor == review.lead_id { review.other_id } else { review.lead_id };
    let absorbed = LeadId::from_uuid(absorbed);
    // The lead that stayed may have been merged into a third one since.
    let root = super::find_survivor(uow.conn(), absorbed).await?;
    let mut ids = review.carried.clone();
    ids.extend([absorbed.uuid(), root.uuid()]);
    let locked = sql::lock_leads(uow.conn(), &ids).await?;
    let lead = locked.iter().find(|lead| lead.id == absorbed).ok_or(LeadError::NotFound)?;
    if lead.merged_into != Some(root.uuid()) {
        return Err(LeadError::Raced);
    }
    let waits = !lead.terminal && !lead.queued;
    sql::append_refusals(uow.conn(), root, absorbed, now).await?;
    sql::part(uow.conn(), (absorbed, root), &review.carried, waits, now).await?;
    sql::decide(uow.conn(), id, State::Apart, None, now).await?;
    let waits_in = waits.then_some(lead.pool);
    uow.record(Event::LeadUnmerged { lead: absorbed, survivor: root, waits_in });
    sla::start(uow, &[absorbed]).await?;
    Ok(Merged { survivor: root, absorbed })
}

async fn lock(uow: &mut Uow, id: ReviewId) -> Result<sql::ReviewRow, LeadError> {
    sql::lock(uow.conn(), id).await?.ok_or(LeadError::NotFound)
}
