//! Why this agent: the newest decision about a lead, with every candidate as it stood when the lead's turn came.
//!
//! The batch stores what the routing function saw; the function itself is run again up to the lead.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::quota::TURN_MICRO;
use super::routing::{self, Exclusion, LeadFacts, Member, Reason, Snapshot};
use super::{DistributionError, store};
use crate::nouns::{LeadId, PoolId, RoutingBatchId, UserId};

/// Something with the name that people know it by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Named<I: Serialize> {
    /// Its id.
    pub id: I,
    /// Its name.
    pub name: String,
}

/// A decision, ready to be shown. Says nothing of the lead itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionTrace {
    /// The run in which the lead was looked at.
    pub batch: RoutingBatchId,
    /// The pool in which it waited.
    pub pool: Named<PoolId>,
    /// When.
    pub decided_at: DateTime<Utc>,
    /// Version of the routing function.
    pub algorithm: String,
    /// The lead's place in the run, from 0.
    pub position: i32,
    /// Who got it; `None`: it waits.
    pub chosen: Option<Named<UserId>>,
    /// Stable code: `share`, `only_candidate`, `nobody_eligible`.
    pub reason: String,
    /// The same in a sentence.
    pub reason_text: &'static str,
    /// Whether running the function again over what is stored gives the same choice; `None` when the algorithm has
    /// changed since.
    pub reproduced: Option<bool>,
    /// The pool's members as they stood at the lead's turn.
    pub candidates: Vec<Candidate>,
}

/// A member of the pool at the lead's turn.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Who.
    pub user: Named<UserId>,
    /// Its weight in the pool.
    pub weight: i64,
    /// Leads that it was owed (above zero) or ahead (below zero).
    pub lag: f64,
    /// Load of its open leads.
    pub open_weight: i64,
    /// Most load that it carries.
    pub capacity: i64,
    /// Leads taken that day.
    pub day_count: i64,
    /// Most leads a day.
    pub day_capacity: i64,
    /// Stable code of why it did not take this lead.
    pub excluded: Option<Exclusion>,
    /// The same in a sentence.
    pub excluded_text: Option<&'static str>,
}

impl Exclusion {
    /// For a person.
    fn text(self) -> &'static str {
        match self {
            Self::Inactive => "The account is switched off.",
            Self::UnknownZone => "The time zone of the account is unknown.",
            Self::Absent => "Away.",
            Self::OutsideHours => "Outside working hours.",
            Self::AtCapacity => "The lead does not fit into what is left of the capacity.",
            Self::DayCapacity => "Has taken as many leads today as it may.",
            Self::CoolingOff => "Does not get this lead for a while.",
        }
    }
}

impl Reason {
    /// For a person.
    fn text(self) -> &'static str {
        match self {
            Self::Share => "First due by its share of the pool's leads.",
            Self::OnlyCandidate => "The only member who could take it.",
            Self::NobodyEligible => "No member could take it, so it waits.",
        }
    }
}

impl Candidate {
    fn of(member: &Member, user: Named<UserId>, lag_micro: i64, excluded: Option<Exclusion>) -> Self {
        Self {
            user,
            weight: member.weight,
            lag: lag_micro as f64 / TURN_MICRO as f64,
            open_weight: member.open_weight,
            capacity: member.capacity,
            day_count: member.day_count,
            day_capacity: member.day_capacity,
            excluded,
            excluded_text: excluded.map(Exclusion::text),
        }
    }
}

/// Who does not get which lead of a batch, by its position: the stored form.
pub(super) type CoolingOffs = BTreeMap<usize, Vec<UserId>>;

/// The leads of a batch as the function saw them.
pub(super) fn facts(weights: &[i16], cooling_offs: &CoolingOffs) -> Vec<LeadFacts> {
    let of = |(position, weight): (usize, &i16)| LeadFacts {
        load: i64::from(*weight),
        cooling_off: cooling_offs.get(&position).cloned().unwrap_or_default(),
    };
    weights.iter().enumerate().map(of).collect()
}

/// The form in which a snapshot is stored.
pub(super) fn encode(snapshot: &Snapshot) -> Value {
    serde_json::to_value(snapshot).expect("a snapshot is plain data with string keys")
}

/// The form in which a batch's cooling-offs are stored.
pub(super) fn encode_cooling_offs(cooling_offs: &CoolingOffs) -> Value {
    serde_json::to_value(cooling_offs).expect("positions become string keys")
}

/// The newest decision about this lead; `None` when there was none.
///
/// # Errors
/// [`DistributionError::Database`], also when a stored snapshot cannot be read.
pub async fn explain(
    conn: &mut PgConnection,
    lead: LeadId,
) -> Result<Option<DecisionTrace>, DistributionError> {
    let Some(row) = store::find_decision(conn, lead).await? else { return Ok(None) };
    let mut snapshot: Snapshot =
        serde_json::from_value(row.candidates).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let cooling_offs: CoolingOffs =
        serde_json::from_value(row.cooling_offs).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let leads = facts(&row.lead_weights, &cooling_offs);
    let position = (row.position as usize).min(leads.len().saturating_sub(1));
    routing::route(&mut snapshot, &leads[..position], row.decided_at);
    let at_turn = snapshot.clone();
    let lead = leads.get(position).cloned().unwrap_or_else(|| LeadFacts::from(1));
    let choice = routing::route(&mut snapshot, std::slice::from_ref(&lead), row.decided_at)[0];
    let replayed = choice.chosen.map(|index| at_turn.members[index].user.uuid());
    let same_algorithm = row.algorithm == routing::ALGORITHM;
    let reproduced = same_algorithm.then(|| replayed == row.chosen && choice.reason.as_str() == row.reason);

    let mut users: Vec<Uuid> = at_turn.members.iter().map(|member| member.user.uuid()).collect();
    users.extend(row.chosen);
    let names = store::list_names(conn, &users).await?;
    let with_name =
        |user: UserId| Named { id: user, name: names.get(&user.uuid()).cloned().unwrap_or_default() };
    let candidates = at_turn
        .members
        .iter()
        .map(|member| {
            let lag_micro = member.lag_now(at_turn.turns, at_turn.round_weight);
            Candidate::of(member, with_name(member.user), lag_micro, member.exclusion(&lead))
        })
        .collect();
    let reasons = [Reason::Share, Reason::OnlyCandidate, Reason::NobodyEligible];
    let reason = reasons.into_iter().find(|reason| reason.as_str() == row.reason);
    Ok(Some(DecisionTrace {
        batch: RoutingBatchId::from_uuid(row.batch_id),
        pool: Named { id: PoolId::from_uuid(row.pool_id), name: row.pool_name },
        decided_at: row.decided_at,
        algorithm: row.algorithm,
        position: row.position,
        chosen: row.chosen.map(|user| with_name(UserId::from_uuid(user))),
        reason_text: reason.map_or("", Reason::text),
        reason: row.reason,
        reproduced,
        candidates,
    }))
}
