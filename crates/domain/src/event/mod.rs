//! What happened. Recorded in a unit of work; audited and reacted to in its commit.
//!
//! Events carry ids, codes and counts, never personal data. Those about many things carry many ids, at most
//! [`IDS_MAX`] in one event. What an event leaves in the audit log and on the timelines of leads, and what listeners
//! hear of it, is decided beside it; what it causes is decided in the workflows' reactions.

mod audit;
mod live;
mod operator;
mod timeline;

use chrono::{DateTime, Utc};

use crate::calls::CallStatus;
use crate::consents::Channel;
use crate::nouns::{
    CalendarId, CallId, CampaignId, CoolingOffId, FollowUpId, ImportId, InboundId, LeadId, NoteId, PoolId,
    RoutingBatchId, SlaTimerId, TeamId, UserId,
};
use crate::sla::Target;

pub use operator::OperatorAct;

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
    /// A source event was let out of quarantine, to be tried again.
    InboundReleased {
        /// The row.
        inbound: InboundId,
        /// Somebody put a right number or address in the place of what was given.
        corrected: bool,
    },
    /// A new lead that is to be routed.
    LeadCreated {
        /// The lead.
        lead: LeadId,
        /// Where it waits.
        pool: PoolId,
    },
    /// An import was created; it waits for its file.
    ImportCreated {
        /// The import.
        import: ImportId,
    },
    /// The rows of an import are to become leads.
    ImportStarted {
        /// The import.
        import: ImportId,
    },
    /// An import ended.
    ImportEnded {
        /// The import.
        import: ImportId,
        /// `done`, `failed` or `cancelled`.
        state: &'static str,
        /// Rows that made a lead.
        created: i64,
        /// Rows that joined an open lead.
        joined: i64,
        /// Rows that reopened a closed lead.
        reopened: i64,
        /// Rows that could not become leads.
        bad: i64,
    },
    /// A bad row was mended and became a lead's enquiry.
    ImportRowMended {
        /// The import.
        import: ImportId,
        /// Where the row begins in the file.
        line: i64,
        /// The lead.
        lead: LeadId,
        /// `created`, `joined` or `reopened`.
        effect: &'static str,
    },
    /// An import's leads are to be taken back.
    ImportUndoRequested {
        /// The import.
        import: ImportId,
    },
    /// An import's leads were taken back.
    ImportUndone {
        /// The import.
        import: ImportId,
        /// Leads that were taken back.
        removed: i64,
        /// Leads that stay.
        kept: i64,
    },
    /// Leads were taken away as if they had never been.
    LeadsRemoved {
        /// The leads.
        leads: Vec<LeadId>,
    },
    /// A test lead was kept; it is never routed and never contacted.
    TestLeadKept {
        /// The lead.
        lead: LeadId,
    },
    /// Pairs of leads may be one person each: somebody is to decide.
    DuplicatesSuspected {
        /// The pairs.
        pairs: Vec<(LeadId, LeadId)>,
    },
    /// Two leads were found to be one person.
    LeadMerged {
        /// The lead that stays.
        lead: LeadId,
        /// The lead that is read with it from now on.
        absorbed: LeadId,
    },
    /// Two leads were found to be two persons.
    LeadsKeptApart {
        /// One.
        lead: LeadId,
        /// The other.
        other: LeadId,
    },
    /// A merge was taken back.
    LeadUnmerged {
        /// The lead that is one of its own again.
        lead: LeadId,
        /// The lead that it belonged to.
        survivor: LeadId,
        /// The pool, when it waits in one for an agent.
        waits_in: Option<PoolId>,
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
    /// A lead left its owner.
    LeadTaken {
        /// The lead.
        lead: LeadId,
        /// Who had it.
        user: UserId,
        /// The status that it entered, `sla` when nobody acted in time, or `merged`.
        reason: String,
    },
    /// A lead went to the administrators.
    LeadQueued {
        /// The lead.
        lead: LeadId,
        /// The status that it entered, or `sla`.
        reason: String,
        /// When it goes back to its pool by itself; `None`: when somebody says so, or its number is corrected.
        release_at: Option<DateTime<Utc>>,
    },
    /// A lead left the administrators' queue.
    LeadUnqueued {
        /// The lead.
        lead: LeadId,
    },
    /// A lead left the administrators' queue and waits for an agent.
    LeadRedistributed {
        /// The lead.
        lead: LeadId,
        /// Where it waits.
        pool: PoolId,
    },
    /// A lead's wrong number was replaced by a right one.
    ContactCorrected {
        /// The lead.
        lead: LeadId,
    },
    /// The person said stop on a channel.
    ChannelSuppressed {
        /// The lead.
        lead: LeadId,
        /// The channel.
        channel: Channel,
        /// The status that said so.
        reason: String,
    },
    /// An agent does not get this lead for a while.
    CoolingOffOpened {
        /// Which one.
        cooling_off: CoolingOffId,
        /// The lead.
        lead: LeadId,
        /// The agent.
        user: UserId,
        /// The status that opened it.
        reason: String,
        /// Until when.
        until: DateTime<Utc>,
    },
    /// A cooling-off is over.
    CoolingOffEnded {
        /// The lead.
        lead: LeadId,
        /// The agent.
        user: UserId,
        /// The pool, when the lead waits in one for an agent.
        waits_in: Option<PoolId>,
    },
    /// Promises about leads began, all under one policy and due at one time.
    SlaStarted {
        /// The policy's code.
        policy: String,
        /// The leads and their timers.
        timers: Vec<(LeadId, SlaTimerId)>,
        /// When the first action is due.
        due_at: DateTime<Utc>,
        /// When the policy first asks for something: a reminder, or the breach.
        next_at: DateTime<Utc>,
    },
    /// The owner is reminded of a promise.
    SlaReminded {
        /// The lead.
        lead: LeadId,
        /// The policy's code.
        policy: String,
        /// Who is told.
        users: Vec<UserId>,
        /// When the first action is due.
        due_at: DateTime<Utc>,
    },
    /// A promise was not kept in time.
    SlaBreached {
        /// The lead.
        lead: LeadId,
        /// The policy's code.
        policy: String,
        /// Who is told.
        users: Vec<UserId>,
        /// When the first action was due.
        due_at: DateTime<Utc>,
    },
    /// Others were told that a promise was not kept.
    SlaEscalated {
        /// The lead.
        lead: LeadId,
        /// The policy's code.
        policy: String,
        /// To whom.
        to: Target,
        /// Who is told.
        users: Vec<UserId>,
    },
    /// A promise waits until a time that was agreed with the person.
    SlaPaused {
        /// The lead.
        lead: LeadId,
        /// The policy's code.
        policy: String,
        /// Until when.
        until: DateTime<Utc>,
    },
    /// A promise runs again.
    SlaResumed {
        /// The lead.
        lead: LeadId,
        /// The policy's code.
        policy: String,
        /// When the first action is due now.
        due_at: DateTime<Utc>,
    },
    /// A promise is over.
    SlaEnded {
        /// The lead.
        lead: LeadId,
        /// The policy's code.
        policy: String,
        /// It was kept, in time or late; else its purpose is gone.
        satisfied: bool,
        /// Whether it had been breached.
        breached: bool,
        /// What ended it: `call`, `status`, `reassigned`, `queued`, `merged`.
        reason: &'static str,
    },
    /// The due times of promises were computed anew.
    SlaRescheduled {
        /// The policy's code.
        policy: String,
        /// The leads.
        leads: Vec<LeadId>,
    },
    /// A policy was changed.
    SlaPolicyChanged {
        /// Its code.
        policy: String,
    },
    /// Somebody wrote a note.
    NoteAdded {
        /// The lead.
        lead: LeadId,
        /// The note.
        note: NoteId,
    },
    /// Something was agreed with the person for a time.
    FollowUpPlanned {
        /// The lead.
        lead: LeadId,
        /// The follow-up.
        follow_up: FollowUpId,
        /// Who planned it.
        user: UserId,
        /// When it is due.
        due_at: DateTime<Utc>,
    },
    /// The time of a follow-up has come.
    FollowUpDue {
        /// The lead.
        lead: LeadId,
        /// The follow-up.
        follow_up: FollowUpId,
        /// Who is told.
        user: UserId,
    },
    /// A follow-up is done, or another took its place.
    FollowUpClosed {
        /// The lead.
        lead: LeadId,
        /// The follow-up.
        follow_up: FollowUpId,
        /// `done` or `superseded`.
        state: &'static str,
    },
    /// A call was allowed and is to be placed.
    CallRequested {
        /// The call.
        call: CallId,
        /// The lead.
        lead: LeadId,
        /// Who calls.
        user: UserId,
    },
    /// A call was refused before anybody was asked.
    CallRefused {
        /// The lead.
        lead: LeadId,
        /// Who wanted to call.
        user: UserId,
        /// The gate's reason.
        reason: &'static str,
    },
    /// A call moved on.
    CallStatusChanged {
        /// The call.
        call: CallId,
        /// The lead.
        lead: LeadId,
        /// Who calls.
        user: UserId,
        /// The status it left.
        from: CallStatus,
        /// The status it has.
        to: CallStatus,
        /// Why it failed: a kind of the failure taxonomy.
        failure: Option<String>,
        /// Seconds of talk, at the end of an answered call.
        talk_s: Option<i32>,
    },
    /// Nothing was heard of a call for too long: the provider is to be asked.
    CallSilent {
        /// The call.
        call: CallId,
        /// When to ask.
        ask_at: DateTime<Utc>,
    },
    /// An agent said what became of a call.
    CallOutcomeRecorded {
        /// The call.
        call: CallId,
        /// The lead.
        lead: LeadId,
        /// The disposition's code.
        disposition: String,
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
    /// A campaign's leads go to another pool from now on.
    CampaignPoolSet {
        /// The campaign.
        campaign: CampaignId,
        /// The pool.
        pool: PoolId,
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
    /// A calendar was created.
    CalendarCreated {
        /// The calendar.
        calendar: CalendarId,
    },
    /// A calendar's zone, hours and holidays were replaced.
    CalendarChanged {
        /// The calendar.
        calendar: CalendarId,
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
    /// A user got a line to place calls by, or lost it.
    ExtensionSet {
        /// The user.
        user: UserId,
        /// Whether there is one now.
        set: bool,
    },
    /// An operator did something to the machinery.
    Operated(OperatorAct),
    /// Somebody signed in.
    SignedIn {
        /// The user.
        user: UserId,
    },
    /// Somebody asked for what their role does not include.
    AccessRefused {
        /// The user.
        user: UserId,
        /// What was missing.
        permission: &'static str,
    },
    /// A sign-in was refused. The name that was typed is not kept: people type passwords there.
    SignInRefused {
        /// The user, when the name was known.
        user: Option<UserId>,
    },
}
