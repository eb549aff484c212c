//! When leads come: by the hour, by the day of the week, and in bursts of a campaign.
//!
//! The days are cut into slots, each with a weight. Rows are spread over the weights in blocks: every block has its
//! even share of the weight, and its rows fall anywhere in that share. So the curves hold closely, arrivals still come
//! in clusters as chance has it, and nothing but one block is held in memory.
//!
//! **Invariant:** times never go back.

use std::cmp::Reverse;

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use rand::Rng;
use rand::rngs::StdRng;

use crate::catalogue::CAMPAIGNS;
use crate::seeds::{self, Stream};

/// How many leads come in each hour of the day, Turkish time, of a thousand.
pub const HOUR_SHARES: [u32; 24] =
    [24, 15, 9, 6, 5, 7, 13, 22, 34, 45, 52, 54, 55, 53, 51, 51, 52, 53, 56, 64, 75, 82, 75, 47];
/// How many leads come on each day of the week from Monday, of a hundred.
pub const DAY_SHARES: [u32; 7] = [15, 15, 14, 14, 13, 13, 16];
/// Turkish time is ahead of UTC by this, all year round since 2016.
pub const TURKISH_OFFSET_HOURS: i64 = 3;
/// In a burst so many times as many leads come.
pub const BURST_FACTOR: u32 = 12;
/// One burst in so many days, on average; at least one.
pub const BURST_EVERY_DAYS: u32 = 2;
/// The campaigns that have bursts: the first ones of the catalogue, all of one language.
const BURST_CAMPAIGNS: usize = 4;

const SLOT_MINUTES: i64 = 15;
const SLOT_SECONDS: i64 = SLOT_MINUTES * 60;
const SLOTS_PER_DAY: u64 = 24 * 60 / SLOT_MINUTES as u64;
/// The longest burst, in slots.
const BURST_SLOTS_MAX: u64 = 6;
const BURST_SLOTS_MIN: u64 = 2;
/// Weights are finer by this, so that the seconds of a quiet slot are all in use.
const GRAIN: u32 = 100;
/// Rows that share one even part of the weight.
const BLOCK_ROWS: u64 = 64;

/// An arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) at: DateTime<Utc>,
    /// The campaign that had its burst then, by its place in the catalogue.
    pub(crate) burst: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    weight: u32,
    burst: Option<u8>,
}

/// All arrivals of a file, in order.
pub(crate) struct Arrivals {
    start: DateTime<Utc>,
    slots: Vec<Slot>,
    /// Of all slots.
    weight: u128,
    rows: u64,
    /// Rows whose places are drawn.
    drawn: u64,
    /// Places on the line of weights, the next one last.
    block: Vec<u64>,
    slot: usize,
    /// Weight of the slots before `slot`.
    before: u64,
    rng: StdRng,
}

impl Arrivals {
    /// `days` is at least 1, and the last of them is a time that chrono knows.
    pub(crate) fn new(seed: u64, rows: u64, start: DateTime<Utc>, days: u32) -> Self {
        let mut slots: Vec<Slot> = (0..u64::from(days) * SLOTS_PER_DAY)
            .map(|n| Slot { weight: weight_at(slot_start(start, n)), burst: None })
            .collect();
        let mut rng = seeds::rng(seed, Stream::Bursts, 0);
        for _ in 0..(days / BURST_EVERY_DAYS).max(1) {
            let first = rng.random_range(0..slots.len() as u64);
            let length = rng.random_range(BURST_SLOTS_MIN..=BURST_SLOTS_MAX);
            let campaign = rng.random_range(0..BURST_CAMPAIGNS as u8);
            for slot in slots.iter_mut().skip(first as usize).take(length as usize) {
                if slot.burst.is_none() {
                    slot.weight *= BURST_FACTOR;
                }
                slot.burst = Some(campaign);
            }
        }
        let weight = slots.iter().map(|slot| u128::from(slot.weight)).sum();
        let rng = seeds::rng(seed, Stream::Arrivals, 0);
        Self { start, slots, weight, rows, drawn: 0, block: Vec::new(), slot: 0, before: 0, rng }
    }

    fn draw_block(&mut self) {
        let end = (self.drawn + BLOCK_ROWS).min(self.rows);
        let place = |row: u64| (self.weight * u128::from(row) / u128::from(self.rows)) as u64;
        let (from, to) = (place(self.drawn), place(end));
        let rng = &mut self.rng;
        self.block
            .extend((self.drawn..end).map(|_| if to > from { rng.random_range(from..to) } else { from }));
        self.block.sort_unstable_by_key(|place| Reverse(*place));
        self.drawn = end;
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        if self.block.is_empty() && self.drawn < self.rows {
            self.draw_block();
        }
        let place = self.block.pop()?;
        while place - self.before >= u64::from(self.slots[self.slot].weight) {
            self.before += u64::from(self.slots[self.slot].weight);
            self.slot += 1;
        }
        let slot = self.slots[self.slot];
        let seconds = (place - self.before) * SLOT_SECONDS as u64 / u64::from(slot.weight);
        let at = slot_start(self.start, self.slot as u64) + TimeDelta::seconds(seconds as i64);
        Some(Arrival { at, burst: slot.burst.map(usize::from) })
    }
}

fn slot_start(start: DateTime<Utc>, n: u64) -> DateTime<Utc> {
    start + TimeDelta::minutes(SLOT_MINUTES * n as i64)
}

fn weight_at(at: DateTime<Utc>) -> u32 {
    let local = at + TimeDelta::hours(TURKISH_OFFSET_HOURS);
    let day = local.weekday().num_days_from_monday() as usize;
    HOUR_SHARES[local.hour() as usize] * DAY_SHARES[day] * GRAIN
}

const _: () = assert!(BURST_CAMPAIGNS <= CAMPAIGNS.len());

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    const ROWS: u64 = 50_000;
    const WEEKS: u32 = 8;

    fn start() -> DateTime<Utc> {
        // A Monday's first moment in Türkiye.
        Utc.with_ymd_and_hms(2026, 1, 4, 21, 0, 0).unwrap()
    }

    fn arrivals() -> Vec<Arrival> {
        Arrivals::new(7, ROWS, start(), WEEKS * 7).collect()
    }

    #[test]
    fn shares_are_whole() {
        assert_eq!(HOUR_SHARES.iter().sum::<u32>(), 1_000);
        assert_eq!(DAY_SHARES.iter().sum::<u32>(), 100);
        assert!(CAMPAIGNS[..BURST_CAMPAIGNS].iter().all(|campaign| campaign.language == "tr"));
    }

    #[test]
    fn times_never_go_back_and_stay_within_the_days() {
        let all = arrivals();
        assert_eq!(all.len() as u64, ROWS);
        assert!(all.is_sorted_by_key(|arrival| arrival.at));
        assert!(all[0].at >= start());
        assert!(all[all.len() - 1].at < start() + TimeDelta::weeks(i64::from(WEEKS)));
    }

    #[test]
    fn hours_and_days_have_their_shares_outside_bursts() {
        let (mut hours, mut days, mut all) = ([0_u32; 24], [0_u32; 7], 0_u32);
        for arrival in arrivals().iter().filter(|arrival| arrival.burst.is_none()) {
            let local = arrival.at + TimeDelta::hours(TURKISH_OFFSET_HOURS);
            hours[local.hour() as usize] += 1;
            days[local.weekday().num_days_from_monday() as usize] += 1;
            all += 1;
        }
        for (hour, count) in hours.into_iter().enumerate() {
            let per_mille = f64::from(count) * 1_000.0 / f64::from(all);
            let due = f64::from(HOUR_SHARES[hour]);
            assert!((per_mille - due).abs() < 6.0, "hour {hour}: {per_mille} instead of {due}");
        }
        for (day, count) in days.into_iter().enumerate() {
            let percent = f64::from(count) * 100.0 / f64::from(all);
            let due = f64::from(DAY_SHARES[day]);
            assert!((percent - due).abs() < 1.5, "day {day}: {percent} instead of {due}");
        }
    }

    #[test]
    fn bursts_are_short_and_dense() {
        let made = Arrivals::new(7, ROWS, start(), WEEKS * 7);
        let bursting = made.slots.iter().filter(|slot| slot.burst.is_some()).count();
        assert!(bursting > 0 && bursting < made.slots.len() / 20);
        // Leads of a burst, and those that would have come without one: by the weight of its slots.
        let came = arrivals().iter().filter(|arrival| arrival.burst.is_some()).count() as f64;
        let plain = |n: usize| u128::from(weight_at(slot_start(start(), n as u64)));
        let in_bursts = (0..made.slots.len()).filter(|n| made.slots[*n].burst.is_some());
        let without = in_bursts.map(plain).sum::<u128>() as f64 * ROWS as f64 / made.weight as f64;
        let factor = came / without;
        assert!((factor / f64::from(BURST_FACTOR) - 1.0).abs() < 0.1, "{factor} times as many");
    }

    #[test]
    fn more_rows_than_seconds_still_have_their_times() {
        let all: Vec<Arrival> = Arrivals::new(7, 2_000_000, start(), 1).collect();
        assert_eq!(all.len(), 2_000_000);
        assert!(all.is_sorted_by_key(|arrival| arrival.at));
    }
}
