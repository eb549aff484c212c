//! The one place that reads the time.
//!
//! `now()` is the process clock, corrected to the database's clock, plus a shift that is zero outside tests.
//! Due times in SQL are compared with `now() + shift` (bind [`Clock::shift_us`]); leases are compared with the
//! database's own `now()` and never shifted.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// A cheap, shared handle to the time. Clones share the correction and the shift.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<Offsets>);

#[derive(Debug, Default)]
struct Offsets {
    correction_us: AtomicI64,
    shift_us: AtomicI64,
}

impl Clock {
    /// The process clock, uncorrected and unshifted.
    pub fn system() -> Self {
        Self::default()
    }

    /// The time now, in UTC, with microsecond precision (PostgreSQL's own).
    pub fn now(&self) -> DateTime<Utc> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the process clock")]
        let process = Utc::now();
        let offset = self.0.correction_us.load(Ordering::Relaxed) + self.shift_us();
        let micros = process.timestamp_micros() + offset;
        DateTime::from_timestamp_micros(micros).expect("a time within chrono's range of 262,000 years")
    }

    /// Microseconds by which tests moved the time; zero in production.
    pub fn shift_us(&self) -> i64 {
        self.0.shift_us.load(Ordering::Relaxed)
    }

    /// Corrects the process clock to the database's, given what the database said its time is just now.
    pub fn correct_to(&self, database_now: DateTime<Utc>) {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the process clock")]
        let process = Utc::now();
        let correction = database_now.timestamp_micros() - process.timestamp_micros();
        self.0.correction_us.store(correction, Ordering::Relaxed);
    }

    /// Moves the time forward; for tests, which then wake the engine.
    pub fn advance(&self, by: TimeDelta) {
        let micros = by.num_microseconds().expect("a test shift below 292,000 years");
        self.0.shift_us.fetch_add(micros, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_shift() {
        let clock = Clock::system();
        let twin = clock.clone();
        let before = twin.now();
        clock.advance(TimeDelta::hours(2));
        assert!(twin.now() - before >= TimeDelta::hours(2));
        assert_eq!(twin.shift_us(), 7_200_000_000);
    }
}
