//! SQL of what the gate decides over, and of its answers.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::calls::{CHANNEL, Facts, Verdict, Wish, cooling_until};
use crate::consents;
use crate::nouns::{DecisionId, UserId};

/// The facts, with the lead locked: two wishes for one lead are decided one after the other.
pub async fn lock_facts(
    conn: &mut PgConnection,
    wish: &Wish<'_>,
    now: DateTime<Utc>,
) -> Result<Option<Facts>, sqlx::Error> {
    sqlx::query_scalar!("select id from leads where id = $1 for no key update", wish.lead.uuid())
        .fetch_optional(&mut *conn)
        .await?;
    find_facts(conn, wish, now).await
}

pub async fn find_facts(
    conn: &mut PgConnection,
    wish: &Wish<'_>,
    now: DateTime<Utc>,
) -> Result<Option<Facts>, sqlx::Error> {
    let (minute, hour) = (TimeDelta::minutes(1), TimeDelta::hours(1));
    let row = sqlx::query!(
        r#"select lead.owner_id, lead.is_test, status.terminal or lead.merged_into is not null as "closed!",
             (select contact.id from lead_contacts contact
              where contact.lead_id = any(lead_ids($1)) and contact.kind = 'phone' and contact.invalid_since is null
              order by contact.id limit 1) as contact,
             (select person.extension from users person where person.id = $2) as line,
             exists (select from calls where lead_id = any(lead_ids($1)) and ended_at is null) as "call_open!",
             by_user.calls as "user_calls!", by_user.oldest as user_oldest,
             by_lead.calls as "lead_calls!", by_lead.oldest as lead_oldest
           from leads lead
           join statuses status on status.code = lead.status
           cross join lateral (
               select count(*) as calls, min(requested_at) as oldest from calls
               where user_id = $2 and requested_at > $3
           ) by_user
           cross join lateral (
               select count(*) as calls, min(requested_at) as oldest from calls
               where lead_id = any(lead_ids($1)) and requested_at > $4
           ) by_lead
           where lead.id = $1"#,
        wish.lead.uuid(),
        wish.caller.id.uuid(),
        now - minute,
        now - hour,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let said = consents::find_channel(conn, wish.lead, CHANNEL).await?;
    let cooling_until = cooling_until(conn, wish, now).await?;
    Ok(Some(Facts {
        caller: wish.caller.id,
        role: wish.caller.role,
        line: row.line,
        owner: row.owner_id.map(UserId::from_uuid),
        is_test: row.is_test,
        closed: row.closed,
        contact: row.contact,
        consents: said,
        cooling_until,
        call_open: row.call_open,
        user_calls: (row.user_calls, row.user_oldest.map(|at| at + minute)),
        lead_calls: (row.lead_calls, row.lead_oldest.map(|at| at + hour)),
    }))
}

pub async fn insert_decision(
    conn: &mut PgConnection,
    id: DecisionId,
    wish: &Wish<'_>,
    verdict: Verdict,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into contact_decisions
             (id, lead_id, user_id, channel, purpose, allowed, reason, consent_id, decided_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        id.uuid(),
        wish.lead.uuid(),
        wish.caller.id.uuid(),
        CHANNEL.code(),
        wish.purpose.code(),
        verdict.refusal.is_none(),
        verdict.refusal.map_or("allowed", |refusal| refusal.code()),
        verdict.consent,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
