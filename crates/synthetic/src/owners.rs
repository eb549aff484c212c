//! Who is to own which lead, and since when: the working of the floor, played through.
//!
//! **Invariant:** nobody is given a lead while off shift, away or full.

use std::cmp::Ordering;
use std::collections::VecDeque;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use crate::staff::{Agent, Pool, turkish};
use crate::turns::{self, Seat};
use crate::{Dataset, Verdict};

/// For so many days after the last day waiting leads are still given.
pub const WAITING_DAYS_MAX: i64 = 15;
/// Most leads of a pool that are given in one go; the product's `distribution.assign_batch_max`.
pub const BATCH_MAX: usize = 200;
/// Instead of an agent's place: nobody.
const NOBODY: u8 = u8::MAX;

/// A lead given to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// The agent's place in [`crate::Staff::agents`].
    pub agent: usize,
    /// When.
    pub at: DateTime<Utc>,
}

/// The owners of a dataset's leads. Five bytes a row, padded to eight.
///
/// **The rule.** A lead waits in the pool of its campaign, or in the default pool. It is given at once, if anybody of
/// the pool can take it: who is at work, not away, and has room, open and for the day. Whose turn it is among them the
/// quota method says, strictly within one lead of the fair share by weight. If nobody can, it waits, and is given the
/// moment somebody can: at the start of a shift or of a day, oldest first. A row that joins a lead stays with that
/// lead's owner and costs nobody a turn.
///
/// It holds for leads that come one by one at their times, to a staff that has nothing else to do, and of which none is
/// closed meanwhile. Whoever gives all of them at one hour, as an import does, may rely on the pool, on the hours and
/// the room, and on shares within one lead, not on the names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owners {
    start: DateTime<Utc>,
    /// By row: seconds from the start, and the agent's place.
    given: Vec<(u32, u8)>,
}

impl Owners {
    /// Who owns the lead of this row, the lead that it joined included. `None`: nobody, or no such row.
    pub fn of_row(&self, row: u64) -> Option<Given> {
        let place = usize::try_from(row.checked_sub(1)?).ok()?;
        let (seconds, agent) = *self.given.get(place)?;
        let at = self.start + TimeDelta::seconds(i64::from(seconds));
        (agent != NOBODY).then(|| Given { agent: usize::from(agent), at })
    }

    fn set(&mut self, row: u64, given: Given) {
        let seconds = (given.at - self.start).num_seconds();
        self.given[row as usize - 1] = (seconds as u32, given.agent as u8);
    }
}

impl Dataset {
    /// Plays it through: who owns the lead of each row.
    pub fn owners(&self) -> Owners {
        let options = self.options();
        let mut owners = Owners { start: options.start, given: vec![(0, NOBODY); options.leads] };
        let mut before = 0;
        let mut floors: Vec<Floor<'_>> = Vec::new();
        for pool in &self.staff().pools {
            floors.push(Floor::new(pool, before));
            before += pool.agents.len();
        }
        for lead in self.rows().filter(|lead| lead.truth.verdict.creates()) {
            let floor = floors.iter_mut().find(|floor| Some(floor.pool.code) == lead.truth.pool);
            let floor = floor.expect("the truth names pools of the staff");
            floor.arrive(lead.row.row, lead.row.acquired_at, &mut owners);
        }
        let last = options.start + TimeDelta::days(i64::from(options.days) + WAITING_DAYS_MAX);
        for floor in &mut floors {
            floor.open_until(last, &mut owners);
        }
        for lead in self.rows() {
            if let Verdict::Joined { into } = lead.truth.verdict {
                owners.given[lead.row.row as usize - 1] = owners.given[into as usize - 1];
            }
        }
        owners
    }
}

/// An agent and what it carries.
struct Member<'a> {
    agent: &'a Agent,
    in_round: bool,
    given: i64,
    carried_micro: i64,
    open: u32,
    /// Leads of a day.
    day: Option<NaiveDate>,
    of_day: u32,
    /// The number of the moment at which it took a lead last; 0 for never.
    last: u64,
}

impl Member<'_> {
    fn can_take(&self, at: DateTime<Utc>) -> bool {
        let today = self.day == Some(turkish(at).date());
        let of_day = if today { self.of_day } else { 0 };
        self.agent.is_at_work(at) && self.open < self.agent.capacity && of_day < self.agent.day_capacity
    }

    fn seat(&self) -> Seat {
        Seat { weight: i64::from(self.agent.weight), given: self.given, carried_micro: self.carried_micro }
    }

    /// Least loaded, longest idle.
    fn tie(&self, other: &Self) -> Ordering {
        let load = |one: &Self, of: &Self| u64::from(one.open) * u64::from(of.agent.capacity);
        load(self, other).cmp(&load(other, self)).then(self.last.cmp(&other.last))
    }
}

/// A pool at work.
struct Floor<'a> {
    pool: &'a Pool,
    /// Agents of the pools before this one.
    before: usize,
    members: Vec<Member<'a>>,
    turns: i64,
    waiting: VecDeque<u64>,
    /// Until when openings were looked at.
    seen: DateTime<Utc>,
    /// How many times leads were given.
    moments: u64,
}

impl<'a> Floor<'a> {
    fn new(pool: &'a Pool, before: usize) -> Self {
        let member = |agent| Member {
            agent,
            in_round: false,
            given: 0,
            carried_micro: 0,
            open: 0,
            day: None,
            of_day: 0,
            last: 0,
        };
        let members = pool.agents.iter().map(member).collect();
        let (waiting, seen) = (VecDeque::new(), DateTime::<Utc>::MIN_UTC);
        Self { pool, before, members, turns: 0, waiting, seen, moments: 0 }
    }

    fn arrive(&mut self, row: u64, at: DateTime<Utc>, owners: &mut Owners) {
        self.open_until(at, owners);
        self.waiting.push_back(row);
        self.give(at, owners);
    }

    /// Goes through the shifts and days that begin up to this moment, as long as any lead waits.
    fn open_until(&mut self, until: DateTime<Utc>, owners: &mut Owners) {
        let mut day = turkish(self.seen.max(owners.start)).date();
        while !self.waiting.is_empty() && day <= turkish(until).date() {
            let all = self.pool.agents.iter().flat_map(|agent| agent.openings(day));
            let mut openings: Vec<_> = all.filter(|at| *at > self.seen && *at <= until).collect();
            openings.sort_unstable();
            openings.dedup();
            for at in openings {
                self.give(at, owners);
            }
            day = day + Days::new(1);
        }
        self.seen = until;
    }

    /// Gives what waits, oldest first, as far as anybody can take it.
    fn give(&mut self, at: DateTime<Utc>, owners: &mut Owners) {
        for number in 0.. {
            let takers: Vec<usize> =
                (0..self.members.len()).filter(|place| self.members[*place].can_take(at)).collect();
            if takers.is_empty() || self.waiting.is_empty() {
                return;
            }
            if number % BATCH_MAX == 0 {
                self.moments += 1;
            }
            let place = self.turn_of(&takers);
            let member = &mut self.members[place];
            let today = Some(turkish(at).date());
            member.of_day = if member.day == today { member.of_day + 1 } else { 1 };
            (member.day, member.last) = (today, self.moments);
            member.given += 1;
            member.open += 1;
            self.turns += 1;
            if let Some(row) = self.waiting.pop_front() {
                owners.set(row, Given { agent: self.before + place, at });
            }
        }
    }

    fn turn_of(&mut self, takers: &[usize]) -> usize {
        let in_round: Vec<usize> =
            (0..self.members.len()).filter(|place| self.members[*place].in_round).collect();
        if in_round != takers {
            let mut seats: Vec<Seat> = in_round.iter().map(|place| self.members[*place].seat()).collect();
            if !seats.is_empty() {
                turns::settle(&mut seats, self.turns);
            }
            for (place, seat) in in_round.iter().zip(seats) {
                let member = &mut self.members[*place];
                (member.in_round, member.given, member.carried_micro) = (false, 0, seat.carried_micro);
            }
            for place in takers {
                self.members[*place].in_round = true;
            }
            self.turns = 0;
        }
        let seats: Vec<Seat> = takers.iter().map(|place| self.members[*place].seat()).collect();
        let tie = |one: usize, other: usize| {
            let (one, other) = (takers[one], takers[other]);
            self.members[one].tie(&self.members[other]).then(one.cmp(&other))
        };
        takers[turns::next(self.turns, &seats, tie).expect("within a round somebody may always be served")]
    }
}
