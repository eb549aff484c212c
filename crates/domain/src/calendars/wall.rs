//! The line of the wall clock: how many of its seconds are open, counted in closed form. Pure; knows no zones.
//!
//! The line is what a clock shows that nobody ever changes: its second 0 is 1970-01-01 00:00:00, each date has
//! 86,400 of them. What a change of clocks skips or repeats is the business of [`zone`](super::zone).
//!
//! **Invariant:** counting costs the same however long the span is: weeks are multiplied, special dates were
//! added up beforehand and are found by halving.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};

use super::{Block, Holiday};
use crate::distribution::eligibility::DAY_MINUTES;

/// Seconds of a date on the wall clock.
const DAY_SECONDS: i64 = DAY_MINUTES as i64 * 60;
/// Days of a week.
const WEEK_DAYS: i64 = 7;
/// Day 0 is a Thursday: so many days after a Monday.
const DAY_ZERO_AFTER_MONDAY: i64 = 3;
/// 1970-01-01 in chrono's count of days.
const DAY_ZERO_FROM_CE: i64 = 719_163;

/// Minutes of a date, half-open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: u16,
    to: u16,
}

impl Span {
    const fn seconds(self) -> i64 {
        (self.to - self.from) as i64 * 60
    }

    /// What of this span comes before that second of the date.
    fn seconds_before(self, second: i64) -> i64 {
        (second - i64::from(self.from) * 60).clamp(0, self.seconds())
    }

    /// What is left of this span without the other.
    fn without(self, closed: Self) -> impl Iterator<Item = Self> {
        let before = Self { from: self.from, to: self.to.min(closed.from) };
        let after = Self { from: self.from.max(closed.to), to: self.to };
        [before, after].into_iter().filter(|span| span.from < span.to)
    }
}

/// A date that is not as its weekday.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SpecialDay {
    day: i64,
    /// What is open; sorted, apart.
    open: Vec<Span>,
    /// Seconds by which this and all earlier special dates are open less than their weekdays.
    lost_through: i64,
}

/// Which seconds of the line are open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wall {
    /// From Monday on; the spans of each are sorted and apart.
    week: [Vec<Span>; WEEK_DAYS as usize],
    /// Open seconds of a week before each of its days, and at last those of all of it.
    begun: [i64; WEEK_DAYS as usize + 1],
    /// Sorted by day.
    special: Vec<SpecialDay>,
}

impl Wall {
    /// From blocks that are sorted and apart (none at all means around the clock) and from holidays in any order,
    /// which may overlap.
    pub fn new(blocks: &[Block], holidays: &[Holiday]) -> Self {
        let mut week: [Vec<Span>; WEEK_DAYS as usize] = Default::default();
        for block in blocks {
            let span = Span { from: block.starts_minute, to: block.ends_minute };
            week[usize::from(block.weekday) - 1].push(span);
        }
        if blocks.is_empty() {
            week.fill(vec![Span { from: 0, to: DAY_MINUTES }]);
        }
        let mut open_on: BTreeMap<i64, Vec<Span>> = BTreeMap::new();
        for holiday in holidays {
            let day = day_of(holiday.day);
            let open = open_on.entry(day).or_insert_with(|| week[weekday(day)].clone());
            let closed = Span { from: holiday.closed_from_minute, to: holiday.closed_to_minute };
            *open = open.iter().flat_map(|span| span.without(closed)).collect();
        }
        let mut lost_through = 0;
        let special = open_on.into_iter().map(|(day, open)| {
            lost_through += total(&week[weekday(day)]) - total(&open);
            SpecialDay { day, open, lost_through }
        });
        let special = special.collect();
        let mut begun = [0; WEEK_DAYS as usize + 1];
        for (day, spans) in week.iter().enumerate() {
            begun[day + 1] = begun[day] + total(spans);
        }
        Self { week, begun, special }
    }

    /// Whether this second is open.
    pub fn is_open(&self, second: i64) -> bool {
        let minute = second.rem_euclid(DAY_SECONDS) / 60;
        let has = |span: &Span| (i64::from(span.from)..i64::from(span.to)).contains(&minute);
        self.open_on(second.div_euclid(DAY_SECONDS)).iter().any(has)
    }

    /// Open seconds before this one, less a number that is the same for every second: only differences mean
    /// something.
    pub fn open_before(&self, second: i64) -> i64 {
        let day = second.div_euclid(DAY_SECONDS);
        let in_day = second.rem_euclid(DAY_SECONDS);
        let today: i64 = self.open_on(day).iter().map(|span| span.seconds_before(in_day)).sum();
        self.open_before_day(day) + today
    }

    /// The earliest second before which so many are open, as [`Self::open_before`] counts them. More are open
    /// before `to` than before `from`, and `count` is more than what is open before `from` and at most what is
    /// open before `to`.
    pub fn second_after(&self, count: i64, from: i64, to: i64) -> i64 {
        // The day in which the last of them is: the last one before which there are too few.
        let (mut day, mut beyond) = (from.div_euclid(DAY_SECONDS), to.div_euclid(DAY_SECONDS) + 1);
        while beyond - day > 1 {
            let middle = i64::midpoint(day, beyond);
            if self.open_before_day(middle) < count {
                day = middle;
            } else {
                beyond = middle;
            }
        }
        let mut rest = count - self.open_before_day(day);
        let mut second = day * DAY_SECONDS;
        for span in self.open_on(day) {
            second = day * DAY_SECONDS + i64::from(span.from) * 60 + rest.min(span.seconds());
            rest -= span.seconds();
            if rest <= 0 {
                break;
            }
        }
        second
    }

    /// What is open on a day.
    fn open_on(&self, day: i64) -> &[Span] {
        match self.special.binary_search_by_key(&day, |special| special.day) {
            Ok(found) => &self.special[found].open,
            Err(_) => &self.week[weekday(day)],
        }
    }

    /// As [`Self::open_before`], for a day's first second.
    fn open_before_day(&self, day: i64) -> i64 {
        let weeks = (day + DAY_ZERO_AFTER_MONDAY).div_euclid(WEEK_DAYS);
        let earlier = self.special.partition_point(|special| special.day < day);
        let lost = earlier.checked_sub(1).map_or(0, |last| self.special[last].lost_through);
        weeks * self.begun[WEEK_DAYS as usize] + self.begun[weekday(day)] - lost
    }
}

/// The day of a date: 0 is 1970-01-01.
fn day_of(date: NaiveDate) -> i64 {
    i64::from(date.num_days_from_ce()) - DAY_ZERO_FROM_CE
}

/// Days since Monday.
fn weekday(day: i64) -> usize {
    (day + DAY_ZERO_AFTER_MONDAY).rem_euclid(WEEK_DAYS) as usize
}

fn total(spans: &[Span]) -> i64 {
    spans.iter().map(|span| span.seconds()).sum()
}
