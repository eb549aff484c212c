//! Asks the telephony provider to place a call. Runs once for each call that the gate allowed.
//!
//! A call cannot be un-dialled, and the provider knows no key under which a repetition would be harmless. So that the
//! attempt has begun is committed before the provider is asked; a run that finds it begun asks what became of it, and
//! never dials again. What stays open then, the call's session asks for later, and shows as `unknown` in the end.
//!
//! No transaction is open while the provider is asked. A clear refusal ends the call with its reason: somebody is
//! waiting for it, and presses the button again or not.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sira_domain::calls::{self, Call, CallStatus, Placed};
use sira_domain::leads::CONTACT;
use sira_domain::nouns::CallId;
use sira_domain::privacy::{DataKey, Subject};
use sira_engine::{External, Job, JobError, Lease, Outcome, Retry, Spec};
use sira_kernel::{Actor, PhoneNumber};
use sira_providers::telephony::{Answer, CallRequest, CallSnapshot, PlacedCall};
use sira_providers::{FailureKind, ProviderError};

use super::exchange;
use crate::{Context, failure, queues};

/// Places one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceCall {
    /// The call.
    pub call: CallId,
}

impl Job<Context> for PlaceCall {
    const SPEC: Spec = Spec {
        name: "calls.place_call",
        queue: queues::CALLS,
        retry: Retry::backoff(6, Duration::from_secs(1), Duration::from_secs(20)),
        timeout: Duration::from_secs(90),
    };

    fn tags(&self) -> Vec<String> {
        vec![format!("call:{}", self.call)]
    }

    async fn run(self, cx: &Context, lease: &Lease) -> Result<Outcome, JobError> {
        let (call, dialled) = {
            let mut conn = cx.db.read().await?;
            let Some(call) = calls::find(&mut conn, self.call).await? else { return Ok(Outcome::Done) };
            let dialled = calls::find_dialled(&mut conn, &call).await?;
            (call, dialled)
        };
        if call.session.status != CallStatus::Queued {
            return Ok(Outcome::Done);
        }
        let Some(dialled) = dialled else {
            return self.end(cx, lease, &call, Ended::refused(FailureKind::InvalidNumber)).await;
        };
        let holder = cx.cipher.key(Subject::Lead(dialled.holder)).await.map_err(failure::privacy)?;
        let phone = open(&holder, &call, &dialled.sealed)?;
        let key = cx.cipher.key(Subject::Lead(call.lead)).await.map_err(failure::privacy)?;
        // Committed by itself, before anybody is asked.
        let begun = {
            let mut conn = cx.db.read().await?;
            lease.begin_external(&mut conn).await?
        };
        match begun {
            External::First => self.place(cx, lease, &call, (&key, &dialled.line, &phone)).await,
            External::Again => self.reconcile(cx, lease, &call, &key).await,
        }
    }
}

/// How a call ended without the provider having it.
struct Ended {
    status: CallStatus,
    failure: FailureKind,
    retry_after_s: Option<i32>,
}

impl Ended {
    fn refused(failure: FailureKind) -> Self {
        Self { status: CallStatus::Failed, failure, retry_after_s: None }
    }

    fn of(error: &ProviderError) -> Self {
        let retry_after_s = error.retry_after.map(|after| i32::try_from(after.as_secs()).unwrap_or(i32::MAX));
        Self { retry_after_s, ..Self::refused(error.kind) }
    }
}

impl PlaceCall {
    async fn place(
        &self,
        cx: &Context,
        lease: &Lease,
        call: &Call,
        (key, line, phone): (&DataKey, &str, &PhoneNumber),
    ) -> Result<Outcome, JobError> {
        let reference = call.id.to_string();
        let request = CallRequest {
            reference: &reference,
            agent_line: line,
            callee: phone,
            ring_timeout: cx.settings.calls.ring_timeout.to_std().unwrap_or_default(),
        };
        let Answer { result, exchange: said } = cx.providers.telephony.place_call(&request).await;
        match result {
            Ok(PlacedCall { provider_ref, dial_url }) => {
                let placed = Placed { provider_ref, dial_url, news: Vec::new(), conclusive: false };
                let mut uow = cx.begin(actor()).await?;
                exchange::keep(&mut uow, key, call, (said, None)).await?;
                calls::note_placed(&mut uow, call.id, &placed).await?;
                uow.commit_and_complete(lease).await
            }
            Err(error) => {
                let mut uow = cx.begin(actor()).await?;
                exchange::keep(&mut uow, key, call, (said, Some(&error))).await?;
                if error.maybe_done {
                    uow.commit().await?;
                    return self.reconcile(cx, lease, call, key).await;
                }
                note_end(&mut uow, call, &Ended::of(&error)).await?;
                uow.commit_and_complete(lease).await
            }
        }
    }

    /// An attempt may have reached the provider: asks what became of it.
    async fn reconcile(
        &self,
        cx: &Context,
        lease: &Lease,
        call: &Call,
        key: &DataKey,
    ) -> Result<Outcome, JobError> {
        let reference = call.id.to_string();
        let Answer { result, exchange: said } = cx.providers.telephony.find_call(&reference).await;
        let mut uow = cx.begin(actor()).await?;
        exchange::keep(&mut uow, key, call, (said, result.as_ref().err())).await?;
        match result {
            Ok(Some(snapshot)) => note_found(&mut uow, call, snapshot).await?,
            // The request may still be on its way: the call's session asks again before it says `unknown`.
            Ok(None) => {}
            Err(error) if lease.is_last_attempt() => {
                tracing::warn!(call.id = %call.id, code = error.kind.name(), "what became of a call is not known");
            }
            Err(error) => {
                uow.commit().await?;
                return Err(JobError::retry(error.kind.name(), error.message));
            }
        }
        uow.commit_and_complete(lease).await
    }

    async fn end(&self, cx: &Context, lease: &Lease, call: &Call, ended: Ended) -> Result<Outcome, JobError> {
        let mut uow = cx.begin(actor()).await?;
        note_end(&mut uow, call, &ended).await?;
        uow.commit_and_complete(lease).await
    }
}

async fn note_found(uow: &mut sira_domain::Uow, call: &Call, snapshot: CallSnapshot) -> Result<(), JobError> {
    Ok(calls::note_placed(uow, call.id, &exchange::placed(snapshot)).await?)
}

async fn note_end(uow: &mut sira_domain::Uow, call: &Call, ended: &Ended) -> Result<(), JobError> {
    let failure = Some(ended.failure.name());
    Ok(calls::note_end(uow, call.id, ended.status, failure, ended.retry_after_s).await?)
}

/// The number, for as long as the provider is asked.
fn open(key: &DataKey, call: &Call, sealed: &[u8]) -> Result<PhoneNumber, JobError> {
    let bytes = key.open(CONTACT, call.contact.uuid(), sealed).map_err(failure::privacy)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    PhoneNumber::parse(text, "").map_err(|_| JobError::fail("contact", "a stored number cannot be read"))
}

fn actor() -> Actor {
    Actor::job(<PlaceCall as Job<Context>>::SPEC.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_the_call_alone() {
        let job = PlaceCall { call: "0199a5d0-0000-7000-8000-000000000001".parse().unwrap() };
        let stored = r#"{"call":"0199a5d0-0000-7000-8000-000000000001"}"#;
        assert_eq!(serde_json::to_string(&job).unwrap(), stored);
        assert_eq!(serde_json::from_str::<PlaceCall>(stored).unwrap(), job);
        assert_eq!(job.tags(), ["call:0199a5d0-0000-7000-8000-000000000001"]);
    }

    #[test]
    fn a_providers_wait_is_handed_on() {
        let error = ProviderError::new(FailureKind::RateLimited, "limited");
        let ended = Ended::of(&ProviderError { retry_after: Some(Duration::from_secs(30)), ..error });
        assert_eq!((ended.status, ended.retry_after_s), (CallStatus::Failed, Some(30)));
    }
}
