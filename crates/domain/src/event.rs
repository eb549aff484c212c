//! What happened. Recorded in a unit of work; audited and reacted to in its commit.
//!
//! Events carry ids, codes and counts, never personal data. Those about many things carry many ids, at most
//! [`IDS_MAX`] in one event.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::audit::Entry;
use crate::nouns::{InboundId, LeadId, PoolId, RoutingBatchId, TeamId, UserId};

/// Most ids that one event carries; what is about more is recorded in chunks.
pub const IDS_MAX: usize = 1000;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Source events were stored for the first time.
    InboundAccepted {
        /// Short name of the provider: `meta`.
        provider: &'static str,
        /// The new rows.
        inbound: Vec<InboundId>,
    },
    /// A source event cannot become a lead until somebody mends it.
    InboundQuarantined {
        /// The row.
        inbound: InboundId,
        /// A stable code.
        code: String,
    },
    /// A new lead that is to be routed.
    LeadCreated {
        /// The lead.
        lead: LeadId,
        /// Where it waits.
        pool: PoolId,
    },
    /// A test lead was kept; it is never routed and never contacted.
    TestLeadKept {
        /// The lead.
        lead: LeadId,
    },
    /// A known person asked again.
    LeadEnquired {
        /// The lead.
        lead: LeadId,
    },
    /// A closed lead asked again and waits for an agent.
    LeadReopened {
        /// The lead.
        lead: LeadId,
        /// Where it waits.
        pool: PoolId,
    },
    /// Leads were given to agents by one run of the routing function.
    LeadsAssigned {
        /// The run.
        batch: RoutingBatchId,
        /// The pool.
        pool: PoolId,
        /// Who got what.
        assignments: Vec<(LeadId, UserId)>,
    },
    /// Leads of a pool found nobody eligible and wait.
    LeadsLeftWaiting {
        /// The pool.
        pool: PoolId,
        /// How many were looked at and still wait.
        waiting: usize,
        /// When time alone may make somebody eligible: a shift's start, an absence's end, a new day.
        retry_at: Option<DateTime<Utc>>,
    },
    /// Agents can take leads again, so the queues of these pools are worth a look.
    CapacityFreed {
        /// The pools whose members gained capacity.
        pools: Vec<PoolId>,
    },
    /// A lead has waited for an agent longer than it should.
    LeadWaitsTooLong {
        /// The lead.
        lead: LeadId,
        /// Since when it waits.
        since: DateTime<Utc>,
    },
    /// A lead's status changed.
    LeadStatusChanged {
        /// The lead.
        lead: LeadId,
        /// The status it left.
        from: String,
        /// The status it has.
        to: String,
    },
    /// A pool was created.
    PoolCreated {
        /// The pool.
        pool: PoolId,
    },
    /// A user became a member of a pool, or its weight there was set again.
    PoolMemberSet {
        /// The pool.
        pool: PoolId,
        /// The member.
        user: UserId,
        /// Its weight from now on.
        weight: i32,
    },
    /// What a user can carry was set.
    LoadLimitsSet {
        /// The user.
        user: UserId,
        /// Load of open leads at a time.
        capacity: i32,
        /// Leads a day.
        day_capacity: i32,
    },
    /// A user's working hours were replaced.
    WorkingHoursSet {
        /// The user.
        user: UserId,
        /// How many blocks there are now; none means always.
        blocks: usize,
    },
    /// An absence of a user was entered, half-open.
    AbsenceSet {
        /// The user.
        user: UserId,
        /// From when.
        starts_at: DateTime<Utc>,
        /// Until when.
        ends_at: DateTime<Utc>,
    },
    /// A team was created.
    TeamCreated {
        /// The team.
        team: TeamId,
    },
    /// A user was created.
    UserCreated {
        /// The user.
        user: UserId,
        /// The role's stored name.
        role: &'static str,
    },
    /// Somebody signed in.
    SignedIn {
        /// The user.
        user: UserId,
    },
    /// A sign-in was refused. The name that was typed is not kept: people type passwords there.
    SignInRefused {
        /// The user, when the name was known.
        user: Option<UserId>,
    },
}

impl Event {
    /// The audit entry of this event.
    pub fn audit(&self) -> Entry {
        match self {
            Self::InboundAccepted { provider, inbound } => {
                Entry::new("inbound.accepted", "provider", provider, json!({ "inbound": inbound }))
            }
            Self::InboundQuarantined { inbound, code } => {
                Entry::new("inbound.quarantined", "inbound_event", inbound, json!({ "code": code }))
            }
            Self::LeadCreated { lead, pool } => {
                Entry::new("lead.created", "lead", lead, json!({ "pool": pool }))
            }
            Self::TestLeadKept { lead } => Entry::new("lead.test_kept", "lead", lead, json!({})),
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
            Self::TeamCreated { team } => Entry::new("team.created", "team", team, json!({})),
            Self::UserCreated { user, role } => {
                Entry::new("user.created", "user", user, json!({ "role": role }))
            }
            Self::SignedIn { user } => Entry::new("user.signed_in", "user", user, json!({})),
            Self::SignInRefused { user } => Entry::new(
                "user.sign_in_refused",
                "user",
                &user.map_or_else(|| "unknown".to_owned(), |id| id.to_string()),
                json!({}),
            ),
        }
    }
}
