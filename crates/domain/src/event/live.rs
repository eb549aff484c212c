//! What listeners hear of an event.

use serde_json::{Value, json};

use super::Event;
use crate::calls::CallStatus;
use crate::live::{CALL_STATUS, LiveEvent};
use crate::nouns::{LeadId, SlaTimerId, UserId};

impl Event {
    /// One entry for each lead that it is about; none for what is about no lead.
    #[expect(clippy::too_many_lines, reason = "one table: a row for each event")]
    pub fn live(&self) -> Vec<LiveEvent> {
        match self {
            Self::LeadsAssigned { assignments, .. } => {
                let told = |(lead, owner): &(LeadId, UserId)| {
                    LiveEvent::of_lead("lead.assigned", *lead, json!({ "owner": owner }))
                };
                assignments.iter().map(told).collect()
            }
            Self::SlaStarted { policy, timers, due_at, .. } => {
                let told = |(lead, _): &(LeadId, SlaTimerId)| {
                    LiveEvent::of_lead("sla.started", *lead, json!({ "policy": policy, "dueAt": due_at }))
                };
                timers.iter().map(told).collect()
            }
            Self::SlaRescheduled { policy, leads } => {
                let told =
                    |lead: &LeadId| LiveEvent::of_lead("sla.rescheduled", *lead, json!({ "policy": policy }));
                leads.iter().map(told).collect()
            }
            Self::LeadCreated { lead, .. } => one("lead.created", *lead, json!({})),
            Self::LeadMerged { lead, absorbed } => one("lead.merged", *lead, json!({ "absorbed": absorbed })),
            Self::LeadUnmerged { lead, survivor, .. } => {
                one("lead.unmerged", *lead, json!({ "survivor": survivor }))
            }
            Self::LeadEnquired { lead } => one("lead.enquired", *lead, json!({})),
            Self::LeadReopened { lead, .. } => one("lead.reopened", *lead, json!({})),
            Self::LeadStatusChanged { lead, from, to } => {
                one("lead.statusChanged", *lead, json!({ "from": from, "to": to }))
            }
            Self::LeadWaitsTooLong { lead, since } => {
                one("lead.waitsTooLong", *lead, json!({ "since": since }))
            }
            Self::LeadTaken { lead, user, reason } => {
                for_user(*user, "lead.taken", *lead, json!({ "owner": user, "reason": reason }))
            }
            Self::LeadQueued { lead, reason, release_at } => {
                one("lead.queued", *lead, json!({ "reason": reason, "releaseAt": release_at }))
            }
            Self::LeadUnqueued { lead } => one("lead.unqueued", *lead, json!({})),
            Self::LeadRedistributed { lead, .. } => one("lead.redistributed", *lead, json!({})),
            Self::ContactCorrected { lead } => one("lead.contactCorrected", *lead, json!({})),
            Self::ChannelSuppressed { lead, channel, reason } => {
                one("lead.channelSuppressed", *lead, json!({ "channel": channel.code(), "reason": reason }))
            }
            Self::SlaReminded { lead, policy, users, due_at } => {
                one("sla.reminded", *lead, json!({ "policy": policy, "dueAt": due_at, "users": users }))
            }
            Self::SlaBreached { lead, policy, users, due_at } => {
                one("sla.breached", *lead, json!({ "policy": policy, "dueAt": due_at, "users": users }))
            }
            Self::SlaEscalated { lead, policy, to, users } => {
                one("sla.escalated", *lead, json!({ "policy": policy, "to": to, "users": users }))
            }
            Self::SlaPaused { lead, policy, until } => {
                one("sla.paused", *lead, json!({ "policy": policy, "until": until }))
            }
            Self::SlaResumed { lead, policy, due_at } => {
                one("sla.resumed", *lead, json!({ "policy": policy, "dueAt": due_at }))
            }
            Self::SlaEnded { lead, policy, satisfied, breached, reason } => one(
                "sla.ended",
                *lead,
                json!({ "policy": policy, "satisfied": satisfied, "breached": breached, "reason": reason }),
            ),
            Self::NoteAdded { lead, note } => one("note.added", *lead, json!({ "noteId": note })),
            Self::FollowUpPlanned { lead, follow_up, due_at, .. } => {
                one("followUp.planned", *lead, json!({ "followUpId": follow_up, "dueAt": due_at }))
            }
            Self::FollowUpDue { lead, follow_up, user } => {
                for_user(*user, "followUp.due", *lead, json!({ "followUpId": follow_up }))
            }
            Self::FollowUpClosed { lead, follow_up, state } => {
                one("followUp.closed", *lead, json!({ "followUpId": follow_up, "state": state }))
            }
            Self::CallRequested { call, lead, user } => {
                let body = json!({ "callId": call, "status": CallStatus::Queued.code() });
                for_user(*user, CALL_STATUS, *lead, body)
            }
            Self::CallStatusChanged { call, lead, user, to, failure, talk_s, .. } => {
                let body = json!({
                    "callId": call, "status": to.code(), "failure": failure, "talkSeconds": talk_s,
                });
                for_user(*user, CALL_STATUS, *lead, body)
            }
            Self::CallOutcomeRecorded { call, lead, disposition } => {
                one("call.outcomeRecorded", *lead, json!({ "callId": call, "disposition": disposition }))
            }
            Self::InboundAccepted { .. }
            | Self::InboundQuarantined { .. }
            | Self::InboundReleased { .. }
            | Self::ImportCreated { .. }
            | Self::ImportStarted { .. }
            | Self::ImportEnded { .. }
            | Self::ImportRowMended { .. }
            | Self::ImportUndoRequested { .. }
            | Self::ImportUndone { .. }
            | Self::LeadsRemoved { .. }
            | Self::DuplicatesSuspected { .. }
            | Self::LeadsKeptApart { .. }
            | Self::TestLeadKept { .. }
            | Self::LeadsLeftWaiting { .. }
            | Self::CapacityFreed { .. }
            | Self::CoolingOffOpened { .. }
            | Self::CoolingOffEnded { .. }
            | Self::SlaPolicyChanged { .. }
            | Self::CallRefused { .. }
            | Self::CallSilent { .. }
            | Self::PoolCreated { .. }
            | Self::PoolMemberSet { .. }
            | Self::CampaignPoolSet { .. }
            | Self::LoadLimitsSet { .. }
            | Self::WorkingHoursSet { .. }
            | Self::AbsenceSet { .. }
            | Self::CalendarCreated { .. }
            | Self::CalendarChanged { .. }
            | Self::TeamCreated { .. }
            | Self::UserCreated { .. }
            | Self::ExtensionSet { .. }
            | Self::Operated(_)
            | Self::SignedIn { .. }
            | Self::AccessRefused { .. }
            | Self::SignInRefused { .. } => Vec::new(),
        }
    }
}

fn one(name: &'static str, lead: LeadId, body: Value) -> Vec<LiveEvent> {
    vec![LiveEvent::of_lead(name, lead, body)]
}

/// Told to this user, too, whosever the lead is.
fn for_user(user: UserId, name: &'static str, lead: LeadId, body: Value) -> Vec<LiveEvent> {
    vec![LiveEvent { user: Some(user), ..LiveEvent::of_lead(name, lead, body) }]
}
