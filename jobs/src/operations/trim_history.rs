//! Keeps the engine's history for as long as the installation says, and no longer.
//!
//! Days go by their partitions, the rest in batches of a transaction each. Running it twice, or again after a kill, takes what
//! is left. It touches nothing that lives.

use std::time::Duration;

use chrono::{Days, NaiveTime, TimeDelta};
use serde::{Deserialize, Serialize};
use sira_engine::{Job, JobError, Lease, Outcome, Retry, Spec, ops};
use sira_kernel::Actor;

use crate::{Context, queues};

/// Rows of one table that one transaction takes.
const BATCH: u32 = 1000;

/// Takes out what is older than `engine.history_days`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrimHistory {}

impl Job<Context> for TrimHistory {
    const SPEC: Spec = Spec {
        name: "operations.trim_history",
        queue: queues::WORKFLOWS,
        retry: Retry::backoff(10, Duration::from_secs(30), Duration::from_mins(30)),
        timeout: Duration::from_mins(10),
    };

    async fn run(self, cx: &Context, lease: &Lease) -> Result<Outcome, JobError> {
        // By the database's day: history is written with its clock, which no test moves.
        let today = (cx.clock.now() - TimeDelta::microseconds(cx.clock.shift_us())).date_naive();
        let Some(before) = today.checked_sub_days(Days::new(u64::from(cx.settings.history_days))) else {
            return Ok(Outcome::Done);
        };
        loop {
            let mut uow = cx.begin(Actor::job(Self::SPEC.name)).await?;
            let midnight = before.and_time(NaiveTime::MIN).and_utc();
            let more = ops::trim_history(uow.conn(), midnight, BATCH).await?;
            if !more {
                // Last, and alone with the completion: it takes the strongest lock.
                ops::drop_history(uow.conn(), before).await?;
                return uow.commit_and_complete(lease).await;
            }
            uow.commit().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_shape_is_kept() {
        let stored = r#"{"slot":"2026-11-26T03:30:00+00:00"}"#;
        assert_eq!(serde_json::from_str::<TrimHistory>(stored).unwrap(), TrimHistory {});
    }
}
