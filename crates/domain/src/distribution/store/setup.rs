//! SQL of pools, members and what they can carry.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::distribution::eligibility::Block;
use crate::nouns::{PoolId, UserId};

pub async fn insert_pool(
    conn: &mut PgConnection,
    pool: PoolId,
    name: &str,
    is_default: bool,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into pools (id, name, is_default, created_at) values ($1, $2, $3, $4)",
        pool.uuid(),
        name,
        is_default,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// False when a default pool, or another pool of the name, is there. A twin in flight is waited for.
pub async fn insert_default_pool_if_absent(
    conn: &mut PgConnection,
    pool: PoolId,
    name: &str,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into pools (id, name, is_default, created_at) values ($1, $2, true, $3)
         on conflict do nothing",
        pool.uuid(),
        name,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn find_default_pool(conn: &mut PgConnection) -> Result<Option<PoolId>, sqlx::Error> {
    let id = sqlx::query_scalar!("select id from pools where is_default").fetch_optional(conn).await?;
    Ok(id.map(PoolId::from_uuid))
}

pub async fn upsert_member(
    conn: &mut PgConnection,
    pool: PoolId,
    user: UserId,
    weight: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into pool_members (pool_id, user_id, weight) values ($1, $2, $3)
         on conflict (pool_id, user_id) do update set weight = excluded.weight",
        pool.uuid(),
        user.uuid(),
        weight
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn count_members(conn: &mut PgConnection, pool: PoolId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from pool_members where pool_id = $1"#, pool.uuid())
        .fetch_one(conn)
        .await
}

pub async fn insert_load_if_absent(
    conn: &mut PgConnection,
    user: UserId,
    capacity: i32,
    day_capacity: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into agent_load (user_id, capacity, day_capacity) values ($1, $2, $3)
         on conflict (user_id) do nothing",
        user.uuid(),
        capacity,
        day_capacity
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// `today` is the person's local date: what was counted on another day is over. False when the person carries more
/// than the new limits allow.
pub async fn update_limits(
    conn: &mut PgConnection,
    user: UserId,
    capacity: i32,
    day_capacity: i32,
    today: NaiveDate,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update agent_load
         set capacity = $2, day_capacity = $3, day_of = $4,
             day_count = case when day_of = $4 then day_count else 0 end
         where user_id = $1 and open_weight <= $2 and case when day_of = $4 then day_count else 0 end <= $3",
        user.uuid(),
        capacity,
        day_capacity,
        today
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn find_zone(conn: &mut PgConnection, user: UserId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("select time_zone from users where id = $1", user.uuid()).fetch_optional(conn).await
}

pub async fn replace_hours(
    conn: &mut PgConnection,
    user: UserId,
    blocks: &[Block],
) -> Result<(), sqlx::Error> {
    let (weekdays, starts, ends) = Block::columns(blocks);
    sqlx::query!("delete from working_hours where user_id = $1", user.uuid()).execute(&mut *conn).await?;
    sqlx::query!(
        "insert into working_hours (user_id, weekday, starts_minute, ends_minute)
         select $1, weekday, starts_minute, ends_minute
         from unnest($2::smallint[], $3::smallint[], $4::smallint[]) as block (weekday, starts_minute, ends_minute)",
        user.uuid(),
        &weekdays,
        &starts,
        &ends
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn insert_absence(
    conn: &mut PgConnection,
    id: Uuid,
    user: UserId,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into absences (id, user_id, starts_at, ends_at) values ($1, $2, $3, $4)",
        id,
        user.uuid(),
        starts_at,
        ends_at
    )
    .execute(conn)
    .await?;
    Ok(())
}
