//! Masked calls: an agent calls a lead without ever seeing the number.
//!
//! The gate decides first, and its answer is stored ([`request`], [`refuse`]); the intent is written before the provider
//! is asked; what the provider says, in its answer or by webhook, moves one monotonic session. Numbers are opened only
//! where the provider is asked, and nothing here shows one.
//!
//! **Invariant:** a lead has at most one open call. Locks are taken in the order lead, call.

mod exchanges;
mod gate;
mod outcome;
mod session;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use sira_engine::JobError;
use sqlx::PgConnection;

pub use exchanges::{Direction, Exchange, ExchangeRow, NewExchange, keep_exchange, list_exchanges};
pub use gate::{Facts, Limits, Purpose, Refusal, Verdict, decide};
pub use outcome::{Disposition, NewOutcome, OutcomeError, Recorded, list_dispositions, record_outcome};
pub use session::{CallStatus, Leg, LegEvent, LegState, Session};

use crate::event::Event;
use crate::identity::User;
use crate::leads::Scope;
use crate::nouns::{CallId, ContactId, DecisionId, LeadId, UserId};
use crate::uow::Uow;
use crate::{consents, cooling_offs, sla};

/// After the other side was rung as long as agreed, how long news may take.
const NEWS_GRACE: TimeDelta = TimeDelta::seconds(15);
/// How long after the agent's side ended the provider is asked of the other: the news is usually on its way.
const NEWS_PAUSE: TimeDelta = TimeDelta::seconds(2);

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The call.
    pub id: CallId,
    /// The lead.
    pub lead: LeadId,
    /// Who calls.
    pub user: UserId,
    /// The number, as a row.
    pub contact: ContactId,
    /// The provider's stored name.
    pub provider: String,
    /// The provider's id of it, once known.
    pub provider_ref: Option<String>,
    /// How it stands, and what is known of its legs.
    pub session: Session,
    /// After a refusal of the provider's for now: seconds to wait.
    pub retry_after_s: Option<i32>,
    /// What the agent's device dials, where the provider wants that.
    pub dial_url: Option<String>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// Until when the other side is rung at most.
    pub expires_at: DateTime<Utc>,
    /// What the agent said about it.
    pub disposition: Option<String>,
}

/// Who wants to call whom, what for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The lead; within the caller's scope, which the edge has checked.
    pub lead: LeadId,
    /// Who wants to call.
    pub caller: &'a User,
    /// What for.
    pub purpose: Purpose,
}

/// How calls are made.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The provider's stored name.
    pub provider: &'static str,
    /// How long the other side is rung.
    pub ring_timeout: TimeDelta,
    /// How often one may call.
    pub limits: Limits,
}

/// Why a call could not be looked at or changed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no such call or lead, or it is out of the caller's scope.
    #[error("no such call")]
    NotFound,
    /// A stored status is none that is known.
    #[error("a stored call cannot be read")]
    Unreadable,
    /// The database refused or was not there.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<CallError> for JobError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Database(error) => error.into(),
            other => Self::fail("call", other.to_string()),
        }
    }
}

/// Asks the gate, and on its yes writes its answer, the call and [`Event::CallRequested`]. On its no nothing is written:
/// drop the unit of work and store the refusal with [`refuse`] in another.
///
/// # Errors
/// [`CallError::NotFound`].
pub async fn request(
    uow: &mut Uow,
    wish: &Wish<'_>,
    rules: &Rules,
) -> Result<Result<Call, Verdict>, CallError> {
    let now = uow.now();
    // Its lock: two wishes for one lead come one after the other.
    let facts = store::lock_facts(uow.conn(), wish, now).await?.ok_or(CallError::NotFound)?;
    let verdict = decide(&facts, wish.purpose, rules.limits, now);
    let Some(contact) = facts.contact.filter(|_| verdict.refusal.is_none()) else { return Ok(Err(verdict)) };
    let decision = DecisionId::new();
    store::insert_decision(uow.conn(), decision, wish, verdict, now).await?;
    let call = Call {
        id: CallId::new(),
        lead: wish.lead,
        user: wish.caller.id,
        contact: ContactId::from_uuid(contact),
        provider: rules.provider.to_owned(),
        provider_ref: None,
        session: Session::queued(),
        retry_after_s: None,
        dial_url: None,
        requested_at: now,
        expires_at: now + rules.ring_timeout + NEWS_GRACE,
        disposition: None,
    };
    store::insert_call(uow.conn(), &call, decision).await?;
    uow.record(Event::CallRequested { call: call.id, lead: call.lead, user: call.user });
    Ok(Ok(call))
}

/// Stores a refusal of the gate and records [`Event::CallRefused`].
pub async fn refuse(uow: &mut Uow, wish: &Wish<'_>, verdict: Verdict) -> Result<(), CallError> {
    let now = uow.now();
    let Some(refusal) = verdict.refusal else { return Ok(()) };
    store::insert_decision(uow.conn(), DecisionId::new(), wish, verdict, now).await?;
    let (lead, user) = (wish.lead, wish.caller.id);
    uow.record(Event::CallRefused { lead, user, reason: refusal.code() });
    Ok(())
}

/// What the gate would say now, without a word on record: to show whether calling is possible.
pub async fn preview(
    conn: &mut PgConnection,
    wish: &Wish<'_>,
    limits: Limits,
    now: DateTime<Utc>,
) -> Result<Verdict, CallError> {
    let facts = store::find_facts(conn, wish, now).await?.ok_or(CallError::NotFound)?;
    Ok(decide(&facts, wish.purpose, limits, now))
}

/// A call.
///
/// # Errors
/// [`CallError::Unreadable`].
pub async fn find(conn: &mut PgConnection, id: CallId) -> Result<Option<Call>, CallError> {
    store::find(conn, id).await
}

/// The call that a provider has under this id, and its lead.
pub async fn find_by_ref(
    conn: &mut PgConnection,
    provider: &str,
    provider_ref: &str,
) -> Result<Option<(CallId, LeadId)>, sqlx::Error> {
    store::find_by_ref(conn, provider, provider_ref).await
}

/// A call of a lead in this scope, or of this scope's own user.
///
/// # Errors
/// [`CallError::NotFound`], also when it is out of scope.
pub async fn get(conn: &mut PgConnection, scope: Scope, id: CallId) -> Result<Call, CallError> {
    if !store::is_in_scope(conn, scope, id).await? {
        return Err(CallError::NotFound);
    }
    store::find(conn, id).await?.ok_or(CallError::NotFound)
}

/// Open calls of a lead: at most one.
pub async fn find_open(conn: &mut PgConnection, lead: LeadId) -> Result<Option<CallId>, sqlx::Error> {
    store::find_open(conn, lead).await
}

/// What the provider is asked with: the agent's line, and the number as it is sealed.
pub struct Dialled {
    /// The agent's line at the provider.
    pub line: String,
    /// Whose number it is: the call's lead, or one that was merged into it.
    pub holder: LeadId,
    /// The number, sealed for [`crate::leads::CONTACT`] under the holder's key.
    pub sealed: Vec<u8>,
}

/// What the provider is to be asked with; `None` when the agent's line or the number is gone.
pub async fn find_dialled(conn: &mut PgConnection, call: &Call) -> Result<Option<Dialled>, sqlx::Error> {
    store::find_dialled(conn, call).await
}

/// What a provider said when it took a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its id of the call.
    pub provider_ref: String,
    /// What the agent's device dials.
    pub dial_url: Option<String>,
    /// All that it knows of the call, when it was asked for that.
    pub news: Vec<LegEvent>,
    /// It has told all that it knows: what is in doubt is decided.
    pub conclusive: bool,
}

/// The provider has the call: notes its id, hears the news that came before, and moves the session. Repeating it
/// changes nothing.
///
/// # Errors
/// [`CallError::NotFound`].
pub async fn note_placed(uow: &mut Uow, id: CallId, placed: &Placed) -> Result<(), CallError> {
    let now = uow.now();
    let call = lock(uow, id).await?;
    store::lock_ref(uow.conn(), &call.provider, &placed.provider_ref).await?;
    store::set_ref(uow.conn(), id, &placed.provider_ref, placed.dial_url.as_deref()).await?;
    store::exchanges::adopt(uow.conn(), id, call.lead, &call.provider, &placed.provider_ref).await?;
    let parked = store::adopt_parked(uow.conn(), id, &call.provider, &placed.provider_ref).await?;
    let before = call.session.clone();
    let mut session = call.session.clone();
    session.become_status(CallStatus::Initiated, now, None);
    for event in parked.iter().chain(&placed.news) {
        session.hear(event);
    }
    if placed.conclusive {
        session.conclude(now);
    }
    save(uow, &call, &before, session).await
}

/// The provider refused, or it is not known what it did: `failed` with a kind of the failure taxonomy, or one of our
/// guesses.
///
/// # Errors
/// [`CallError::NotFound`].
pub async fn note_end(
    uow: &mut Uow,
    id: CallId,
    status: CallStatus,
    failure: Option<&str>,
    retry_after_s: Option<i32>,
) -> Result<(), CallError> {
    let now = uow.now();
    let call = lock(uow, id).await?;
    let before = call.session.clone();
    let mut session = call.session.clone();
    if session.become_status(status, now, failure) {
        if retry_after_s.is_some() {
            store::set_retry_after(uow.conn(), id, retry_after_s).await?;
        }
        save(uow, &call, &before, session).await?;
    }
    Ok(())
}

/// News of a call, as a webhook brings it.
pub struct News<'a> {
    /// The provider's stored name.
    pub provider: &'a str,
    /// The provider's id of this piece of news.
    pub external_id: &'a str,
    /// The provider's id of the call.
    pub provider_ref: &'a str,
    /// What it says.
    pub event: LegEvent,
    /// Its call and lead, where [`find_by_ref`] knows them already.
    pub known: Option<(CallId, LeadId)>,
}

/// What became of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was stored and moved this call, or told nothing new of it.
    Call(CallId, LeadId),
    /// It was stored and waits for the call that it belongs to.
    Parked,
    /// It was stored before.
    Known,
}

/// Stores a piece of news once, and lets its call hear it. One that comes before the call's id is known waits for it.
///
/// # Errors
/// [`CallError::Unreadable`].
pub async fn hear(uow: &mut Uow, news: &News<'_>) -> Result<Heard, CallError> {
    let now = uow.now();
    let mut known = news.known;
    if known.is_none() {
        // Whoever notes the call's id at this moment waits for this, or this for it: news is never between the two.
        store::lock_ref(uow.conn(), news.provider, news.provider_ref).await?;
        known = store::find_by_ref(uow.conn(), news.provider, news.provider_ref).await?;
    }
    if !store::insert_event(uow.conn(), news, known.map(|(call, _)| call), now).await? {
        return Ok(Heard::Known);
    }
    let Some((id, lead)) = known else { return Ok(Heard::Parked) };
    let call = lock(uow, id).await?;
    let before = call.session.clone();
    let mut session = call.session.clone();
    if session.hear(&news.event) {
        save(uow, &call, &before, session).await?;
    }
    Ok(Heard::Call(id, lead))
}

/// The call under lock, its lead first.
async fn lock(uow: &mut Uow, id: CallId) -> Result<Call, CallError> {
    store::lock_lead_of(uow.conn(), id).await?;
    store::lock(uow.conn(), id).await?.ok_or(CallError::NotFound)
}

/// Writes a session that moved, and what follows: the event, promises that the call keeps, and a question to the
/// provider when the agent's side is over and nothing is known of the other.
async fn save(uow: &mut Uow, call: &Call, before: &Session, session: Session) -> Result<(), CallError> {
    if *before == session {
        return Ok(());
    }
    store::save_session(uow.conn(), call.id, &session).await?;
    if session.is_in_doubt() && !before.is_in_doubt() {
        let ask_at = uow.now() + NEWS_PAUSE;
        uow.record(Event::CallSilent { call: call.id, ask_at });
    }
    if before.status == session.status {
        return Ok(());
    }
    match session.status {
        CallStatus::InProgress | CallStatus::Completed => sla::satisfy_by_call(uow, call.lead, true).await?,
        CallStatus::Busy | CallStatus::NoAnswer => sla::satisfy_by_call(uow, call.lead, false).await?,
        _ => {}
    }
    uow.record(Event::CallStatusChanged {
        call: call.id,
        lead: call.lead,
        user: call.user,
        from: before.status,
        to: session.status,
        failure: session.failure,
        talk_s: session.talk_s,
    });
    Ok(())
}

/// The channel that calls are.
pub(crate) const CHANNEL: consents::Channel = consents::Channel::Call;

/// Until when the caller does not get the lead.
async fn cooling_until(
    conn: &mut PgConnection,
    wish: &Wish<'_>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    cooling_offs::find_until(conn, wish.lead, wish.caller.id, now).await
}
