//! The claims of the calendar's pure core, by example.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Europe::Istanbul;
use chrono_tz::Tz;

use super::{BLOCKS_MAX, Block, Calendar, CalendarError, HOLIDAYS_MAX, HORIZON_DAYS, Holiday, Stopwatch};

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;
/// A whole date.
const WHOLE: (u16, u16) = (0, 1440);
/// A half day: closed from 13:00.
const HALF: (u16, u16) = (780, 1440);

fn block(weekday: u8, starts_minute: u16, ends_minute: u16) -> Block {
    Block { weekday, starts_minute, ends_minute }
}

fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

fn holiday(day: NaiveDate, (closed_from_minute, closed_to_minute): (u16, u16)) -> Holiday {
    let (name_tr, name_en) = ("Tatil".to_owned(), "Holiday".to_owned());
    Holiday { day, closed_from_minute, closed_to_minute, name_tr, name_en }
}

/// Monday to Friday, 09:00 to 18:00.
fn office_hours() -> Vec<Block> {
    (1..=5).map(|weekday| block(weekday, 540, 1080)).collect()
}

fn calendar(zone: &str, blocks: Vec<Block>, holidays: Vec<Holiday>) -> Calendar {
    Calendar::new(zone, blocks, holidays).unwrap()
}

/// An office in Istanbul with the holidays of 2026 that these tests need.
fn office() -> Calendar {
    let holidays = vec![
        holiday(date(2026, 5, 26), HALF),
        holiday(date(2026, 5, 27), WHOLE),
        holiday(date(2026, 5, 28), WHOLE),
        holiday(date(2026, 5, 29), WHOLE),
        holiday(date(2026, 5, 30), WHOLE),
        holiday(date(2026, 10, 28), HALF),
        holiday(date(2026, 10, 29), WHOLE),
    ];
    calendar("Europe/Istanbul", office_hours(), holidays)
}

fn local(zone: Tz, day: NaiveDate, hour: u32, minute: u32) -> DateTime<Utc> {
    zone.from_local_datetime(&day.and_hms_opt(hour, minute, 0).unwrap()).unwrap().to_utc()
}

/// On the wall clock of Istanbul in 2026.
fn at(month: u32, day: u32, hour: u32, minute: u32) -> DateTime<Utc> {
    local(Istanbul, date(2026, month, day), hour, minute)
}

#[test]
fn what_is_not_used_up_on_friday_goes_on_on_monday() {
    let office = office();
    assert_eq!(office.add_open(at(11, 20, 17, 50), 15 * 60), Some(at(11, 23, 9, 5)));
    assert_eq!(office.open_between(at(11, 20, 17, 50), at(11, 23, 9, 5)), 15 * 60);
    assert_eq!(office.open_between(at(11, 23, 9, 5), at(11, 20, 17, 50)), -15 * 60);
    assert_eq!(office.open_between(at(11, 16, 0, 0), at(11, 23, 0, 0)), 45 * HOUR_S, "a week");
}

#[test]
fn what_is_used_up_at_closing_time_is_due_at_closing_time() {
    let office = office();
    assert_eq!(office.add_open(at(11, 20, 17, 50), 10 * 60), Some(at(11, 20, 18, 0)));
    assert!(!office.is_open(at(11, 20, 18, 0)), "half-open");
    assert!(office.is_open(at(11, 20, 9, 0)));
    assert_eq!(office.next_open(at(11, 20, 18, 0)), Some(at(11, 23, 9, 0)));
    assert_eq!(office.next_open(at(11, 20, 9, 0)), Some(at(11, 20, 9, 0)));
}

#[test]
fn republic_day_closes_its_eve_from_one_o_clock_and_all_of_itself() {
    let office = office();
    assert!(office.is_open(at(10, 28, 12, 59)));
    assert!(!office.is_open(at(10, 28, 13, 0)));
    assert!(!office.is_open(at(10, 29, 10, 0)));
    // A Wednesday and a Thursday.
    assert_eq!(office.open_between(at(10, 28, 0, 0), at(10, 30, 0, 0)), 4 * HOUR_S);
    assert_eq!(office.add_open(at(10, 28, 12, 30), HOUR_S), Some(at(10, 30, 9, 30)));
    assert_eq!(office.next_open(at(10, 28, 13, 0)), Some(at(10, 30, 9, 0)));
}

#[test]
fn a_bayram_is_passed_over_with_its_eve_and_the_weekend() {
    let office = office();
    // The eve is a Tuesday, the four days end on Saturday.
    assert_eq!(office.add_open(at(5, 26, 12, 45), 30 * 60), Some(at(6, 1, 9, 15)));
    assert_eq!(office.open_between(at(5, 25, 0, 0), at(6, 1, 0, 0)), 13 * HOUR_S);
}

#[test]
fn split_shifts_leave_out_what_is_between_them() {
    let shifts = vec![block(1, 780, 1080), block(1, 540, 720)];
    let shop = calendar("Europe/Istanbul", shifts, vec![]);
    assert_eq!(shop.add_open(at(11, 23, 11, 30), 45 * 60), Some(at(11, 23, 13, 15)));
    assert_eq!(shop.add_open(at(11, 23, 11, 30), 30 * 60), Some(at(11, 23, 12, 0)));
    assert_eq!(shop.next_open(at(11, 23, 12, 0)), Some(at(11, 23, 13, 0)));
    assert_eq!(shop.open_between(at(11, 23, 0, 0), at(11, 24, 0, 0)), 8 * HOUR_S);
}

#[test]
fn a_full_day_wins_over_a_half_day_of_the_same_date() {
    let day = date(2029, 4, 23);
    let both = vec![holiday(day, HALF), holiday(day, WHOLE)];
    let office = calendar("Europe/Istanbul", office_hours(), both);
    let (from, to) = (local(Istanbul, day, 0, 0), local(Istanbul, day.succ_opt().unwrap(), 0, 0));
    assert_eq!(office.open_between(from, to), 0);
}

#[test]
fn no_block_means_around_the_clock_but_for_holidays() {
    let always = calendar("Europe/Istanbul", vec![], vec![]);
    let (from, to) = (at(1, 1, 0, 0), at(12, 31, 3, 7));
    assert_eq!(always.open_between(from, to), (to - from).num_seconds());
    let but_one = calendar("Europe/Istanbul", vec![], vec![holiday(date(2026, 7, 15), HALF)]);
    assert_eq!(but_one.open_between(from, to), (to - from).num_seconds() - 11 * HOUR_S);
    assert_eq!(but_one.next_open(at(7, 15, 13, 0)), Some(at(7, 16, 0, 0)));
}

#[test]
fn an_hour_that_is_shown_twice_counts_twice_and_one_that_is_left_out_not_at_all() {
    let sundays = calendar("Europe/Istanbul", vec![block(7, 180, 240)], vec![]);
    let all_of = |day: NaiveDate| {
        sundays.open_between(local(Istanbul, day, 0, 0), local(Istanbul, day.succ_opt().unwrap(), 0, 0))
    };
    assert_eq!(all_of(date(2015, 3, 29)), 0, "forward at 03:00");
    assert_eq!(all_of(date(2015, 11, 8)), 2 * HOUR_S, "back at 04:00");
    assert_eq!(all_of(date(2026, 11, 8)), HOUR_S, "no change any more");
    let spring = local(Istanbul, date(2015, 3, 29), 0, 0);
    assert_eq!(sundays.next_open(spring), Some(local(Istanbul, date(2015, 4, 5), 3, 0)));

    let howe = calendar("Australia/Lord_Howe", vec![block(7, 90, 120)], vec![]);
    let zone = chrono_tz::Australia::Lord_Howe;
    let (from, to) = (local(zone, date(2026, 4, 5), 0, 0), local(zone, date(2026, 4, 6), 0, 0));
    assert_eq!(howe.open_between(from, to), HOUR_S, "back by half an hour at 02:00");
}

#[test]
fn a_date_that_a_zone_left_out_has_no_business_time() {
    // Samoa went from Thursday 29 to Saturday 31 December 2011.
    let zone = chrono_tz::Pacific::Apia;
    let skipped = vec![holiday(date(2011, 12, 30), HALF)];
    let office = calendar("Pacific/Apia", office_hours(), skipped);
    let thursday = local(zone, date(2011, 12, 29), 17, 0);
    assert_eq!(office.open_between(thursday, local(zone, date(2012, 1, 2), 9, 0)), HOUR_S);
    assert_eq!(office.add_open(thursday, 2 * HOUR_S), Some(local(zone, date(2012, 1, 2), 10, 0)));
}

#[test]
fn nothing_or_less_has_passed_at_once() {
    let office = office();
    let sunday = at(11, 22, 11, 11);
    assert_eq!(office.add_open(sunday, 0), Some(sunday));
    assert_eq!(office.add_open(sunday, -5), Some(sunday));
}

#[test]
fn a_moment_within_a_second_counts_as_the_seconds_start() {
    let office = office();
    let closing = at(11, 20, 17, 59) + TimeDelta::milliseconds(59_900);
    assert!(office.is_open(closing));
    assert_eq!(office.next_open(closing), Some(closing));
    assert_eq!(office.open_between(closing, at(11, 20, 18, 0)), 1);
    assert_eq!(office.add_open(closing, 1), Some(at(11, 20, 18, 0)));
    assert_eq!(office.add_open(closing, 2), Some(at(11, 23, 9, 0) + TimeDelta::seconds(1)));
}

#[test]
fn nothing_is_looked_for_beyond_the_horizon() {
    let always = calendar("UTC", vec![], vec![]);
    let from = at(11, 20, 17, 50);
    let last = from + TimeDelta::days(HORIZON_DAYS);
    assert_eq!(always.add_open(from, HORIZON_DAYS * DAY_S), Some(last));
    assert_eq!(always.add_open(from, HORIZON_DAYS * DAY_S + 1), None);
    let minute = calendar("America/New_York", vec![block(3, 0, 1)], vec![]);
    assert_eq!(minute.add_open(from, i64::MAX), None);
    assert!(minute.add_open(from, 50 * 52 * 60).is_some(), "fifty years of a minute a week");
}

#[test]
fn as_many_holidays_as_a_calendar_holds_do_not_close_it_for_good() {
    let monday = date(2026, 1, 5);
    let week = |number: usize| monday + Days::new(7 * number as u64);
    let closed = (0..HOLIDAYS_MAX).map(|number| holiday(week(number), WHOLE)).collect();
    let mondays = calendar("Europe/Istanbul", vec![block(1, 540, 1080)], closed);
    let opens = local(Istanbul, week(HOLIDAYS_MAX), 9, 0);
    assert_eq!(mondays.next_open(local(Istanbul, monday, 0, 0)), Some(opens));
}

#[test]
fn the_ends_of_time_are_answered_and_not_a_panic() {
    let (first, last) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    for zone in ["America/New_York", "Pacific/Apia", "UTC"] {
        let office = calendar(zone, office_hours(), vec![]);
        assert!(office.open_between(first, last) > 0);
        assert_eq!(office.open_between(first, last), -office.open_between(last, first));
        assert_eq!(office.add_open(last, 1), None);
        assert!(office.add_open(first, 1).is_some());
        assert_eq!(office.next_open(last).filter(|open| *open != last), None);
    }
}

#[test]
fn what_is_no_calendar_is_refused_with_its_reason() {
    let refused = |zone: &str, blocks: Vec<Block>, holidays: Vec<Holiday>| {
        Calendar::new(zone, blocks, holidays).unwrap_err().to_string()
    };
    for zone in ["", "Mars/Olympus", "Etc/Unknown", "+03:00", "../UTC"] {
        assert_eq!(refused(zone, vec![], vec![]), format!("there is no time zone {zone:?}"));
    }
    for (wrong, weekday) in [
        (block(0, 1, 2), 0),
        (block(8, 1, 2), 8),
        (block(1, 2, 2), 1),
        (block(1, 3, 2), 1),
        (block(1, 2, 1441), 1),
    ] {
        let error = Calendar::new("UTC", vec![wrong], vec![]).unwrap_err();
        assert!(
            matches!(error, CalendarError::BlockOutOfRange { weekday: found } if found == weekday),
            "{wrong:?}"
        );
    }
    let overlapping = vec![block(2, 60, 120), block(2, 119, 180)];
    assert_eq!(refused("UTC", overlapping, vec![]), "blocks of weekday 2 overlap");
    let many = (0..=BLOCKS_MAX as u16).map(|number| block(1, 2 * number, 2 * number + 1)).collect();
    assert_eq!(refused("UTC", many, vec![]), "a calendar has at most 70 blocks a week");

    let day = date(2026, 1, 1);
    let unnamed = Holiday { name_en: " ".into(), ..holiday(day, WHOLE) };
    let ancient = holiday(date(0, 1, 1), WHOLE);
    for wrong in [holiday(day, (5, 5)), holiday(day, (6, 5)), holiday(day, (0, 1441)), unnamed, ancient] {
        let error = Calendar::new("UTC", vec![], vec![wrong]).unwrap_err();
        assert!(matches!(error, CalendarError::HolidayOutOfRange { .. }));
    }
    let twice = vec![holiday(day, WHOLE), holiday(day, (0, 5))];
    assert_eq!(refused("UTC", vec![], twice), "two holidays of 2026-01-01 begin at the same minute");
    let many = (0..=HOLIDAYS_MAX).map(|ahead| holiday(day + Days::new(ahead as u64), WHOLE)).collect();
    assert_eq!(refused("UTC", vec![], many), "a calendar has at most 2000 holidays");
}

#[test]
fn a_calendar_says_what_it_was_made_of_in_order() {
    let (first, second) = (holiday(date(2026, 1, 1), HALF), holiday(date(2026, 4, 23), WHOLE));
    let blocks = vec![block(3, 60, 120), block(1, 60, 120), block(3, 0, 60)];
    let made = calendar("europe/ISTANBUL", blocks, vec![second.clone(), first.clone()]);
    assert_eq!(made.zone(), "Europe/Istanbul");
    assert_eq!(made.blocks(), [block(1, 60, 120), block(3, 0, 60), block(3, 60, 120)]);
    assert_eq!(made.holidays(), [first, second]);
}

#[test]
fn pausing_or_resuming_twice_changes_nothing() {
    let office = office();
    let mut watch = Stopwatch::started(at(11, 20, 17, 0));
    watch.pause(&office, at(11, 20, 17, 30));
    let paused = watch;
    assert_eq!(paused, Stopwatch { consumed_s: 1800, running_since: None });
    watch.pause(&office, at(11, 23, 12, 0));
    assert_eq!(watch, paused);
    watch.resume(at(11, 23, 9, 30));
    let resumed = watch;
    watch.resume(at(11, 23, 15, 0));
    assert_eq!(watch, resumed);
    assert_eq!(watch.consumed(&office, at(11, 23, 10, 0)), 3600);
}

#[test]
fn a_watch_is_due_when_its_budget_is_used_up_and_never_while_it_stands() {
    let office = office();
    let mut watch = Stopwatch::started(at(11, 20, 17, 50));
    assert_eq!(watch.due(&office, 15 * 60), Some(at(11, 23, 9, 5)));
    assert_eq!(watch.due(&office, i64::MAX), None, "beyond the horizon");
    watch.pause(&office, at(11, 20, 17, 55));
    assert_eq!(watch.due(&office, 15 * 60), None);
    watch.resume(at(11, 24, 12, 0));
    assert_eq!(watch.due(&office, 15 * 60), Some(at(11, 24, 12, 10)));
    assert_eq!(watch.due(&office, 5 * 60), Some(at(11, 24, 12, 0)), "used up when it last started");
    assert_eq!(watch.due(&office, 60), Some(at(11, 24, 12, 0)), "more than used up");
    assert_eq!(watch.due(&office, i64::MIN), Some(at(11, 24, 12, 0)));
}

#[test]
fn a_moment_before_the_start_uses_up_nothing() {
    let office = office();
    let mut watch = Stopwatch::started(at(11, 20, 17, 50));
    assert_eq!(watch.consumed(&office, at(11, 20, 10, 0)), 0);
    watch.pause(&office, at(11, 20, 10, 0));
    assert_eq!(watch.consumed_s, 0);
}
