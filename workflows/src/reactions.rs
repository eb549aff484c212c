//! The causality of the product on one page: what each event causes.
//!
//! **Invariant:** pure and total. A new event does not compile until somebody has decided here what follows.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use sira_domain::Event;
use sira_domain::event::OperatorAct;
use sira_domain::nouns::{LeadId, PoolId};
use sira_engine::{Effect, Job, NewJob, NewWorkflow, Workflow};
use sira_jobs::Context;
use sira_jobs::calls::{PlaceCall, ReconcileCall};
use sira_jobs::distribution::{AssignLeads, ExpireCoolingOff};
use sira_jobs::ingestion::{FetchMetaLead, ImportLeads, UndoImport};
use sira_jobs::operations::ActOnJobs;
use sira_jobs::privacy::DestroyKeys;
use sira_jobs::sla::{RescheduleCalendar, RescheduleTimers};

use crate::assignment_watch::AssignmentWatch;
use crate::call_session::{CallSession, ENDED};
use crate::sla_timer::{CHANGED, SlaTimer};
use crate::{AdminQueue, FollowUpReminder};

/// What follows from events, where a lead that has waited for an agent for `waiting_alarm_after` is to be reported.
pub fn reactions(waiting_alarm_after: Duration) -> impl Fn(&Event, DateTime<Utc>) -> Vec<Effect> {
    move |event, now| react(event, now, waiting_alarm_after)
}

/// What follows from an event, in the transaction of the event.
#[expect(clippy::too_many_lines, reason = "one table: an arm for each event")]
fn react(event: &Event, now: DateTime<Utc>, waiting_alarm_after: Duration) -> Vec<Effect> {
    // A lead without an agent: find one now, and watch until there is one.
    let begins_to_wait = |lead: LeadId, pool: PoolId| {
        let watch = AssignmentWatch::new(lead);
        let first_look = watch.deadline(now, waiting_alarm_after);
        vec![job(&AssignLeads { pool }), Effect::Start(NewWorkflow::of(&watch).asleep_until(first_look))]
    };
    match event {
        Event::InboundAccepted { provider: _, inbound } => {
            inbound.iter().map(|inbound| job(&FetchMetaLead { inbound: *inbound })).collect()
        }
        Event::InboundReleased { inbound, .. } => vec![job(&FetchMetaLead { inbound: *inbound })],
        Event::ImportStarted { import } => vec![job(&ImportLeads { import: *import, from: 0 })],
        Event::ImportUndoRequested { import } => vec![job(&UndoImport { import: *import, part: 0 })],
        Event::Operated(OperatorAct::BulkStarted { bulk, .. }) => vec![job(&ActOnJobs { bulk: *bulk })],
        Event::LeadsRemoved { leads } => {
            let ended = leads.iter().map(|lead| supersede::<AssignmentWatch>(lead.to_string(), "removed"));
            ended.chain([job(&DestroyKeys { leads: leads.clone() })]).collect()
        }
        Event::LeadCreated { lead, pool } | Event::LeadUnmerged { lead, waits_in: Some(pool), .. } => {
            begins_to_wait(*lead, *pool)
        }
        Event::LeadMerged { absorbed, .. } => vec![
            supersede::<AssignmentWatch>(absorbed.to_string(), "merged"),
            supersede::<AdminQueue>(absorbed.to_string(), "merged"),
        ],
        Event::LeadReopened { lead, pool } | Event::LeadRedistributed { lead, pool } => {
            // A watch of its first life may still be about to end, or be set to an hour of that life.
            let ended = supersede::<AssignmentWatch>(lead.to_string(), "waits_again");
            std::iter::once(ended).chain(begins_to_wait(*lead, *pool)).collect()
        }
        Event::LeadsAssigned { assignments, .. } => assignments
            .iter()
            .map(|(lead, _)| supersede::<AssignmentWatch>(lead.to_string(), "assigned"))
            .collect(),
        Event::LeadsLeftWaiting { pool, retry_at, .. } => {
            retry_at.iter().map(|at| Effect::Job(NewJob::of(&AssignLeads { pool: *pool }).at(*at))).collect()
        }
        Event::CapacityFreed { pools } => {
            pools.iter().map(|pool| job(&AssignLeads { pool: *pool })).collect()
        }
        Event::LeadQueued { lead, release_at, .. } => {
            release_at.iter().map(|at| start(&AdminQueue { lead: *lead, release_at: *at })).collect()
        }
        Event::LeadUnqueued { lead } => vec![supersede::<AdminQueue>(lead.to_string(), "left_the_queue")],
        Event::CoolingOffOpened { cooling_off, until, .. } => {
            let expire = ExpireCoolingOff { cooling_off: *cooling_off };
            vec![Effect::Job(NewJob::of(&expire).at(*until))]
        }
        Event::CoolingOffEnded { waits_in, .. } => {
            waits_in.iter().map(|pool| job(&AssignLeads { pool: *pool })).collect()
        }
        Event::SlaStarted { policy, timers, next_at, .. } => {
            let begun = timers.iter().map(|(lead, timer)| {
                let timer = SlaTimer { lead: *lead, policy: policy.clone(), timer: *timer };
                Effect::Start(NewWorkflow::of(&timer).waiting_for(CHANGED, *next_at))
            });
            begun.collect()
        }
        Event::SlaPaused { lead, policy, .. } => vec![times_changed(*lead, policy)],
        Event::SlaRescheduled { policy, leads } => {
            leads.iter().map(|lead| times_changed(*lead, policy)).collect()
        }
        Event::SlaEnded { lead, policy, reason, .. } => {
            vec![supersede::<SlaTimer>(SlaTimer::key_of(*lead, policy), reason)]
        }
        Event::CalendarChanged { calendar } => vec![job(&RescheduleCalendar { calendar: *calendar })],
        Event::SlaPolicyChanged { policy } => {
            vec![job(&RescheduleTimers { policy: policy.clone(), after: None })]
        }
        Event::FollowUpPlanned { lead, follow_up, due_at, .. } => {
            vec![start(&FollowUpReminder { lead: *lead, follow_up: *follow_up, due_at: *due_at })]
        }
        Event::FollowUpClosed { follow_up, state, .. } => {
            vec![supersede::<FollowUpReminder>(follow_up.to_string(), state)]
        }
        Event::CallRequested { call, .. } => {
            vec![job(&PlaceCall { call: *call }), start(&CallSession::new(*call))]
        }
        Event::CallSilent { call, ask_at } => {
            vec![Effect::Job(NewJob::of(&ReconcileCall { call: *call }).at(*ask_at))]
        }
        Event::CallStatusChanged { call, to, .. } if to.is_final() => {
            vec![signal::<CallSession>(call.to_string(), ENDED)]
        }
        Event::CallStatusChanged { .. }
        | Event::CallRefused { .. }
        | Event::CallOutcomeRecorded { .. }
        | Event::FollowUpDue { .. }
        | Event::NoteAdded { .. }
        | Event::SlaReminded { .. }
        | Event::SlaBreached { .. }
        | Event::SlaEscalated { .. }
        | Event::SlaResumed { .. }
        | Event::LeadTaken { .. }
        | Event::ContactCorrected { .. }
        | Event::ChannelSuppressed { .. }
        | Event::InboundQuarantined { .. }
        | Event::ImportCreated { .. }
        | Event::ImportEnded { .. }
        | Event::ImportRowMended { .. }
        | Event::ImportUndone { .. }
        | Event::TestLeadKept { .. }
        | Event::DuplicatesSuspected { .. }
        | Event::LeadsKeptApart { .. }
        | Event::LeadUnmerged { .. }
        | Event::LeadEnquired { .. }
        | Event::LeadWaitsTooLong { .. }
        | Event::LeadStatusChanged { .. }
        | Event::PoolCreated { .. }
        | Event::PoolMemberSet { .. }
        | Event::CampaignPoolSet { .. }
        | Event::LoadLimitsSet { .. }
        | Event::WorkingHoursSet { .. }
        | Event::AbsenceSet { .. }
        | Event::CalendarCreated { .. }
        | Event::TeamCreated { .. }
        | Event::UserCreated { .. }
        | Event::ExtensionSet { .. }
        | Event::Operated(_)
        | Event::SignedIn { .. }
        | Event::AccessRefused { .. }
        | Event::SignInRefused { .. } => Vec::new(),
    }
}

/// The times of a promise are other ones: its timer looks again.
fn times_changed(lead: LeadId, policy: &str) -> Effect {
    signal::<SlaTimer>(SlaTimer::key_of(lead, policy), CHANGED)
}

fn job<J: Job<Context>>(job: &J) -> Effect {
    Effect::Job(NewJob::of(job))
}

fn start<W: Workflow<Context>>(workflow: &W) -> Effect {
    Effect::Start(NewWorkflow::of(workflow))
}

fn signal<W: Workflow<Context>>(key: String, name: &'static str) -> Effect {
    Effect::Signal { kind: W::SPEC.name, key, name, payload: json!({}) }
}

fn supersede<W: Workflow<Context>>(key: String, reason: &str) -> Effect {
    Effect::Supersede { kind: W::SPEC.name, key, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use sira_domain::calls::CallStatus;
    use sira_domain::consents::Channel;
    use sira_domain::nouns::{
        CalendarId, CallId, CampaignId, CoolingOffId, FollowUpId, ImportId, InboundId, NoteId,
        RoutingBatchId, SlaTimerId, TeamId, UserId,
    };
    use sira_domain::sla::Target;

    use super::*;

    /// One line per effect, so that a table can be read.
    fn told(event: &Event) -> Vec<String> {
        let tell = |effect: Effect| match effect {
            Effect::Job(job) => {
                let when = if job.due().is_some() { " later" } else { "" };
                format!("job {}{when}", job.kind())
            }
            Effect::Start(workflow) => {
                let how = if workflow.due().is_some() { " asleep" } else { "" };
                format!("start {}{how}", workflow.kind())
            }
            Effect::Signal { kind, name, .. } => format!("signal {kind} {name}"),
            Effect::Supersede { kind, .. } => format!("supersede {kind}"),
        };
        reactions(Duration::from_mins(1))(event, DateTime::UNIX_EPOCH).into_iter().map(tell).collect()
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table: a row for each event")]
    fn each_event_causes_what_the_table_says() {
        let (lead, pool, user) = (LeadId::new(), PoolId::new(), UserId::new());
        let later = DateTime::from_timestamp(1_800_000_000, 0).expect("a valid time");
        let (call, follow_up) = (CallId::new(), FollowUpId::new());
        let policy = || "first_response".to_owned();
        let call_became = |to| Event::CallStatusChanged {
            call,
            lead,
            user,
            from: CallStatus::Initiated,
            to,
            failure: None,
            talk_s: None,
        };
        let import = ImportId::new();
        let waits = vec!["job distribution.assign_leads", "start distribution.assignment_watch asleep"];
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
                [vec!["supersede distribution.assignment_watch"], waits.clone()].concat(),
            ),
            (
                Event::LeadsAssigned { batch: RoutingBatchId::new(), pool, assignments: vec![(lead, user)] },
                vec!["supersede distribution.assignment_watch"],
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
            (
                Event::InboundReleased { inbound: InboundId::new(), corrected: true },
                vec!["job ingestion.fetch_meta_lead"],
            ),
            (Event::ImportCreated { import }, vec![]),
            (Event::ImportStarted { import }, vec!["job ingestion.import_leads"]),
            (
                Event::ImportEnded { import, state: "done", created: 1, joined: 0, reopened: 0, bad: 0 },
                vec![],
            ),
            (Event::ImportRowMended { import, line: 2, lead, effect: "created" }, vec![]),
            (Event::ImportUndoRequested { import }, vec!["job ingestion.undo_import"]),
            (Event::ImportUndone { import, removed: 1, kept: 0 }, vec![]),
            (
                Event::LeadsRemoved { leads: vec![lead] },
                vec!["supersede distribution.assignment_watch", "job privacy.destroy_keys"],
            ),
            (Event::TestLeadKept { lead }, vec![]),
            (Event::DuplicatesSuspected { pairs: vec![(lead, LeadId::new())] }, vec![]),
            (
                Event::LeadMerged { lead: LeadId::new(), absorbed: lead },
                vec!["supersede distribution.assignment_watch", "supersede distribution.admin_queue"],
            ),
            (Event::LeadsKeptApart { lead, other: LeadId::new() }, vec![]),
            (Event::LeadUnmerged { lead, survivor: LeadId::new(), waits_in: Some(pool) }, waits),
            (Event::LeadUnmerged { lead, survivor: LeadId::new(), waits_in: None }, vec![]),
            (Event::LeadEnquired { lead }, vec![]),
            (Event::LeadWaitsTooLong { lead, since: later }, vec![]),
            (Event::LeadStatusChanged { lead, from: "new".into(), to: "lost".into() }, vec![]),
            (
                Event::LeadRedistributed { lead, pool },
                vec![
                    "supersede distribution.assignment_watch",
                    "job distribution.assign_leads",
                    "start distribution.assignment_watch asleep",
                ],
            ),
            (Event::LeadTaken { lead, user, reason: "blocked".into() }, vec![]),
            (
                Event::LeadQueued { lead, reason: "blocked".into(), release_at: Some(later) },
                vec!["start distribution.admin_queue"],
            ),
            (Event::LeadQueued { lead, reason: "wrong_number".into(), release_at: None }, vec![]),
            (Event::LeadUnqueued { lead }, vec!["supersede distribution.admin_queue"]),
            (Event::ContactCorrected { lead }, vec![]),
            (Event::ChannelSuppressed { lead, channel: Channel::Call, reason: "blocked".into() }, vec![]),
            (
                Event::CoolingOffOpened {
                    cooling_off: CoolingOffId::new(),
                    lead,
                    user,
                    reason: "blocked".into(),
                    until: later,
                },
                vec!["job distribution.expire_cooling_off later"],
            ),
            (
                Event::CoolingOffEnded { lead, user, waits_in: Some(pool) },
                vec!["job distribution.assign_leads"],
            ),
            (Event::CoolingOffEnded { lead, user, waits_in: None }, vec![]),
            (
                Event::SlaStarted {
                    policy: policy(),
                    timers: vec![(lead, SlaTimerId::new()), (LeadId::new(), SlaTimerId::new())],
                    due_at: later,
                    next_at: later,
                },
                vec!["start sla.timer asleep", "start sla.timer asleep"],
            ),
            (Event::SlaReminded { lead, policy: policy(), users: vec![user], due_at: later }, vec![]),
            (Event::SlaBreached { lead, policy: policy(), users: vec![user], due_at: later }, vec![]),
            (Event::SlaEscalated { lead, policy: policy(), to: Target::Manager, users: vec![user] }, vec![]),
            (Event::SlaPaused { lead, policy: policy(), until: later }, vec!["signal sla.timer changed"]),
            (Event::SlaResumed { lead, policy: policy(), due_at: later }, vec![]),
            (
                Event::SlaEnded { lead, policy: policy(), satisfied: true, breached: false, reason: "call" },
                vec!["supersede sla.timer"],
            ),
            (
                Event::SlaRescheduled { policy: policy(), leads: vec![lead, LeadId::new()] },
                vec!["signal sla.timer changed", "signal sla.timer changed"],
            ),
            (Event::SlaPolicyChanged { policy: policy() }, vec!["job sla.reschedule_timers"]),
            (Event::NoteAdded { lead, note: NoteId::new() }, vec![]),
            (
                Event::FollowUpPlanned { lead, follow_up, user, due_at: later },
                vec!["start leads.follow_up_reminder"],
            ),
            (Event::FollowUpDue { lead, follow_up, user }, vec![]),
            (
                Event::FollowUpClosed { lead, follow_up, state: "done" },
                vec!["supersede leads.follow_up_reminder"],
            ),
            (
                Event::CallRequested { call, lead, user },
                vec!["job calls.place_call", "start calls.call_session"],
            ),
            (Event::CallRefused { lead, user, reason: "opted_out" }, vec![]),
            (call_became(CallStatus::Ringing), vec![]),
            (call_became(CallStatus::NoAnswer), vec!["signal calls.call_session ended"]),
            (Event::CallSilent { call, ask_at: later }, vec!["job calls.reconcile_call later"]),
            (Event::CallOutcomeRecorded { call, lead, disposition: "reached".into() }, vec![]),
            (Event::PoolCreated { pool }, vec![]),
            (Event::PoolMemberSet { pool, user, weight: 50 }, vec![]),
            (Event::CampaignPoolSet { campaign: CampaignId::new(), pool }, vec![]),
            (Event::LoadLimitsSet { user, capacity: 50, day_capacity: 100 }, vec![]),
            (Event::WorkingHoursSet { user, blocks: 5 }, vec![]),
            (Event::AbsenceSet { user, starts_at: later, ends_at: later }, vec![]),
            (Event::CalendarCreated { calendar: CalendarId::new() }, vec![]),
            (Event::CalendarChanged { calendar: CalendarId::new() }, vec!["job sla.reschedule_calendar"]),
            (Event::TeamCreated { team: TeamId::new() }, vec![]),
            (Event::UserCreated { user, role: "agent" }, vec![]),
            (Event::ExtensionSet { user, set: true }, vec![]),
            (
                Event::Operated(OperatorAct::BulkStarted {
                    bulk: 1,
                    act: "retry".into(),
                    filter: serde_json::Value::Null,
                }),
                vec!["job operations.act_on_jobs"],
            ),
            (Event::Operated(OperatorAct::QueueResumed { queue: "q".into() }), vec![]),
            (Event::SignedIn { user }, vec![]),
            (Event::AccessRefused { user, permission: "leads.create" }, vec![]),
            (Event::SignInRefused { user: None }, vec![]),
        ];
        for (event, expected) in table {
            assert_eq!(told(&event), expected, "{event:?}");
        }
    }
}
