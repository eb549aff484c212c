//! The routing function: which member of a pool takes each of a batch of waiting leads. Pure: the same snapshot
//! gives the same choices, so a stored batch can be replayed up to any lead.
//!
//! **Invariant:** nobody is chosen who is excluded, and nobody is taken over its capacity, within the batch too.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::quota::{self, Seat};
use crate::nouns::UserId;

/// Stored with every batch; changes when the same snapshot could lead to another choice.
pub const ALGORITHM: &str = "quota-1";

/// A pool as it stood before a batch. Stored with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Turns given in the present round.
    pub turns: i64,
    /// Sum of the weights in the present round, also of takers who have left the pool since.
    pub round_weight: i64,
    /// In id order.
    pub members: Vec<Member>,
}

/// A member of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Its share of the pool's leads, relative to the others'; at least 1.
    pub weight: i64,
    /// The weight with which it takes part in the present round; `None` when it does not.
    pub round_weight: Option<i64>,
    /// Turns that it had in the present round.
    pub given: i64,
    /// What it carried into the round, or out of the last one that it took part in.
    pub lag_micro: i64,
    /// Load of the open leads that it owns.
    pub open_weight: i64,
    /// Most load that it carries.
    pub capacity: i64,
    /// Leads taken on its present local day.
    pub day_count: i64,
    /// Most leads that it takes on a day.
    pub day_capacity: i64,
    /// When it last took a lead.
    pub last_assigned_at: Option<DateTime<Utc>>,
    /// Why it takes nothing at the time of the batch, whatever its capacity.
    pub excluded: Option<Exclusion>,
}

/// Why a member does not take a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// The account is switched off.
    Inactive,
    /// The stored time zone is none that is known.
    UnknownZone,
    /// Away.
    Absent,
    /// Not at work at this hour.
    OutsideHours,
    /// The lead does not fit into what is left of its capacity.
    AtCapacity,
    /// It took as many leads today as it may.
    DayCapacity,
    /// It does not get this lead for a while.
    CoolingOff,
}

/// What the function sees of a lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadFacts {
    /// What it weighs on its owner's capacity.
    pub load: i64,
    /// Who does not get it for a while.
    pub cooling_off: Vec<UserId>,
}

impl From<i64> for LeadFacts {
    /// A lead of this load that anybody may get.
    fn from(load: i64) -> Self {
        Self { load, cooling_off: Vec::new() }
    }
}

/// Why a lead went where it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was the member's turn among several.
    Share,
    /// Nobody else was eligible.
    OnlyCandidate,
    /// Nobody was eligible: the lead waits.
    NobodyEligible,
}

impl Reason {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::OnlyCandidate => "only_candidate",
            Self::NobodyEligible => "nobody_eligible",
        }
    }
}

/// Where one lead goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Index into the snapshot's members; `None`: the lead waits.
    pub chosen: Option<usize>,
    /// Why.
    pub reason: Reason,
}

impl Member {
    /// Why this member would not take this lead now.
    pub fn exclusion(&self, lead: &LeadFacts) -> Option<Exclusion> {
        self.excluded.or_else(|| {
            if lead.cooling_off.contains(&self.user) {
                Some(Exclusion::CoolingOff)
            } else if self.open_weight + lead.load > self.capacity {
                Some(Exclusion::AtCapacity)
            } else if self.day_count >= self.day_capacity {
                Some(Exclusion::DayCapacity)
            } else {
                None
            }
        })
    }

    /// What it is owed (above zero) or ahead (below zero), in millionths of a lead.
    pub fn lag_now(&self, turns: i64, round_weight: i64) -> i64 {
        match self.round_weight {
            Some(_) => quota::lag_micro(self.seat_in_round(), turns, round_weight),
            None => self.lag_micro,
        }
    }

    /// With the weight that it has in the round, whatever it has become since.
    fn seat_in_round(&self) -> Seat {
        let weight = self.round_weight.unwrap_or(self.weight);
        Seat { weight, given: self.given, carried_micro: self.lag_micro }
    }

    /// Least loaded first, then longest idle, then lowest id.
    fn tie(&self, other: &Self) -> Ordering {
        let (own, others) = (self.open_weight * other.capacity, other.open_weight * self.capacity);
        own.cmp(&others)
            .then_with(|| self.last_assigned_at.cmp(&other.last_assigned_at))
            .then_with(|| self.user.cmp(&other.user))
    }
}

/// Routes these leads, oldest first, and leaves the snapshot as it stands after them.
pub fn route(snapshot: &mut Snapshot, leads: &[LeadFacts], now: DateTime<Utc>) -> Vec<Choice> {
    leads.iter().map(|lead| route_one(snapshot, lead, now)).collect()
}

fn route_one(snapshot: &mut Snapshot, lead: &LeadFacts, now: DateTime<Utc>) -> Choice {
    let takers: Vec<usize> = (0..snapshot.members.len())
        .filter(|&index| snapshot.members[index].exclusion(lead).is_none())
        .collect();
    if takers.is_empty() {
        return Choice { chosen: None, reason: Reason::NobodyEligible };
    }
    snapshot.begin_round_of(&takers);
    let members = &snapshot.members;
    let seats: Vec<Seat> = takers.iter().map(|&index| members[index].seat_in_round()).collect();
    let tie = |a: usize, b: usize| members[takers[a]].tie(&members[takers[b]]);
    let seat = quota::choose(snapshot.turns, &seats, tie).expect("somebody may always be served");
    let chosen = takers[seat];
    snapshot.turns += 1;
    let member = &mut snapshot.members[chosen];
    member.given += 1;
    member.open_weight += lead.load;
    member.day_count += 1;
    member.last_assigned_at = Some(now);
    let reason = if takers.len() == 1 { Reason::OnlyCandidate } else { Reason::Share };
    Choice { chosen: Some(chosen), reason }
}

impl Snapshot {
    /// Goes on with the present round when it is one of exactly these takers with their present weights. Else ends
    /// it, each keeping its lag, and begins one of these: who was away kept its lag and earned nothing.
    fn begin_round_of(&mut self, takers: &[usize]) {
        let same_takers =
            takers.iter().all(|&index| self.members[index].round_weight == Some(self.members[index].weight));
        let total: i64 = takers.iter().map(|&index| self.members[index].weight).sum();
        // The sum also tells of takers that are no longer members.
        if same_takers && total == self.round_weight {
            return;
        }
        let in_round: Vec<usize> =
            (0..self.members.len()).filter(|&index| self.members[index].round_weight.is_some()).collect();
        let mut seats: Vec<Seat> =
            in_round.iter().map(|&index| self.members[index].seat_in_round()).collect();
        quota::settle(&mut seats, self.turns, self.round_weight);
        for (&index, seat) in in_round.iter().zip(&seats) {
            let member = &mut self.members[index];
            (member.given, member.lag_micro, member.round_weight) = (0, seat.carried_micro, None);
        }
        for &index in takers {
            let member = &mut self.members[index];
            member.round_weight = Some(member.weight);
        }
        self.turns = 0;
        self.round_weight = total;
    }
}
