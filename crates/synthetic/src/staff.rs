//! Who is to own leads: pools, their agents, when they work, how much they carry, and what share of the leads is theirs.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, TimeDelta, Timelike, Utc};
use rand::Rng;
use rand::rngs::StdRng;
use serde::Serialize;

use crate::TURKISH_OFFSET_HOURS;
use crate::seeds::{self, Stream};
use crate::truth::Tally;

/// A pool: its code, its name, the languages of its campaigns, so many agents, and whether somebody is always there.
const POOLS: [(&str, &str, &[&str], usize, bool); 4] = [
    (DEFAULT_POOL, "Default", &[], 2, true),
    ("turkiye", "Türkiye", &["tr"], 6, true),
    ("international", "International", &["en"], 4, false),
    ("germany", "Deutschland", &["de"], 3, false),
];
/// The pool of leads that come without a campaign.
pub const DEFAULT_POOL: &str = "default";
/// The heaviest agent takes so many leads for one of the lightest.
pub const WEIGHT_MAX: u32 = 4;
/// Of a hundred agents so many are away for some days.
const AWAY_PERCENT: u32 = 40;
/// The longest absence.
const AWAY_DAYS_MAX: u32 = 5;
/// What agents carry, of a hundred leads of the dataset: each has one of these.
const CAPACITY_PERCENTS: [u32; 4] = [4, 8, 100, 100];
/// What agents take in a day, likewise.
const DAY_CAPACITY_PERCENTS: [u32; 4] = [1, 3, 100, 100];
/// Nobody carries less.
const CAPACITY_MIN: u32 = 4;
/// Nobody carries more: the most that the product lets anybody carry.
const CAPACITY_MAX: u32 = 100_000;

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
    /// Whose campaigns send their leads to it; a language belongs to one pool. None for the default pool, where leads
    /// without a campaign go.
    pub languages: Vec<&'static str>,
    /// At least one.
    pub agents: Vec<Agent>,
}

/// Somebody who takes leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Agent {
    /// The pool's code and a number, as in `turkiye.agent1`.
    pub username: String,
    /// Leads for one of an agent of weight 1; from 1 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// Those of the pool, and perhaps one more.
    pub languages: Vec<&'static str>,
    /// When the agent works in a week; without any shift always.
    pub shifts: Vec<Shift>,
    /// When not, all the same.
    pub absences: Vec<Absence>,
    /// Open leads at a time.
    pub capacity: u32,
    /// Leads in a day of Türkiye.
    pub day_capacity: u32,
}

impl Agent {
    /// Whether the agent is at work: within a shift and not away.
    pub fn is_at_work(&self, at: DateTime<Utc>) -> bool {
        let local = turkish(at);
        let (day, minute) = (local.date(), (local.hour() * 60 + local.minute()) as u16);
        let weekday = local.weekday().number_from_monday() as u8;
        let in_shift = |shift: &Shift| {
            shift.weekday == weekday && (shift.from_minute..shift.to_minute).contains(&minute)
        };
        let away = self.absences.iter().any(|away| (away.from..=away.to).contains(&day));
        !away && (self.shifts.is_empty() || self.shifts.iter().any(in_shift))
    }

    /// The moments of a Turkish day at which the agent may begin to take leads: the day's own begin and its shifts'.
    pub(crate) fn openings(&self, day: NaiveDate) -> impl Iterator<Item = DateTime<Utc>> {
        let weekday = day.weekday().number_from_monday() as u8;
        let shifts = self.shifts.iter().filter(move |shift| shift.weekday == weekday);
        let minutes = std::iter::once(0).chain(shifts.map(|shift| shift.from_minute));
        minutes.map(move |minute| from_turkish(day, minute))
    }
}

impl Absence {
    /// The first moment, and the first one after it.
    pub fn span(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        (from_turkish(self.from, 0), from_turkish(self.to, 0) + TimeDelta::days(1))
    }
}

/// The wall clock in Türkiye.
pub(crate) fn turkish(at: DateTime<Utc>) -> NaiveDateTime {
    at.naive_utc() + TimeDelta::hours(TURKISH_OFFSET_HOURS)
}

/// The moment at which the wall clock in Türkiye shows so many minutes of this day.
fn from_turkish(day: NaiveDate, minute: u16) -> DateTime<Utc> {
    let midnight = day.and_hms_opt(0, 0, 0).expect("every day begins").and_utc();
    midnight + TimeDelta::minutes(i64::from(minute)) - TimeDelta::hours(TURKISH_OFFSET_HOURS)
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
    /// The staff that a seed decides; absences fall into the days from `start`, capacities are shares of `leads`.
    pub(crate) fn new(seed: u64, start: DateTime<Utc>, days: u32, leads: usize) -> Self {
        let (first, leads) = (turkish(start).date(), u32::try_from(leads).unwrap_or(u32::MAX));
        let mut index = 0;
        let pools = POOLS.iter().map(|&(code, name, languages, agents, is_always_open)| Pool {
            code,
            name,
            languages: languages.to_vec(),
            agents: (1..=agents)
                .map(|number| {
                    index += 1;
                    let username = format!("{code}.agent{number}");
                    if is_always_open && number == 1 {
                        return always_there(username, languages, leads);
                    }
                    agent(seeds::rng(seed, Stream::Staff, index), username, languages, (first, days), leads)
                })
                .collect(),
        });
        Self { pools: pools.collect() }
    }

    /// All agents, pool by pool.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.pools.iter().flat_map(|pool| &pool.agents)
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

/// The pool of a language's campaigns.
pub(crate) fn pool_of(language: &str) -> &'static str {
    let pool = POOLS.iter().find(|(_, _, languages, ..)| languages.contains(&language));
    pool.map(|(code, ..)| *code).expect("every language of the catalogue has a pool")
}

/// Somebody whom no hour and no number of leads keeps from taking one: a desk that is never empty.
fn always_there(username: String, languages: &[&'static str], leads: u32) -> Agent {
    let capacity = capacity_of(100, leads);
    Agent {
        username,
        weight: 1,
        languages: languages.to_vec(),
        shifts: Vec::new(),
        absences: Vec::new(),
        capacity,
        day_capacity: capacity,
    }
}

fn agent(
    mut rng: StdRng,
    username: String,
    languages: &[&'static str],
    (first, days): (NaiveDate, u32),
    leads: u32,
) -> Agent {
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
    let absences = absence(&mut rng, first, days).into_iter().collect();
    let mut draw = |percents: [u32; 4]| capacity_of(percents[rng.random_range(0..percents.len())], leads);
    let (capacity, day_capacity) = (draw(CAPACITY_PERCENTS), draw(DAY_CAPACITY_PERCENTS));
    Agent { username, weight, languages, shifts, absences, capacity, day_capacity }
}

/// So many percent of the leads, within what is sensible.
fn capacity_of(percent: u32, leads: u32) -> u32 {
    let share = u64::from(leads) * u64::from(percent) / 100;
    u32::try_from(share).unwrap_or(u32::MAX).clamp(CAPACITY_MIN, CAPACITY_MAX)
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
            let staff = Staff::new(seed, DateTime::UNIX_EPOCH, 3, 1_000);
            for agent in staff.agents() {
                assert!((1..=WEIGHT_MAX).contains(&agent.weight));
                assert!(agent.shifts.iter().all(|s| s.from_minute < s.to_minute && s.to_minute <= 1_440));
                assert!(agent.shifts.is_sorted_by_key(|s| s.weekday));
                assert!(agent.capacity >= CAPACITY_MIN && agent.day_capacity >= CAPACITY_MIN);
                let last = DateTime::UNIX_EPOCH.date_naive() + Days::new(2);
                assert!(agent.absences.iter().all(|away| away.from <= away.to && away.to <= last));
            }
            for pool in staff.pools {
                let is_always_open = pool.agents.iter().any(|agent| agent.shifts.is_empty());
                assert_eq!(is_always_open, [DEFAULT_POOL, "turkiye"].contains(&pool.code), "{}", pool.code);
            }
        }
    }

    #[test]
    fn shifts_and_absences_are_of_turkish_time() {
        let mut agent = always_there("a.agent1".to_owned(), &[], 10);
        // Thursday, 1 January 1970; 09:00 in Türkiye is 06:00.
        let at = |minutes: i64| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        assert!(agent.is_at_work(at(0)));
        agent.shifts = vec![Shift { weekday: 4, from_minute: 540, to_minute: 600 }];
        for (minutes, works) in [(359, false), (360, true), (419, true), (420, false)] {
            assert_eq!(agent.is_at_work(at(minutes)), works, "{minutes}");
        }
        let day = DateTime::UNIX_EPOCH.date_naive();
        assert_eq!(agent.openings(day).collect::<Vec<_>>(), [at(-180), at(360)]);
        agent.absences = vec![Absence { from: day, to: day }];
        assert!(!agent.is_at_work(at(360)));
        assert_eq!(agent.absences[0].span(), (at(-180), at(-180) + TimeDelta::days(1)));
    }
}
