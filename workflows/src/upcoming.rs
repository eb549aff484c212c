//! What will happen to a lead by itself, read from the timers of its live workflows.

use chrono::{DateTime, Utc};
use sira_domain::nouns::LeadId;
use sira_domain::sla::{self, Action, Live, NextAction};
use sira_domain::{calls, follow_ups};
use sira_engine::Workflow;
use sira_engine::ops;
use sira_jobs::Context;
use sqlx::PgConnection;

use crate::{AdminQueue, AssignmentWatch, CallSession, FollowUpReminder, SlaTimer};

/// One thing that will happen unless something comes before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upcoming {
    /// When.
    pub at: DateTime<Utc>,
    /// `sla.reminder`, `sla.breach`, `sla.escalation`, `sla.resume`, `followUp.due`, `lead.redistribution`, `call.check`,
    /// `lead.waitsTooLong`.
    pub code: &'static str,
    /// The policy, for a promise.
    pub policy: Option<String>,
}

/// What will happen to this lead, soonest first: a handful of timers at most.
pub async fn list(conn: &mut PgConnection, lead: LeadId) -> Result<Vec<Upcoming>, sqlx::Error> {
    let mut asked: Vec<(&'static str, String, &'static str, Option<String>)> = vec![
        (name::<AssignmentWatch>(), lead.to_string(), "lead.waitsTooLong", None),
        (name::<AdminQueue>(), lead.to_string(), "lead.redistribution", None),
    ];
    for Live { policy, next } in sla::list_live(conn, lead).await? {
        let Some(next) = next else { continue };
        asked.push((name::<SlaTimer>(), SlaTimer::key_of(lead, &policy), told(next), Some(policy)));
    }
    if let Some(plan) = follow_ups::find_open(conn, lead).await? {
        asked.push((name::<FollowUpReminder>(), plan.id.to_string(), "followUp.due", None));
    }
    if let Some(call) = calls::find_open(conn, lead).await? {
        asked.push((name::<CallSession>(), call.to_string(), "call.check", None));
    }
    let keys: Vec<(&str, &str)> = asked.iter().map(|(kind, key, ..)| (*kind, key.as_str())).collect();
    let timers = ops::list_timers(conn, &keys).await?;
    let mut upcoming: Vec<Upcoming> = timers
        .into_iter()
        .filter_map(|timer| {
            let (.., code, policy) =
                asked.iter().find(|(kind, key, ..)| *kind == timer.kind && *key == timer.key)?;
            Some(Upcoming { at: timer.wake_at, code, policy: policy.clone() })
        })
        .collect();
    upcoming.sort_by_key(|upcoming| upcoming.at);
    Ok(upcoming)
}

fn told(next: NextAction) -> &'static str {
    match next {
        NextAction::Resume => "sla.resume",
        NextAction::Act(Action::Remind) => "sla.reminder",
        NextAction::Act(Action::Breach) => "sla.breach",
        NextAction::Act(Action::Escalate(_)) => "sla.escalation",
    }
}

fn name<W: Workflow<Context>>() -> &'static str {
    W::SPEC.name
}
