//! Reminds of a follow-up at its time, once. Superseded in the transaction that closes the follow-up.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sira_domain::follow_ups;
use sira_domain::nouns::{FollowUpId, LeadId};
use sira_engine::{JobError, Outcome, Retry, Step, Transition, Wake, Workflow, WorkflowSpec};
use sira_jobs::{Context, queues};
use sira_kernel::Actor;

/// What it remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowUpReminder {
    /// The lead.
    pub lead: LeadId,
    /// The follow-up.
    pub follow_up: FollowUpId,
    /// When it is due.
    pub due_at: DateTime<Utc>,
}

impl Workflow<Context> for FollowUpReminder {
    const SPEC: WorkflowSpec = WorkflowSpec {
        name: "leads.follow_up_reminder",
        version: 1,
        queue: queues::WORKFLOWS,
        retry: Retry::backoff(20, Duration::from_secs(2), Duration::from_mins(10)),
        timeout: Duration::from_secs(30),
    };

    fn key(&self) -> String {
        self.follow_up.to_string()
    }

    async fn advance(self, cx: &Context, step: &Step) -> Result<Outcome, JobError> {
        if *step.wake() == Wake::Start {
            let at = self.due_at;
            return Ok(step.decide(&Transition::WaitUntil(self, at))?);
        }
        let mut uow = cx.begin(Actor::workflow(Self::SPEC.name)).await?;
        follow_ups::remind(&mut uow, self.follow_up).await?;
        uow.commit_and_advance(step, Transition::Done(self)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_state_is_a_contract() {
        let stored = r#"{"lead":"019a0000-0000-7000-8000-000000000001","follow_up":"019a0000-0000-7000-8000-000000000002","due_at":"2027-01-15T08:00:00Z"}"#;
        let state: FollowUpReminder =
            serde_json::from_str(stored).expect("states of the first version still load");
        assert_eq!(serde_json::to_string(&state).expect("JSON"), stored);
        assert_eq!(state.key(), "019a0000-0000-7000-8000-000000000002");
    }
}
