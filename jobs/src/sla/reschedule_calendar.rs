//! Has the timers of every policy of a calendar rescheduled. Runs when the calendar's hours were replaced.
//!
//! Running it twice is safe: the same rules give the same times.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sira_domain::nouns::CalendarId;
use sira_domain::sla;
use sira_engine::{Job, JobError, Lease, Outcome, Retry, Spec};
use sira_kernel::Actor;

use crate::context::Context;
use crate::queues;

/// Follows one calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescheduleCalendar {
    /// The calendar.
    pub calendar: CalendarId,
}

impl Job<Context> for RescheduleCalendar {
    const SPEC: Spec = Spec {
        name: "sla.reschedule_calendar",
        queue: queues::WORKFLOWS,
        retry: Retry::backoff(10, Duration::from_secs(2), Duration::from_mins(10)),
        timeout: Duration::from_secs(30),
    };

    fn dedupe_key(&self) -> Option<String> {
        Some(self.calendar.to_string())
    }

    async fn run(self, cx: &Context, lease: &Lease) -> Result<Outcome, JobError> {
        let mut uow = cx.begin(Actor::job(Self::SPEC.name)).await?;
        sla::follow_calendar(&mut uow, self.calendar).await?;
        uow.commit_and_complete(lease).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_shape_is_kept() {
        let job = RescheduleCalendar { calendar: "0199a5d0-0000-7000-8000-000000000001".parse().unwrap() };
        let stored = r#"{"calendar":"0199a5d0-0000-7000-8000-000000000001"}"#;
        assert_eq!(serde_json::to_string(&job).unwrap(), stored);
        assert_eq!(serde_json::from_str::<RescheduleCalendar>(stored).unwrap(), job);
    }
}
