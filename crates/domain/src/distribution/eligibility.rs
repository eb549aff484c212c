//! When a member works: hours, absences, and the next moment at which time alone may make somebody eligible. Pure.
//!
//! Working hours are read on the wall clock of the member's own zone: on the day on which clocks go back a block
//! may be open twice, on the day on which they go forward it may be shorter or not open at all.
//!
//! **Invariant:** hours, absences and blocks are half-open: they include their start and not their end.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::routing::Exclusion;

/// Minutes of a day on the wall clock.
pub const DAY_MINUTES: u16 = 1440;

/// How far ahead a shift is looked for: two weeks, because a weekly block may fall into the hour that a change of
/// clocks leaves out.
const SHIFT_SEARCH_DAYS: u64 = 15;

/// How often the search for the next opening moves on (over absences, closed hours and days) before it answers
/// with the moment that it has reached, which is then only looked at again.
const OPENING_STEPS_MAX: usize = 64;

/// One stretch of working time on one weekday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// ISO: 1 is Monday, 7 is Sunday.
    pub weekday: u8,
    /// Minutes from midnight.
    pub starts_minute: u16,
    /// Minutes from midnight, at most 1440; not included.
    pub ends_minute: u16,
}

impl Block {
    /// Of its stored columns: weekday, start, end.
    pub(crate) const fn from_columns(weekday: i16, starts: i16, ends: i16) -> Self {
        Self { weekday: weekday as u8, starts_minute: starts as u16, ends_minute: ends as u16 }
    }

    /// Blocks as columns to store: weekdays, starts, ends.
    pub(crate) fn columns(blocks: &[Self]) -> (Vec<i16>, Vec<i16>, Vec<i16>) {
        let column = |of: fn(&Self) -> i16| blocks.iter().map(of).collect();
        (
            column(|block| i16::from(block.weekday)),
            column(|block| block.starts_minute as i16),
            column(|block| block.ends_minute as i16),
        )
    }

    fn has(self, weekday: u8, minute: u16) -> bool {
        self.weekday == weekday && self.starts_minute <= minute && minute < self.ends_minute
    }
}

/// When somebody works.
#[derive(Debug, Clone)]
pub struct Hours {
    /// The zone of the wall clock.
    pub zone: Tz,
    /// In any order; none at all means always.
    pub blocks: Vec<Block>,
}

impl Hours {
    /// Whether this moment is working time.
    pub fn is_open(&self, at: DateTime<Utc>) -> bool {
        if self.blocks.is_empty() {
            return true;
        }
        let local = at.with_timezone(&self.zone);
        let minute = (local.hour() * 60 + local.minute()) as u16;
        let weekday = local.weekday().number_from_monday() as u8;
        self.blocks.iter().any(|block| block.has(weekday, minute))
    }

    /// The earliest working moment that is not before this one; `None` when there is none within two weeks.
    pub fn next_open(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.is_open(from) {
            return Some(from);
        }
        let today = from.with_timezone(&self.zone).date_naive();
        let first = today.checked_sub_days(Days::new(1))?;
        // Shut becomes open only where a block starts on the wall clock or where the clock itself jumps.
        let dates = (0..=SHIFT_SEARCH_DAYS).filter_map(|ahead| first.checked_add_days(Days::new(ahead)));
        let edges = dates.flat_map(|date| {
            let mut edges = self.starts_on(date);
            edges.extend(clock_change_near(self.zone, date));
            edges
        });
        edges.filter(|&edge| edge >= from && self.is_open(edge)).min()
    }

    /// The moments at which the wall clock shows the start of a block on this date.
    fn starts_on(&self, date: NaiveDate) -> Vec<DateTime<Utc>> {
        let weekday = date.weekday().number_from_monday() as u8;
        let mut starts = Vec::new();
        for block in self.blocks.iter().filter(|block| block.weekday == weekday) {
            let minute = u32::from(block.starts_minute);
            let time =
                NaiveTime::from_hms_opt(minute / 60, minute % 60, 0).expect("a block starts before 24:00");
            let shown = self.zone.from_local_datetime(&date.and_time(time));
            starts.extend(shown.earliest().into_iter().chain(shown.latest()).map(|at| at.to_utc()));
        }
        starts
    }

    /// The date on the wall clock.
    pub fn local_date(&self, at: DateTime<Utc>) -> NaiveDate {
        at.with_timezone(&self.zone).date_naive()
    }

    /// The first moment of the next date on the wall clock.
    fn next_day(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.local_date(at).succ_opt()?;
        let midnight = next.and_time(NaiveTime::MIN);
        match self.zone.from_local_datetime(&midnight).earliest() {
            Some(first) => Some(first.to_utc()),
            // Midnight is in the hour that is left out: the date begins where the clock jumps, some time before
            // or on that date, or the whole date is left out.
            None => clock_change_near(self.zone, self.local_date(at))
                .or_else(|| clock_change_near(self.zone, next)),
        }
    }
}

/// The moment on this date, or some hours before or after it, at which the zone's offset changes, if it does: found
/// by halving the time in between. No zone changes its clocks twice within that time.
fn clock_change_near(zone: Tz, date: NaiveDate) -> Option<DateTime<Utc>> {
    let noon = date.and_hms_opt(12, 0, 0).expect("noon is a time").and_utc();
    let offset = |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc());
    let fixed = |at| chrono::Offset::fix(&offset(at));
    // Wide enough for every offset from UTC.
    let (mut before, mut after) = (noon - TimeDelta::hours(26), noon + TimeDelta::hours(26));
    let old = fixed(before);
    if old == fixed(after) {
        return None;
    }
    while after - before > TimeDelta::minutes(1) {
        let middle = before + TimeDelta::minutes((after - before).num_minutes() / 2);
        if fixed(middle) == old {
            before = middle;
        } else {
            after = middle;
        }
    }
    Some(after)
}

/// What decides whether somebody takes leads at a time, whatever the capacity.
#[derive(Debug, Clone)]
pub struct Availability {
    /// The account is switched on.
    pub active: bool,
    /// Working hours; `None` when the stored zone is none that is known.
    pub hours: Option<Hours>,
    /// Half-open; in any order.
    pub absences: Vec<(DateTime<Utc>, DateTime<Utc>)>,
}

impl Availability {
    /// Why nobody of this availability takes leads at this time.
    pub fn exclusion(&self, at: DateTime<Utc>) -> Option<Exclusion> {
        if !self.active {
            return Some(Exclusion::Inactive);
        }
        let Some(hours) = &self.hours else { return Some(Exclusion::UnknownZone) };
        if self.absence_end(at).is_some() {
            return Some(Exclusion::Absent);
        }
        (!hours.is_open(at)).then_some(Exclusion::OutsideHours)
    }

    /// The date on the wall clock of this availability; UTC's when the zone is unknown.
    pub fn local_date(&self, at: DateTime<Utc>) -> NaiveDate {
        self.hours.as_ref().map_or_else(|| at.date_naive(), |hours| hours.local_date(at))
    }

    /// The earliest moment from which time alone makes this availability one that takes leads: at work, not away
    /// and, where `day_is_full`, on a later date than the present one. `None`: time alone never does.
    pub fn next_opening(&self, now: DateTime<Utc>, day_is_full: bool) -> Option<DateTime<Utc>> {
        let hours = self.hours.as_ref().filter(|_| self.active)?;
        let mut at = if day_is_full { hours.next_day(now)? } else { now };
        for _ in 0..OPENING_STEPS_MAX {
            let open = hours.next_open(self.absence_end(at).unwrap_or(at))?;
            if open == at {
                break;
            }
            at = open;
        }
        Some(at)
    }

    fn absence_end(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.absences.iter().filter(|(from, to)| *from <= at && at < *to).map(|(_, to)| *to).max()
    }
}
