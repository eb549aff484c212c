//! Watches over one call until it is over: where no news comes in time, the provider is asked.
//!
//! Started with the call. It sleeps until the other side can no longer be ringing; then, and again after pauses, it has
//! the provider asked by a job of its own. A call that goes on is looked at now and then. One of which nothing can be
//! learnt any more is closed: `unknown` when the provider never confirmed it, else `expired`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sira_domain::calls::{self, Call, CallStatus};
use sira_domain::event::Event;
use sira_domain::nouns::CallId;
use sira_engine::{JobError, Outcome, Retry, Step, Transition, Wake, Workflow, WorkflowSpec};
use sira_jobs::{Context, queues};
use sira_kernel::Actor;

/// The signal that ends the watch.
pub const ENDED: &str = "ended";
/// How often the provider is asked about a call of which nothing is heard.
const ASKS_MAX: u16 = 5;
/// Between two questions.
const ASK_PAUSE: TimeDelta = TimeDelta::seconds(30);
/// Between two looks at a call that goes on.
const TALK_PAUSE: TimeDelta = TimeDelta::minutes(15);
/// Longest call.
const TALK_MAX: TimeDelta = TimeDelta::hours(4);

/// What it remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSession {
    /// The call.
    pub call: CallId,
    /// How often the provider was asked.
    #[serde(default)]
    pub asks: u16,
}

impl CallSession {
    /// A watch that has not begun.
    pub fn new(call: CallId) -> Self {
        Self { call, asks: 0 }
    }

    fn sleep(self, until: DateTime<Utc>) -> Transition<Self> {
        Transition::WaitFor { state: self, signal: ENDED, deadline: until }
    }

    /// What to do about an open call at a time at which it should have been heard of.
    fn judge(&self, call: &Call, now: DateTime<Utc>) -> Verdict {
        let talks = call.session.status == CallStatus::InProgress;
        if talks && now < call.requested_at + TALK_MAX && self.asks == 0 {
            return Verdict::Leave(now + TALK_PAUSE);
        }
        if self.asks < ASKS_MAX {
            return Verdict::Ask(now + ASK_PAUSE);
        }
        Verdict::Close(if call.provider_ref.is_none() { CallStatus::Unknown } else { CallStatus::Expired })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It goes on: look again then.
    Leave(DateTime<Utc>),
    /// Ask the provider, and look again then.
    Ask(DateTime<Utc>),
    /// Nothing more can be learnt.
    Close(CallStatus),
}

impl Workflow<Context> for CallSession {
    const SPEC: WorkflowSpec = WorkflowSpec {
        name: "calls.call_session",
        version: 1,
        queue: queues::WORKFLOWS,
        retry: Retry::backoff(20, Duration::from_secs(2), Duration::from_mins(10)),
        timeout: Duration::from_secs(30),
    };

    fn key(&self) -> String {
        self.call.to_string()
    }

    async fn advance(mut self, cx: &Context, step: &Step) -> Result<Outcome, JobError> {
        let found = calls::find(&mut *cx.db.read().await?, self.call).await?;
        let Some(call) = found.filter(|call| !call.session.status.is_final()) else {
            return Ok(step.decide(&Transition::Done(self))?);
        };
        if *step.wake() == Wake::Start {
            return Ok(step.decide(&self.sleep(call.expires_at))?);
        }
        let now = cx.clock.now();
        match self.judge(&call, now) {
            Verdict::Leave(until) => Ok(step.decide(&self.sleep(until))?),
            Verdict::Ask(until) => {
                let mut uow = cx.begin(Actor::workflow(Self::SPEC.name)).await?;
                self.asks += 1;
                uow.record(Event::CallSilent { call: call.id, ask_at: now });
                uow.commit_and_advance(step, self.sleep(until)).await
            }
            Verdict::Close(status) => {
                let mut uow = cx.begin(Actor::workflow(Self::SPEC.name)).await?;
                // Checks again what was read.
                calls::note_end(&mut uow, call.id, status, None, None).await?;
                uow.commit_and_advance(step, Transition::Done(self)).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sira_domain::calls::Session;
    use sira_domain::nouns::{ContactId, LeadId, UserId};

    use super::*;

    fn call(status: CallStatus, provider_ref: Option<&str>) -> Call {
        let requested_at = DateTime::from_timestamp(1_800_000_000, 0).expect("a valid time");
        Call {
            id: CallId::new(),
            lead: LeadId::new(),
            user: UserId::new(),
            contact: ContactId::new(),
            provider: "sandbox".to_owned(),
            provider_ref: provider_ref.map(str::to_owned),
            session: Session { status, ..Session::queued() },
            retry_after_s: None,
            dial_url: None,
            requested_at,
            expires_at: requested_at + TimeDelta::seconds(45),
            disposition: None,
        }
    }

    #[test]
    fn a_silent_call_is_asked_for_and_closed_in_the_end() {
        let ringing = call(CallStatus::Ringing, Some("ref"));
        let lost = call(CallStatus::Queued, None);
        let now = ringing.expires_at;
        let asked = |asks| CallSession { call: ringing.id, asks };
        for asks in 0..ASKS_MAX {
            assert_eq!(asked(asks).judge(&ringing, now), Verdict::Ask(now + ASK_PAUSE));
        }
        assert_eq!(asked(ASKS_MAX).judge(&ringing, now), Verdict::Close(CallStatus::Expired));
        assert_eq!(asked(ASKS_MAX).judge(&lost, now), Verdict::Close(CallStatus::Unknown));
    }

    #[test]
    fn a_call_that_goes_on_is_left_alone_for_hours() {
        let talking = call(CallStatus::InProgress, Some("ref"));
        let session = CallSession::new(talking.id);
        let now = talking.requested_at + TimeDelta::minutes(10);
        assert_eq!(session.judge(&talking, now), Verdict::Leave(now + TALK_PAUSE));
        let late = talking.requested_at + TALK_MAX;
        assert_eq!(session.judge(&talking, late), Verdict::Ask(late + ASK_PAUSE));
    }

    #[test]
    fn the_stored_state_is_a_contract() {
        let stored = r#"{"call":"019a0000-0000-7000-8000-000000000001"}"#;
        let state: CallSession =
            serde_json::from_str(stored).expect("states of the first version still load");
        assert_eq!(state.asks, 0);
    }
}
