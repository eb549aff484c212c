//! Leads as clients see them: camelCase, masked.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sira_domain::calls::Verdict;
use sira_domain::cooling_offs::CoolingOff;
use sira_domain::distribution::{self, DecisionTrace};
use sira_domain::follow_ups::FollowUp;
use sira_domain::leads::detail;
use sira_domain::leads::search::LeadRow;
use sira_domain::sla::SlaRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::calls::code_of;
use crate::http::catalogue::Code;

/// A lead as lists show it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeadSummary {
    id: Uuid,
    /// For people.
    #[schema(example = "L-7K3M-92QX")]
    reference: String,
    status: String,
    status_since: DateTime<Utc>,
    /// Masked.
    #[schema(example = "A*** Y***")]
    name: Option<String>,
    /// Masked.
    #[schema(example = "+90*** ** 17")]
    phone: Option<String>,
    /// Masked.
    #[schema(example = "a***@***.com")]
    email: Option<String>,
    owner: Option<Named>,
    team: Option<Named>,
    pool_id: Uuid,
    /// `meta`, `google_ads`, `csv`, `api`, `web` or `referral`.
    channel: String,
    campaign: Option<String>,
    /// When the person asked, as the source says.
    acquired_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Since when it waits for an agent.
    waiting_since: Option<DateTime<Utc>>,
    is_test: bool,
    /// The lead that it was merged into, which is the one to work with.
    merged_into: Option<Uuid>,
    /// Where it is without an owner: `pool`, or with the administrators, `admin`.
    queue: String,
    /// The promise that it is under; null when it is under none.
    sla: Option<Sla>,
    /// Grows by one at each change; the ETag.
    version: i64,
    /// When this was answered: what counts down counts from here.
    server_time: DateTime<Utc>,
}

/// A promise about a lead.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sla {
    #[schema(example = "first_response")]
    policy: String,
    /// When the first action is due; null while paused.
    due_at: Option<DateTime<Utc>>,
    /// `running`, `reminded`, `breached` or `paused`.
    state: &'static str,
    /// On the clock until it is due, below zero when overdue; while paused the working time that is left.
    remaining_seconds: i64,
    paused: bool,
    /// Until when it is paused.
    paused_until: Option<DateTime<Utc>>,
}

impl Sla {
    fn new(row: SlaRow, now: DateTime<Utc>) -> Self {
        Self {
            state: row.state().code(),
            remaining_seconds: row.remaining_seconds(now),
            paused: row.paused_until.is_some(),
            policy: row.policy,
            due_at: row.due_at,
            paused_until: row.paused_until,
        }
    }
}

/// Somebody or something with a name.
#[derive(Serialize, ToSchema)]
pub struct Named {
    pub id: Uuid,
    pub name: Option<String>,
}

/// A lead with everything that led to where it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeadDetail {
    #[serde(flatten)]
    summary: LeadSummary,
    country: Option<String>,
    language: Option<String>,
    /// Masked; phones first.
    contacts: Vec<Contact>,
    /// Whether commercial contact is allowed, by channel; null where the person was never asked.
    consents: Consents,
    /// Every time the person asked, newest first; at most 200.
    enquiries: Vec<Enquiry>,
    /// Every change of status, newest first; at most 200.
    history: Vec<StatusStep>,
    /// Every owner, newest first; at most 200.
    assignments: Vec<Assignment>,
    /// The newest decision of the routing function about it.
    decision: Option<Decision>,
    /// Who does not get it for a while.
    cooling_offs: Vec<CoolingOffView>,
    /// What was agreed with the person for a time.
    follow_up: Option<FollowUpView>,
    /// Statuses that the caller may change it into.
    allowed_transitions: Vec<String>,
    /// By which channels the caller may contact the person now.
    contact: ContactAvailability,
}

/// Somebody who does not get a lead for a while.
#[derive(Serialize, ToSchema)]
pub struct CoolingOffView {
    user: Named,
    /// The status that opened it.
    reason: String,
    until: DateTime<Utc>,
}

/// What was agreed with the person for a time.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FollowUpView {
    id: Uuid,
    user_id: Uuid,
    due_at: DateTime<Utc>,
    reminded_at: Option<DateTime<Utc>>,
}

/// By which channels the person may be contacted now.
#[derive(Serialize, ToSchema)]
pub struct ContactAvailability {
    call: ChannelAvailability,
}

/// Whether a channel may be used now.
#[derive(Serialize, ToSchema)]
pub struct ChannelAvailability {
    available: bool,
    /// The code of the problem that using it would answer with; null when it is available.
    reason: Option<&'static str>,
}

impl ChannelAvailability {
    /// Of calls.
    pub fn of_call(permitted: bool, verdict: Verdict) -> Self {
        let refused = verdict.refusal.map(code_of);
        let code = if permitted { refused } else { Some(Code::Forbidden) };
        Self { available: code.is_none(), reason: code.map(|code| code.entry().name) }
    }
}

/// A masked contact.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    id: Uuid,
    /// `phone` or `email`.
    kind: String,
    masked: String,
    /// Known to belong to several people.
    shared: bool,
    /// Known to be somebody else's: not used until it is corrected.
    invalid: bool,
    /// A phone number by which SMS and WhatsApp may be tried: mobile, or of a plan that does not tell.
    can_text: bool,
}

/// Whether commercial contact is allowed, by channel.
#[derive(Serialize, ToSchema)]
pub struct Consents {
    call: Option<bool>,
    whatsapp: Option<bool>,
    sms: Option<bool>,
    email: Option<bool>,
}

/// One time that the person asked.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Enquiry {
    id: Uuid,
    channel: String,
    acquired_at: DateTime<Utc>,
    received_at: DateTime<Utc>,
    campaign: Option<String>,
    ad_set: Option<String>,
    ad: Option<String>,
    /// The platform's id.
    form: Option<String>,
    /// `created`, `joined` or `reopened`.
    effect: String,
}

/// One change of status.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusStep {
    from: Option<String>,
    to: String,
    /// `user`, `job`, `workflow`, `provider` or `system`.
    actor_kind: String,
    /// A user's id, a job's kind, a provider's name.
    actor: String,
    reason: Option<String>,
    at: DateTime<Utc>,
    /// Spent in the status that it left.
    spent_seconds: Option<i64>,
}

/// One owner.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    id: Uuid,
    user: Named,
    /// `routed` or `manual`.
    cause: String,
    assigned_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    end_reason: Option<String>,
    /// The run of the routing function that chose them.
    batch_id: Option<Uuid>,
}

/// Why this agent: the newest run of the routing function that looked at the lead.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    batch_id: Uuid,
    pool: Named,
    decided_at: DateTime<Utc>,
    /// Version of the routing function.
    algorithm: String,
    /// The lead's place in the run, from 0.
    position: i32,
    /// Null when nobody was eligible: the lead waits.
    chosen: Option<Named>,
    /// share, only_candidate or nobody_eligible
    reason: String,
    /// The same in a sentence.
    reason_text: String,
    /// Whether running the function again over what is stored gives the same choice; null when the function has
    /// changed since.
    reproduced: Option<bool>,
    /// The pool's members as they stood at the lead's turn.
    candidates: Vec<Candidate>,
}

/// A member of the pool at the lead's turn.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    user: Named,
    weight: i64,
    /// Leads that it was owed (above zero) or ahead (below zero).
    lag: f64,
    /// Load of its open leads.
    open_weight: i64,
    capacity: i64,
    /// Leads taken that day.
    day_count: i64,
    day_capacity: i64,
    /// Why it could not take the lead, in a sentence; null when it could.
    excluded: Option<String>,
}

impl LeadSummary {
    pub fn new(row: LeadRow, now: DateTime<Utc>) -> Self {
        let named = |id: Option<Uuid>, name| id.map(|id| Named { id, name });
        Self {
            id: row.id.uuid(),
            reference: row.reference,
            status: row.status,
            status_since: row.status_since,
            name: row.name_masked,
            phone: row.phone_masked,
            email: row.email_masked,
            owner: named(row.owner_id, row.owner_name),
            team: named(row.team_id, row.team_name),
            pool_id: row.pool_id.uuid(),
            channel: row.channel,
            campaign: row.campaign_name,
            acquired_at: row.acquired_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            waiting_since: row.waiting_since,
            is_test: row.is_test,
            merged_into: row.merged_into,
            queue: row.queue,
            sla: row.sla.promise().map(|promise| Sla::new(promise, now)),
            version: row.version,
            server_time: now,
        }
    }
}

impl LeadDetail {
    pub fn new(
        lead: detail::LeadDetail,
        now: DateTime<Utc>,
        allowed_transitions: Vec<String>,
        call: ChannelAvailability,
    ) -> Self {
        let flags = lead.consents;
        Self {
            summary: LeadSummary::new(lead.row, now),
            country: lead.country,
            language: lead.language,
            contacts: lead.contacts.into_iter().map(Contact::from).collect(),
            consents: Consents {
                call: flags.call,
                whatsapp: flags.whatsapp,
                sms: flags.sms,
                email: flags.email,
            },
            enquiries: lead.enquiries.into_iter().map(Enquiry::from).collect(),
            history: lead.history.into_iter().map(StatusStep::from).collect(),
            assignments: lead.assignments.into_iter().map(Assignment::from).collect(),
            decision: lead.decision.map(Decision::from),
            cooling_offs: lead.cooling_offs.into_iter().map(CoolingOffView::from).collect(),
            follow_up: lead.follow_up.map(FollowUpView::from),
            allowed_transitions,
            contact: ContactAvailability { call },
        }
    }
}

impl From<detail::Contact> for Contact {
    fn from(contact: detail::Contact) -> Self {
        Self {
            id: contact.id,
            kind: contact.kind,
            masked: contact.masked,
            shared: contact.shared,
            invalid: contact.invalid_since.is_some(),
            can_text: contact.can_text,
        }
    }
}

impl From<CoolingOff> for CoolingOffView {
    fn from(row: CoolingOff) -> Self {
        Self {
            user: Named { id: row.user_id, name: Some(row.user_name) },
            reason: row.reason,
            until: row.until,
        }
    }
}

impl From<FollowUp> for FollowUpView {
    fn from(row: FollowUp) -> Self {
        Self { id: row.id, user_id: row.user_id, due_at: row.due_at, reminded_at: row.reminded_at }
    }
}

impl From<detail::Enquiry> for Enquiry {
    fn from(enquiry: detail::Enquiry) -> Self {
        Self {
            id: enquiry.id.uuid(),
            channel: enquiry.channel,
            acquired_at: enquiry.acquired_at,
            received_at: enquiry.received_at,
            campaign: enquiry.campaign_name,
            ad_set: enquiry.ad_set_name,
            ad: enquiry.ad_name,
            form: enquiry.form_external_id,
            effect: enquiry.effect,
        }
    }
}

impl From<detail::StatusStep> for StatusStep {
    fn from(step: detail::StatusStep) -> Self {
        Self {
            from: step.from,
            to: step.to,
            actor_kind: step.actor_kind,
            actor: step.actor,
            reason: step.reason,
            at: step.at,
            spent_seconds: step.spent_seconds,
        }
    }
}

impl From<detail::Assignment> for Assignment {
    fn from(assignment: detail::Assignment) -> Self {
        Self {
            id: assignment.id,
            user: Named { id: assignment.user_id, name: Some(assignment.user_name) },
            cause: assignment.cause,
            assigned_at: assignment.assigned_at,
            ended_at: assignment.ended_at,
            end_reason: assignment.end_reason,
            batch_id: assignment.batch_id,
        }
    }
}

impl From<DecisionTrace> for Decision {
    fn from(trace: DecisionTrace) -> Self {
        Self {
            batch_id: trace.batch.uuid(),
            pool: Named { id: trace.pool.id.uuid(), name: Some(trace.pool.name) },
            decided_at: trace.decided_at,
            algorithm: trace.algorithm,
            position: trace.position,
            chosen: trace.chosen.map(|user| Named { id: user.id.uuid(), name: Some(user.name) }),
            reason: trace.reason,
            reason_text: trace.reason_text.to_owned(),
            reproduced: trace.reproduced,
            candidates: trace.candidates.into_iter().map(Candidate::from).collect(),
        }
    }
}

impl From<distribution::Candidate> for Candidate {
    fn from(candidate: distribution::Candidate) -> Self {
        Self {
            user: Named { id: candidate.user.id.uuid(), name: Some(candidate.user.name) },
            weight: candidate.weight,
            lag: candidate.lag,
            open_weight: candidate.open_weight,
            capacity: candidate.capacity,
            day_count: candidate.day_count,
            day_capacity: candidate.day_capacity,
            excluded: candidate.excluded_text.map(str::to_owned),
        }
    }
}
