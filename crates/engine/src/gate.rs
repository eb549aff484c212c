//! Gates: what jobs share with others and must not overrun, in all processes.
//!
//! A job with a gate is `held` when it is due, and made ready by whoever keeps the gates: as many as are left of the gate's
//! concurrency and rate, and none while its breaker is open or its provider said to wait. Held jobs have no worker and spend
//! no attempt.

use std::time::Duration;

use serde::Serialize;

/// What a snoozed job waits for whose provider said when to come again: its gate lets nobody through before.
pub const RATE_LIMIT: &str = "rate_limit";

/// A gate as the program declares it. An operator may edit its limits; their edit then stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gate {
    /// The stored name, `area.provider`: without a colon, which concurrency keys have. Never edited.
    pub name: &'static str,
    /// Most of its jobs that are ready or run, in all processes.
    pub concurrency: Option<u16>,
    /// How often one is let through.
    pub rate: Option<Rate>,
    /// When it closes by itself.
    pub breaker: Option<Breaker>,
}

impl Gate {
    /// Whether each of its limits lets somebody through, some time.
    pub(crate) fn is_passable(&self) -> bool {
        let Self { concurrency, rate, breaker, .. } = self;
        *concurrency != Some(0)
            && rate.is_none_or(|rate| rate.jobs > 0 && rate.burst > 0 && !rate.per.is_zero())
            && breaker.is_none_or(|breaker| breaker.failures_max > 0 && !breaker.open_for.is_zero())
    }
}

/// A token bucket, full at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// So many jobs, from 1,
    pub jobs: u32,
    /// in so long, above zero.
    pub per: Duration,
    /// Most at once, from 1.
    pub burst: u16,
}

impl Rate {
    /// Jobs a second.
    pub(crate) fn per_s(self) -> f64 {
        f64::from(self.jobs) / self.per.as_secs_f64()
    }
}

/// A circuit breaker. Any success forgives the failures before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Breaker {
    /// So many failures in a row open it, from 1.
    pub failures_max: u16,
    /// The codes of failures that count: those that say that what the jobs need is down.
    pub counts: &'static [&'static str],
    /// How long it lets nobody through; then one job at a time probes. Twice as long after each probe that fails, up to 32
    /// times.
    pub open_for: Duration,
}
