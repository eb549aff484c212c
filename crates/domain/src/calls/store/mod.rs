//! SQL of calls.

pub mod exchanges;
pub mod facts;
pub mod outcome;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

pub use self::facts::{find_facts, insert_decision, lock_facts};
use super::{Call, CallError, CallStatus, Dialled, Leg, LegEvent, LegState, News, Session};
use crate::leads::Scope;
use crate::nouns::{CallId, DecisionId, LeadId};

struct Row {
    id: Uuid,
    lead_id: Uuid,
    user_id: Uuid,
    contact_id: Uuid,
    provider: String,
    provider_ref: Option<String>,
    status: String,
    failure: Option<String>,
    retry_after_s: Option<i32>,
    dial_url: Option<String>,
    agent_leg: Option<String>,
    callee_leg: Option<String>,
    requested_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    answered_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    talk_s: Option<i32>,
    disposition: Option<String>,
}

impl Row {
    fn into_call(self) -> Result<Call, CallError> {
        let leg = |code: Option<String>| match code {
            None => Ok(None),
            Some(code) => LegState::parse(&code).map(Some).ok_or(CallError::Unreadable),
        };
        Ok(Call {
            id: self.id.into(),
            lead: self.lead_id.into(),
            user: self.user_id.into(),
            contact: self.contact_id.into(),
            provider: self.provider,
            provider_ref: self.provider_ref,
            session: Session {
                status: CallStatus::parse(&self.status).ok_or(CallError::Unreadable)?,
                agent_leg: leg(self.agent_leg)?,
                callee_leg: leg(self.callee_leg)?,
                answered_at: self.answered_at,
                ended_at: self.ended_at,
                talk_s: self.talk_s,
                failure: self.failure,
            },
            retry_after_s: self.retry_after_s,
            dial_url: self.dial_url,
            requested_at: self.requested_at,
            expires_at: self.expires_at,
            disposition: self.disposition,
        })
    }
}

pub async fn insert_call(
    conn: &mut PgConnection,
    call: &Call,
    decision: DecisionId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into calls (id, lead_id, user_id, decision_id, contact_id, provider, status, requested_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        call.id.uuid(),
        call.lead.uuid(),
        call.user.uuid(),
        decision.uuid(),
        call.contact.uuid(),
        call.provider,
        call.session.status.code(),
        call.requested_at,
        call.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn find(conn: &mut PgConnection, id: CallId) -> Result<Option<Call>, CallError> {
    let row = sqlx::query_as!(
        Row,
        "select id, lead_id, user_id, contact_id, provider, provider_ref, status, failure, retry_after_s, dial_url,
             agent_leg, callee_leg, requested_at, expires_at, answered_at, ended_at, talk_s, disposition
         from calls where id = $1",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::into_call).transpose()
}

// The lead first, as everybody who changes both does: a call that is answered ends the lead's promises.
pub async fn lock_lead_of(conn: &mut PgConnection, id: CallId) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(
        "select id from leads where id = (select lead_id from calls where id = $1) for no key update",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(())
}

// Locked so that news of one call is heard one piece after the other.
pub async fn lock(conn: &mut PgConnection, id: CallId) -> Result<Option<Call>, CallError> {
    let row = sqlx::query_as!(
        Row,
        "select id, lead_id, user_id, contact_id, provider, provider_ref, status, failure, retry_after_s, dial_url,
             agent_leg, callee_leg, requested_at, expires_at, answered_at, ended_at, talk_s, disposition
         from calls where id = $1 for no key update",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::into_call).transpose()
}

pub async fn save_session(conn: &mut PgConnection, id: CallId, session: &Session) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update calls
         set status = $2, failure = $3, agent_leg = $4, callee_leg = $5, answered_at = $6, ended_at = $7, talk_s = $8
         where id = $1",
        id.uuid(),
        session.status.code(),
        session.failure,
        session.agent_leg.map(LegState::code),
        session.callee_leg.map(LegState::code),
        session.answered_at,
        session.ended_at,
        session.talk_s,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Serialises whoever notes a provider's id with whoever brings news under it.
pub async fn lock_ref(
    conn: &mut PgConnection,
    provider: &str,
    provider_ref: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended($1 || ':' || $2, 0))",
        provider,
        provider_ref
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn set_ref(
    conn: &mut PgConnection,
    id: CallId,
    provider_ref: &str,
    dial_url: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update calls set provider_ref = coalesce(provider_ref, $2), dial_url = coalesce(dial_url, $3) where id = $1",
        id.uuid(),
        provider_ref,
        dial_url,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn set_retry_after(
    conn: &mut PgConnection,
    id: CallId,
    seconds: Option<i32>,
) -> Result<(), sqlx::Error> {
    sqlx::query!("update calls set retry_after_s = $2 where id = $1", id.uuid(), seconds)
        .execute(conn)
        .await?;
    Ok(())
}

/// News that came before the call's id was known: now the call's, in the order of arrival.
pub async fn adopt_parked(
    conn: &mut PgConnection,
    id: CallId,
    provider: &str,
    provider_ref: &str,
) -> Result<Vec<LegEvent>, CallError> {
    let rows = sqlx::query!(
        "with adopted as (
             update call_events set call_id = $1
             where provider = $2 and provider_ref = $3 and call_id is null
             returning id, leg, state, at, talk_s, failure, received_at
         )
         select leg, state, at, talk_s, failure from adopted order by received_at, id",
        id.uuid(),
        provider,
        provider_ref,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(LegEvent {
                leg: Leg::parse(&row.leg).ok_or(CallError::Unreadable)?,
                state: LegState::parse(&row.state).ok_or(CallError::Unreadable)?,
                at: row.at,
                talk_s: row.talk_s,
                failure: row.failure,
            })
        })
        .collect()
}

pub async fn find_by_ref(
    conn: &mut PgConnection,
    provider: &str,
    provider_ref: &str,
) -> Result<Option<(CallId, LeadId)>, sqlx::Error> {
    let row = sqlx::query!(
        "select id, lead_id from calls where provider = $1 and provider_ref = $2",
        provider,
        provider_ref,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.id.into(), row.lead_id.into())))
}

/// `false` when it was stored before.
pub async fn insert_event(
    conn: &mut PgConnection,
    news: &News<'_>,
    call: Option<CallId>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into call_events
             (id, provider, external_id, provider_ref, call_id, leg, state, talk_s, failure, at, received_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict (provider, external_id) do nothing",
        sira_kernel::Id::<LegEvent>::new().uuid(),
        news.provider,
        news.external_id,
        news.provider_ref,
        call.map(CallId::uuid),
        news.event.leg.code(),
        news.event.state.code(),
        news.event.talk_s,
        news.event.failure,
        news.event.at,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn is_in_scope(conn: &mut PgConnection, scope: Scope, id: CallId) -> Result<bool, sqlx::Error> {
    let (user, team) = match scope {
        Scope::All => (None, None),
        Scope::Team(team) => (None, Some(team.uuid())),
        Scope::Own(user) => (Some(user.uuid()), None),
    };
    sqlx::query_scalar!(
        r#"select exists (
             select from calls call
             join leads own on own.id = call.lead_id
             join leads lead on lead.id = coalesce(own.merged_into, own.id)
             where call.id = $1
                 and ($2::uuid is null or call.user_id = $2 or lead.owner_id = $2)
                 and ($3::uuid is null or lead.team_id = $3)
         ) as "exists!""#,
        id.uuid(),
        user,
        team,
    )
    .fetch_one(conn)
    .await
}

pub async fn find_open(conn: &mut PgConnection, lead: LeadId) -> Result<Option<CallId>, sqlx::Error> {
    let id = sqlx::query_scalar!("select id from calls where lead_id = $1 and ended_at is null", lead.uuid())
        .fetch_optional(conn)
        .await?;
    Ok(id.map(CallId::from_uuid))
}

pub async fn find_dialled(conn: &mut PgConnection, call: &Call) -> Result<Option<Dialled>, sqlx::Error> {
    sqlx::query_as!(
        Dialled,
        r#"select person.extension as "line!", contact.lead_id as holder, contact.sealed
           from lead_contacts contact, users person
           where contact.id = $1 and contact.lead_id = any(lead_ids($2)) and contact.invalid_since is null
               and person.id = $3 and person.extension is not null"#,
        call.contact.uuid(),
        call.lead.uuid(),
        call.user.uuid(),
    )
    .fetch_optional(conn)
    .await
}
