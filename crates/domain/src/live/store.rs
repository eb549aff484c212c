//! SQL of live updates and their tickets.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{LiveEvent, Numbered, State};
use crate::nouns::{LeadId, TeamId, UserId};

/// A row of `live_events` that has a number.
struct Row {
    seq: i64,
    name: String,
    owner_id: Option<Uuid>,
    team_id: Option<Uuid>,
    user_id: Option<Uuid>,
    body: String,
}

impl Row {
    fn into_numbered(self) -> Numbered {
        Numbered {
            seq: self.seq,
            name: self.name,
            owner: self.owner_id.map(UserId::from_uuid),
            team: self.team_id.map(TeamId::from_uuid),
            user: self.user_id.map(UserId::from_uuid),
            body: self.body,
        }
    }
}

/// Writes events in their order, in one statement, with each lead's owner and team as this transaction has left them.
/// Whose assignment it has ended hears of the lead once more.
pub async fn insert(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    events: &[LiveEvent],
) -> Result<(), sqlx::Error> {
    let names: Vec<&str> = events.iter().map(|event| event.name).collect();
    let leads: Vec<Option<Uuid>> = events.iter().map(|event| event.lead.map(LeadId::uuid)).collect();
    let users: Vec<Option<Uuid>> = events.iter().map(|event| event.user.map(UserId::uuid)).collect();
    let bodies: Vec<Value> = events.iter().map(|event| event.body.clone()).collect();
    sqlx::query!(
        "insert into live_events (name, lead_id, owner_id, team_id, user_id, body, created_at)
         select event.name, event.lead_id, lead.owner_id, lead.team_id, coalesce(event.user_id, former.user_id),
                event.body, $1
         from unnest($2::text[], $3::uuid[], $4::uuid[], $5::jsonb[])
             with ordinality as event (name, lead_id, user_id, body, place)
         left join leads lead on lead.id = event.lead_id
         left join lateral (
             select held.user_id from lead_assignments held
             where held.lead_id = event.lead_id and held.ended_at = $1 order by held.assigned_at desc limit 1
         ) former on true
         order by event.place",
        now,
        &names as &[&str],
        &leads as &[Option<Uuid>],
        &users as &[Option<Uuid>],
        &bodies,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn state(conn: &mut PgConnection) -> Result<State, sqlx::Error> {
    sqlx::query_as!(
        State,
        r#"select last, exists (select from live_events where seq is null) as "unnumbered!" from live_sequence"#
    )
    .fetch_one(conn)
    .await
}

// Locked so that nobody else gives the same numbers.
pub async fn lock_sequence(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!("select last from live_sequence for update").fetch_one(conn).await
}

/// Gives the numbers after `last`, and moves it. The caller holds the lock. In no order.
pub async fn number(conn: &mut PgConnection, last: i64, limit: u16) -> Result<Vec<Numbered>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"with next as (
             select id, row_number() over (order by id) as place
             from live_events where seq is null order by id limit $2
         ), numbered as (
             update live_events event set seq = $1 + next.place
             from next where event.id = next.id
             returning event.seq, event.name, event.owner_id, event.team_id, event.user_id, event.body
         ), moved as (
             update live_sequence set last = $1 + (select count(*) from numbered)
             where exists (select from numbered)
         )
         select seq as "seq!", name, owner_id, team_id, user_id, body::text as "body!" from numbered"#,
        last,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Row::into_numbered).collect())
}

pub async fn read_after(conn: &mut PgConnection, seq: i64, limit: u16) -> Result<Vec<Numbered>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select seq as "seq!", name, owner_id, team_id, user_id, body::text as "body!"
           from live_events where seq > $1 order by seq limit $2"#,
        seq,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Row::into_numbered).collect())
}

pub async fn oldest_kept(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select coalesce((select min(seq) from live_events), last + 1) as "oldest!" from live_sequence"#
    )
    .fetch_one(conn)
    .await
}

/// Of the lowest numbers those that come before the first young row. A row that was committed late is older than its
/// neighbours, and waits for them.
pub async fn delete_older(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
    limit: u16,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "with lowest as materialized (
             select seq, created_at < $1 as old from live_events where seq is not null order by seq limit $2
         )
         delete from live_events where seq in (
             select seq from lowest
             where seq < coalesce((select min(seq) from lowest where not old), (select max(seq) + 1 from lowest))
         )",
        before,
        i64::from(limit),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

pub async fn insert_ticket(
    conn: &mut PgConnection,
    hash: &[u8],
    user: UserId,
    expires_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into live_tickets (hash, user_id, expires_at) values ($1, $2, $3)",
        hash,
        user.uuid(),
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Those that somebody else deletes at this moment are skipped, so that nobody waits. The list is made once
/// (`materialized`), or the limit would not hold.
pub async fn delete_expired_tickets(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with expired as materialized (
             select hash from live_tickets
             where expires_at <= $1 order by expires_at limit $2 for update skip locked
         )
         delete from live_tickets where hash in (select hash from expired)",
        now,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes the ticket, whether it is still good or not; whose it was, if it was good.
pub async fn take_ticket(
    conn: &mut PgConnection,
    hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<UserId>, sqlx::Error> {
    let taken = sqlx::query!("delete from live_tickets where hash = $1 returning user_id, expires_at", hash)
        .fetch_optional(conn)
        .await?;
    Ok(taken.filter(|ticket| ticket.expires_at > now).map(|ticket| UserId::from_uuid(ticket.user_id)))
}
