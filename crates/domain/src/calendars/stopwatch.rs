//! Business time that is used up, with pauses. Pure.
//!
//! **Invariant:** what is used up never becomes less, and a moment at which the watch stands uses up nothing.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Calendar;

/// How much business time is used up, and whether more is being used up.
///
/// The calendar is handed to each question, and not kept: when the calendar changes, what was used up before the
/// last pause stays as it was counted, and the time since the last start is counted by the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stopwatch {
    /// Seconds of business time that were used up before `running_since`, or in all while it stands.
    pub consumed_s: i64,
    /// Since when it runs; `None` while it stands.
    pub running_since: Option<DateTime<Utc>>,
}

impl Stopwatch {
    /// Runs from this moment, with nothing used up.
    pub const fn started(at: DateTime<Utc>) -> Self {
        Self { consumed_s: 0, running_since: Some(at) }
    }

    /// Stops it. A watch that stands already stays as it is.
    pub fn pause(&mut self, calendar: &Calendar, at: DateTime<Utc>) {
        self.consumed_s = self.consumed(calendar, at);
        self.running_since = None;
    }

    /// Lets it run on. A watch that runs already stays as it is.
    pub fn resume(&mut self, at: DateTime<Utc>) {
        self.running_since = self.running_since.or(Some(at));
    }

    /// Seconds of business time that are used up at a moment. A moment before the last start counts as that start.
    pub fn consumed(&self, calendar: &Calendar, at: DateTime<Utc>) -> i64 {
        let running = self.running_since.map_or(0, |since| calendar.open_between(since, at).max(0));
        self.consumed_s.saturating_add(running)
    }

    /// The moment at which a budget of so many seconds is used up, if nobody pauses it before: the earliest at which
    /// [`Self::consumed`] is the budget. A budget that was used up before the last start is due at that start.
    ///
    /// `None` while it stands, and beyond the horizon of [`Calendar::add_open`].
    pub fn due(&self, calendar: &Calendar, budget_s: i64) -> Option<DateTime<Utc>> {
        calendar.add_open(self.running_since?, budget_s.saturating_sub(self.consumed_s))
    }
}
