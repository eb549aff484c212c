//! Who is to own leads: pools, their agents, when they work, and what share of the leads is theirs.

use chrono::{DateTime, Days, NaiveDate, Utc};
use rand::Rng;
use rand::rngs::StdRng;
use serde::Serialize;

use crate::seeds::{self, Stream};
use crate::truth::Tally;

/// A pool: its code, its name, the languages of its leads, and so many agents.
const POOLS: [(&str, &str, &[&str], usize); 3] = [
    ("turkiye", "Türkiye", &["tr"], 6),
    ("international", "International", &["en"], 4),
    ("germany", "Deutschland", &["de"], 3),
];
/// The heaviest agent takes so many leads for one of the lightest.
pub const WEIGHT_MAX: u32 = 4;
/// Of a hundred agents so many are away for some days.
const AWAY_PERCENT: u32 = 40;
/// The longest absence.
const AWAY_DAYS_MAX: u32 = 5;

/// Working days (1 is Monday) and working minutes of the day.
type Pattern = (&'static [u8], &'static [(u16, u16)]);

/// Weekly patterns, in Turkish time: office hours with a break, early, late, six short days, the weekend.
const PATTERNS: [Pattern; 5] = [
    (&[1, 2, 3, 4, 5], &[(540, 750), (810, 1_080)]),
    (&[1, 2, 3, 4, 5], &[(420, 900)]),
    (&[1, 2, 3, 4, 5], &[(780, 1_320)]),
    (&[1, 2, 3, 4, 5, 6], &[(600, 960)]),
    (&[4, 5, 6, 7], &[(600, 780), (840, 1_260)]),
];

/// All pools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Staff {
    /// In a fixed order.
    pub pools: Vec<Pool>,
}

/// Agents who share the leads of some languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// What the truth calls it.
    pub code: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// Whose leads are its own; a language belongs to one pool.
    pub languages: Vec<&'static str>,
    /// At least one.
    pub agents: Vec<Agent>,
}

/// Somebody who takes leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Agent {
    /// `agent1` and so on, over all pools.
    pub username: String,
    /// Leads for one of an agent of weight 1; from 1 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// Those of the pool, and perhaps one more.
    pub languages: Vec<&'static str>,
    /// When the agent works in a week.
    pub shifts: Vec<Shift>,
    /// When not, all the same.
    pub absences: Vec<Absence>,
}

/// A working block of a week, in Turkish time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shift {
    /// 1 is Monday (ISO 8601).
    pub weekday: u8,
    /// First minute of the day.
    pub from_minute: u16,
    /// First minute after the block.
    pub to_minute: u16,
}

/// Whole days away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Absence {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
}

/// What an agent is due of the leads of its pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Whose.
    pub username: String,
    /// The agent's pool.
    pub pool: &'static str,
    /// The agent's weight.
    pub weight: u32,
    /// The weights of the pool together.
    pub pool_weight: u32,
    /// The leads of the pool.
    pub pool_leads: u64,
}

impl Share {
    /// Leads due, with a fraction.
    pub fn leads(&self) -> f64 {
        self.pool_leads as f64 * f64::from(self.weight) / f64::from(self.pool_weight)
    }

    /// Whether so many leads are less than one lead away from what is due: what the router promises as long as
    /// everybody in the pool can take leads all the time. Exact.
    pub fn is_kept_by(&self, given: u64) -> bool {
        let whole = u128::from(self.pool_weight);
        let due = u128::from(self.pool_leads) * u128::from(self.weight);
        due.abs_diff(u128::from(given) * whole) < whole
    }
}

impl Staff {
    /// The staff that a seed decides; absences fall into the days from `start`.
    pub(crate) fn new(seed: u64, start: DateTime<Utc>, days: u32) -> Self {
        let mut number = 0;
        let pools = POOLS.iter().map(|&(code, name, languages, agents)| Pool {
            code,
            name,
            languages: languages.to_vec(),
            agents: (0..agents)
                .map(|_| {
                    number += 1;
                    agent(seed, number, languages, start.date_naive(), days)
                })
                .collect(),
        });
        Self { pools: pools.collect() }
    }

    /// What each agent is due of the leads that this tally counts.
    pub fn shares(&self, tally: &Tally) -> Vec<Share> {
        let of_pool = |pool: &Pool| {
            let pool_weight = pool.agents.iter().map(|agent| agent.weight).sum();
            let pool_leads = tally.leads_by_pool.get(pool.code).copied().unwrap_or(0);
            let code = pool.code;
            let share = move |agent: &Agent| Share {
                username: agent.username.clone(),
                pool: code,
                weight: agent.weight,
                pool_weight,
                pool_leads,
            };
            pool.agents.iter().map(share).collect::<Vec<_>>()
        };
        self.pools.iter().flat_map(of_pool).collect()
    }
}

/// The pool of a language.
pub(crate) fn pool_of(language: &str) -> &'static str {
    let pool = POOLS.iter().find(|(_, _, languages, _)| languages.contains(&language));
    pool.map(|(code, _, _, _)| *code).expect("every language of the catalogue has a pool")
}

fn agent(seed: u64, number: u64, languages: &[&'static str], start: NaiveDate, days: u32) -> Agent {
    let mut rng = seeds::rng(seed, Stream::Staff, number);
    let weight = rng.random_range(1..=WEIGHT_MAX);
    let mut languages = languages.to_vec();
    let more = ["tr", "en", "de"][rng.random_range(0..3_usize)];
    if !languages.contains(&more) {
        languages.push(more);
    }
    let (weekdays, blocks) = PATTERNS[rng.random_range(0..PATTERNS.len())];
    let of_day = |weekday: u8| {
        blocks.iter().map(move |&(from_minute, to_minute)| Shift { weekday, from_minute, to_minute })
    };
    let shifts = weekdays.iter().copied().flat_map(of_day).collect();
    let absences = absence(&mut rng, start, days).into_iter().collect();
    Agent { username: format!("agent{number}"), weight, languages, shifts, absences }
}

fn absence(rng: &mut StdRng, start: NaiveDate, days: u32) -> Option<Absence> {
    if !rng.random_ratio(AWAY_PERCENT, 100) {
        return None;
    }
    let first = rng.random_range(0..days);
    let last = first + rng.random_range(0..AWAY_DAYS_MAX.min(days - first));
    let day = |n: u32| start.checked_add_days(Days::new(u64::from(n)));
    Some(Absence { from: day(first)?, to: day(last)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_kept_within_one_lead() {
        let share = Share {
            username: "agent1".to_owned(),
            pool: "turkiye",
            weight: 2,
            pool_weight: 6,
            pool_leads: 100,
        };
        assert!((share.leads() - 33.333).abs() < 0.001);
        for (given, kept) in [(32, false), (33, true), (34, true), (35, false)] {
            assert_eq!(share.is_kept_by(given), kept, "{given}");
        }
        let exact = Share { pool_leads: 99, ..share };
        for (given, kept) in [(32, false), (33, true), (34, false)] {
            assert_eq!(exact.is_kept_by(given), kept, "{given}");
        }
    }

    #[test]
    fn agents_work_and_are_away_within_the_days() {
        for seed in 0..20 {
            let staff = Staff::new(seed, DateTime::UNIX_EPOCH, 3);
            for agent in staff.pools.iter().flat_map(|pool| &pool.agents) {
                assert!((1..=WEIGHT_MAX).contains(&agent.weight));
                assert!(agent.shifts.iter().all(|s| s.from_minute < s.to_minute && s.to_minute <= 1_440));
                assert!(!agent.shifts.is_empty() && agent.shifts.is_sorted_by_key(|s| s.weekday));
                let last = DateTime::UNIX_EPOCH.date_naive() + Days::new(2);
                assert!(agent.absences.iter().all(|away| away.from <= away.to && away.to <= last));
            }
        }
    }
}
