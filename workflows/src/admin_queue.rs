//! Gives a lead of the administrators' queue back to its pool at the time that its status says, unless it has left the
//! queue before: then this is superseded in that transaction.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sira_domain::leads::{self, LeadError};
use sira_domain::nouns::LeadId;
use sira_engine::{JobError, Outcome, Retry, Step, Transition, Wake, Workflow, WorkflowSpec};
use sira_jobs::{Context, queues};
use sira_kernel::Actor;

/// What it remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminQueue {
    /// The lead.
    pub lead: LeadId,
    /// When it leaves the queue by itself.
    pub release_at: DateTime<Utc>,
}

impl Workflow<Context> for AdminQueue {
    const SPEC: WorkflowSpec = WorkflowSpec {
        name: "distribution.admin_queue",
        version: 1,
        queue: queues::WORKFLOWS,
        retry: Retry::backoff(20, Duration::from_secs(2), Duration::from_mins(10)),
        timeout: Duration::from_secs(30),
    };

    fn key(&self) -> String {
        self.lead.to_string()
    }

    async fn advance(self, cx: &Context, step: &Step) -> Result<Outcome, JobError> {
        if *step.wake() == Wake::Start {
            let at = self.release_at;
            return Ok(step.decide(&Transition::WaitUntil(self, at))?);
        }
        let mut uow = cx.begin(Actor::workflow(Self::SPEC.name)).await?;
        match leads::redistribute(&mut uow, self.lead, None).await {
            // A wrong number is nobody's until it is corrected; the correction then gives the lead back.
            Ok(_) | Err(LeadError::Uncontactable | LeadError::NotFound) => {}
            Err(LeadError::Database(error)) => return Err(error.into()),
            Err(error) => return Err(JobError::retry("lead", error.to_string())),
        }
        uow.commit_and_advance(step, Transition::Done(self)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_state_is_a_contract() {
        let stored = r#"{"lead":"019a0000-0000-7000-8000-000000000001","release_at":"2027-01-15T08:00:00Z"}"#;
        let state: AdminQueue = serde_json::from_str(stored).expect("states of the first version still load");
        assert_eq!(serde_json::to_string(&state).expect("JSON"), stored);
        assert_eq!(state.key(), "019a0000-0000-7000-8000-000000000001");
    }
}
