//! Asks the telephony provider what became of a call of which nothing was heard for too long, or whose agent hung up
//! without news of the other side.
//!
//! A read, so running it twice is safe; what it hears moves the same monotonic session as the webhooks do. A call that
//! the provider never had, and that was to be rung no longer, ends as `unknown`: it is not tried again.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sira_domain::calls::{self, Call, CallStatus};
use sira_domain::nouns::CallId;
use sira_domain::privacy::Subject;
use sira_engine::{Job, JobError, Lease, Outcome, Retry, Spec};
use sira_kernel::Actor;
use sira_providers::telephony::Answer;

use super::exchange;
use crate::{Context, failure, queues};

/// Asks about one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileCall {
    /// The call.
    pub call: CallId,
}

impl Job<Context> for ReconcileCall {
    const SPEC: Spec = Spec {
        name: "calls.reconcile_call",
        queue: queues::CALLS,
        retry: Retry::backoff(5, Duration::from_secs(2), Duration::from_secs(30)),
        timeout: Duration::from_secs(90),
    };

    fn dedupe_key(&self) -> Option<String> {
        Some(self.call.to_string())
    }

    fn tags(&self) -> Vec<String> {
        vec![format!("call:{}", self.call)]
    }

    async fn run(self, cx: &Context, lease: &Lease) -> Result<Outcome, JobError> {
        let found = {
            let mut conn = cx.db.read().await?;
            calls::find(&mut conn, self.call).await?
        };
        let Some(call) = found.filter(|call| !call.session.status.is_final()) else {
            return Ok(Outcome::Done);
        };
        let key = cx.cipher.key(Subject::Lead(call.lead)).await.map_err(failure::privacy)?;
        let reference = call.id.to_string();
        let Answer { result, exchange: said } = cx.providers.telephony.find_call(&reference).await;
        let mut uow = cx.begin(Actor::job(Self::SPEC.name)).await?;
        exchange::keep(&mut uow, &key, &call, (said, result.as_ref().err())).await?;
        match result {
            Ok(Some(snapshot)) => {
                calls::note_placed(&mut uow, call.id, &exchange::placed(snapshot)).await?;
            }
            Ok(None) => {
                if let Some(guess) = guess(&call, cx.clock.now()) {
                    calls::note_end(&mut uow, call.id, guess, None, None).await?;
                }
            }
            Err(error) => {
                uow.commit().await?;
                return Err(JobError::retry(error.kind.name(), error.message));
            }
        }
        uow.commit_and_complete(lease).await
    }
}

/// What a call is that the provider does not know: not decided while it may still be on its way.
fn guess(call: &Call, now: chrono::DateTime<chrono::Utc>) -> Option<CallStatus> {
    if now < call.expires_at {
        return None;
    }
    Some(if call.provider_ref.is_none() { CallStatus::Unknown } else { CallStatus::Expired })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_the_call_alone() {
        let job = ReconcileCall { call: "0199a5d0-0000-7000-8000-000000000001".parse().unwrap() };
        let stored = r#"{"call":"0199a5d0-0000-7000-8000-000000000001"}"#;
        assert_eq!(serde_json::to_string(&job).unwrap(), stored);
        assert_eq!(serde_json::from_str::<ReconcileCall>(stored).unwrap(), job);
        assert_eq!(job.dedupe_key().as_deref(), Some("0199a5d0-0000-7000-8000-000000000001"));
    }
}
