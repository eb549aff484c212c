//! What an event leaves on the timelines of leads.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Event;
use crate::nouns::{LeadId, SlaTimerId, UserId};
use crate::timeline::{Entry, Kind};

fn entry(lead: LeadId, kind: Kind, code: &'static str, body: Value) -> Entry {
    Entry { lead, kind, code, reference: None, body }
}

fn about(lead: LeadId, kind: Kind, code: &'static str, reference: Uuid, body: Value) -> Entry {
    Entry { reference: Some(reference), ..entry(lead, kind, code, body) }
}

impl Event {
    /// Its entries on timelines: none for what is about no lead, one a lead for what is about many.
    #[expect(clippy::too_many_lines, reason = "one table: a row for each event")]
    pub fn timeline(&self) -> Vec<Entry> {
        let one = match self {
            Self::LeadsAssigned { batch, pool, assignments } => {
                let assigned = |(lead, owner): &(LeadId, UserId)| {
                    let body = json!({ "owner": owner, "batch": batch, "pool": pool });
                    entry(*lead, Kind::Assignment, "lead.assigned", body)
                };
                return assignments.iter().map(assigned).collect();
            }
            Self::SlaStarted { policy, timers, due_at, .. } => {
                let started = |(lead, _): &(LeadId, SlaTimerId)| {
                    entry(*lead, Kind::Sla, "sla.started", json!({ "policy": policy, "dueAt": due_at }))
                };
                return timers.iter().map(started).collect();
            }
            Self::LeadCreated { lead, pool } => {
                entry(*lead, Kind::Lead, "lead.created", json!({ "pool": pool }))
            }
            Self::TestLeadKept { lead } => entry(*lead, Kind::Lead, "lead.testKept", json!({})),
            Self::LeadMerged { lead, absorbed } => {
                entry(*lead, Kind::Lead, "lead.merged", json!({ "absorbed": absorbed }))
            }
            Self::LeadUnmerged { lead, survivor, .. } => {
                entry(*lead, Kind::Lead, "lead.unmerged", json!({ "survivor": survivor }))
            }
            Self::LeadEnquired { lead } => entry(*lead, Kind::Lead, "lead.enquired", json!({})),
            Self::LeadReopened { lead, pool } => {
                entry(*lead, Kind::Lead, "lead.reopened", json!({ "pool": pool }))
            }
            Self::LeadWaitsTooLong { lead, since } => {
                entry(*lead, Kind::Queue, "lead.waitsTooLong", json!({ "since": since }))
            }
            Self::LeadStatusChanged { lead, from, to } => {
                entry(*lead, Kind::Status, "status.changed", json!({ "from": from, "to": to }))
            }
            Self::LeadTaken { lead, user, reason } => {
                entry(*lead, Kind::Assignment, "lead.taken", json!({ "owner": user, "reason": reason }))
            }
            Self::LeadQueued { lead, reason, release_at } => entry(
                *lead,
                Kind::Queue,
                "lead.queued",
                json!({ "queue": "admin", "reason": reason, "releaseAt": release_at }),
            ),
            Self::LeadRedistributed { lead, pool } => {
                entry(*lead, Kind::Queue, "lead.redistributed", json!({ "pool": pool }))
            }
            Self::ContactCorrected { lead } => entry(*lead, Kind::Lead, "contact.corrected", json!({})),
            Self::ChannelSuppressed { lead, channel, reason } => entry(
                *lead,
                Kind::Consent,
                "channel.suppressed",
                json!({ "channel": channel.code(), "reason": reason }),
            ),
            Self::CoolingOffOpened { cooling_off, lead, user, reason, until } => about(
                *lead,
                Kind::CoolingOff,
                "coolingOff.opened",
                cooling_off.uuid(),
                json!({ "user": user, "reason": reason, "until": until }),
            ),
            Self::CoolingOffEnded { lead, user, .. } => {
                entry(*lead, Kind::CoolingOff, "coolingOff.ended", json!({ "user": user }))
            }
            Self::SlaReminded { lead, policy, users, due_at } => entry(
                *lead,
                Kind::Sla,
                "sla.reminded",
                json!({ "policy": policy, "users": users, "dueAt": due_at }),
            ),
            Self::SlaBreached { lead, policy, due_at, .. } => {
                entry(*lead, Kind::Sla, "sla.breached", json!({ "policy": policy, "dueAt": due_at }))
            }
            Self::SlaEscalated { lead, policy, to, users } => entry(
                *lead,
                Kind::Sla,
                "sla.escalated",
                json!({ "policy": policy, "to": to, "users": users }),
            ),
            Self::SlaPaused { lead, policy, until } => {
                entry(*lead, Kind::Sla, "sla.paused", json!({ "policy": policy, "until": until }))
            }
            Self::SlaResumed { lead, policy, due_at } => {
                entry(*lead, Kind::Sla, "sla.resumed", json!({ "policy": policy, "dueAt": due_at }))
            }
            Self::SlaEnded { lead, policy, satisfied, breached, reason } => entry(
                *lead,
                Kind::Sla,
                if *satisfied { "sla.satisfied" } else { "sla.superseded" },
                json!({ "policy": policy, "breached": breached, "reason": reason }),
            ),
            Self::NoteAdded { lead, note } => about(*lead, Kind::Note, "note.added", note.uuid(), json!({})),
            Self::FollowUpPlanned { lead, follow_up, user, due_at } => about(
                *lead,
                Kind::FollowUp,
                "followUp.planned",
                follow_up.uuid(),
                json!({ "user": user, "dueAt": due_at }),
            ),
            Self::FollowUpDue { lead, follow_up, user } => {
                about(*lead, Kind::FollowUp, "followUp.due", follow_up.uuid(), json!({ "user": user }))
            }
            Self::FollowUpClosed { lead, follow_up, state } => {
                about(*lead, Kind::FollowUp, "followUp.closed", follow_up.uuid(), json!({ "state": state }))
            }
            Self::CallRequested { call, lead, .. } => {
                about(*lead, Kind::Call, "call.requested", call.uuid(), json!({ "channel": "PHONE" }))
            }
            Self::CallRefused { lead, reason, .. } => {
                entry(*lead, Kind::Call, "call.refused", json!({ "channel": "PHONE", "reason": reason }))
            }
            Self::CallStatusChanged { call, lead, to, failure, talk_s, .. } => about(
                *lead,
                Kind::Call,
                "call.statusChanged",
                call.uuid(),
                json!({ "channel": "PHONE", "status": to, "failure": failure, "talkSeconds": talk_s }),
            ),
            Self::CallOutcomeRecorded { call, lead, disposition } => about(
                *lead,
                Kind::Call,
                "call.outcomeRecorded",
                call.uuid(),
                json!({ "channel": "PHONE", "disposition": disposition }),
            ),
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
            | Self::LeadsLeftWaiting { .. }
            | Self::CapacityFreed { .. }
            | Self::LeadUnqueued { .. }
            | Self::CallSilent { .. }
            | Self::SlaPolicyChanged { .. }
            | Self::SlaRescheduled { .. }
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
            | Self::SignInRefused { .. } => return Vec::new(),
        };
        vec![one]
    }
}
