//! SQL of policies and timers.

pub mod view;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::nouns::{CalendarId, LeadId, SlaTimerId, UserId};
use crate::sla::timer::LockedLead;
use crate::sla::{CallCounts, Escalation, Policy};

/// Most people who are told at a time.
const TOLD_MAX: i64 = 50;

/// A live timer.
pub struct TimerRow {
    pub id: SlaTimerId,
    pub lead: LeadId,
    pub policy: String,
    pub consumed_s: i64,
    pub running_since: Option<DateTime<Utc>>,
    pub paused_until: Option<DateTime<Utc>>,
    pub due_at: Option<DateTime<Utc>>,
    pub done_until_s: i64,
}

struct PolicyRow {
    code: String,
    label_tr: String,
    label_en: String,
    calendar_id: Uuid,
    due_s: i32,
    remind_at_s: Vec<i32>,
    escalations: serde_json::Value,
    call_counts: String,
}

impl PolicyRow {
    fn into_policy(self) -> Result<Policy, sqlx::Error> {
        let escalations: Vec<Escalation> =
            serde_json::from_value(self.escalations).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let call_counts = CallCounts::parse(&self.call_counts)
            .ok_or_else(|| sqlx::Error::Decode("a check: which calls count is one of two".into()))?;
        Ok(Policy {
            code: self.code,
            label_tr: self.label_tr,
            label_en: self.label_en,
            calendar: CalendarId::from_uuid(self.calendar_id),
            due_s: i64::from(self.due_s),
            remind_at_s: self.remind_at_s.into_iter().map(i64::from).collect(),
            escalations,
            call_counts,
        })
    }
}

/// Those of these codes; all when none is named.
pub async fn list_policies(conn: &mut PgConnection, codes: &[String]) -> Result<Vec<Policy>, sqlx::Error> {
    let rows = sqlx::query_as!(
        PolicyRow,
        "select code, label_tr, label_en, calendar_id, due_s, remind_at_s, escalations, call_counts
         from sla_policies where cardinality($1::text[]) = 0 or code = any($1) order by code",
        codes,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(PolicyRow::into_policy).collect()
}

pub async fn update_policy(
    conn: &mut PgConnection,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let remind_at_s: Vec<i32> = policy.remind_at_s.iter().map(|at| *at as i32).collect();
    let escalations = serde_json::to_value(&policy.escalations).expect("numbers and names are JSON");
    let done = sqlx::query!(
        "update sla_policies
         set label_tr = $2, label_en = $3, calendar_id = $4, due_s = $5, remind_at_s = $6, escalations = $7,
             call_counts = $8, updated_at = $9
         where code = $1",
        policy.code,
        policy.label_tr,
        policy.label_en,
        policy.calendar.uuid(),
        policy.due_s as i32,
        &remind_at_s,
        escalations,
        policy.call_counts.code(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Leads under a promise by their status, with its policy.
pub async fn list_startable(
    conn: &mut PgConnection,
    leads: &[LeadId],
) -> Result<Vec<(Uuid, String)>, sqlx::Error> {
    let leads: Vec<Uuid> = leads.iter().map(|lead| lead.uuid()).collect();
    let rows = sqlx::query!(
        r#"select lead.id, status.sla_policy as "policy!"
           from leads lead join statuses status on status.code = lead.status
           where lead.id = any($1) and status.sla_policy is not null and not lead.is_test
               and lead.merged_into is null and (lead.owner_id is not null or lead.queue = 'admin')
           order by lead.id"#,
        &leads,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.policy)).collect())
}

/// Starts timers where none of the policy lives; answers those that it started.
pub async fn insert(
    conn: &mut PgConnection,
    policy: &str,
    (ids, leads): (&[SlaTimerId], &[Uuid]),
    now: DateTime<Utc>,
    due_at: DateTime<Utc>,
) -> Result<Vec<(LeadId, SlaTimerId)>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        "insert into sla_timers (id, lead_id, policy, state, started_at, running_since, due_at)
         select id, lead_id, $1, 'running', $2, $2, $3 from unnest($4::uuid[], $5::uuid[]) as timer (id, lead_id)
         on conflict (lead_id, policy) where ended_at is null do nothing
         returning lead_id, id",
        policy,
        now,
        due_at,
        &ids,
        leads,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.lead_id.into(), row.id.into())).collect())
}

/// Ends the live timers of a lead; answers the policy of each, and whether it was breached: by the timer, or because it
/// was due already. One that wants a conversation ends only by one.
pub async fn end(
    conn: &mut PgConnection,
    lead: LeadId,
    (state, reason): (&str, &str),
    conversation: bool,
    now: DateTime<Utc>,
) -> Result<Vec<(String, bool)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"update sla_timers timer
           set state = $2, end_reason = $3, ended_at = $5, running_since = null, paused_until = null,
               breached_at = coalesce(timer.breached_at, case when timer.due_at < $5 then timer.due_at end)
           from sla_policies policy
           where timer.lead_id = $1 and timer.ended_at is null and policy.code = timer.policy
               and ($4 or policy.call_counts = 'attempt')
           returning timer.policy, timer.breached_at is not null as "breached!""#,
        lead.uuid(),
        state,
        reason,
        conversation,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.policy, row.breached)).collect())
}

// Locked so that what is used up is what it is until the pause is written.
pub async fn lock_running(conn: &mut PgConnection, lead: LeadId) -> Result<Vec<TimerRow>, sqlx::Error> {
    sqlx::query_as!(
        TimerRow,
        "select id, lead_id as lead, policy, consumed_s, running_since, paused_until, due_at, done_until_s
         from sla_timers where lead_id = $1 and state = 'running' order by id for update",
        lead.uuid(),
    )
    .fetch_all(conn)
    .await
}

pub async fn pause(
    conn: &mut PgConnection,
    timer: SlaTimerId,
    consumed_s: i64,
    until: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update sla_timers
         set state = 'paused', consumed_s = $2, running_since = null, due_at = null, paused_until = $3
         where id = $1",
        timer.uuid(),
        consumed_s,
        until,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn resume(
    conn: &mut PgConnection,
    timer: SlaTimerId,
    from: DateTime<Utc>,
    due_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update sla_timers set state = 'running', running_since = $2, due_at = $3, paused_until = null where id = $1",
        timer.uuid(),
        from,
        due_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

// The lead first, as everybody who ends its timers does; locked because its owner is told, or loses it.
pub async fn lock_lead_of(
    conn: &mut PgConnection,
    timer: SlaTimerId,
) -> Result<Option<LockedLead>, sqlx::Error> {
    let row = sqlx::query!(
        "select id, owner_id, team_id from leads
         where id = (select lead_id from sla_timers where id = $1) for no key update",
        timer.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| LockedLead {
        id: row.id.into(),
        owner: row.owner_id.map(UserId::from_uuid),
        team: row.team_id,
    }))
}

// Locked so that what is done of it is done once.
pub async fn lock_live(conn: &mut PgConnection, timer: SlaTimerId) -> Result<Option<TimerRow>, sqlx::Error> {
    sqlx::query_as!(
        TimerRow,
        "select id, lead_id as lead, policy, consumed_s, running_since, paused_until, due_at, done_until_s
         from sla_timers where id = $1 and ended_at is null for update",
        timer.uuid(),
    )
    .fetch_optional(conn)
    .await
}

pub async fn set_done(
    conn: &mut PgConnection,
    timer: SlaTimerId,
    done_until_s: i64,
    breached_at: Option<DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update sla_timers set done_until_s = $2, breached_at = coalesce(breached_at, $3) where id = $1",
        timer.uuid(),
        done_until_s,
        breached_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn list_admins(conn: &mut PgConnection) -> Result<Vec<UserId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "select id from users where role = 'admin' and active order by id limit $1",
        TOLD_MAX
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(UserId::from_uuid).collect())
}

pub async fn list_managers(conn: &mut PgConnection, team: Uuid) -> Result<Vec<UserId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "select id from users where role = 'manager' and active and team_id = $1 order by id limit $2",
        team,
        TOLD_MAX
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(UserId::from_uuid).collect())
}

pub async fn find_team_lead(conn: &mut PgConnection, team: Uuid) -> Result<Option<UserId>, sqlx::Error> {
    let id = sqlx::query_scalar!(
        "select person.id from teams team join users person on person.id = team.lead_id
         where team.id = $1 and person.active",
        team,
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(UserId::from_uuid))
}

pub async fn list_live(conn: &mut PgConnection, lead: LeadId) -> Result<Vec<TimerRow>, sqlx::Error> {
    sqlx::query_as!(
        TimerRow,
        "select id, lead_id as lead, policy, consumed_s, running_since, paused_until, due_at, done_until_s
         from sla_timers where lead_id = $1 and ended_at is null order by id",
        lead.uuid(),
    )
    .fetch_all(conn)
    .await
}

// Locked, in id order, against a pause that is being written.
pub async fn list_running(
    conn: &mut PgConnection,
    policy: &str,
    after: Option<SlaTimerId>,
    limit: i64,
) -> Result<Vec<TimerRow>, sqlx::Error> {
    sqlx::query_as!(
        TimerRow,
        "select id, lead_id as lead, policy, consumed_s, running_since, paused_until, due_at, done_until_s
         from sla_timers
         where policy = $1 and state = 'running' and ($2::uuid is null or id > $2)
         order by id limit $3 for update",
        policy,
        after.map(SlaTimerId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await
}

pub async fn set_due(
    conn: &mut PgConnection,
    ids: &[Uuid],
    due: &[DateTime<Utc>],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update sla_timers timer set due_at = changed.due_at
         from unnest($1::uuid[], $2::timestamptz[]) as changed (id, due_at)
         where timer.id = changed.id",
        ids,
        due,
    )
    .execute(conn)
    .await?;
    Ok(())
}
