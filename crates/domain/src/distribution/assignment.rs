//! Giving a pool's waiting leads to its members: one transaction for many leads, and the same number of statements
//! for one lead as for a thousand.
//!
//! **Invariant:** either every lead of the batch has its owner, assignment, decision and load, or nothing changed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sira_kernel::Id;
use uuid::Uuid;

use super::DistributionError;
use super::eligibility::{Availability, Hours};
use super::routing::{self, Choice, LeadFacts, Member, Snapshot};
use super::store::{self, MemberRow, WaitingRow};
use super::trace::{self, CoolingOffs};
use crate::event::{Event, IDS_MAX};
use crate::nouns::{LeadId, PoolId, RoutingBatchId, UserId};
use crate::uow::Uow;
use crate::{cooling_offs, sla};

/// What one batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    /// Leads that have an owner now.
    pub assigned: usize,
    /// Leads that were looked at and found nobody.
    pub left: usize,
    /// The batch was full and somebody still has room: another batch is due at once, and is on record as such.
    pub more: bool,
    /// When time alone may make somebody eligible for those left.
    pub next_opening: Option<DateTime<Utc>>,
}

/// Gives waiting leads of this pool, oldest first and at most `batch_max` of them, to its members.
///
/// Records [`Event::LeadsAssigned`] for those given and [`Event::LeadsLeftWaiting`] when leads are left or when
/// more may be given at once. With nothing waiting it writes nothing, so running it twice is harmless.
///
/// # Errors
/// [`DistributionError::UnknownPool`]; on every error the caller rolls back.
pub async fn assign_waiting(
    uow: &mut Uow,
    pool: PoolId,
    batch_max: u16,
) -> Result<Assigned, DistributionError> {
    let now = uow.now();
    let conn = uow.conn();
    let round = store::lock_pool(conn, pool).await?.ok_or(DistributionError::UnknownPool)?;
    let waiting = store::lock_waiting(conn, pool, i64::from(batch_max)).await?;
    if waiting.is_empty() {
        return Ok(Assigned { assigned: 0, left: 0, more: false, next_opening: None });
    }
    store::lock_loads_of_members(conn, pool).await?;
    let team = Team::read(uow, pool).await?;
    let before =
        Snapshot { turns: round.turns, round_weight: round.round_weight, members: team.members(now) };
    let mut after = before.clone();
    let cooling_offs = list_cooling_offs(uow, &waiting).await?;
    let weights: Vec<i16> = waiting.iter().map(|row| row.load).collect();
    let choices = routing::route(&mut after, &trace::facts(&weights, &cooling_offs), now);
    let batch = Batch { id: Id::new(), pool, waiting, cooling_offs, choices, before, after };
    batch.store(uow, &team).await?;
    let given: Vec<LeadId> = batch.pairs().map(|(lead, _)| lead).collect();

    let assigned = batch.choices.iter().filter(|choice| choice.chosen.is_some()).count();
    let left = batch.choices.len() - assigned;
    let full = batch.choices.len() == usize::from(batch_max);
    let more = full
        && assigned > 0
        && batch.after.members.iter().any(|member| member.exclusion(&LeadFacts::from(1)).is_none());
    let next_opening = team.next_opening(&batch.after, now);
    batch.record(uow, left, if more { Some(now) } else { next_opening }, full);
    // After the assignments are recorded: on the timelines a promise begins after its lead has an owner.
    sla::start(uow, &given).await?;
    Ok(Assigned { assigned, left, more, next_opening })
}

/// Who does not get which of these leads for a while, by position.
async fn list_cooling_offs(uow: &mut Uow, waiting: &[WaitingRow]) -> Result<CoolingOffs, DistributionError> {
    let now = uow.now();
    let leads: Vec<Uuid> = waiting.iter().map(|row| row.lead).collect();
    let mut users = cooling_offs::list_users(uow.conn(), &leads, now).await?;
    let positions = leads.iter().enumerate();
    Ok(positions.filter_map(|(position, lead)| Some((position, users.remove(lead)?))).collect())
}

/// The pool's members with what decides when they work.
struct Team {
    rows: Vec<MemberRow>,
    availability: Vec<Availability>,
}

impl Team {
    /// Read after the loads were locked.
    async fn read(uow: &mut Uow, pool: PoolId) -> Result<Self, DistributionError> {
        let now = uow.now();
        let conn = uow.conn();
        let rows = store::list_members(conn, pool).await?;
        let users: Vec<Uuid> = rows.iter().map(|row| row.user_id).collect();
        let mut hours = store::list_hours(conn, &users).await?;
        let mut absences = store::list_absences(conn, &users, now).await?;
        let availability = rows
            .iter()
            .map(|row| {
                let blocks = hours.remove(&row.user_id).unwrap_or_default();
                Availability {
                    active: row.active,
                    hours: row.time_zone.parse().ok().map(|zone| Hours { zone, blocks }),
                    absences: absences.remove(&row.user_id).unwrap_or_default(),
                }
            })
            .collect();
        Ok(Self { rows, availability })
    }

    fn members(&self, now: DateTime<Utc>) -> Vec<Member> {
        let member = |(row, availability): (&MemberRow, &Availability)| Member {
            user: UserId::from_uuid(row.user_id),
            weight: i64::from(row.weight),
            round_weight: row.round_weight.map(i64::from),
            given: row.given,
            lag_micro: row.lag_micro,
            open_weight: i64::from(row.open_weight),
            capacity: i64::from(row.capacity),
            day_count: if row.day_of == Some(availability.local_date(now)) {
                i64::from(row.day_count)
            } else {
                0
            },
            day_capacity: i64::from(row.day_capacity),
            last_assigned_at: row.last_assigned_at,
            excluded: availability.exclusion(now),
        };
        self.rows.iter().zip(&self.availability).map(member).collect()
    }

    /// The earliest opening among members who have room.
    fn next_opening(&self, after: &Snapshot, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let members = after.members.iter().zip(&self.availability);
        members
            .filter(|(member, _)| member.open_weight < member.capacity && member.day_capacity > 0)
            .filter_map(|(member, availability)| {
                availability.next_opening(now, member.day_count >= member.day_capacity)
            })
            .filter(|&opening| opening > now)
            .min()
    }
}

/// One run of the routing function.
struct Batch {
    id: RoutingBatchId,
    pool: PoolId,
    waiting: Vec<WaitingRow>,
    cooling_offs: CoolingOffs,
    choices: Vec<Choice>,
    before: Snapshot,
    after: Snapshot,
}

impl Batch {
    async fn store(&self, uow: &mut Uow, team: &Team) -> Result<(), DistributionError> {
        let now = uow.now();
        let decisions = self.decisions();
        if decisions.leads.is_empty() {
            // Every lead here waits, and that it found nobody is on record: nothing new to tell.
            return Ok(());
        }
        let candidates = trace::encode(&self.before);
        let lead_weights: Vec<i16> = self.waiting.iter().map(|row| row.load).collect();
        let cooling_offs = trace::encode_cooling_offs(&self.cooling_offs);
        let batch = store::NewBatch {
            id: self.id,
            pool: self.pool,
            algorithm: routing::ALGORITHM,
            candidates: &candidates,
            lead_weights: &lead_weights,
            cooling_offs: &cooling_offs,
            decided_at: now,
        };
        store::insert_batch(uow.conn(), &batch).await?;
        store::insert_decisions(uow.conn(), self.id, &decisions).await?;
        let given = self.given();
        if given.leads.is_empty() {
            return Ok(());
        }
        let taken = self.taken(team, now);
        if store::add_loads(uow.conn(), &taken, now).await? != taken.users.len() as u64 {
            return Err(DistributionError::Changed);
        }
        store::update_pool(uow.conn(), self.pool, self.after.turns, self.after.round_weight).await?;
        store::update_members(uow.conn(), self.pool, &self.places()).await?;
        if store::insert_assignments(uow.conn(), self.id, &given, now).await? != given.leads.len() as u64 {
            return Err(DistributionError::Changed);
        }
        Ok(())
    }

    fn record(&self, uow: &mut Uow, left: usize, retry_at: Option<DateTime<Utc>>, full: bool) {
        let (batch, pool) = (self.id, self.pool);
        let pairs: Vec<(LeadId, UserId)> = self.pairs().collect();
        for chunk in pairs.chunks(IDS_MAX) {
            uow.record(Event::LeadsAssigned { batch, pool, assignments: chunk.to_vec() });
        }
        // A full batch tells nothing of the leads behind it: they are looked at when there is room.
        if left > 0 || full {
            uow.record(Event::LeadsLeftWaiting { pool, waiting: left, retry_at });
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (LeadId, UserId)> {
        self.waiting.iter().zip(&self.choices).filter_map(|(row, choice)| {
            let member = &self.before.members[choice.chosen?];
            Some((LeadId::from_uuid(row.lead), member.user))
        })
    }

    /// One for each lead given, and for each left whose waiting is not on record yet.
    fn decisions(&self) -> store::Decisions {
        let mut decisions = store::Decisions::default();
        for (position, (row, choice)) in self.waiting.iter().zip(&self.choices).enumerate() {
            if choice.chosen.is_none() && row.recorded {
                continue;
            }
            decisions.leads.push(row.lead);
            decisions.positions.push(position as i32);
            decisions.chosen.push(choice.chosen.map(|index| self.before.members[index].user.uuid()));
            decisions.reasons.push(choice.reason.as_str());
        }
        decisions
    }

    fn given(&self) -> store::Given {
        let mut given = store::Given::default();
        for (lead, user) in self.pairs() {
            given.assignments.push(Id::<Assigned>::new().uuid());
            given.leads.push(lead.uuid());
            given.users.push(user.uuid());
        }
        given
    }

    fn taken(&self, team: &Team, now: DateTime<Utc>) -> store::Taken {
        let mut by_member: BTreeMap<usize, (i32, i32)> = BTreeMap::new();
        for (row, choice) in self.waiting.iter().zip(&self.choices) {
            if let Some(index) = choice.chosen {
                let (weight, leads) = by_member.entry(index).or_default();
                *weight += i32::from(row.load);
                *leads += 1;
            }
        }
        let mut taken = store::Taken::default();
        for (index, (weight, leads)) in by_member {
            taken.users.push(self.before.members[index].user.uuid());
            taken.weights.push(weight);
            taken.counts.push(leads);
            taken.days.push(team.availability[index].local_date(now));
        }
        taken
    }

    fn places(&self) -> store::Places {
        let mut places = store::Places::default();
        for member in &self.after.members {
            places.users.push(member.user.uuid());
            places.round_weights.push(member.round_weight.map(|weight| weight as i32));
            places.given.push(member.given);
            places.lags_micro.push(member.lag_micro);
        }
        places
    }
}
