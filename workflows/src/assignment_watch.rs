//! Watches one lead until an agent has it.
//!
//! Begins when a lead begins to wait for an agent, asleep until that has been too long; then it reads the lead again and, if
//! it still waits, says so (`LeadWaitsTooLong`) and goes back to sleep for twice as long. It is superseded in the
//! transaction that assigns the lead. A burst of leads without agents is thus seen, and no lead waits in silence.
//! (docs: DOMAIN, Distribution 6)

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sira_domain::event::Event;
use sira_domain::leads;
use sira_domain::nouns::LeadId;
use sira_engine::{JobError, Outcome, Retry, Step, Transition, Wake, Workflow, WorkflowSpec};
use sira_jobs::{Context, queues};
use sira_kernel::Actor;

/// Alarms about one lead before the watch gives up; with doubled pauses from a minute on, that is three days.
const ALARMS_MAX: u16 = 12;

/// What the watch remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssignmentWatch {
    /// The lead.
    pub lead: LeadId,
    /// How often it was reported.
    #[serde(default)]
    pub alarms: u16,
}

impl AssignmentWatch {
    /// A watch that has not begun.
    pub fn new(lead: LeadId) -> Self {
        Self { lead, alarms: 0 }
    }

    /// When to look again: after the configured time, doubled with each alarm.
    pub(crate) fn deadline(&self, now: DateTime<Utc>, alarm_after: Duration) -> DateTime<Utc> {
        let pause = alarm_after.saturating_mul(1 << u32::from(self.alarms.min(ALARMS_MAX)));
        now + TimeDelta::from_std(pause).unwrap_or(TimeDelta::MAX)
    }

    fn sleep(self, now: DateTime<Utc>, alarm_after: Duration) -> Transition<Self> {
        let deadline = self.deadline(now, alarm_after);
        Transition::WaitUntil(self, deadline)
    }
}

impl Workflow<Context> for AssignmentWatch {
    const SPEC: WorkflowSpec = WorkflowSpec {
        name: "distribution.assignment_watch",
        version: 1,
        queue: queues::WORKFLOWS,
        retry: Retry::backoff(10, Duration::from_secs(2), Duration::from_mins(10)),
        timeout: Duration::from_secs(30),
    };

    fn key(&self) -> String {
        self.lead.to_string()
    }

    async fn advance(mut self, cx: &Context, step: &Step) -> Result<Outcome, JobError> {
        let alarm_after = cx.settings.waiting_alarm_after;
        let mut uow = cx.begin(Actor::workflow(Self::SPEC.name)).await?;
        let now = uow.now();
        let waits = leads::find_waiting_since(uow.conn(), self.lead).await?;
        let transition = match waits {
            None => Transition::Done(self),
            // Begun by a version whose watches did not begin asleep.
            Some(_) if *step.wake() == Wake::Start => self.sleep(now, alarm_after),
            Some(since) => {
                uow.record(Event::LeadWaitsTooLong { lead: self.lead, since });
                self.alarms += 1;
                if self.alarms >= ALARMS_MAX { Transition::Done(self) } else { self.sleep(now, alarm_after) }
            }
        };
        uow.commit_and_advance(step, transition).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_with_each_alarm() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a valid time");
        let minute = Duration::from_mins(1);
        let after = |alarms| (AssignmentWatch { lead: LeadId::new(), alarms }).deadline(now, minute) - now;
        assert_eq!(after(0), TimeDelta::minutes(1));
        assert_eq!(after(1), TimeDelta::minutes(2));
        assert_eq!(after(5), TimeDelta::minutes(32));
    }

    #[test]
    fn the_stored_state_is_a_contract() {
        let stored = r#"{"lead":"019a0000-0000-7000-8000-000000000001"}"#;
        let state: AssignmentWatch =
            serde_json::from_str(stored).expect("states of the first version still load");
        assert_eq!(state.alarms, 0);
    }
}
