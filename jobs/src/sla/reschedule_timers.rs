//! Computes the due times of a policy's running timers anew. Runs when the policy was changed.
//!
//! A bounded number of timers in one transaction, in id order; the next part is a job of its own. Running a part twice is
//! safe: the same rule gives the same times.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sira_domain::nouns::SlaTimerId;
use sira_domain::sla;
use sira_engine::{Effect, Job, JobError, Lease, NewJob, Outcome, Retry, Spec};
use sira_kernel::Actor;

use crate::context::Context;
use crate::queues;

/// Reschedules the timers of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescheduleTimers {
    /// The policy's code.
    pub policy: String,
    /// Timers after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<SlaTimerId>,
}

impl Job<Context> for RescheduleTimers {
    const SPEC: Spec = Spec {
        name: "sla.reschedule_timers",
        queue: queues::WORKFLOWS,
        retry: Retry::backoff(10, Duration::from_secs(2), Duration::from_mins(10)),
        timeout: Duration::from_mins(1),
    };

    fn dedupe_key(&self) -> Option<String> {
        let after = self.after.map_or_else(String::new, |after| after.to_string());
        Some(format!("{}:{after}", self.policy))
    }

    async fn run(self, cx: &Context, lease: &Lease) -> Result<Outcome, JobError> {
        let mut uow = cx.begin(Actor::job(Self::SPEC.name)).await?;
        if let Some(after) = sla::reschedule(&mut uow, &self.policy, self.after).await? {
            let next = Self { policy: self.policy, after: Some(after) };
            uow.follow_with(Effect::Job(NewJob::of(&next)));
        }
        uow.commit_and_complete(lease).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_shape_is_kept() {
        let job = RescheduleTimers { policy: "first_response".to_owned(), after: None };
        let stored = r#"{"policy":"first_response"}"#;
        assert_eq!(serde_json::to_string(&job).unwrap(), stored);
        assert_eq!(serde_json::from_str::<RescheduleTimers>(stored).unwrap(), job);
        assert_eq!(job.dedupe_key().as_deref(), Some("first_response:"));
    }
}
