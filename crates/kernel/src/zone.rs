//! A zone as a sequence of stretches in which nobody changes the clocks. The zones' rules are bundled: the same on
//! every machine.

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// A time zone of the IANA database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    rules: TimeZone,
    name: String,
}

/// Moments, in seconds since 1970-01-01 00:00 UTC and half-open, in which the wall clock runs evenly.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    from: i64,
    to: i64,
    /// Seconds by which the wall clock is ahead of UTC.
    ahead: i64,
}

impl Stretch {
    /// What the wall clock shows from the first moment to the end.
    pub const fn shown(self) -> (i64, i64) {
        (self.from + self.ahead, self.to + self.ahead)
    }

    /// The moment at which the wall clock shows this.
    pub const fn moment(self, shown: i64) -> i64 {
        shown - self.ahead
    }
}

impl Zone {
    /// The zone of this name, in whatever case; `None` when the database knows none.
    pub fn find(name: &str) -> Option<Self> {
        let rules = TimeZoneDatabase::bundled().get(name).ok()?;
        // There is a zone that stands for no zone.
        let name = rules.iana_name().filter(|_| !rules.is_unknown())?.to_owned();
        Some(Self { rules, name })
    }

    /// The name as the database writes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the wall clock shows at this moment.
    pub fn shown_at(&self, second: i64) -> i64 {
        second + self.ahead_at(second)
    }

    /// The stretches from one moment to another, in order, without gaps; none when the first is not before the
    /// other. As many as the clocks are changed in between, plus one: a handful a year at most.
    pub fn stretches(&self, from: i64, to: i64) -> impl Iterator<Item = Stretch> {
        let changes = self.rules.following(timestamp(from)).map(|change| change.timestamp().as_second());
        let mut changes = changes.take_while(move |&change| change < to);
        let mut next = (from < to).then_some(from);
        std::iter::from_fn(move || {
            let from = next?;
            next = changes.next();
            Some(Stretch { from, to: next.unwrap_or(to), ahead: self.ahead_at(from) })
        })
    }

    fn ahead_at(&self, second: i64) -> i64 {
        i64::from(self.rules.to_offset(timestamp(second)).seconds())
    }
}

/// The nearest moment that is known here: within the years -9999 to 9999.
pub fn known(second: i64) -> i64 {
    second.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second())
}

fn timestamp(second: i64) -> Timestamp {
    Timestamp::from_second(known(second)).expect("clamped to what a timestamp holds")
}
