//! What fires by the clock: an expression, a zone, what happens with slots that passed while nobody was there, and the job.
//!
//! A schedule is declared in the program and stored at the start of the workers; from then on its expression, zone and
//! catch-up are the operator's. A **slot** is one moment of it, at a whole second; each is fired once or told as missed.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sira_kernel::Zone;

use crate::effect::NewJob;
use crate::job::Job;

/// Slots that one pass fires of one schedule.
const SLOTS_MAX: usize = 100;
/// A slot that is later than this counts as missed where missed ones are skipped.
pub const LATE_MAX: TimeDelta = TimeDelta::seconds(60);
/// How far ahead slots are looked for.
const HORIZON: TimeDelta = TimeDelta::days(10 * 366);
/// What slots are apart at least.
const SECOND: TimeDelta = TimeDelta::seconds(1);
/// How far back a change of the clocks can matter.
const LOOK_BACK_S: i64 = 2 * 86_400;

/// What happens with slots that passed while no process fired them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// Each of them is fired.
    All,
    /// The latest one is fired, the others are missed.
    Latest,
    /// They are missed; one that is at most a minute late is not.
    Skip,
}

impl CatchUp {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::All, Self::Latest, Self::Skip];

    /// The stored name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Latest => "latest",
            Self::Skip => "skip",
        }
    }

    /// Of a stored name.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|catch_up| catch_up.code() == code)
    }
}

/// A schedule as the program declares it.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub(crate) name: &'static str,
    pub(crate) cron: &'static str,
    pub(crate) time_zone: &'static str,
    pub(crate) catch_up: CatchUp,
    pub(crate) job: NewJob,
}

impl Schedule {
    /// Enqueues this job at each slot, with the slot's time as `slot` in its payload. `cron` and `time_zone` as in
    /// [`Cron::parse`]. The name is stored and never edited.
    pub fn of<C, J: Job<C>>(
        name: &'static str,
        cron: &'static str,
        time_zone: &'static str,
        catch_up: CatchUp,
        job: &J,
    ) -> Self {
        Self { name, cron, time_zone, catch_up, job: NewJob::of(job) }
    }
}

/// Why an expression or a zone cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCron {
    /// It cannot be read.
    #[error("not a cron expression: expected five fields, as in 30 2 * * *, or six with seconds first: {0}")]
    Unreadable(String),
    /// Days of the week are numbers, which different crons count differently.
    #[error(
        "write days of the week by name, MON to SUN: their numbers mean different days in different systems"
    )]
    NumberedWeekday,
    /// There is no such zone.
    #[error("no such time zone: expected an IANA name, as in Europe/Istanbul")]
    UnknownZone,
    /// It has no slot in ten years.
    #[error("this expression has no time in the next ten years")]
    Never,
}

/// An expression in its zone.
///
/// Where clocks are put forward, slots within the hour that there is not are fired once, at the moment of the change;
/// where they are put back, slots within the hour that there is twice are fired the first time. An expression for every
/// hour (`*`) simply goes on, hour after hour.
#[derive(Debug, Clone)]
pub struct Cron {
    expression: cron::Schedule,
    zone: Zone,
    every_hour: bool,
}

impl Cron {
    /// Reads an expression: minute, hour, day of month, month, day of week; with six fields, seconds come first. A day must
    /// meet both its fields. Days of the week and months have names. The zone is an IANA name.
    ///
    /// # Errors
    /// [`InvalidCron`], except [`InvalidCron::Never`].
    pub fn parse(expression: &str, time_zone: &str) -> Result<Self, InvalidCron> {
        let zone = Zone::find(time_zone).ok_or(InvalidCron::UnknownZone)?;
        let fields: Vec<&str> = expression.split_whitespace().collect();
        let (seconds, rest) = match fields.as_slice() {
            rest @ [_, _, _, _, _] => ("0", rest),
            [seconds, rest @ ..] if rest.len() == 5 => (*seconds, rest),
            other => return Err(InvalidCron::Unreadable(format!("it has {} fields", other.len()))),
        };
        // A step, as in */2, is no number of a day.
        let mut weekdays = rest[4].split(',').filter_map(|part| part.split('/').next());
        if weekdays.any(|days| days.contains(|c: char| c.is_ascii_digit())) {
            return Err(InvalidCron::NumberedWeekday);
        }
        let expression = cron::Schedule::from_str(&format!("{seconds} {}", rest.join(" ")))
            .map_err(|_| InvalidCron::Unreadable("a field is out of its range or misspelt".to_owned()))?;
        Ok(Self { expression, zone, every_hour: rest[1] == "*" })
    }

    /// The slots at or after this moment, in order, for ten years.
    pub fn slots(&self, from: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let first = from.timestamp() + i64::from(from.timestamp_subsec_nanos() > 0);
        let stretches = self.zone.stretches(first - LOOK_BACK_S, first + HORIZON.num_seconds());
        let (mut shown_until, mut last) = (None, None);
        let all = stretches.flat_map(move |stretch| {
            let (from, until) = stretch.shown();
            let before = shown_until.replace(until).filter(|_| !self.every_hour);
            let omitted =
                before.is_some_and(|before| self.shown_slots(before).next().is_some_and(|slot| slot < from));
            // What the wall shows, or would show by this stretch's rule, at the first moment that is asked for.
            let asked = first + from - stretch.moment(from);
            let shown = self.shown_slots(before.unwrap_or(from).max(from).max(asked));
            let head = omitted.then(|| stretch.moment(from));
            head.into_iter()
                .chain(shown.take_while(move |&slot| slot < until).map(move |slot| stretch.moment(slot)))
        });
        let once = all.filter(move |&slot| last.replace(slot) != Some(slot));
        once.skip_while(move |&slot| slot < first).filter_map(|slot| DateTime::from_timestamp(slot, 0))
    }

    /// The latest slot at or after `from` and at or before `until`.
    fn latest(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Looked for from near the end: a schedule that fires often has years of slots behind it after a long rest.
        let spans = [TimeDelta::hours(1), TimeDelta::days(1), TimeDelta::days(31)].map(|span| until - span);
        let starts = spans.into_iter().filter(|start| *start > from).chain([from]);
        starts.map(|start| self.slots(start).take_while(|slot| *slot <= until).last()).find_map(|found| found)
    }

    /// What the wall shows at slots, as seconds since 1970 as if it were UTC, from this one on.
    fn shown_slots(&self, from: i64) -> impl Iterator<Item = i64> {
        let before = DateTime::from_timestamp(from - 1, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.expression.after(&before).map(|slot| slot.timestamp())
    }
}

/// What is to be done about the slots of one schedule now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// To be fired, in order.
    pub fire: Vec<DateTime<Utc>>,
    /// The first and the last one of those that were missed.
    pub missed: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// The slot after all of these; it may be due as well. `None` when there is none in ten years.
    pub next: Option<DateTime<Utc>>,
}

/// Decides about the slots from `next`, which is one, up to now.
pub(crate) fn due(cron: &Cron, catch_up: CatchUp, next: DateTime<Utc>, now: DateTime<Utc>) -> Due {
    let first = match catch_up {
        CatchUp::All => next,
        CatchUp::Latest => cron.latest(next, now).unwrap_or(next),
        CatchUp::Skip => next.max(now - LATE_MAX),
    };
    let fire: Vec<_> = cron.slots(first).take_while(|slot| *slot <= now).take(SLOTS_MAX).collect();
    let kept = fire.first().copied().unwrap_or(first);
    let missed = (next < kept).then(|| cron.latest(next, kept - SECOND)).flatten().map(|last| (next, last));
    let after = fire.last().map_or(now + TimeDelta::microseconds(1), |last| *last + SECOND);
    Due { fire, missed, next: cron.slots(after).next() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn slots(expression: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(expression, zone).unwrap();
        let slots = cron.slots(at(from)).take(count);
        slots.map(|slot| slot.format("%m-%d %H:%M").to_string()).collect()
    }

    #[test]
    fn slots_are_those_of_the_zone() {
        let istanbul = slots("30 2 * * *", "Europe/Istanbul", "2026-11-26T00:00:00Z", 2);
        assert_eq!(istanbul, ["11-26 23:30", "11-27 23:30"]);
        assert_eq!(
            slots("0 9 * * MON-FRI", "UTC", "2026-11-27T09:00:00Z", 2),
            ["11-27 09:00", "11-30 09:00"]
        );
        assert_eq!(slots("0 0 29 2 *", "UTC", "2026-11-27T00:00:00Z", 2), ["02-29 00:00", "02-29 00:00"]);
        let half_past = slots("*/30 * * * * *", "UTC", "2026-11-27T00:00:00.5Z", 1);
        assert_eq!(half_past, ["11-27 00:00"], "seconds come first: the slot is at 00:00:30");
    }

    #[test]
    fn an_hour_that_there_is_not_fires_once_at_the_change() {
        // Berlin, 2026-03-29: 02:00 becomes 03:00, at 01:00 UTC.
        let daily = slots("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        assert_eq!(daily, ["03-29 01:00", "03-30 00:30"]);
        let often = slots("0,20,40 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3);
        assert_eq!(often, ["03-29 01:00", "03-29 01:20", "03-29 01:40"]);
        let hourly = slots("0 * * * *", "Europe/Berlin", "2026-03-28T23:30:00Z", 3);
        assert_eq!(hourly, ["03-29 00:00", "03-29 01:00", "03-29 02:00"]);
    }

    #[test]
    fn an_hour_that_there_is_twice_fires_the_first_time() {
        // Berlin, 2026-10-25: 03:00 becomes 02:00, at 01:00 UTC.
        let daily = slots("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(daily, ["10-25 00:30", "10-26 01:30"]);
        let between = slots("30 2 * * *", "Europe/Berlin", "2026-10-25T00:40:00Z", 1);
        assert_eq!(between, ["10-26 01:30"], "also when it is asked for in the hour that comes again");
        let half_hourly = slots("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 6);
        assert_eq!(
            half_hourly,
            ["10-25 00:00", "10-25 00:30", "10-25 01:00", "10-25 01:30", "10-25 02:00", "10-25 02:30"]
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_reason() {
        let refused = |expression: &str, zone: &str| Cron::parse(expression, zone).unwrap_err();
        for numbered in ["0 9 * * 1-5", "0 9 * * MON,3", "0 9 * * MON/2,3"] {
            assert_eq!(refused(numbered, "UTC"), InvalidCron::NumberedWeekday, "{numbered}");
        }
        assert!(Cron::parse("0 9 * * */2", "UTC").is_ok(), "a step is no day");
        assert_eq!(refused("0 9 * * *", "Mars/Olympus"), InvalidCron::UnknownZone);
        for unreadable in ["", "* * *", "0 9 * * NEVER", "61 * * * *", "0 0 * * * * *", "@daily", "a b c d e"]
        {
            assert!(matches!(refused(unreadable, "UTC"), InvalidCron::Unreadable(_)), "{unreadable}");
        }
        let never = Cron::parse("0 0 30 2 *", "UTC").unwrap();
        assert_eq!(never.slots(at("2026-11-26T00:00:00Z")).next(), None);
    }

    #[test]
    fn missed_slots_are_fired_told_or_skipped_as_the_schedule_says() {
        let cron = Cron::parse("*/10 * * * *", "UTC").unwrap();
        let (next, now) = (at("2026-11-26T10:00:00Z"), at("2026-11-26T10:35:00Z"));
        let ten = |minute: u32| at(&format!("2026-11-26T10:{minute:02}:00Z"));
        let all = due(&cron, CatchUp::All, next, now);
        assert_eq!(
            all,
            Due { fire: vec![ten(0), ten(10), ten(20), ten(30)], missed: None, next: Some(ten(40)) }
        );
        let latest = due(&cron, CatchUp::Latest, next, now);
        assert_eq!(latest, Due { fire: vec![ten(30)], missed: Some((ten(0), ten(20))), next: Some(ten(40)) });
        let skip = due(&cron, CatchUp::Skip, next, now);
        assert_eq!(skip, Due { fire: vec![], missed: Some((ten(0), ten(30))), next: Some(ten(40)) });
        let soon = due(&cron, CatchUp::Skip, next, at("2026-11-26T10:30:59Z"));
        assert_eq!(soon, Due { fire: vec![ten(30)], missed: Some((ten(0), ten(20))), next: Some(ten(40)) });
        for catch_up in CatchUp::ALL {
            let punctual = due(&cron, catch_up, next, next);
            assert_eq!(punctual, Due { fire: vec![next], missed: None, next: Some(ten(10)) }, "{catch_up:?}");
        }
    }

    #[test]
    fn a_long_rest_is_caught_up_in_bounded_passes() {
        let cron = Cron::parse("* * * * *", "UTC").unwrap();
        let (mut next, now) = (at("2026-11-26T00:00:00Z"), at("2026-11-26T05:00:00Z"));
        let mut fired = Vec::new();
        while next <= now {
            let pass = due(&cron, CatchUp::All, next, now);
            assert!((1..=SLOTS_MAX).contains(&pass.fire.len()));
            fired.extend(pass.fire);
            next = pass.next.unwrap();
        }
        assert_eq!(fired.len(), 301, "each of five hours' minutes, both ends too");
        fired.dedup();
        assert_eq!(fired.len(), 301);
        let years = due(&cron, CatchUp::Latest, at("2016-01-01T00:00:00Z"), now);
        assert_eq!(years.fire, [now]);
        assert_eq!(years.missed, Some((at("2016-01-01T00:00:00Z"), at("2026-11-26T04:59:00Z"))));
    }
}
