//! The business calendar: which moments are business time, and how much of it lies between two moments. Pure.
//!
//! A moment is open exactly when the minute that the wall clock of the calendar's zone shows then lies in an open
//! block of the date that it shows, and in nothing that a holiday closes. So an hour that is shown twice counts
//! twice, and an hour that is left out counts for nothing.
//!
//! Business time is counted in whole seconds: a moment within a second counts as the second's start.
//!
//! **Invariant:** no step a second, a minute or a day. Whatever the span, a calculation takes one step for each
//! time that the clocks are changed within it; weeks are multiplied, holidays were added up beforehand.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sira_kernel::zone::{Zone, known};

use super::wall::Wall;
use super::{Block, CalendarError};
use crate::distribution::eligibility::DAY_MINUTES;

/// Most blocks of a week.
pub const BLOCKS_MAX: usize = 70;
/// Most holidays of a calendar.
pub const HOLIDAYS_MAX: usize = 2000;
/// Longest name of a holiday, in characters, in either language.
pub const HOLIDAY_NAME_CHARS_MAX: usize = 120;
/// How far ahead business time is looked for, in days: a hundred years. More than all holidays of a calendar can
/// close, were they the same weekday of successive weeks.
pub const HORIZON_DAYS: i64 = 36_525;

/// Years in which a holiday may be.
const HOLIDAY_YEARS: RangeInclusive<i32> = 1..=9999;
/// Seconds of a day of 24 hours.
const DAY_SECONDS: i64 = 86_400;

/// A date, or a part of it, on which a calendar is closed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holiday {
    /// The date on the wall clock.
    pub day: NaiveDate,
    /// Minutes from midnight; 0 for a whole date.
    pub closed_from_minute: u16,
    /// Minutes from midnight, at most 1440; not included.
    pub closed_to_minute: u16,
    /// What it is called in Turkish.
    pub name_tr: String,
    /// What it is called in English.
    pub name_en: String,
}

/// When a business is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    zone: Zone,
    blocks: Vec<Block>,
    holidays: Vec<Holiday>,
    wall: Wall,
}

impl Calendar {
    /// Of a zone by its IANA name, weekly blocks and holidays, in any order. No block at all means around the clock,
    /// as for a person's working hours; holidays still close what they say. Holidays of one date may overlap: closed
    /// is what any of them closes.
    ///
    /// # Errors
    /// [`CalendarError::UnknownZone`], [`CalendarError::TooManyBlocks`], [`CalendarError::BlockOutOfRange`],
    /// [`CalendarError::BlocksOverlap`], [`CalendarError::TooManyHolidays`], [`CalendarError::HolidayOutOfRange`],
    /// and [`CalendarError::HolidayTwice`] for two of one date that begin at the same minute.
    pub fn new(
        zone: &str,
        mut blocks: Vec<Block>,
        mut holidays: Vec<Holiday>,
    ) -> Result<Self, CalendarError> {
        let zone = Zone::find(zone).ok_or_else(|| CalendarError::UnknownZone(zone.to_owned()))?;
        blocks.sort_unstable();
        check_blocks(&blocks)?;
        holidays.sort_unstable();
        check_holidays(&holidays)?;
        let wall = Wall::new(&blocks, &holidays);
        Ok(Self { zone, blocks, holidays, wall })
    }

    /// The IANA name of the zone.
    pub fn zone(&self) -> &str {
        self.zone.name()
    }

    /// The weekly blocks, by weekday and start.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The holidays, by date and start.
    pub fn holidays(&self) -> &[Holiday] {
        &self.holidays
    }

    /// Whether this moment is business time.
    pub fn is_open(&self, at: DateTime<Utc>) -> bool {
        self.wall.is_open(self.zone.shown_at(second_of(at)))
    }

    /// The earliest moment of business time that is not before this one; `None` when there is none within
    /// [`HORIZON_DAYS`].
    pub fn next_open(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.is_open(from) {
            return Some(from);
        }
        moment_of(self.end_of_open(second_of(from), 1)? - 1)
    }

    /// Seconds of business time from one moment to another: as many, but negative, when the other is the earlier
    /// one. `open_between(a, b) + open_between(b, c)` is always `open_between(a, c)`.
    ///
    /// Moments outside of the years -9999 to 9999 count as the nearest within.
    pub fn open_between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
        let (from, to) = (second_of(from), second_of(to));
        if to < from { -self.open_from(to, from) } else { self.open_from(from, to) }
    }

    /// When so many seconds of business time have passed since a moment: the earliest moment that is not before
    /// `from` and has `open_between(from, it) == seconds`. What is used up at closing time is due at closing time,
    /// not at the next opening. Nothing, or less, has passed at once: the answer is `from` itself, open or not.
    ///
    /// `None` when that is more than [`HORIZON_DAYS`] after `from`, or after the year 9999.
    pub fn add_open(&self, from: DateTime<Utc>, seconds: i64) -> Option<DateTime<Utc>> {
        if seconds <= 0 {
            return Some(from);
        }
        moment_of(self.end_of_open(second_of(from), seconds)?)
    }

    /// Open seconds from a moment to a later one.
    fn open_from(&self, from: i64, to: i64) -> i64 {
        let open = self.zone.stretches(from, to).map(|stretch| {
            let (from, to) = stretch.shown();
            self.wall.open_before(to) - self.wall.open_before(from)
        });
        open.sum()
    }

    /// The end of the open second of this number, counted from 1, since a moment.
    fn end_of_open(&self, from: i64, number: i64) -> Option<i64> {
        let mut rest = number;
        for stretch in self.zone.stretches(from, known(from + HORIZON_DAYS * DAY_SECONDS)) {
            let (from, to) = stretch.shown();
            let before = self.wall.open_before(from);
            let open = self.wall.open_before(to) - before;
            if rest <= open {
                return Some(stretch.moment(self.wall.second_after(before + rest, from, to)));
            }
            rest -= open;
        }
        None
    }
}

/// Blocks are in order.
fn check_blocks(blocks: &[Block]) -> Result<(), CalendarError> {
    if blocks.len() > BLOCKS_MAX {
        return Err(CalendarError::TooManyBlocks);
    }
    let sound = |block: &Block| {
        (1..=7).contains(&block.weekday)
            && block.starts_minute < block.ends_minute
            && block.ends_minute <= DAY_MINUTES
    };
    if let Some(block) = blocks.iter().find(|block| !sound(block)) {
        return Err(CalendarError::BlockOutOfRange { weekday: block.weekday });
    }
    let overlap =
        |pair: &&[Block]| pair[0].weekday == pair[1].weekday && pair[1].starts_minute < pair[0].ends_minute;
    match blocks.windows(2).find(overlap) {
        Some(pair) => Err(CalendarError::BlocksOverlap { weekday: pair[0].weekday }),
        None => Ok(()),
    }
}

/// Holidays are in order.
fn check_holidays(holidays: &[Holiday]) -> Result<(), CalendarError> {
    if holidays.len() > HOLIDAYS_MAX {
        return Err(CalendarError::TooManyHolidays);
    }
    let named = |name: &str| !name.trim().is_empty() && name.chars().count() <= HOLIDAY_NAME_CHARS_MAX;
    let sound = |holiday: &Holiday| {
        HOLIDAY_YEARS.contains(&holiday.day.year())
            && holiday.closed_from_minute < holiday.closed_to_minute
            && holiday.closed_to_minute <= DAY_MINUTES
            && named(&holiday.name_tr)
            && named(&holiday.name_en)
    };
    if let Some(holiday) = holidays.iter().find(|holiday| !sound(holiday)) {
        return Err(CalendarError::HolidayOutOfRange { day: holiday.day });
    }
    let start = |holiday: &Holiday| (holiday.day, holiday.closed_from_minute);
    match holidays.windows(2).find(|pair| start(&pair[0]) == start(&pair[1])) {
        Some(pair) => Err(CalendarError::HolidayTwice { day: pair[0].day }),
        None => Ok(()),
    }
}

/// Seconds since 1970-01-01 00:00 UTC.
fn second_of(at: DateTime<Utc>) -> i64 {
    known(at.timestamp())
}

fn moment_of(second: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(second, 0)
}
