//! Keeps the time of one promise about one lead: reminds, raises the breach, escalates.
//!
//! Begins with the timer's row, asleep until the first time of its policy, and sleeps until the next one, on the policy's
//! calendar. On waking it reads
//! the world again and does what is due, once, in one transaction with its step. It is superseded in the transaction that
//! keeps the promise, and woken early when the promise is paused or its times change.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sira_domain::nouns::{LeadId, SlaTimerId};
use sira_domain::sla::{self, Progress};
use sira_engine::{JobError, Outcome, Retry, Step, Transition, Workflow, WorkflowSpec};
use sira_jobs::{Context, queues};
use sira_kernel::Actor;

/// The signal after which the times are other ones.
pub const CHANGED: &str = "changed";
/// How long it sleeps when nothing is left to do until the promise ends.
const IDLE: TimeDelta = TimeDelta::days(366);

/// What it remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlaTimer {
    /// The lead.
    pub lead: LeadId,
    /// The policy's code.
    pub policy: String,
    /// The timer's row.
    pub timer: SlaTimerId,
}

impl SlaTimer {
    /// The business key of the promise of this policy about this lead.
    pub fn key_of(lead: LeadId, policy: &str) -> String {
        format!("{lead}:{policy}")
    }

    fn sleep(self, until: DateTime<Utc>) -> Transition<Self> {
        Transition::WaitFor { state: self, signal: CHANGED, deadline: until }
    }
}

impl Workflow<Context> for SlaTimer {
    const SPEC: WorkflowSpec = WorkflowSpec {
        name: "sla.timer",
        version: 1,
        queue: queues::WORKFLOWS,
        retry: Retry::backoff(20, Duration::from_secs(2), Duration::from_mins(10)),
        timeout: Duration::from_secs(30),
    };

    fn key(&self) -> String {
        Self::key_of(self.lead, &self.policy)
    }

    async fn advance(self, cx: &Context, step: &Step) -> Result<Outcome, JobError> {
        let mut uow = cx.begin(Actor::workflow(Self::SPEC.name)).await?;
        let now = uow.now();
        let transition = match sla::advance(&mut uow, self.timer).await? {
            Progress::Ended => Transition::Done(self),
            Progress::Next(at) => self.sleep(at),
            Progress::Idle => self.sleep(now + IDLE),
        };
        uow.commit_and_advance(step, transition).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_state_is_a_contract() {
        let stored = r#"{"lead":"019a0000-0000-7000-8000-000000000001","policy":"first_response","timer":"019a0000-0000-7000-8000-000000000002"}"#;
        let state: SlaTimer = serde_json::from_str(stored).expect("states of the first version still load");
        assert_eq!(state.key(), "019a0000-0000-7000-8000-000000000001:first_response");
        assert_eq!(serde_json::to_string(&state).expect("JSON"), stored);
    }
}
