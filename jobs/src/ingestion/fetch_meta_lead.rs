//! Fetches a lead that Meta announced, and makes it a lead of ours.
//!
//! Runs once for each stored event. Running it twice is safe: a settled event is left alone, and lead, settled
//! event and completed job are one transaction. No transaction is open while Meta is asked.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sira_domain::campaigns::CampaignsError;
use sira_domain::ingestion::{self, Correction, Pending};
use sira_domain::leads::{self, LeadError, NewLead};
use sira_domain::nouns::InboundId;
use sira_domain::privacy::Subject;
use sira_domain::uow::Uow;
use sira_engine::gate::RATE_LIMIT;
use sira_engine::{Breaker, Gate, Job, JobError, Lease, Outcome, Retry, Spec};
use sira_kernel::Actor;
use sira_providers::{FailureKind, ProviderError, meta::MetaLead};

use super::meta_lead;
use crate::{Context, failure, queues};

/// How long "not there" and "not permitted" are taken for "not yet": a lead that was just announced is often
/// answered so (PROVIDERS 7.5).
pub const JUST_ANNOUNCED: TimeDelta = TimeDelta::minutes(5);
/// How long leads wait for a connection that is down or no longer permitted, before they are quarantined.
pub const CONNECTION_PATIENCE: TimeDelta = TimeDelta::days(7);
/// Shortest pause between two looks at such a connection; they grow with the age of the announcement.
const CONNECTION_PAUSE_MIN: TimeDelta = TimeDelta::minutes(1);
/// Longest pause.
const CONNECTION_PAUSE_MAX: TimeDelta = TimeDelta::minutes(10);
/// The reason code of an event that brought no way to reach the person.
pub const NO_USABLE_CONTACT: &str = "no_usable_contact";
/// The reason code of an event whose lead had no pool to wait in.
pub const NO_DEFAULT_POOL: &str = "no_default_pool";

/// Fetches the lead of one stored event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchMetaLead {
    /// The stored event.
    pub inbound: InboundId,
}

/// What one attempt came to, before it is committed.
pub enum Work {
    /// Written; to be committed together with the job's completion.
    Written(Box<Uow>),
    /// Nothing was written.
    Nothing(Outcome),
}

impl Job<Context> for FetchMetaLead {
    const SPEC: Spec = Spec {
        name: "ingestion.fetch_meta_lead",
        queue: queues::INTAKE,
        retry: Retry::backoff(10, Duration::from_secs(2), Duration::from_mins(10)),
        timeout: Duration::from_secs(30),
    };

    const GATE: Option<Gate> = Some(Gate {
        name: "meta.graph",
        concurrency: None,
        // Meta counts by page and tells the time itself.
        rate: None,
        breaker: Some(Breaker {
            failures_max: 10,
            counts: &["provider_down", "timeout"],
            open_for: Duration::from_secs(15),
        }),
    });

    fn dedupe_key(&self) -> Option<String> {
        Some(self.inbound.to_string())
    }

    fn tags(&self) -> Vec<String> {
        vec![format!("inbound:{}", self.inbound)]
    }

    async fn run(self, cx: &Context, lease: &Lease) -> Result<Outcome, JobError> {
        match self.work(cx, lease.is_last_attempt()).await? {
            Work::Written(uow) => uow.commit_and_complete(lease).await,
            Work::Nothing(outcome) => Ok(outcome),
        }
    }
}

impl FetchMetaLead {
    /// One attempt, up to its commit.
    ///
    /// # Errors
    /// What another attempt may mend. What it cannot mend, and what the last attempt did not, is quarantined.
    pub async fn work(&self, cx: &Context, is_last_attempt: bool) -> Result<Work, JobError> {
        let pending = {
            let mut conn = cx.db.read().await?;
            ingestion::find_pending(&mut conn, self.inbound).await?
        };
        let Some(pending) = pending else { return Ok(Work::Nothing(Outcome::Done)) };
        match cx.providers.meta.fetch_lead(&pending.external_id).await {
            Ok(fetched) => self.land(cx, &pending, &fetched, is_last_attempt).await,
            Err(error) => match judge(&error, &pending, cx.clock.now(), is_last_attempt) {
                Verdict::Wait(until) => {
                    let limited = error.kind == FailureKind::RateLimited;
                    let waits_for = if limited { RATE_LIMIT } else { "provider" };
                    Ok(Work::Nothing(Outcome::Snooze { until, waits_for }))
                }
                Verdict::Retry => Err(JobError::retry(error.kind.name(), error.message)),
                Verdict::Quarantine => self.quarantine(cx, error.kind.name(), &error.message, None).await,
            },
        }
    }

    /// Makes the fetched lead one of ours. What no other attempt will mend goes into quarantine, or the event would
    /// wait unseen under a dead job.
    async fn land(
        &self,
        cx: &Context,
        pending: &Pending,
        fetched: &MetaLead,
        is_last_attempt: bool,
    ) -> Result<Work, JobError> {
        let (raw, landed) = match self.read(cx, pending, fetched).await {
            Ok((raw, lead)) => {
                let landed = self.store(cx, &lead, &raw).await;
                (Some(raw), landed)
            }
            Err(error) => (None, Err(error)),
        };
        let failed = match landed {
            Err(JobError::Fail(failed)) => failed,
            Err(JobError::Retry(failed)) if is_last_attempt => failed,
            landed => return landed,
        };
        self.quarantine(cx, &failed.code, &failed.message, raw.as_deref()).await
    }

    /// Meta's answer under the event's own key, and what it says, corrected where somebody did so.
    async fn read(
        &self,
        cx: &Context,
        pending: &Pending,
        fetched: &MetaLead,
    ) -> Result<(Vec<u8>, NewLead), JobError> {
        let own = cx.cipher.key(Subject::Inbound(self.inbound)).await.map_err(failure::privacy)?;
        let mut lead = meta_lead::read(fetched, self.inbound, &cx.settings.phone_region);
        if let Some(sealed) = &pending.correction {
            let correction = Correction::open(&own, self.inbound, sealed).map_err(failure::privacy)?;
            lead.phones = correction.phone.map_or(lead.phones, |phone| vec![phone]);
            lead.emails = correction.email.map_or(lead.emails, |email| vec![email]);
        }
        Ok((own.seal(ingestion::FETCHED, self.inbound.uuid(), &fetched.raw), lead))
    }

    /// Writes the lead; prepares again when somebody with the same contacts was faster.
    async fn store(&self, cx: &Context, lead: &NewLead, raw: &[u8]) -> Result<Work, JobError> {
        for _ in 0..leads::RACES_MAX {
            match self.write(cx, lead, raw).await {
                Ok(Some(uow)) => return Ok(Work::Written(Box::new(uow))),
                Ok(None) => return Ok(Work::Nothing(Outcome::Done)),
                Err(LeadError::Raced) => {}
                Err(LeadError::NoUsableContact) => {
                    let reason = LeadError::NoUsableContact.to_string();
                    return self.quarantine(cx, NO_USABLE_CONTACT, &reason, Some(raw)).await;
                }
                Err(error) => return Err(lead_failure(error)),
            }
        }
        Err(JobError::retry("raced", "other enquiries of the same person kept coming in at the same moment"))
    }

    async fn write(&self, cx: &Context, lead: &NewLead, raw: &[u8]) -> Result<Option<Uow>, LeadError> {
        let prepared = leads::prepare(&cx.db, &cx.cipher, lead).await?;
        let mut uow = cx.begin(Self::actor()).await?;
        if !ingestion::lock_pending(&mut uow, self.inbound).await? {
            return Ok(None);
        }
        ingestion::keep_fetched(&mut uow, self.inbound, raw).await?;
        leads::create_or_merge(&mut uow, lead, &prepared).await?;
        Ok(Some(uow))
    }

    /// Visible and kept, with the answer if there was one: nothing is dropped.
    async fn quarantine(
        &self,
        cx: &Context,
        code: &str,
        reason: &str,
        raw: Option<&[u8]>,
    ) -> Result<Work, JobError> {
        let mut uow = cx.begin(Self::actor()).await?;
        if !ingestion::quarantine(&mut uow, self.inbound, code, reason).await? {
            return Ok(Work::Nothing(Outcome::Done));
        }
        if let Some(raw) = raw {
            ingestion::keep_fetched(&mut uow, self.inbound, raw).await?;
        }
        tracing::warn!(inbound.id = %self.inbound, code, "an announced lead went into quarantine");
        Ok(Work::Written(Box::new(uow)))
    }

    fn actor() -> Actor {
        Actor::job(<Self as Job<Context>>::SPEC.name)
    }
}

/// What to do about a failed fetch.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The provider said when to come back; spends no attempt.
    Wait(DateTime<Utc>),
    Retry,
    Quarantine,
}

fn judge(error: &ProviderError, pending: &Pending, now: DateTime<Utc>, is_last_attempt: bool) -> Verdict {
    if error.kind == FailureKind::RateLimited {
        let after = error.retry_after.and_then(|after| TimeDelta::from_std(after).ok());
        if let Some(until) = after.and_then(|after| now.checked_add_signed(after)) {
            return Verdict::Wait(until);
        }
    }
    let age = now - pending.received_at;
    let hidden = matches!(error.kind, FailureKind::PermissionDenied | FailureKind::NotFound);
    let mendable = error.retryable() || (hidden && age < JUST_ANNOUNCED);
    if mendable && !is_last_attempt {
        Verdict::Retry
    } else if is_of_the_connection(error.kind) && age < CONNECTION_PATIENCE {
        Verdict::Wait(now + age.clamp(CONNECTION_PAUSE_MIN, CONNECTION_PAUSE_MAX))
    } else {
        Verdict::Quarantine
    }
}

/// Says nothing about this lead: the provider is away, or our credentials are. Every lead meets it, and all of them
/// pass once it is mended.
fn is_of_the_connection(kind: FailureKind) -> bool {
    use FailureKind::{AuthExpired, ProviderDown, RateLimited, Timeout};
    matches!(kind, AuthExpired | ProviderDown | RateLimited | Timeout)
}

pub(super) fn lead_failure(error: LeadError) -> JobError {
    match error {
        LeadError::Database(error) | LeadError::Campaigns(CampaignsError::Database(error)) => error.into(),
        LeadError::Privacy(error) => failure::privacy(error),
        // A default pool can be made while the job waits.
        LeadError::Campaigns(error @ CampaignsError::NoDefaultPool) => {
            JobError::retry(NO_DEFAULT_POOL, error.to_string())
        }
        other => JobError::retry("lead", other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use sira_kernel::Clock;

    use super::*;

    #[test]
    fn payload_is_the_event_alone() {
        let inbound = "01920000-0000-7000-8000-000000000001".parse().unwrap();
        let job = FetchMetaLead { inbound };
        let stored = r#"{"inbound":"01920000-0000-7000-8000-000000000001"}"#;
        assert_eq!(serde_json::to_string(&job).unwrap(), stored);
        assert_eq!(serde_json::from_str::<FetchMetaLead>(stored).unwrap(), job);
        assert_eq!(job.dedupe_key().as_deref(), Some("01920000-0000-7000-8000-000000000001"));
        assert_eq!(job.tags(), ["inbound:01920000-0000-7000-8000-000000000001"]);
    }

    #[test]
    fn each_failure_has_its_verdict() {
        let now = Clock::system().now();
        let minute = Duration::from_mins(1);
        let wait = Verdict::Wait(now + TimeDelta::minutes(1));
        let fresh = TimeDelta::minutes(1);
        let old = JUST_ANNOUNCED;
        let later = Verdict::Wait(now + JUST_ANNOUNCED);
        let cases = [
            (FailureKind::RateLimited, Some(minute), old, false, &wait),
            (FailureKind::RateLimited, Some(minute), old, true, &wait),
            (FailureKind::RateLimited, None, old, false, &Verdict::Retry),
            (FailureKind::RateLimited, None, old, true, &later),
            (FailureKind::Timeout, None, old, false, &Verdict::Retry),
            (FailureKind::Timeout, None, old, true, &later),
            (FailureKind::Timeout, None, CONNECTION_PATIENCE, true, &Verdict::Quarantine),
            (FailureKind::ProviderDown, Some(minute), old, false, &Verdict::Retry),
            (FailureKind::ProviderDown, None, old, true, &later),
            (FailureKind::ProviderDown, None, CONNECTION_PATIENCE, true, &Verdict::Quarantine),
            (FailureKind::AuthExpired, None, fresh, false, &wait),
            (FailureKind::AuthExpired, None, CONNECTION_PATIENCE, false, &Verdict::Quarantine),
            (FailureKind::PermissionDenied, None, fresh, false, &Verdict::Retry),
            (FailureKind::PermissionDenied, None, old, false, &Verdict::Quarantine),
            (FailureKind::NotFound, None, fresh, false, &Verdict::Retry),
            (FailureKind::NotFound, None, fresh, true, &Verdict::Quarantine),
            (FailureKind::NotFound, None, old, false, &Verdict::Quarantine),
            (FailureKind::BadRequest, None, fresh, false, &Verdict::Quarantine),
            (FailureKind::BadAnswer, None, old, false, &Verdict::Retry),
            (FailureKind::BadAnswer, None, old, true, &Verdict::Quarantine),
        ];
        for (kind, retry_after, age, last, expected) in cases {
            let error = ProviderError {
                kind,
                code: String::new(),
                message: String::new(),
                retry_after,
                maybe_done: false,
            };
            let pending = Pending {
                id: InboundId::new(),
                provider: "meta".to_owned(),
                external_id: "1".to_owned(),
                received_at: now - age,
                correction: None,
            };
            assert_eq!(&judge(&error, &pending, now, last), expected, "{kind:?}, last: {last}");
        }
    }
}
