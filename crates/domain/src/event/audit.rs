//! What an event leaves in the audit log.

use serde_json::json;

use super::Event;
use crate::audit::Entry;

impl Event {
    /// The audit entry of this event.
    #[expect(clippy::too_many_lines, reason = "one table: a row for each event")]
    pub fn audit(&self) -> Entry {
        match self {
            Self::InboundAccepted { provider, inbound } => {
                Entry::new("inbound.accepted", "provider", provider, json!({ "inbound": inbound }))
            }
            Self::InboundQuarantined { inbound, code } => {
                Entry::new("inbound.quarantined", "inbound_event", inbound, json!({ "code": code }))
            }
            Self::InboundReleased { inbound, corrected } => {
                Entry::new("inbound.released", "inbound_event", inbound, json!({ "corrected": corrected }))
            }
            Self::LeadCreated { lead, pool } => {
                Entry::new("lead.created", "lead", lead, json!({ "pool": pool }))
            }
            Self::ImportCreated { import } => Entry::new("import.created", "import", import, json!({})),
            Self::ImportStarted { import } => Entry::new("import.started", "import", import, json!({})),
            Self::ImportEnded { import, state, created, joined, reopened, bad } => Entry::new(
                "import.ended",
                "import",
                import,
                json!({ "state": state, "created": created, "joined": joined, "reopened": reopened, "bad": bad }),
            ),
            Self::ImportRowMended { import, line, lead, effect } => Entry::new(
                "import.row_mended",
                "import",
                import,
                json!({ "line": line, "lead": lead, "effect": effect }),
            ),
            Self::ImportUndoRequested { import } => {
                Entry::new("import.undo_requested", "import", import, json!({}))
            }
            Self::ImportUndone { import, removed, kept } => {
                Entry::new("import.undone", "import", import, json!({ "removed": removed, "kept": kept }))
            }
            Self::LeadsRemoved { leads } => {
                Entry::new("leads.removed", "leads", &"", json!({ "leads": leads }))
            }
            Self::TestLeadKept { lead } => Entry::new("lead.test_kept", "lead", lead, json!({})),
            Self::DuplicatesSuspected { pairs } => {
                Entry::new("leads.duplicates_suspected", "leads", &"", json!({ "pairs": pairs }))
            }
            Self::LeadMerged { lead, absorbed } => {
                Entry::new("lead.merged", "lead", lead, json!({ "absorbed": absorbed }))
            }
            Self::LeadsKeptApart { lead, other } => {
                Entry::new("lead.kept_apart", "lead", lead, json!({ "other": other }))
            }
            Self::LeadUnmerged { lead, survivor, waits_in } => Entry::new(
                "lead.unmerged",
                "lead",
                lead,
                json!({ "survivor": survivor, "waits_in": waits_in }),
            ),
            Self::LeadEnquired { lead } => Entry::new("lead.enquired", "lead", lead, json!({})),
            Self::LeadReopened { lead, pool } => {
                Entry::new("lead.reopened", "lead", lead, json!({ "pool": pool }))
            }
            Self::LeadsAssigned { batch, pool, assignments } => Entry::new(
                "leads.assigned",
                "pool",
                pool,
                json!({ "batch": batch, "assignments": assignments }),
            ),
            Self::LeadsLeftWaiting { pool, waiting, retry_at } => Entry::new(
                "leads.left_waiting",
                "pool",
                pool,
                json!({ "waiting": waiting, "retry_at": retry_at }),
            ),
            Self::CapacityFreed { pools } => {
                Entry::new("capacity.freed", "pools", &"", json!({ "pools": pools }))
            }
            Self::LeadWaitsTooLong { lead, since } => {
                Entry::new("lead.waits_too_long", "lead", lead, json!({ "since": since }))
            }
            Self::LeadStatusChanged { lead, from, to } => {
                Entry::new("lead.status_changed", "lead", lead, json!({ "from": from, "to": to }))
            }
            Self::PoolCreated { pool } => Entry::new("pool.created", "pool", pool, json!({})),
            Self::PoolMemberSet { pool, user, weight } => {
                Entry::new("pool.member_set", "pool", pool, json!({ "user": user, "weight": weight }))
            }
            Self::CampaignPoolSet { campaign, pool } => {
                Entry::new("campaign.pool_set", "campaign", campaign, json!({ "pool": pool }))
            }
            Self::LoadLimitsSet { user, capacity, day_capacity } => Entry::new(
                "user.load_limits_set",
                "user",
                user,
                json!({ "capacity": capacity, "day_capacity": day_capacity }),
            ),
            Self::WorkingHoursSet { user, blocks } => {
                Entry::new("user.working_hours_set", "user", user, json!({ "blocks": blocks }))
            }
            Self::AbsenceSet { user, starts_at, ends_at } => Entry::new(
                "user.absence_set",
                "user",
                user,
                json!({ "starts_at": starts_at, "ends_at": ends_at }),
            ),
            Self::CalendarCreated { calendar } => {
                Entry::new("calendar.created", "calendar", calendar, json!({}))
            }
            Self::CalendarChanged { calendar } => {
                Entry::new("calendar.changed", "calendar", calendar, json!({}))
            }
            Self::TeamCreated { team } => Entry::new("team.created", "team", team, json!({})),
            Self::UserCreated { user, role } => {
                Entry::new("user.created", "user", user, json!({ "role": role }))
            }
            Self::ExtensionSet { user, set } => {
                Entry::new("user.extension_set", "user", user, json!({ "set": set }))
            }
            Self::Operated(act) => act.entry(),
            Self::SignedIn { user } => Entry::new("user.signed_in", "user", user, json!({})),
            Self::AccessRefused { user, permission } => {
                Entry::new("access.refused", "user", user, json!({ "permission": permission }))
            }
            Self::SignInRefused { user } => Entry::new(
                "user.sign_in_refused",
                "user",
                &user.map_or_else(|| "unknown".to_owned(), |id| id.to_string()),
                json!({}),
            ),
            Self::LeadTaken { lead, user, reason } => {
                Entry::new("lead.taken", "lead", lead, json!({ "user": user, "reason": reason }))
            }
            Self::LeadQueued { lead, reason, release_at } => {
                Entry::new("lead.queued", "lead", lead, json!({ "reason": reason, "release_at": release_at }))
            }
            Self::LeadUnqueued { lead } => Entry::new("lead.unqueued", "lead", lead, json!({})),
            Self::LeadRedistributed { lead, pool } => {
                Entry::new("lead.redistributed", "lead", lead, json!({ "pool": pool }))
            }
            Self::ContactCorrected { lead } => Entry::new("contact.corrected", "lead", lead, json!({})),
            Self::ChannelSuppressed { lead, channel, reason } => Entry::new(
                "channel.suppressed",
                "lead",
                lead,
                json!({ "channel": channel.code(), "reason": reason }),
            ),
            Self::CoolingOffOpened { cooling_off, lead, user, reason, until } => Entry::new(
                "cooling_off.opened",
                "lead",
                lead,
                json!({ "cooling_off": cooling_off, "user": user, "reason": reason, "until": until }),
            ),
            Self::CoolingOffEnded { lead, user, waits_in } => {
                Entry::new("cooling_off.ended", "lead", lead, json!({ "user": user, "waits_in": waits_in }))
            }
            Self::SlaStarted { policy, timers, due_at, .. } => {
                Entry::new("sla.started", "sla_policy", policy, json!({ "timers": timers, "due_at": due_at }))
            }
            Self::SlaReminded { lead, policy, users, due_at } => Entry::new(
                "sla.reminded",
                "lead",
                lead,
                json!({ "policy": policy, "users": users, "due_at": due_at }),
            ),
            Self::SlaBreached { lead, policy, users, due_at } => Entry::new(
                "sla.breached",
                "lead",
                lead,
                json!({ "policy": policy, "users": users, "due_at": due_at }),
            ),
            Self::SlaEscalated { lead, policy, to, users } => Entry::new(
                "sla.escalated",
                "lead",
                lead,
                json!({ "policy": policy, "to": to, "users": users }),
            ),
            Self::SlaPaused { lead, policy, until } => {
                Entry::new("sla.paused", "lead", lead, json!({ "policy": policy, "until": until }))
            }
            Self::SlaResumed { lead, policy, due_at } => {
                Entry::new("sla.resumed", "lead", lead, json!({ "policy": policy, "due_at": due_at }))
            }
            Self::SlaEnded { lead, policy, satisfied, breached, reason } => Entry::new(
                "sla.ended",
                "lead",
                lead,
                json!({ "policy": policy, "satisfied": satisfied, "breached": breached, "reason": reason }),
            ),
            Self::SlaRescheduled { policy, leads } => {
                Entry::new("sla.rescheduled", "sla_policy", policy, json!({ "leads": leads }))
            }
            Self::SlaPolicyChanged { policy } => {
                Entry::new("sla_policy.changed", "sla_policy", policy, json!({}))
            }
            Self::NoteAdded { lead, note } => Entry::new("note.added", "lead", lead, json!({ "note": note })),
            Self::FollowUpPlanned { lead, follow_up, user, due_at } => Entry::new(
                "follow_up.planned",
                "lead",
                lead,
                json!({ "follow_up": follow_up, "user": user, "due_at": due_at }),
            ),
            Self::FollowUpDue { lead, follow_up, user } => {
                Entry::new("follow_up.due", "lead", lead, json!({ "follow_up": follow_up, "user": user }))
            }
            Self::FollowUpClosed { lead, follow_up, state } => Entry::new(
                "follow_up.closed",
                "lead",
                lead,
                json!({ "follow_up": follow_up, "state": state }),
            ),
            Self::CallRequested { call, lead, user } => {
                Entry::new("call.requested", "call", call, json!({ "lead": lead, "user": user }))
            }
            Self::CallRefused { lead, user, reason } => {
                Entry::new("call.refused", "lead", lead, json!({ "user": user, "reason": reason }))
            }
            Self::CallStatusChanged { call, lead, user, from, to, failure, talk_s } => Entry::new(
                "call.status_changed",
                "call",
                call,
                json!({
                    "lead": lead, "user": user, "from": from, "to": to, "failure": failure, "talk_s": talk_s,
                }),
            ),
            Self::CallSilent { call, ask_at } => {
                Entry::new("call.silent", "call", call, json!({ "ask_at": ask_at }))
            }
            Self::CallOutcomeRecorded { call, lead, disposition } => Entry::new(
                "call.outcome_recorded",
                "call",
                call,
                json!({ "lead": lead, "disposition": disposition }),
            ),
        }
    }
}
