//! The causality of the product on one page: what each event causes.
//!
//! **Invariant:** pure and total. A new event does not compile until somebody has decided here what follows.

use serde_json::json;
use sira_domain::Event;
use sira_domain::nouns::{LeadId, PoolId};
use sira_engine::{Effect, NewJob, NewWorkflow, Workflow};
use sira_jobs::distribution::AssignLeads;
use sira_jobs::ingestion::FetchMetaLead;

use crate::assignment_watch::{ASSIGNED, AssignmentWatch};

/// What follows from an event, in the transaction of the event.
pub fn reactions(event: &Event) -> Vec<Effect> {
    match event {
        Event::InboundAccepted { provider: _, inbound } => inbound
            .iter()
            .map(|inbound| Effect::Job(NewJob::of(&FetchMetaLead { inbound: *inbound })))
            .collect(),
        Event::LeadCreated { lead, pool } => begins_to_wait(*lead, *pool),
        Event::LeadReopened { lead, pool } => {
            // A watch of its first life may still be about to end, or be set to an hour of that life.
            let (kind, key) = (AssignmentWatch::SPEC.name, lead.to_string());
            let ended = Effect::Supersede { kind, key, reason: "reopened".to_owned() };
            std::iter::once(ended).chain(begins_to_wait(*lead, *pool)).collect()
        }
        Event::LeadsAssigned { assignments, .. } => {
            assignments.iter().map(|(lead, _)| assigned(*lead)).collect()
        }
        Event::LeadsLeftWaiting { pool, retry_at, .. } => {
            retry_at.iter().map(|at| Effect::Job(NewJob::of(&AssignLeads { pool: *pool }).at(*at))).collect()
        }
        Event::CapacityFreed { pools } => {
            pools.iter().map(|pool| Effect::Job(NewJob::of(&AssignLeads { pool: *pool }))).collect()
        }
        Event::InboundQuarantined { .. }
        | Event::TestLeadKept { .. }
        | Event::LeadEnquired { .. }
        | Event::LeadWaitsTooLong { .. }
        | Event::LeadStatusChanged { .. }
        | Event::PoolCreated { .. }
        | Event::PoolMemberSet { .. }
        | Event::LoadLimitsSet { .. }
        | Event::WorkingHoursSet { .. }
        | Event::AbsenceSet { .. }
        | Event::TeamCreated { .. }
        | Event::UserCreated { .. }
        | Event::SignedIn { .. }
        | Event::SignInRefused { .. } => Vec::new(),
    }
}

/// A lead without an agent: find one now, and watch until there is one.
fn begins_to_wait(lead: LeadId, pool: PoolId) -> Vec<Effect> {
    vec![
        Effect::Job(NewJob::of(&AssignLeads { pool })),
        Effect::Start(NewWorkflow::of(&AssignmentWatch::new(lead))),
    ]
}

/// Ends the watch over a lead.
fn assigned(lead: LeadId) -> Effect {
    Effect::Signal {
        kind: AssignmentWatch::SPEC.name,
        key: lead.to_string(),
        name: ASSIGNED,
        payload: json!({}),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use sira_domain::nouns::{InboundId, RoutingBatchId, TeamId, UserId};

    use super::*;

    /// One line per effect, so that a table can be read.
    fn told(event: &Event) -> Vec<String> {
        let tell = |effect: Effect| match effect {
            Effect::Job(job) => {
                let when = if job.due().is_some() { " later" } else { "" };
                format!("job {}{when}", job.kind())
            }
            Effect::Start(workflow) => format!("start {}", workflow.kind()),
            Effect::Signal { kind, name, .. } => format!("signal {kind} {name}"),
            Effect::Supersede { kind, .. } => format!("supersede {kind}"),
        };
        reactions(event).into_iter().map(tell).collect()
    }

    #[test]
    fn each_event_causes_what_the_table_says() {
        let (lead, pool, user) = (LeadId::new(), PoolId::new(), UserId::new());
        let later = DateTime::from_timestamp(1_800_000_000, 0).expect("a valid time");
        let waits = vec!["job distribution.assign_leads", "start distribution.assignment_watch"];
        let table: Vec<(Event, Vec<&str>)> = vec![
            (
                Event::InboundAccepted {
                    provider: "meta",
                    inbound: vec![InboundId::new(), InboundId::new()],
                },
                vec!["job ingestion.fetch_meta_lead", "job ingestion.fetch_meta_lead"],
            ),
            (Event::LeadCreated { lead, pool }, waits.clone()),
            (
                Event::LeadReopened { lead, pool },
                [vec!["supersede distribution.assignment_watch"], waits].concat(),
            ),
            (
                Event::LeadsAssigned { batch: RoutingBatchId::new(), pool, assignments: vec![(lead, user)] },
                vec!["signal distribution.assignment_watch assigned"],
            ),
            (
                Event::LeadsLeftWaiting { pool, waiting: 3, retry_at: Some(later) },
                vec!["job distribution.assign_leads later"],
            ),
            (Event::LeadsLeftWaiting { pool, waiting: 3, retry_at: None }, vec![]),
            (
                Event::CapacityFreed { pools: vec![pool, PoolId::new()] },
                vec!["job distribution.assign_leads", "job distribution.assign_leads"],
            ),
            (Event::InboundQuarantined { inbound: InboundId::new(), code: "not_found".into() }, vec![]),
            (Event::TestLeadKept { lead }, vec![]),
            (Event::LeadEnquired { lead }, vec![]),
            (Event::LeadWaitsTooLong { lead, since: later }, vec![]),
            (Event::LeadStatusChanged { lead, from: "new".into(), to: "lost".into() }, vec![]),
            (Event::PoolCreated { pool }, vec![]),
            (Event::PoolMemberSet { pool, user, weight: 50 }, vec![]),
            (Event::LoadLimitsSet { user, capacity: 50, day_capacity: 100 }, vec![]),
            (Event::WorkingHoursSet { user, blocks: 5 }, vec![]),
            (Event::AbsenceSet { user, starts_at: later, ends_at: later }, vec![]),
            (Event::TeamCreated { team: TeamId::new() }, vec![]),
            (Event::UserCreated { user, role: "agent" }, vec![]),
            (Event::SignedIn { user }, vec![]),
            (Event::SignInRefused { user: None }, vec![]),
        ];
        for (event, expected) in table {
            assert_eq!(told(&event), expected, "{event:?}");
        }
    }
}
