//! SQL of distribution.
//!
//! Locks are taken in one order by everybody: pool, leads, then `agent_load` rows by user id. They are `no key
//! update` locks, so that inserts which refer to these rows (a new lead of the pool) do not wait for them.

mod setup;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
pub use setup::*;
use sqlx::PgConnection;
use uuid::Uuid;

use super::eligibility::Block;
use crate::nouns::{LeadId, PoolId, RoutingBatchId, UserId};

/// Most absences of one member that are looked at: beyond them the next opening may be told too early, and is then
/// looked for again.
const ABSENCES_MAX: i64 = 50;

pub struct PoolRow {
    pub turns: i64,
    pub round_weight: i64,
}

pub struct WaitingRow {
    pub lead: Uuid,
    /// What the lead weighs on its owner's capacity.
    pub load: i16,
    /// It is on record already that this lead found nobody, since it waits.
    pub recorded: bool,
}

pub struct MemberRow {
    pub user_id: Uuid,
    pub weight: i32,
    pub round_weight: Option<i32>,
    pub given: i64,
    pub lag_micro: i64,
    pub active: bool,
    pub time_zone: String,
    pub open_weight: i32,
    pub capacity: i32,
    pub day_of: Option<NaiveDate>,
    pub day_count: i32,
    pub day_capacity: i32,
    pub last_assigned_at: Option<DateTime<Utc>>,
}

/// Locked because the round's turns and lags are read, moved on and written back: two batches of one pool at a
/// time would give the same turns twice.
pub async fn lock_pool(conn: &mut PgConnection, pool: PoolId) -> Result<Option<PoolRow>, sqlx::Error> {
    sqlx::query_as!(
        PoolRow,
        "select turns, round_weight from pools where id = $1 for no key update",
        pool.uuid()
    )
    .fetch_optional(conn)
    .await
}

/// The leads that wait, oldest first. Locked because what is read here (it waits, and what it weighs) must still
/// hold when it gets its owner.
pub async fn lock_waiting(
    conn: &mut PgConnection,
    pool: PoolId,
    limit: i64,
) -> Result<Vec<WaitingRow>, sqlx::Error> {
    sqlx::query_as!(
        WaitingRow,
        r#"select lead.id as "lead", status.load_weight as "load",
                exists (
                    select from routing_decisions decision
                    join routing_batches batch on batch.id = decision.batch_id
                    where decision.lead_id = lead.id and decision.chosen is null
                        and batch.decided_at >= lead.waiting_since
                ) as "recorded!"
           from leads lead join statuses status on status.code = lead.status
           where lead.pool_id = $1 and lead.waiting_since is not null
           order by lead.waiting_since, lead.id
           limit $2
           for no key update of lead"#,
        pool.uuid(),
        limit
    )
    .fetch_all(conn)
    .await
}

/// Locked, in id order, because other pools and other paths give leads to the same people: what is read after
/// this is true until the commit.
pub async fn lock_loads_of_members(conn: &mut PgConnection, pool: PoolId) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(
        "select load.user_id from agent_load load
         where load.user_id in (select member.user_id from pool_members member where member.pool_id = $1)
         order by load.user_id
         for no key update of load",
        pool.uuid()
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}

/// The same for one person, where limits or hours are changed: a batch that runs meanwhile must see either all of
/// the change or have left its leads waiting where the change then finds them.
pub async fn lock_load(conn: &mut PgConnection, user: UserId) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!("select user_id from agent_load where user_id = $1 for no key update", user.uuid())
        .fetch_optional(conn)
        .await?;
    Ok(())
}

pub async fn list_members(conn: &mut PgConnection, pool: PoolId) -> Result<Vec<MemberRow>, sqlx::Error> {
    sqlx::query_as!(
        MemberRow,
        "select member.user_id, member.weight, member.round_weight, member.given, member.lag_micro,
                person.active, person.time_zone,
                load.open_weight, load.capacity, load.day_of, load.day_count, load.day_capacity,
                load.last_assigned_at
         from pool_members member
         join users person on person.id = member.user_id
         join agent_load load on load.user_id = member.user_id
         where member.pool_id = $1
         order by member.user_id",
        pool.uuid()
    )
    .fetch_all(conn)
    .await
}

pub async fn list_hours(
    conn: &mut PgConnection,
    users: &[Uuid],
) -> Result<HashMap<Uuid, Vec<Block>>, sqlx::Error> {
    let rows = sqlx::query!(
        "select user_id, weekday, starts_minute, ends_minute from working_hours where user_id = any($1)",
        users
    )
    .fetch_all(conn)
    .await?;
    let mut hours: HashMap<Uuid, Vec<Block>> = HashMap::new();
    for row in rows {
        let block = Block::from_columns(row.weekday, row.starts_minute, row.ends_minute);
        hours.entry(row.user_id).or_default().push(block);
    }
    Ok(hours)
}

type Absences = HashMap<Uuid, Vec<(DateTime<Utc>, DateTime<Utc>)>>;

/// Those that are not over, soonest first.
pub async fn list_absences(
    conn: &mut PgConnection,
    users: &[Uuid],
    now: DateTime<Utc>,
) -> Result<Absences, sqlx::Error> {
    let rows = sqlx::query!(
        "select absence.user_id, absence.starts_at, absence.ends_at
         from unnest($1::uuid[]) as person (id)
         cross join lateral (
             select user_id, starts_at, ends_at from absences
             where user_id = person.id and ends_at > $2
             order by starts_at limit $3
         ) absence",
        users,
        now,
        ABSENCES_MAX
    )
    .fetch_all(conn)
    .await?;
    let mut absences = Absences::new();
    for row in rows {
        absences.entry(row.user_id).or_default().push((row.starts_at, row.ends_at));
    }
    Ok(absences)
}

/// What a batch adds to one person's load.
#[derive(Default)]
pub struct Taken {
    pub users: Vec<Uuid>,
    pub weights: Vec<i32>,
    pub counts: Vec<i32>,
    /// The person's local date.
    pub days: Vec<NaiveDate>,
}

/// Answers how many rows could take it: fewer than given when somebody had no room, then the caller rolls back.
pub async fn add_loads(
    conn: &mut PgConnection,
    taken: &Taken,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "update agent_load load
         set open_weight = load.open_weight + taken.weight,
             day_count = case when load.day_of = taken.day then load.day_count else 0 end + taken.leads,
             day_of = taken.day,
             last_assigned_at = $5
         from unnest($1::uuid[], $2::int[], $3::int[], $4::date[]) as taken (user_id, weight, leads, day)
         where load.user_id = taken.user_id
             and load.open_weight + taken.weight <= load.capacity
             and case when load.day_of = taken.day then load.day_count else 0 end + taken.leads <= load.day_capacity",
        &taken.users,
        &taken.weights,
        &taken.counts,
        &taken.days,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

pub async fn update_pool(
    conn: &mut PgConnection,
    pool: PoolId,
    turns: i64,
    round_weight: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update pools set turns = $2, round_weight = $3 where id = $1",
        pool.uuid(),
        turns,
        round_weight
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The members' places in the round.
#[derive(Default)]
pub struct Places {
    pub users: Vec<Uuid>,
    pub round_weights: Vec<Option<i32>>,
    pub given: Vec<i64>,
    pub lags_micro: Vec<i64>,
}

pub async fn update_members(
    conn: &mut PgConnection,
    pool: PoolId,
    places: &Places,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update pool_members member
         set round_weight = place.round_weight, given = place.given, lag_micro = place.lag_micro
         from unnest($2::uuid[], $3::int[], $4::bigint[], $5::bigint[])
             as place (user_id, round_weight, given, lag_micro)
         where member.pool_id = $1 and member.user_id = place.user_id",
        pool.uuid(),
        &places.users,
        &places.round_weights as &[Option<i32>],
        &places.given,
        &places.lags_micro
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A batch as it is stored.
pub struct NewBatch<'a> {
    pub id: RoutingBatchId,
    pub pool: PoolId,
    pub algorithm: &'a str,
    pub candidates: &'a Value,
    pub lead_weights: &'a [i16],
    pub cooling_offs: &'a Value,
    pub decided_at: DateTime<Utc>,
}

pub async fn insert_batch(conn: &mut PgConnection, batch: &NewBatch<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into routing_batches (id, pool_id, algorithm, candidates, lead_weights, cooling_offs, decided_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        batch.id.uuid(),
        batch.pool.uuid(),
        batch.algorithm,
        batch.candidates,
        batch.lead_weights,
        batch.cooling_offs,
        batch.decided_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Decisions of one batch, column by column.
#[derive(Default)]
pub struct Decisions {
    pub leads: Vec<Uuid>,
    pub positions: Vec<i32>,
    pub chosen: Vec<Option<Uuid>>,
    pub reasons: Vec<&'static str>,
}

pub async fn insert_decisions(
    conn: &mut PgConnection,
    batch: RoutingBatchId,
    decisions: &Decisions,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into routing_decisions (batch_id, lead_id, position, chosen, reason)
         select $1, lead_id, position, chosen, reason
         from unnest($2::uuid[], $3::int[], $4::uuid[], $5::text[]) as decision (lead_id, position, chosen, reason)",
        batch.uuid(),
        &decisions.leads,
        &decisions.positions,
        &decisions.chosen as &[Option<Uuid>],
        &decisions.reasons as &[&str]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Who got what, column by column.
#[derive(Default)]
pub struct Given {
    pub assignments: Vec<Uuid>,
    pub leads: Vec<Uuid>,
    pub users: Vec<Uuid>,
}

/// Two statements: the assignments, and the leads' owners. Answers how many leads got one: fewer than given when
/// some lead no longer waited, then the caller rolls back.
pub async fn insert_assignments(
    conn: &mut PgConnection,
    batch: RoutingBatchId,
    given: &Given,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    sqlx::query!(
        "insert into lead_assignments (id, lead_id, user_id, batch_id, cause, assigned_at)
         select id, lead_id, user_id, $1, 'routed', $2
         from unnest($3::uuid[], $4::uuid[], $5::uuid[]) as given (id, lead_id, user_id)",
        batch.uuid(),
        now,
        &given.assignments,
        &given.leads,
        &given.users
    )
    .execute(&mut *conn)
    .await?;
    let done = sqlx::query!(
        "update leads lead
         set owner_id = given.user_id, team_id = person.team_id, waiting_since = null,
             version = lead.version + 1, updated_at = $1
         from unnest($2::uuid[], $3::uuid[]) as given (lead_id, user_id)
         join users person on person.id = given.user_id
         where lead.id = given.lead_id and lead.waiting_since is not null",
        now,
        &given.leads,
        &given.users
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Whether the change found room. Never takes a load below zero: the table's check refuses that.
pub async fn change_load(conn: &mut PgConnection, user: UserId, delta: i32) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update agent_load set open_weight = open_weight + $2
         where user_id = $1 and ($2 <= 0 or open_weight + $2 <= capacity)",
        user.uuid(),
        delta
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Pools of this person in which leads wait.
pub async fn list_waiting_pools(
    conn: &mut PgConnection,
    user: UserId,
    limit: i64,
) -> Result<Vec<PoolId>, sqlx::Error> {
    let pools = sqlx::query_scalar!(
        "select member.pool_id from pool_members member
         where member.user_id = $1
             and exists (select from leads where pool_id = member.pool_id and waiting_since is not null)
         order by member.pool_id
         limit $2",
        user.uuid(),
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(pools.into_iter().map(PoolId::from_uuid).collect())
}

pub struct DecisionRow {
    pub batch_id: Uuid,
    pub position: i32,
    pub chosen: Option<Uuid>,
    pub reason: String,
    pub algorithm: String,
    pub candidates: Value,
    pub lead_weights: Vec<i16>,
    pub cooling_offs: Value,
    pub decided_at: DateTime<Utc>,
    pub pool_id: Uuid,
    pub pool_name: String,
}

/// The newest decision about a lead.
pub async fn find_decision(
    conn: &mut PgConnection,
    lead: LeadId,
) -> Result<Option<DecisionRow>, sqlx::Error> {
    sqlx::query_as!(
        DecisionRow,
        "select decision.batch_id, decision.position, decision.chosen, decision.reason,
                batch.algorithm, batch.candidates, batch.lead_weights, batch.cooling_offs,
                batch.decided_at,
                pool.id as pool_id, pool.name as pool_name
         from routing_decisions decision
         join routing_batches batch on batch.id = decision.batch_id
         join pools pool on pool.id = batch.pool_id
         where decision.lead_id = $1
         order by batch.decided_at desc, batch.id desc
         limit 1",
        lead.uuid()
    )
    .fetch_optional(conn)
    .await
}

pub async fn list_names(
    conn: &mut PgConnection,
    users: &[Uuid],
) -> Result<HashMap<Uuid, String>, sqlx::Error> {
    let rows =
        sqlx::query!("select id, display_name from users where id = any($1)", users).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.display_name)).collect())
}
