//! The claims of the calendar's pure core, over random calendars and moments, against oracles that count: one that
//! looks at every second, and for long spans one that looks at every date. Their zones come from another library.

use std::sync::OnceLock;

use chrono::{DateTime, Datelike, Days, NaiveDate, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Block, Calendar, Holiday, Stopwatch};
use crate::distribution::eligibility::Hours;

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;
/// Longest span in which every second is looked at.
const WINDOW_S: i64 = 3 * DAY_S;
/// Longest budget where nothing is counted.
const BUDGET_MAX_S: i64 = 60 * DAY_S;

/// With changes by an hour and by half of one, at night and at midnight, with none, and with a date left out.
const ZONES: [Tz; 8] = [
    Tz::Europe__Istanbul,
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::America__Sao_Paulo,
    Tz::Australia__Lord_Howe,
    Tz::Asia__Kolkata,
    Tz::Pacific__Apia,
    Tz::UTC,
];

/// The moments of the tests: 2007 to 2026. Laws of later years may still change in one library before the other.
const FIRST_S: i64 = 1_167_609_600;
const LAST_S: i64 = 1_798_761_600;

/// Hours in which a zone changed its clocks.
fn changes(zone: usize) -> &'static [i64] {
    static CHANGES: OnceLock<Vec<Vec<i64>>> = OnceLock::new();
    let all = CHANGES.get_or_init(|| {
        let of = |zone: &Tz| {
            let ahead = |at: i64| zone.offset_from_utc_datetime(&moment(at).naive_utc()).fix();
            let hours = (FIRST_S..LAST_S).step_by(HOUR_S as usize);
            hours.filter(|&at| ahead(at) != ahead(at + HOUR_S)).collect()
        };
        ZONES.iter().map(of).collect()
    });
    &all[zone]
}

fn moment(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

/// A calendar as its definition has it.
#[derive(Debug, Clone)]
struct Oracle {
    zone: Tz,
    blocks: Vec<Block>,
    holidays: Vec<Holiday>,
}

impl Oracle {
    fn calendar(&self) -> Calendar {
        Calendar::new(self.zone.name(), self.blocks.clone(), self.holidays.clone()).unwrap()
    }

    fn is_open(&self, second: i64) -> bool {
        let shown = moment(second).with_timezone(&self.zone);
        self.shows_open(shown.date_naive(), (shown.hour() * 60 + shown.minute()) as u16)
    }

    fn shows_open(&self, date: NaiveDate, minute: u16) -> bool {
        let weekday = date.weekday().number_from_monday() as u8;
        let in_block = |block: &Block| {
            block.weekday == weekday && block.starts_minute <= minute && minute < block.ends_minute
        };
        let closes = |holiday: &Holiday| {
            holiday.day == date && holiday.closed_from_minute <= minute && minute < holiday.closed_to_minute
        };
        (self.blocks.is_empty() || self.blocks.iter().any(in_block)) && !self.holidays.iter().any(closes)
    }

    /// Open seconds from one moment to a later one, date by date where a date has 24 hours, else by the second.
    fn open_by_dates(&self, from: i64, to: i64) -> i64 {
        let mut at = from;
        let mut open = 0;
        while at < to {
            let shown = moment(at).with_timezone(&self.zone);
            let tomorrow = moment(at + DAY_S).with_timezone(&self.zone);
            let is_plain = shown.num_seconds_from_midnight() == 0
                && tomorrow.num_seconds_from_midnight() == 0
                && tomorrow.date_naive() == shown.date_naive() + Days::new(1)
                && shown.offset().fix() == tomorrow.offset().fix();
            if is_plain && at + DAY_S <= to {
                let is_open = |minute: &u16| self.shows_open(shown.date_naive(), *minute);
                open += 60 * (0..1440).filter(is_open).count() as i64;
                at += DAY_S;
            } else {
                open += i64::from(self.is_open(at));
                at += 1;
            }
        }
        open
    }
}

/// Every second of a window.
struct Counted {
    from: i64,
    /// Open seconds of the window before each of its seconds, and at last in all.
    before: Vec<i64>,
}

impl Counted {
    fn new(oracle: &Oracle, from: i64, length: i64) -> Self {
        let mut before = vec![0];
        for second in from..from + length {
            before.push(before[before.len() - 1] + i64::from(oracle.is_open(second)));
        }
        Self { from, before }
    }

    /// The place in the window of a random number.
    fn place(&self, random: u32) -> usize {
        random as usize % self.before.len()
    }

    fn at(&self, place: usize) -> DateTime<Utc> {
        moment(self.from + place as i64)
    }

    fn all(&self) -> i64 {
        self.before[self.before.len() - 1]
    }

    /// The first second of the window before which so many of the window are open.
    fn reached(&self, count: i64) -> Option<DateTime<Utc>> {
        let place = self.before.partition_point(|&before| before < count);
        (place < self.before.len()).then(|| self.at(place))
    }
}

fn minutes() -> impl Strategy<Value = (u16, u16)> {
    let anywhere = (0_u16..1440, 1_u16..=1440);
    // Where clocks are changed.
    let at_night = (0_u16..240, 1_u16..=120);
    prop_oneof![anywhere, at_night].prop_map(|(from, length)| (from, (from + length).min(1440)))
}

fn blocks() -> impl Strategy<Value = Vec<Block>> {
    vec((1_u8..=7, minutes()), 0..20).prop_map(|wanted| {
        let block = |(weekday, (starts_minute, ends_minute))| Block { weekday, starts_minute, ends_minute };
        let mut blocks: Vec<Block> = wanted.into_iter().map(block).collect();
        blocks.sort_unstable();
        // The later one of two that overlap goes.
        let mut apart: Vec<Block> = Vec::new();
        for block in blocks {
            let last = apart.last().filter(|last| last.weekday == block.weekday);
            if last.is_none_or(|last| last.ends_minute <= block.starts_minute) {
                apart.push(block);
            }
        }
        apart
    })
}

/// Closed minutes of dates that are so many days from a first one.
fn closed(days: u64) -> impl Strategy<Value = Vec<(u64, (u16, u16))>> {
    let minutes = prop_oneof![Just((0, 1440)), Just((780, 1440)), minutes()];
    vec((0..days, minutes), 0..6)
}

fn holidays(first: NaiveDate, closed: Vec<(u64, (u16, u16))>) -> Vec<Holiday> {
    let named = |(ahead, (closed_from_minute, closed_to_minute))| Holiday {
        day: first + Days::new(ahead),
        closed_from_minute,
        closed_to_minute,
        name_tr: "Tatil".into(),
        name_en: "Holiday".into(),
    };
    let mut holidays: Vec<Holiday> = closed.into_iter().map(named).collect();
    holidays.sort_unstable();
    holidays.dedup_by_key(|holiday| (holiday.day, holiday.closed_from_minute));
    holidays
}

/// A calendar and the beginning of a window, mostly shortly before a change of clocks, with holidays on its dates
/// and on those just outside of it.
fn near_a_change() -> impl Strategy<Value = (Oracle, i64)> {
    let place = (0..ZONES.len(), any::<u32>(), 0..2 * DAY_S, prop::bool::weighted(0.8));
    (place, blocks(), closed(6)).prop_map(|((zone, random, ahead, wants_change), blocks, closed)| {
        let changes = changes(zone);
        let from = if wants_change && !changes.is_empty() {
            changes[random as usize % changes.len()] - ahead
        } else {
            FIRST_S + i64::from(random) % (LAST_S - FIRST_S)
        };
        let first = moment(from).with_timezone(&ZONES[zone]).date_naive() - Days::new(1);
        (Oracle { zone: ZONES[zone], blocks, holidays: holidays(first, closed) }, from)
    })
}

/// A calendar with holidays in the first years of the tests, and moments that may be decades apart.
fn far_apart() -> impl Strategy<Value = (Oracle, [i64; 3])> {
    let moments = prop::array::uniform3(FIRST_S - 20_000 * DAY_S..LAST_S + 20_000 * DAY_S);
    (0..ZONES.len(), blocks(), closed(2000), moments).prop_map(|(zone, blocks, closed, moments)| {
        let holidays = holidays(moment(FIRST_S).date_naive(), closed);
        (Oracle { zone: ZONES[zone], blocks, holidays }, moments)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn business_time_is_what_counting_seconds_says(
        (oracle, from) in near_a_change(),
        pairs in vec(any::<(u32, u32)>(), 40),
    ) {
        let (calendar, counted) = (oracle.calendar(), Counted::new(&oracle, from, WINDOW_S));
        for (a, b) in pairs {
            let (a, b) = (counted.place(a), counted.place(b));
            let open = counted.before[b] - counted.before[a];
            prop_assert_eq!(calendar.open_between(counted.at(a), counted.at(b)), open);
            prop_assert_eq!(calendar.is_open(counted.at(a)), oracle.is_open(from + a as i64));
        }
        for second in (from..from + WINDOW_S).step_by(59) {
            prop_assert_eq!(calendar.is_open(moment(second)), oracle.is_open(second), "{}", second);
        }
    }

    #[test]
    fn the_moment_at_which_time_is_used_up_is_the_earliest(
        (oracle, from) in near_a_change(),
        pairs in vec(any::<(u32, u32)>(), 40),
    ) {
        let (calendar, counted) = (oracle.calendar(), Counted::new(&oracle, from, WINDOW_S));
        let end = moment(from + WINDOW_S);
        for (a, b) in pairs {
            let (a, b) = (counted.place(a), counted.place(b));
            let (start, before) = (counted.at(a.min(b)), counted.before[a.min(b)]);
            match counted.reached(before + 1).map(|reached| reached - TimeDelta::seconds(1)) {
                Some(next) => prop_assert_eq!(calendar.next_open(start), Some(next)),
                None => prop_assert!(calendar.next_open(start).is_some_and(|open| open >= end)),
            }
            // Where the other place is closed, all of a block is used up.
            for seconds in [counted.before[a.max(b)] - before, counted.all() - before + 1] {
                let due = calendar.add_open(start, seconds);
                match counted.reached(before + seconds) {
                    _ if seconds == 0 => prop_assert_eq!(due, Some(start)),
                    Some(reached) => prop_assert_eq!(due, Some(reached)),
                    None => prop_assert!(due.is_some_and(|due| due > end)),
                }
            }
        }
    }

    #[test]
    fn a_stopwatch_uses_up_the_open_seconds_in_which_it_runs(
        (oracle, from) in near_a_change(),
        mut turns in vec((any::<u32>(), any::<bool>()), 1..12),
        asked in any::<u32>(),
        budget_s in 0..WINDOW_S,
    ) {
        let (calendar, counted) = (oracle.calendar(), Counted::new(&oracle, from, WINDOW_S));
        for turn in &mut turns {
            turn.0 = counted.place(turn.0) as u32;
        }
        turns.sort_unstable();
        let mut watch = Stopwatch::started(counted.at(0));
        let (mut runs, mut used, mut since) = (true, 0, 0);
        for (place, resumes) in turns {
            let place = place as usize;
            if runs && !resumes {
                used += counted.before[place] - counted.before[since];
            }
            if resumes { watch.resume(counted.at(place)) } else { watch.pause(&calendar, counted.at(place)) }
            since = if runs && resumes { since } else { place };
            runs = resumes;
        }
        let asked = since + asked as usize % (counted.before.len() - since);
        let now = if runs { counted.before[asked] - counted.before[since] } else { 0 };
        prop_assert_eq!(watch.consumed(&calendar, counted.at(asked)), used + now);
        let due = watch.due(&calendar, budget_s);
        if !runs {
            prop_assert_eq!(due, None);
        } else if budget_s <= used {
            prop_assert_eq!(due, Some(counted.at(since)));
        } else if let Some(reached) = counted.reached(counted.before[since] + budget_s - used) {
            prop_assert_eq!(due, Some(reached));
        } else {
            prop_assert!(due.is_some_and(|due| due > moment(from + WINDOW_S)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn business_time_adds_up((oracle, moments) in far_apart(), parts in prop::array::uniform3(0_i64..1000)) {
        let calendar = oracle.calendar();
        let part = |index: usize| moment(moments[index]) + TimeDelta::milliseconds(parts[index]);
        let (a, b, c) = (part(0), part(1), part(2));
        let sum = calendar.open_between(a, b) + calendar.open_between(b, c);
        prop_assert_eq!(sum, calendar.open_between(a, c));
        prop_assert_eq!(calendar.open_between(b, a), -calendar.open_between(a, b));
        prop_assert_eq!(calendar.open_between(a, a), 0);
    }

    #[test]
    fn budgets_add_up((oracle, [from, ..]) in far_apart(), first in 0..BUDGET_MAX_S, second in 0..BUDGET_MAX_S, part in 0_i64..1000) {
        let calendar = oracle.calendar();
        let from = moment(from) + TimeDelta::milliseconds(part);
        let at_once = calendar.add_open(from, first + second);
        let stepwise = calendar.add_open(from, first).and_then(|reached| calendar.add_open(reached, second));
        // Only beyond the horizon of the one is there nothing.
        prop_assert_eq!(at_once, stepwise.filter(|_| at_once.is_some()));
        if let Some(reached) = at_once.filter(|_| first + second > 0) {
            prop_assert!(reached > from);
            prop_assert_eq!(calendar.open_between(from, reached), first + second);
            let earlier = reached - TimeDelta::seconds(1);
            prop_assert_eq!(calendar.open_between(from, earlier.max(from)), first + second - 1);
        }
    }

    #[test]
    fn a_calendar_without_holidays_is_as_a_persons_hours((oracle, from) in near_a_change(), ahead in 0..WINDOW_S) {
        let Oracle { zone, blocks, .. } = oracle;
        let calendar = Calendar::new(zone.name(), blocks.clone(), vec![]).unwrap();
        let (hours, at) = (Hours { zone, blocks }, moment(from + ahead));
        prop_assert_eq!(calendar.is_open(at), hours.is_open(at));
        // Hours look ahead for two weeks, a calendar for as long as it takes.
        if let Some(open) = hours.next_open(at) {
            prop_assert_eq!(calendar.next_open(at), Some(open));
        }
    }

    #[test]
    fn the_next_opening_is_open_and_nothing_before_it_is((oracle, [from, ..]) in far_apart()) {
        let calendar = oracle.calendar();
        let from = moment(from);
        let open = calendar.next_open(from);
        prop_assert!(open.is_some_and(|open| calendar.is_open(open)));
        prop_assert_eq!(open.map(|open| calendar.open_between(from, open)), Some(0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn business_time_of_years_is_what_counting_dates_says(
        zone in 0..ZONES.len(),
        blocks in blocks(),
        closed in closed(2000),
        from in FIRST_S..LAST_S - 2000 * DAY_S,
        days in 1..2000_i64,
        seconds in 0..DAY_S,
    ) {
        let first = moment(from).with_timezone(&ZONES[zone]).date_naive();
        let oracle = Oracle { zone: ZONES[zone], blocks, holidays: holidays(first, closed) };
        let (calendar, to) = (oracle.calendar(), from + days * DAY_S - seconds);
        let open = oracle.open_by_dates(from, to);
        prop_assert_eq!(calendar.open_between(moment(from), moment(to)), open);
        if open > 0 {
            let reached = calendar.add_open(moment(from), open).unwrap();
            prop_assert!(reached <= moment(to));
            prop_assert_eq!(oracle.open_by_dates(reached.timestamp(), to), 0);
            prop_assert!(oracle.is_open(reached.timestamp() - 1));
        }
    }
}
